"""What a person sees of long work: live bars in a terminal or notebook, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cascore.plain import printable

if TYPE_CHECKING:
    from cascore.training import Metrics


PLAIN_SECONDS = 10.0  # between plain lines
SMOOTHING = 0.98

_Bar = Callable[[int, str], None]  # what is done, and a text beside it


class TextConsole(Console):
    """A console that shows text and obeys nothing in it, whoever chose the words."""

    def __init__(self, **options: Any) -> None:
        """As `rich.console.Console`, but :cat: stays what it is."""
        super().__init__(emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, and paths as the text that they are."""
        texts = (str(part) if isinstance(part, PurePath) else part for part in objects)
        super().print(*texts, **options)

    def render_str(self, text: str, **style: Any) -> Text:
        """The text as rich shows it, once it is `printable`."""
        return super().render_str(printable(text), **style)

    def on_broken_pipe(self) -> None:
        """Say nothing more to nobody: whoever stopped reading does not end the work."""
        self.quiet = True

    def _check_buffer(self) -> None:
        """Write, or where messages cannot be written say nothing more; results are an OSError."""
        try:
            super()._check_buffer()
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True


class Display:
    """Progress and messages on one console (standard error, so that output stays clean)."""

    def __init__(self, console: Console | None = None, *, plain: bool = True) -> None:
        """Without `plain` nothing is shown but live bars: for a library, whose caller prints."""
        self.console = console or TextConsole(stderr=True)
        self.plain = plain

    def say(self, message: str) -> None:
        """One line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def training(
        self,
        metrics: "Iterable[Metrics]",
        *,
        total: int,
        batch_size: int,
        seconds: float | None = None,
    ) -> "Iterator[Metrics]":
        """Pass the metrics on while showing step, images/s, losses and the time left.

        Where so many `seconds` end it, they are what the bar shows.
        """
        from cascore.training.loop import Backlog

        smooth: dict[str, float] = {}
        backlog = Backlog()
        first: int | None = None
        started = time.monotonic()
        bar = total if seconds is None else max(1, round(seconds))
        with self._bar("training", bar) as show:
            for update in metrics:
                step = update.step
                first = step - 1 if first is None else first
                for each in backlog.readable(update):
                    for name in each.losses:
                        value = each.numbers[name]
                        old = smooth.get(name, value)
                        smooth[name] = SMOOTHING * old + (1 - SMOOTHING) * value
                passed = time.monotonic() - started
                speed = (step - first) * batch_size / passed
                text = "  ".join(f"{name} {value:.4g}" for name, value in smooth.items())
                text = f"{speed:,.0f} images/s  {text}"
                if seconds is None:
                    show(step, text)
                else:
                    show(min(int(passed), bar), f"update {step:,}  {text}")
                yield update

    @contextmanager
    def counting(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A function to call with how much more is done."""
        done = 0
        with self._bar(title, total) as show:

            def advance(more: int) -> None:
                nonlocal done
                done += more
                show(done, "")

            yield advance

    @contextmanager
    def _bar(self, title: str, total: int) -> Iterator[_Bar]:
        if self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets")):
            named = TextColumn("{task.description}", markup=False)
            parts = (*Progress.get_default_columns()[1:], MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(named, *parts, "{task.fields[text]}", console=self.console) as progress:
                task = progress.add_task(printable(title), total=total, text="")
                yield lambda done, text: progress.update(task, completed=done, text=text)
                progress.refresh()  # a notebook keeps what was shown last
            return
        yield _plain_lines(self.say, title, total) if self.plain else lambda done, text: None


def _plain_lines(say: Callable[[str], None], title: str, total: int) -> _Bar:
    started = last = time.monotonic()
    first: int | None = None
    said: int | None = None

    def show(done: int, text: str) -> None:
        nonlocal last, first, said
        first = done if first is None else first
        now = time.monotonic()
        if (now - last < PLAIN_SECONDS and done < total) or done == said:
            return
        last, said = now, done
        rate = (done - first) / (now - started) if now > started else 0.0
        left = f"{(total - done) / rate:,.0f} s left" if rate and done < total else ""
        say("  ".join(part for part in (f"{title} {done}/{total}", text, left) if part))

    return show
