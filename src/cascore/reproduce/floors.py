"""What real images score: a unit for each extractor, and the band that charts and tables show."""

from collections.abc import Callable, Mapping
from typing import Any

from cascore.reproduce.judging import Judge
from cascore.reproduce.spread import Spread
from cascore.reproduce.units import Records, Unit

__all__ = ["band_of", "bands_of", "floor_units", "like_real"]


def floor_units(judge: Judge, *, count: int) -> list[Unit]:
    """The floor of a judge's distances at a count of pictures, for each of its extractors."""

    def measure(extractor: str) -> Callable[[Records], Mapping[str, Any]]:
        return lambda done: judge.floor(extractor, count=count)

    return [
        Unit(_name(each), {"data": judge.data, "count": count, "extractor": each}, measure(each))
        for each in judge.extractors
    ]


def bands_of(extractors: tuple[str, ...], records: Records) -> dict[str, Spread]:
    """What real images score, by extractor, from the records of `floor_units`."""
    return {each: band_of(records[_name(each)]["result"]) for each in extractors}


def band_of(floor: Mapping[str, Any]) -> Spread:
    """Mean and deviation of one random split of real images, from what `Judge.floor` recorded."""
    return Spread(floor["mean"], floor["spread"], floor["repeats"])


def like_real(mean: float, floor: Spread) -> bool:
    """Whether a mean lies where sets of real images score: within two deviations of one."""
    return abs(mean - floor.mean) <= 2 * floor.deviation


def _name(extractor: str) -> str:
    return f"floor.{extractor}"
