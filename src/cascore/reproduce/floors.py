"""What real images score: a unit for each extractor, and the band that charts and tables show."""

from collections.abc import Callable, Mapping
from typing import Any

from cascore.reproduce.judging import Judge
from cascore.reproduce.pages import Spread
from cascore.reproduce.units import Records, Unit

__all__ = ["bands_of", "floor_units"]


def floor_units(judge: Judge, *, count: int) -> list[Unit]:
    """The floor of a judge's distances at a count of pictures, for each of its extractors."""

    def measure(extractor: str) -> Callable[[Records], Mapping[str, Any]]:
        return lambda done: judge.floor(extractor, count=count)

    return [
        Unit(_name(each), {"data": judge.data, "count": count, "extractor": each}, measure(each))
        for each in judge.extractors
    ]


def bands_of(extractors: tuple[str, ...], records: Records) -> dict[str, Spread]:
    """Mean and deviation of one random split of real images, by extractor."""
    found = {each: records[_name(each)]["result"] for each in extractors}
    return {
        each: Spread(floor["mean"], floor["spread"], floor["repeats"])
        for each, floor in found.items()
    }


def _name(extractor: str) -> str:
    return f"floor.{extractor}"
