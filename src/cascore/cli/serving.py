"""How a command serves a page: to this machine alone."""

import json
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cascore.errors import InputError

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"
    " data:; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
}


def local_server(handler: Callable[..., BaseHTTPRequestHandler], port: int) -> ThreadingHTTPServer:
    """A server that only this machine reaches, at a port or, of 0, at any that is free.

    Raises:
        InputError: The port cannot be had.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be had ({error.strerror}): give another one"
        ) from None


class LocalHandler(BaseHTTPRequestHandler):
    """Answers what this machine asks for itself, and nothing that another site asks through it."""

    timeout = 10  # seconds that a client may keep a thread waiting

    def handle(self) -> None:
        """One request; a client may leave at any time."""
        with suppress(ConnectionError):
            super().handle()

    def parse_request(self) -> bool:
        """Refuse what another site sends through a browser, under its own name or ours."""
        if not super().parse_request():
            return False
        port = self.connection.getsockname()[1]
        own = {x if port == 80 else f"{x}:{port}" for x in ("127.0.0.1", "localhost")}
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if host in own and origin in (None, *(f"http://{x}" for x in own)):
            return True
        self._send_json(403, {"error": f"only http://127.0.0.1:{port} is served here"})
        return False

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a page asks by itself, again and again, and would fill the terminal."""
