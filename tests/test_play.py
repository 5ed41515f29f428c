"""The page of `cascore play`: what it shows is what `model.sample` draws, and nothing breaks it."""

import base64
import http.client
import io
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from chromium import EXECUTABLE, Browser
from PIL import Image
from running import POINTS, run, tiny, trained_in
from torch.nn import functional as F

from cascore.cli.play import Handler
from cascore.cli.serving import local_server
from cascore.model.loading import load
from cascore.noise import KeyedNoise
from cascore.pixels import to_uint8
from cascore.playground import PAGE, Models, SupersededError, Turns
from cascore.sampling import consistent_annealed, initial_noise
from cascore.schedule import geometric_sigmas, karras_sigmas

FEW = {"model": "digits", "count": 4, "calls": 3}


@contextmanager
def serving(model):
    """The address of a server in front of a model."""
    handler = partial(Handler, models=Models(model, notify=pytest.fail), turns=Turns())
    with local_server(handler, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address
        server.shutdown()


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def address(digits):
    with serving(digits) as address:
        yield address


@contextmanager
def asked(address, method, path, content=None, **headers):
    """The answer to a request, still open."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path, content, headers)
    try:
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def status_and_text(*request, **headers):
    with asked(*request, **headers) as answer:
        return answer.status, answer.read().decode()


def drawn(address, **settings):
    """The answer to settings: what has begun, the frames, what is done."""
    status, text = status_and_text(address, "POST", "/chain", json.dumps(settings))
    assert status == 200, text
    lines = [json.loads(line) for line in text.splitlines()]
    frames = [line["frame"] for line in lines[1:-1]]
    return lines[0]["begun"], frames, lines[-1]["done"]


def pixels(content, like, columns):
    """The pictures of a sheet, uint8 of the shape that they are compared with."""
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        sheet = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    _, channels, height, width = like.shape
    cells = sheet.view(-1, height, columns, width, channels)
    return cells.permute(0, 2, 4, 1, 3).reshape(like.shape)


# --- what it draws


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kappa": 1, "order": 1, "calls": 3},
        {"kappa": "inf", "spacing": "karras", "calls": 4, "seed": 2**64 - 4},
        {"order": 2, "spacing": "calibrated", "calls": 2},
        {"calls": 1},
    ],
)
def test_pictures_are_those_of_model_sample(address, digits, settings):
    _, frames, done = drawn(address, model="digits", count=4, **settings)
    seed = settings.pop("seed", 0)
    settings["kappa"] = float(settings["kappa"]) if "kappa" in settings else None
    samples = digits.sample(range(seed, seed + 4), **settings)
    assert torch.equal(pixels(done["raw"], samples.raw, 2), to_uint8(samples.raw))
    assert torch.equal(pixels(done["denoised"], samples.raw, 2), to_uint8(samples.denoised))
    assert frames[-1]["denoised"] == done["denoised"]
    assert done["nfe"] == len(frames) == samples.nfe


def test_the_film_is_the_chain(address, digits):
    begun, frames, done = drawn(address, **FEW, kappa=3, order=1, spacing="karras")
    noise, path = KeyedNoise(range(4)), []
    schedule = digits.experiment.schedule
    consistent_annealed(
        digits.denoiser,
        initial_noise((4, *digits.shape), schedule.first, noise=noise),
        karras_sigmas(schedule.first, schedule.last, 3),
        kappa=3,
        order=1,
        noise=noise,
        callback=lambda i, sigma, x, H: path.append((i + 1, sigma, x, H)),
    )
    assert len(frames) == 3
    for frame, (call, sigma, x, denoised) in zip(frames, path, strict=True):
        assert (frame["call"], frame["sigma"]) == (call, sigma)
        assert torch.equal(pixels(frame["x"], x, 2), to_uint8(x))
        assert torch.equal(pixels(frame["denoised"], x, 2), to_uint8(denoised))
    assert [step["sigma"] for step in done["steps"]] == [frame["sigma"] for frame in frames]
    assert begun == {"blind": True, "classes": [], "shape": [1, 8, 8], "columns": 2, "calls": 3}
    assert drawn(address, **FEW | {"model": "digits-aware"})[0]["blind"] is False


def test_a_long_film_is_thinned_and_keeps_its_end(address):
    _, frames, done = drawn(address, model="digits", count=1, calls=102, order=1)
    assert [frame["call"] for frame in frames[:2]] == [1, 3]
    assert frames[-1]["call"] == len(done["steps"]) == 102


def test_the_noise_is_that_of_the_propositions(address, digits):
    """Written out for geometric levels, order 1 and one kappa, from 5 % too much noise."""
    count, kappa, schedule = 6, 1.5, digits.experiment.schedule
    asked_for = {"calls": count, "kappa": kappa, "order": 1, "spacing": "geometric"}
    steps = drawn(address, **FEW | asked_for)[2]["steps"]
    sigmas = geometric_sigmas(schedule.first, schedule.last, count).tolist()
    gamma, tau = sigmas[1] / sigmas[0], 1.05 * sigmas[0]
    for i, step in enumerate(steps):
        excess = (1.05**2 - 1) * gamma ** ((2 * kappa - 2) * i)  # Proposition 2
        assert step["aware"] == pytest.approx((1 + excess) ** 0.5, rel=1e-9)
        assert step["eta"] == pytest.approx(1 - gamma**kappa, rel=1e-9)
        last = i == count - 1
        beta = 0 if last else (1 - gamma ** (2 * kappa - 2)) ** 0.5
        assert step["added"] == pytest.approx(beta * gamma * sigmas[i], rel=1e-9)
        assert i == 0 or step["langevin"] > 1  # Proposition 1
        assert step["blind"] == pytest.approx(tau / sigmas[i], rel=1e-9)
        kept = tau - sigmas[i] * (1 - gamma**kappa)  # Proposition 4
        tau = (kept**2 + step["added"] ** 2) ** 0.5
    assert steps[-1]["blind"] > 1.5 > 1.05 > steps[-1]["aware"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A run that knows classes."""
    experiment = tiny()
    network = replace(experiment.network, conditional=True, labels=True)
    folder = tmp_path_factory.mktemp("runs") / "classes"
    return trained_in(folder, replace(experiment, network=network))


def test_classes_guidance_and_the_command_that_draws_the_same(labelled, tmp_path):
    model = load(labelled)
    settings = {"label": "all", "guidance": 2.0, "calls": 2}
    with serving(model) as address:
        begun, _, done = drawn(address, model=str(labelled), count=20, seed=5, **settings)
        refused = status_and_text(
            address, "POST", "/chain", json.dumps({"model": str(labelled), "label": "all"})
        )
    samples = model.sample(range(5, 25), **settings)
    assert (begun["columns"], begun["classes"]) == (2, list("0123456789"))
    here = pixels(done["denoised"], samples.raw, 2)  # a class in each row
    assert torch.equal(here, to_uint8(samples.denoised))
    assert done["nfe"] == samples.nfe == 4
    assert refused[0] == 400
    assert "ask for 20" in refused[1]
    assert run(*shlex.split(done["command"])[1:], "--out", tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "denoised" / "seed-00000007.png") as image:
        assert image.tobytes() == bytes(here[2].flatten().tolist())


# --- what it refuses


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("[]", "an object"),
        ("[" * 9999, "nested"),
        ("{}", "model"),
        ({"model": "none-such"}, "digits-aware"),
        ({"model": "../pretrained/digits"}, "there is no model"),
        ({"model": 5}, "text"),
        ({"steps": 5}, "unknown"),
        ({"kappa": 0.5}, "at least 1"),
        ({"kappa": True}, "a number"),
        ({"order": 3}, "1 or 2"),
        ({"calls": 0}, "at least 1"),
        ({"calls": 1001}, "at most 1,000"),
        ({"count": 257}, "at most 256"),
        ({"count": 10**30}, "digits"),
        ({"seed": -1}, "at least 0"),
        ({"seed": 2**64 - 1}, "seeds"),
        ({"spacing": "none-such"}, "geometric"),
        ({"label": "3"}, "no class"),
        ({"guidance": 2.0}, "label"),
        ({"guidance": 2000}, "at most 1,000"),
        ("x" * 2**17, "bytes"),
    ],
)
def test_what_cannot_be_is_refused_in_words(address, content, words):
    body = content if isinstance(content, str) else json.dumps(FEW | content)
    status, text = status_and_text(address, "POST", "/chain", body)
    assert status == 400
    assert words in json.loads(text)["error"]
    assert drawn(address, **FEW | {"calls": 1})[2]["nfe"] == 1


