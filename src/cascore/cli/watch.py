"""`cascore watch`: the page of a training, on which its pictures and errors appear."""

from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Annotated

import tyro

from cascore.cli.common import plain_console
from cascore.cli.serving import local_server
from cascore.errors import InputError
from cascore.progress import Display


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


class _Handler(SimpleHTTPRequestHandler):
    """Serves the page and its pictures, and nothing else of a run."""

    def __init__(self, *arguments: object, page: str, directory: str) -> None:
        self._page = page
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        """The file of a request; of what is not to be served, one that is not there."""
        here, asked = Path(self.directory), path.partition("?")[0].strip("/") or self._page
        parts = asked.split("/")
        picture = len(parts) == 2 and parts[0] == "samples" and ".." not in parts
        return str(here / asked if asked == self._page or picture else here / "no such file")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a page that reloads itself would fill the terminal."""


def _serve(folder: Path, port: int, page: str) -> None:
    handler = partial(_Handler, page=page, directory=str(folder.resolve()))
    server = local_server(handler, port)
    Display().say(f"http://127.0.0.1:{port} shows {folder}; interrupt to stop")
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
