"""Fetching files, from a server inside this process; the only address is 127.0.0.1."""

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cascore.errors import InputError
from cascore.fetching import Download, download

CONTENT = bytes(range(256)) * 4000  # a megabyte, several chunks


class _Server(ThreadingHTTPServer):
    """Serves CONTENT, notes the ranges that were asked for, and can be made to misbehave."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.requests = CONTENT, []
        self.ranges, self.cut, self.status = True, None, None


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        header = self.headers["Range"]
        server.requests.append(header)
        if server.status is not None:
            self.send_error(server.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", header)[1]) if server.ranges else 0
        body = server.content[start:]
        self.send_response(206 if server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.cut is None else body[: server.cut])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving():
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with serving() as running:
        yield running


def file_of(server, content=CONTENT):
    address = f"http://127.0.0.1:{server.server_address[1]}/data.gz"
    return Download(address, len(content), hashlib.sha256(content).hexdigest())


def test_a_file_is_fetched_checked_and_not_fetched_again(server, tmp_path):
    seen = []
    for _ in range(2):
        download([file_of(server)], tmp_path / "new", advice="or wait", progress=seen.append)
    assert (tmp_path / "new" / "data.gz").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.gz"]
    assert sum(seen) == 2 * len(CONTENT)
    assert len(server.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server, tmp_path, ranges):
    server.cut = 300_000
    with pytest.raises(InputError, match="run the command again where there is a connection"):
        download([file_of(server)], tmp_path, advice="or wait")
    part = tmp_path / "data.gz.part"
    assert part.read_bytes() == CONTENT[:300_000]
    server.cut, server.ranges = None, ranges  # a server may know no ranges and send all of it
    seen = []
    download([file_of(server)], tmp_path, advice="or wait", progress=seen.append)
    assert (tmp_path / "data.gz").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=300000-"
    assert sum(seen) == len(CONTENT)
    assert not part.exists()


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT * 3])
def test_other_or_too_many_bytes_are_thrown_away(content, server, tmp_path):
    server.content = content
    with pytest.raises(InputError, match=r"gives other bytes than those with SHA-256 [0-9a-f]{64}"):
        download([file_of(server)], tmp_path, advice="or wait")
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_there_but_wrong_is_fetched_anew(server, tmp_path):
    (tmp_path / "data.gz").write_bytes(b"an old version")
    download([file_of(server)], tmp_path, advice="or wait")
    assert (tmp_path / "data.gz").read_bytes() == CONTENT
    (tmp_path / "data.gz").rename(tmp_path / "data.gz.part")  # whole, and never checked
    download([file_of(server)], tmp_path, advice="or wait")
    assert (tmp_path / "data.gz").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_offline_or_refused_is_one_line(server, tmp_path):
    with serving() as gone:
        file = file_of(gone)
    with pytest.raises(InputError, match=rf"^{file.url} .*Connection refused.*or wait$"):
        download([file], tmp_path, advice="or wait")
    server.status = 404
    with pytest.raises(InputError, match=r"data\.gz cannot be fetched \(Not Found\)"):
        download([file_of(server)], tmp_path, advice="or wait")


def test_a_full_disk_is_not_blamed_on_the_connection(server, tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        download([file_of(server)], tmp_path, advice="or wait")
    assert not isinstance(caught.value, InputError)