def test_only_this_page_is_served_and_only_to_itself(address):
    host, port = address
    body = json.dumps(FEW | {"calls": 1})
    for own in (f"{host}:{port}", f"localhost:{port}"):
        for name in ("Host", "Origin"):
            value = own if name == "Host" else f"http://{own}"
            assert status_and_text(address, "POST", "/chain", body, **{name: value})[0] == 200
    foreign = {"Host": (f"example.org:{port}", host), "Origin": ("http://example.org", "null")}
    for name, values in foreign.items():
        for value in values:
            for request in (("GET", "/"), ("GET", "/models"), ("POST", "/chain", body)):
                status, text = status_and_text(address, *request, **{name: value})
                assert status == 403
                assert "digits" not in text
    with asked(address, "GET", "/") as answer:
        assert answer.read() == PAGE.read_bytes()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for request in (("GET", "/../play.py"), ("GET", "/chain"), ("POST", "/")):
        assert status_and_text(address, *request)[0] == 404
    assert status_and_text(address, "PUT", "/chain")[0] == 501
    assert status_and_text(address, "POST", "/chain", None)[0] == 400


def test_a_client_that_stalls_or_sends_junk_keeps_nobody_waiting(address):
    with socket.create_connection(address) as stalled, socket.create_connection(address) as junk:
        head = (
            f"POST /chain HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 99\r\n\r\n{{"
        )
        stalled.sendall(head.encode())
        junk.sendall(bytes(range(256)) * 8 + b"\r\n\r\n")
        assert drawn(address, **FEW)[2]["nfe"] == 3


