"""A picture of a comparison: every number with its error bar, best on top."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from cascore.errors import InputError, MissingExtraError
from cascore.evaluation.comparison import Ranked
from cascore.files import replaced_file

__all__ = ["comparison_chart"]

_INK, _SOFT, _RULE, _BAND = "#1f2430", "#5b6475", "#d9dde5", "#e7efe6"
_DOT, _TIED = "#1f5fa8", "#7fa6d6"
_LINE, _MARGIN, _WIDTH, _TITLE_LINE = 0.34, 1.2, 7.4, 0.17  # inches
_TITLE = 84  # letters that fit across


def comparison_chart(ranked: Sequence[Ranked], path: Path, *, title: str, across: str) -> None:
    """Draw numbers with bars of one standard error to a .png, .svg or .pdf.

    A band shows what real images score, where that is the same for all.

    Raises:
        InputError: Another ending, or matplotlib is not installed.
    """
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"a chart is written to .png, .svg or .pdf, not to {path.name}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(what="a chart", package="matplotlib", extra="report") from None
    shown, values = [], []
    for each in ranked:
        if (value := each.entry.record.value) is not None:
            shown.append(each)
            values.append(value)
    lines = textwrap.wrap(title, _TITLE)
    height = _MARGIN + _LINE * len(shown) + _TITLE_LINE * (len(lines) - 1)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    # Over the whole figure and not the axes, whose left edge depends on the labels.
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10.5, color=_INK)
    axes = figure.add_subplot()
    floors = {each.entry.record.floor for each in shown}
    if len(floors) == 1 and (floor := next(iter(floors))) is not None:
        low, high = floor.band
        axes.axvspan(max(0.0, low), high, color=_BAND, linewidth=0, label="real images")
        figure.legend(loc="outside lower right", frameon=False, fontsize=8.5, labelcolor=_SOFT)
    for place, (each, value) in enumerate(zip(shown, values, strict=True)):
        colour = _DOT if each.rank in (1, None) and not each.tied else _TIED
        colour = colour if each.rank in (1, None) else _SOFT
        axes.errorbar(
            [value], [place], xerr=[each.entry.record.error or 0.0],
            fmt="o", color=colour, markersize=6, capsize=3.5, elinewidth=1.6,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), labels=[each.entry.label for each in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.set_xlabel(across, fontsize=9.5, color=_SOFT)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="x", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(path) as temporary, temporary.open("wb") as stream:
        figure.savefig(stream, format=path.suffix[1:], dpi=160, facecolor="white")
