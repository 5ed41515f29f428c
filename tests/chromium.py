"""A headless Chromium for tests, driven over a pipe by the DevTools protocol: no package needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next((path for name in NAMES if (path := shutil.which(name))), None)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip


def _pipe():
    """Both ends of a pipe, above 9: the descriptors 3 and 4 may be free here."""
    for end in os.pipe():
        yield fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(end)


class Browser:
    """One page. The pipe carries JSON messages that end in a null byte, on descriptors 3 and 4."""

    def __init__(self, folder):
        (reads, self._out), (self._in, writes) = _pipe(), _pipe()
        silent = [(os.POSIX_SPAWN_OPEN, i, os.devnull, os.O_RDWR, 0) for i in range(3)]
        piped = [(os.POSIX_SPAWN_DUP2, end, i) for end, i in ((reads, 3), (writes, 4))]
        flags = (*_FLAGS, f"--user-data-dir={folder}", "about:blank")
        self._process = os.posix_spawn(
            EXECUTABLE, [EXECUTABLE, *flags], os.environ, file_actions=[*silent, *piped]
        )
        os.close(reads)
        os.close(writes)
        self._asked, self._left, self._session = 0, b"", {}
        pages = self.send("Target.getTargets")["targetInfos"]
        (page,) = (target["targetId"] for target in pages if target["type"] == "page")
        session = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        self.send("Page.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)

    def send(self, method, **parameters):
        """The result of a command of the protocol."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters, **self._session}
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._out, content) :]
        while True:
            answer = self._receive(deadline=time.monotonic() + 60)
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self, *, deadline):
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            content = os.read(self._in, 1 << 16)
            assert content, "Chromium has ended"
            self._left += content
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def open(self, address):
        self.send("Page.navigate", url=address)

    def evaluate(self, expression):
        """The value of JavaScript in the page, awaited if it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression, seconds=60):
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.05)

    def press(self, key):
        """A key, where the focus is."""
        code = {"End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}[key]
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, *, width, height=None, scale=1, dark=False):
        """A PNG of the page as wide as that; of all of it, if no height is given."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "deviceScaleFactor": scale, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", height=height or 800, **size)
        if height is None:
            whole = self.evaluate("document.documentElement.scrollHeight")
            self.send("Emulation.setDeviceMetricsOverride", height=whole, **size)
        time.sleep(0.3)
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