def test_the_page_names_no_address():
    page = PAGE.read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert re.findall(r'(?:src|href)="(.*?)"', page) == ["data:,"]
    assert "@import" not in page
    assert "url(" not in page


# --- one computation at a time


def test_a_newer_request_stops_an_older_one_between_its_steps(address):
    endless = json.dumps({"model": "digits", "calls": 1000, "count": 64})
    with asked(address, "POST", "/chain", endless) as older:
        assert "begun" in json.loads(older.readline())
        assert drawn(address, **FEW)[2]["nfe"] == 3
        lines = [json.loads(line) for line in older.read().splitlines()]
    assert "newer request" in lines[-1]["error"]
    assert len(lines) < 100


def test_who_leaves_stops_the_chain(address):
    """The chain ends by its next line, and no one else has asked for anything meanwhile."""
    endless = json.dumps({"model": "digits", "calls": 1000, "count": 16})
    running = {*threading.enumerate()}  # not their numbers, which are given again
    with asked(address, "POST", "/chain", endless) as answer:
        answer.readline()
        (thread,) = {*threading.enumerate()} - running
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_of_those_that_wait_only_the_newest_gets_a_turn():
    turns, told = Turns(), []

    def wait(name):
        try:
            with turns.newest():
                told.append(name)
        except SupersededError:
            told.append(f"not {name}")

    with turns.newest() as check:
        check()
        threads = []
        for name in "abc":
            threads.append(threading.Thread(target=wait, args=(name,)))
            threads[-1].start()
            while turns._newest < 1 + len(threads):
                pass
            for thread in threads[:-1]:  # who is no longer the newest does not wait on
                thread.join(timeout=30)
        with pytest.raises(SupersededError):
            check()
        assert told == ["not a", "not b"]
    threads[-1].join(timeout=30)
    assert told == ["not a", "not b", "c"]


# --- the command


def test_the_command_says_where_it_serves_and_ends_by_an_interrupt():
    command = [sys.executable, "-m", "cascore", "play", "--no-browser", "--device", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # if they run with   # the tests may run in the background
    with subprocess.Popen(command, preexec_fn=heard, **pipes) as process:
        address = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)\n", process.stdout.readline())
        status, text = status_and_text(address.groups(), "GET", "/models")
        assert status == 200
        assert json.loads(text)["models"][0] == "digits"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert "Traceback" not in process.stderr.read()


