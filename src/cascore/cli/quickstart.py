"""`cascore quickstart`: train, sample, judge, and a page to look at."""

from dataclasses import dataclass
from pathlib import Path

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.progress import Display


@dataclass(frozen=True, kw_only=True)
class Quickstart:
    """Train on real handwritten digits, sample, judge, and write a page to look at (minutes)."""

    out: Path = Path("quickstart")
    """Folder of the run and of the page; run again to go on where it stopped."""
    device: options.Device = "auto"
    threads: int = 1
    """CPU threads; for networks this small more gain little, and lose much on a busy machine."""

    def run(self, typed: str) -> int:
        """Train, sample, judge, and write the page."""
        from cascore.experiment.build import select_device, use_threads
        from cascore.report import run_quickstart

        use_threads(self.threads)
        device = select_device(self.device)
        page = run_quickstart(self.out, device=device, display=Display())
        plain_console().print(f"open {page}")
        return 0
