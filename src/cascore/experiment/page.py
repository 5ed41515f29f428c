"""The page of a training by the clock: its pictures and errors, in one file that reloads itself."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from cascore.experiment.looks import FILM, SAMPLES, Look
from cascore.files import write_text

PAGE = "watch.html"

_RELOAD = 10  # seconds
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 620, 12, 300  # the frame of the chart in its own units
_COLOURS = ("#7b61ff", "#2a7de1", "#00a08a", "#7fa000", "#e08a00", "#d1495b")
_TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{reload}<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 680px; margin: 2em auto; padding: 0 1em; }}
img {{ width: 100%; image-rendering: pixelated; }}
svg {{ width: 100%; }}
text {{ font: 11px system-ui, sans-serif; fill: currentColor; }}
.rows td {{ padding-right: 1em; }}
</style>
<h1>{title}</h1>
<p>{status}</p>
{message}{film}<h2>What it draws</h2>
<p>{caption}</p>
<img src="{sheet}" alt="Pictures drawn after {step:,} updates">
<h2>Its errors</h2>
<p>Root mean square error of a denoised pixel at each noise level, over the minutes of training:
on pictures kept apart (lines), on those that it learns (dashes), and of the best linear denoiser
(dots at the right). Where lines rise while dashes fall, it learns its pictures by heart.</p>
{chart}
</html>
"""


def write_page(
    folder: Path,
    looks: Sequence[Look],
    *,
    minutes: float,
    rows: Sequence[str],
    linear: Sequence[float] | None,
    message: str = "",
    done: bool = False,
) -> None:
    """Write the page of a run, of at least one look.

    Args:
        folder: The run.
        looks: At it, by step.
        minutes: That it is to train in all.
        rows: The classes of the sheet's rows; none where it has no classes.
        linear: Errors of the best linear denoiser at the looks' levels.
        message: What a person should know, in words.
        done: Whether it has ended, so that the page need not reload.
    """
    last = looks[-1]
    page = _TEMPLATE.format(
        reload="" if done else f'<meta http-equiv="refresh" content="{_RELOAD}">\n',
        title=escape(folder.name),
        status=f"{last.minutes:.1f} of {minutes:g} minutes, {last.step:,} updates"
        + (": done." if done else "; this page reloads itself."),
        message=f"<p><strong>{escape(message)}</strong></p>\n" if message else "",
        film=f'<h2>How it learned</h2>\n<img src="{SAMPLES}/{FILM}" alt="All sheets in turn">\n'
        if done
        else "",
        caption=escape(f"A row each: {', '.join(rows)}." if rows else "The same seeds every time."),
        sheet=escape(f"{SAMPLES}/{last.sheet}"),
        step=last.step,
        chart=_chart(looks, linear),
    )
    write_text(folder / PAGE, page)


def _chart(looks: Sequence[Look], linear: Sequence[float] | None) -> str:
    """Errors over minutes, a colour for each level; logarithmic upward."""
    errors = [e for look in looks for e in (*look.train, *(look.held_out or ())) if e > 0]
    low, high = min(errors) / 1.2, 1.2 * max(errors)
    end = max(looks[-1].minutes, 1e-9)

    def x(minutes: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * minutes / end

    def y(error: float) -> float:
        height = math.log(max(error, low) / low) / math.log(high / low)
        return _BOTTOM - (_BOTTOM - _TOP) * height

    def line(points: Sequence[tuple[float, float]], style: str) -> str:
        path = " ".join(f"{x(minutes):.1f},{y(error):.1f}" for minutes, error in points)
        return f'<polyline points="{path}" fill="none" stroke-width="1.5" {style}/>'

    parts = []
    for level, (sigma, colour) in enumerate(zip(looks[-1].sigmas, _COLOURS, strict=False)):
        train = [(look.minutes, look.train[level]) for look in looks]
        apart = [(look.minutes, look.held_out[level]) for look in looks if look.held_out]
        parts.append(line(train, f'stroke="{colour}" stroke-dasharray="3 3"'))
        parts.append(line(apart, f'stroke="{colour}"'))
        at = (apart or train)[-1][1]
        parts.append(f'<text x="{_RIGHT + 5}" y="{y(at) + 4:.1f}">σ {sigma:g}</text>')
        if linear is not None:
            parts.append(
                f'<circle cx="{_RIGHT}" cy="{y(linear[level]):.1f}" r="3" fill="{colour}"/>'
            )
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    parts += [
        f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
        if low <= tick <= high
    ]
    parts += [
        f'<text x="{x(end * part):.1f}" y="{_BOTTOM + 18}" text-anchor="middle">'
        f"{end * part:.3g} min</text>"
        for part in (0, 0.5, 1)
    ]
    return f'<svg viewBox="0 0 670 325" role="img">{"".join(parts)}</svg>'