def test_what_cannot_be_served_is_told(address, tmp_path, capsys):
    points = trained_in(tmp_path / "points", POINTS)
    for words, told in (
        ((points,), "pictures"),
        (("none-such",), "no such path"),
        (("--port", address[1]), "another"),
        (("--port", 99_999), "65,535"),
    ):
        assert run("play", *words, "--no-browser", "--device", "cpu") == 2
        assert told in capsys.readouterr().err


# --- in a browser

SHOWN = """(() => {
  const canvas = document.querySelectorAll("canvas")[%d];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.height, canvas.width, ...data.filter((_, i) => i %% 4 === 0)];
})()"""
DONE = "document.body?.dataset.state === 'done' && location.hash.includes('%s')"


def canvas(images):
    """Grey pictures, a square number of them, with a line of nothing between."""
    rows = round(len(images) ** 0.5)
    framed = F.pad(to_uint8(images)[:, 0], (0, 1, 0, 1))
    height, width = framed.shape[1:]
    sheet = framed.view(rows, rows, height, width).transpose(1, 2).reshape(rows * height, -1)
    return sheet[:-1, :-1]


@pytest.mark.skipif(
    EXECUTABLE is None, reason="no chromium: apt-get install chromium-headless-shell"
)
def test_moved_sliders_show_what_model_sample_draws(address, digits, tmp_path):
    """Sliders are moved by keys, as a person without a mouse does."""

    def shows(which, images):
        height, width, *values = browser.evaluate(SHOWN % which)
        assert torch.equal(torch.tensor(values).view(height, width), canvas(images).long())

    def press(name, key):
        browser.evaluate(f"document.querySelector('{name}').focus()")
        browser.press(key)

    with Browser(tmp_path) as browser:
        browser.open(f"http://127.0.0.1:{address[1]}/#calls=4&count=9&kappa=20")
        browser.wait(DONE % "kappa=20&")
        for key, kappa in (("ArrowRight", "50"), ("End", "inf"), ("Home", "1")):
            press("[name=kappa]", key)
            browser.wait(DONE % f"kappa={kappa}&")
            samples = digits.sample(range(9), calls=4, kappa=float(kappa))
            shows(0, samples.raw)
            shows(1, samples.denoised)
        browser.evaluate("document.querySelector('[name=order]').value = 1")
        browser.evaluate("document.getElementById('others').click()")
        press("[name=calls]", "ArrowLeft")
        browser.wait(DONE % "order=1&calls=3&spacing=&count=9&seed=9&")
        shows(0, digits.sample(range(9, 18), calls=3, kappa=1, order=1).raw)
        press("#step", "Home")
        shows(0, initial_noise((9, 1, 8, 8), 5.0, noise=KeyedNoise(range(9, 18))))
        browser.evaluate("document.querySelector('[name=beside]').value = 'digits-aware'")
        press("[name=calls]", "Home")
        browser.wait(DONE % "calls=1&")
        press("#step", "End")
        shows(3, load("digits-aware").sample(range(9, 18), calls=1, kappa=1, order=1).denoised)
        for width in (400, 800, 1280):
            browser.screenshot(width=width)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        unseen = "[...document.querySelectorAll('.of-class')].map((x) => x.hidden)"
        assert browser.evaluate(unseen) == [True, True]
        browser.evaluate("document.querySelector('[name=beside]').value = ''")
        browser.evaluate("document.querySelector('[name=model]').value = 'cifar-10'")
        press("[name=count]", "Home")
        browser.wait(DONE % "count=1&")
        assert browser.evaluate(unseen) == [False, False]
        browser.evaluate("document.querySelector('[name=label]').value = 'horse'")
        changed = "new Event('input', { bubbles: true })"
        browser.evaluate(f"document.querySelector('[name=label]').dispatchEvent({changed})")
        press("[name=guidance]", "ArrowRight")
        browser.wait(DONE % "guidance=1.5")
        asked = {"calls": 1, "order": 1, "label": "horse", "guidance": 1.5}
        shows(1, load("cifar-10").sample(range(9, 10), kappa=1, **asked).denoised)
        browser.evaluate("document.querySelector('[name=seed]').value = -1")
        press("[name=kappa]", "End")
        browser.wait("document.querySelector('.alarm')?.textContent.includes('at least 0')")
        loaded = browser.evaluate("performance.getEntriesByType('resource').map((x) => x.name)")
        assert {name.rpartition("/")[2] for name in loaded} == {"models", "chain"}
