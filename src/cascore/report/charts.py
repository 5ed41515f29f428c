"""The charts of the report: matplotlib draws them, the page that holds them decides the colours.

A chart is an SVG element to put into HTML. It names no address, its ids carry the chart's own
name, so that two charts may share a page, and its colours are the page's CSS variables (`--ink`,
`--rule`, `--series-1` to `--series-6`, ...), so that it follows a light or a dark theme.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from cascore.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["SERIES", "Band", "Mark", "loss_chart", "quality_chart"]

SERIES = 6
"""How many colours of samplers there are; a seventh sampler takes the first one again."""

# matplotlib wants colours, not variables: these stand in for them until the SVG is rewritten.
_STAND_INS = {
    "#0a0001": "--ink-soft",
    "#0a0002": "--rule",
    "#0a0003": "--band",
    "#0a0004": "--page",
    **{f"#0b000{number}": f"--series-{number}" for number in range(1, SERIES + 1)},
}
_COLOUR = {variable: colour for colour, variable in _STAND_INS.items()}
_CURVE_POINTS = 400  # more cannot be told apart at the width of a page


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One sampler in the chart of quality against cost.

    Attributes:
        key: One or two letters, as in the table beside the chart.
        series: Number of its colour, 1 to SERIES.
        nfe: Network calls, at least 1.
        raw: Fréchet distance of the last states of the chains.
        denoised: Fréchet distance of the denoised last states.
    """

    key: str
    series: int
    nfe: int
    raw: float
    denoised: float


@dataclass(frozen=True)
class Band:
    """Distances from low to high that real images themselves score."""

    low: float
    high: float


def quality_chart(marks: Sequence[Mark], bands: Sequence[Band]) -> str:
    """Fréchet distance (logarithmic) against network calls: hollow dots raw, filled denoised.

    The two of a sampler are joined. Distances that are not finite and positive are left out.
    """
    figure, axes = _new_figure(
        height=3.1, across="network calls per image", upwards="Fréchet distance"
    )
    for band in bands:
        axes.axhspan(max(band.low, band.high / 10), band.high, color=_COLOUR["--band"], linewidth=0)
    for mark, x in zip(marks, _side_by_side([mark.nfe for mark in marks]), strict=True):
        _draw_mark(axes, mark, x)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _label_calls(axes, sorted({mark.nfe for mark in marks}))
    _plain_log_ticks(axes.yaxis)
    axes.margins(y=0.14)
    return _to_svg(figure, name="quality", title="Fréchet distance against network calls")


