"""A picture of a search: distance against kappa, one line for each order."""

import statistics
from pathlib import Path

from cascore.evaluation.search import Found
from cascore.files import replaced_file

__all__ = ["tuning_chart"]

_COLOURS = {1: "#D55E00", 2: "#0072B2"}
_INK, _RULE, _BAND = "#333333", "#d9d9d9", "#e7efe6"


def tuning_chart(
    found: Found, path: Path, *, title: str, floor: tuple[float, float] | None
) -> None:
    """Draw the curve as a PNG; bars are paired standard errors against the default.

    Args:
        found: the search.
        path: of the file.
        title: in one line.
        floor: low and high of what real images score, shaded; None where it is not known.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=_INK)
    axes = figure.add_subplot()
    if floor is not None:
        axes.axhspan(*floor, color=_BAND, linewidth=0, label="real images, ± 2 spreads")
    for order in sorted({each.order for each in found.curve}):
        line = sorted(each for each in found.curve if each.order == order)
        axes.errorbar(
            [each.kappa for each in line],
            [statistics.fmean(found.curve[each]) for each in line],
            yerr=[found.against_default(each).error for each in line],
            fmt="o-", color=_COLOURS.get(order, _INK), markersize=4.5, linewidth=1.4, capsize=2.5,
            label=f"order {order}",
        )  # fmt: skip
    for candidate, marker, size, label in (
        (found.default, "o", 11, "untuned"),
        (found.choice, "D", 7, "chosen"),
    ):
        axes.plot(
            candidate.kappa, statistics.fmean(found.curve[candidate]), marker, markersize=size,
            markerfacecolor="none", markeredgecolor=_INK, markeredgewidth=1.3, label=label,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.set_xlabel(
        "kappa (bars: standard error of the difference from untuned)", fontsize=9.5, color=_INK
    )
    axes.set_ylabel("Fréchet distance, denoised", fontsize=9.5, color=_INK)
    axes.tick_params(labelsize=9, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    with replaced_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
