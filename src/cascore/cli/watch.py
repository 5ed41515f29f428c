"""`cascore watch`: the page of a training, on which its pictures and errors appear."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from cascore.cli.common import plain_console
from cascore.cli.serving import LocalHandler, local_server
from cascore.errors import InputError
from cascore.progress import Display

_KINDS = {".html": "text/html; charset=utf-8", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Show the page of a training on folder:PATH: what it draws and its errors, while it trains."""

    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run of `cascore train folder:PATH`."""
    port: int = 0
    """Serve the page to a browser on this machine at http://127.0.0.1:PORT until interrupted;
    0 only prints the file's path, which any browser opens."""

    def run(self, typed: str) -> int:
        """Print where the page is, or serve it."""
        from cascore.experiment.page import PAGE
        from cascore.experiment.run_folder import read_experiment

        page = self.path / PAGE
        if not page.is_file():
            minutes = read_experiment(self.path).minutes  # refuses what is no run
            raise InputError(
                f"{self.path} has no page yet: the first pictures make it, soon after the start"
                if minutes
                else f"{self.path} has no page: only a training by the clock has one (cascore train"
                " folder:PATH --minutes N)"
            )
        if self.port:
            _serve(self.path, self.port, PAGE)
        plain_console().print(page.resolve())
        return 0


class _Handler(LocalHandler):
    """GET / is the page, and what it shows has its name there; nothing else of a run is served."""

    def __init__(self, *arguments: object, folder: Path, page: str) -> None:
        self._folder, self._page = folder, page
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802
        """The page or a picture: what is asked for is compared with what is there, never opened."""
        asked = self.path.partition("?")[0].removeprefix("/") or self._page
        for path in (self._folder / self._page, *self._folder.glob("samples/*")):
            kind = _KINDS.get(path.suffix)
            if kind and path.relative_to(self._folder).as_posix() == asked and path.is_file():
                return self._send(200, kind, path.read_bytes())
        return self._send_json(404, {"error": "there is no such page"})


def _serve(folder: Path, port: int, page: str) -> None:
    server = local_server(partial(_Handler, folder=folder.resolve(), page=page), port)
    Display().say(f"http://127.0.0.1:{port} shows {folder}; interrupt to stop")
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()
