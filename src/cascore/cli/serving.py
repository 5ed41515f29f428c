"""How a command serves a page: to this machine alone."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cascore.errors import InputError


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
