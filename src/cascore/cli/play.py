"""`cascore play`: a page in front of a model, served to this machine alone."""

import json
import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.cli.serving import LocalHandler, local_server
from cascore.errors import InputError
from cascore.experiment.settings import Spacing
from cascore.plain import whole_number
from cascore.progress import Display

if TYPE_CHECKING:
    from cascore.playground import Line, Models, Turns

_LONGEST = 2**16  # bytes of a request


@dataclass(frozen=True, kw_only=True)
class Play:
    """Open a page to play with a model: its sampler's settings, pictures, and their noise."""

    path: options.ModelName = "digits"
    port: int = 0
    """Of http://127.0.0.1:PORT, which only this machine reaches; 0: any that is free."""
    browser: bool = True
    """Open the page in a browser, where there is one."""
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Serve the page until interrupted."""
        from cascore.experiment.build import select_device
        from cascore.model.loading import load
        from cascore.playground import Models, Turns

        say = Display().say
        given = load(self.path, device=select_device(self.device), notify=say)
        models, turns = Models(given, notify=say), Turns()
        server = local_server(partial(Handler, models=models, turns=turns), self.port)
        address = f"http://127.0.0.1:{server.server_port}"
        plain_console().print(address)
        say("interrupt to stop")
        if self.browser:
            _open(address)
        with server, suppress(KeyboardInterrupt):
            server.serve_forever()
        with turns.newest():  # what is being computed ends before the interpreter does
            return 0


def _open(address: str) -> None:
    """Show a page in a browser, in a window of its own; not in one that takes this terminal."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:  # of a terminal: lynx, w3m
            threading.Thread(target=browser.open, args=(address,), daemon=True).start()


class Handler(LocalHandler):
    """GET / is the page, GET /models what it offers; POST /chain draws, lines of JSON."""

    def __init__(self, *arguments: object, models: "Models", turns: "Turns") -> None:
        self._models, self._turns, self._begun = models, turns, False
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802
        """The page, or what it offers."""
        from cascore.playground import PAGE

        if self.path == "/":
            self._send(200, "text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/models":
            offered = {"models": self._models.names, "spacings": get_args(Spacing)}
            self._send_json(200, offered)
        else:
            self._send_json(404, {"error": "there is no such page"})

    def do_POST(self) -> None:  # noqa: N802
        """A chain: 400 for what is wrong with a request, 409 if a newer one came first."""
        from cascore.playground import SupersededError, draw, read_request

        if self.path != "/chain":
            return self._send_json(404, {"error": "there is no such page"})
        try:
            length = whole_number(self.headers.get("Content-Length", ""))
            if length is None or length > _LONGEST:
                raise InputError(f"a request names its length, at most {_LONGEST} bytes")
            request = read_request(self.rfile.read(length))
            with self._turns.newest() as check:
                draw(request, self._models[request.model], check=check, emit=self._emit)
        except InputError as error:
            self._fail(400, error)
        except SupersededError as error:
            self._fail(409, error)
        except (MemoryError, RuntimeError) as error:  # of PyTorch: no memory, say
            self._fail(500, error)

    def _emit(self, line: "Line") -> None:
        from cascore.playground import line_text

        if not self._begun:
            self._send(200, "application/x-ndjson", b"")
            self._begun = True
        self.wfile.write(line_text(line).encode())

    def _fail(self, status: int, error: Exception) -> None:
        """What went wrong, in place of the answer, or where it has begun as its last line."""
        if self._begun:
            self.wfile.write(json.dumps({"error": str(error)}).encode() + b"\n")
        else:
            self._send_json(status, {"error": str(error)})