def loss_chart(steps: Sequence[int], values: Sequence[float]) -> str:
    """A training loss (logarithmic) against steps: means of short stretches, and a smoother one.

    Raises:
        InputError: No values, or not one step for each.
    """
    if not values or len(steps) != len(values):
        raise InputError(
            f"a loss curve takes one step for each value, got {len(steps)} steps and"
            f" {len(values)} values"
        )
    figure, axes = _new_figure(height=2.6, across="training step", upwards="loss")
    x, y = _means(steps, _CURVE_POINTS), _means(values, _CURVE_POINTS)
    colour = _COLOUR["--series-1"]
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
    axes.plot(x, _smoothed(y, reach=len(y) // 20), color=colour, linewidth=1.8)
    axes.set_yscale("log")
    _plain_log_ticks(axes.yaxis)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.02)
    return _to_svg(figure, name="loss", title="Training loss against steps")


def _new_figure(*, height: float, across: str, upwards: str) -> tuple[Figure, Axes]:
    """A figure of the page's column width, its axes without a frame."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_COLOUR["--rule"])
    axes.tick_params(which="both", length=0, pad=6, labelsize=9, labelcolor=_COLOUR["--ink-soft"])
    # What is measured upwards stands above the axis: turned text is hard to read on a phone.
    axes.set_title(upwards, loc="left", x=0, pad=12, fontsize=9.5, color=_COLOUR["--ink-soft"])
    axes.set_xlabel(across, fontsize=9.5, labelpad=8, color=_COLOUR["--ink-soft"])
    axes.grid(axis="y", color=_COLOUR["--rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _draw_mark(axes: Axes, mark: Mark, x: float) -> None:
    heights = [y for y in (mark.raw, mark.denoised) if math.isfinite(y) and y > 0]
    if not heights:
        return
    colour = _COLOUR[f"--series-{mark.series}"]
    axes.plot([x] * len(heights), heights, color=colour, linewidth=1.6, zorder=2)
    for y, fill in ((mark.raw, _COLOUR["--page"]), (mark.denoised, colour)):
        if y in heights:
            axes.plot(
                [x], [y], marker="o", markersize=7.5, color=colour, zorder=3,
                markerfacecolor=fill, markeredgewidth=1.8, linestyle="none",
            )  # fmt: skip
    axes.annotate(
        mark.key, (x, max(heights)), xytext=(0, 8), textcoords="offset points", ha="center",
        color=colour, fontsize=10, fontweight="bold",
    )  # fmt: skip


def _side_by_side(calls: Sequence[int]) -> list[float]:
    """Positions on a logarithmic axis at which samplers of equally many calls stand apart."""
    step = max(1.03, (max(calls) / min(calls)) ** 0.035)
    return [
        number * step ** (calls[:index].count(number) - (calls.count(number) - 1) / 2)
        for index, number in enumerate(calls)
    ]


def _label_calls(axes: Axes, calls: Sequence[int]) -> None:
    """Name the numbers of calls that were used, where there is room for them."""
    room = max(1.1, (calls[-1] / calls[0]) ** 0.06)
    shown = [calls[0]]
    for number in calls[1:]:
        if number / shown[-1] >= room:
            shown.append(number)
    axes.set_xticks(shown, labels=[f"{number:,}" for number in shown])
    axes.set_xticks([], minor=True)
    width = max(1.4, calls[-1] / calls[0])
    axes.set_xlim(calls[0] / width**0.1, calls[-1] * width**0.1)


def _plain_log_ticks(axis: Axis) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def _means(values: Sequence[float], count: int) -> list[float]:
    """Means of at most `count` stretches of equal length."""
    length = -(-len(values) // count)
    stretches = [values[start : start + length] for start in range(0, len(values), length)]
    return [sum(stretch) / len(stretch) for stretch in stretches]


def _smoothed(values: Sequence[float], *, reach: int) -> list[float]:
    """The mean of each value and up to `reach` on either side.

    Near the start, where a loss falls, the window shrinks on both sides, so that the curve begins
    where the values do; near the end, where it is flat, only on the right.
    """
    result = []
    for index in range(len(values)):
        span = min(reach, index)
        window = values[index - span : index + span + 1]
        result.append(sum(window) / len(window))
    return result


def _to_svg(figure: Figure, *, name: str, title: str) -> str:
    import matplotlib as mpl

    stream = io.BytesIO()
    # Text stays text, and the same chart has the same ids: matplotlib has no other way to say so.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _rewritten(_local(key), value, name)
            for key, value in element.attrib.items()
        }
    for parent in list(root.iter()):
        # The description names addresses; a style sheet would reach out to the whole page.
        for child in [child for child in parent if child.tag in {"metadata", "style"}]:
            parent.remove(child)
    view = root.attrib["viewBox"]
    root.attrib = {"viewBox": view, "role": "img", "aria-label": title, "class": "chart"}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _local(name: Any) -> str:
    """A name without its namespace, which HTML does not write."""
    return str(name).rpartition("}")[2]


def _rewritten(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    value = value.replace("url(#", f"url(#{name}-")
    for colour, variable in _STAND_INS.items():
        value = value.replace(colour, f"var({variable})")
    # The page's own font, at the size and weight that were asked for.
    return re.sub(r"font: (?:(bold|700) )?([\d.]+px) [^;]*", _font, value)


def _font(found: re.Match[str]) -> str:
    weight = "; font-weight: 600" if found[1] else ""
    return f"font-size: {found[2]}{weight}"
