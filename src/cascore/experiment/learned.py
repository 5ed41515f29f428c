"""Whether what a model draws is more than noise, in plain words, with the numbers that say so.

Three signs that a model has not learned yet, each against what costs nothing:

- its held-out errors against those of the best linear denoiser of the training set's spectrum,
  which knows second moments and no picture: a network that hardly beats it learned no shapes;
- the share of drawn pixels at an end of their range against that of the training pictures: static
  is half black and white;
- the kernel distance of what it draws to the training pictures, in features of random filters,
  against that of a blank picture, the mean of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascore.plain import from_plain, read_json, write_json

if TYPE_CHECKING:
    from cascore.experiment.looks import Look, Yardstick

LEARNED = "learned.json"

_LEAST, _MOST = 0.1, 2.0  # between them a picture is decided: 0.15, 0.5 and 1.5 of a look
LINEAR = 0.95
"""The mean of held-out over linear errors at 0.15, 0.5 and 1.5 that is not to be reached.

A network around the best linear denoiser begins near 1 (0.99 of cars and horses); at 0.96 it drew
clouds there, at 0.92 shapes.
"""
SATURATED = 0.1
"""How many more drawn than real pixels may be at an end of their range, as a share of all."""
DISTANCE = 0.5
"""The largest kernel distance, as a share of a blank picture's; that of real ones is 0."""

_FEW_UPDATES, _FEW_PICTURES, _LARGE, _COLOURS = 2000, 1000, 32, 3


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What was found of a model at the end of a training by the clock."""

    step: int
    """The checkpoint of which it is said."""
    signs: tuple[str, ...]
    """Of its having learned nothing yet, in words with their numbers; none where all is well."""
    advice: tuple[str, ...] = ()
    """What would help."""

    @property
    def words(self) -> str:
        """In a sentence; empty where there is no sign."""
        if not self.signs:
            return ""
        return (
            f"this model has not learned its pictures yet: {'; '.join(self.signs)}. What would"
            f" help: {'; '.join(self.advice)}"
        )


def judged(
    look: "Look",
    *,
    linear: Sequence[float],
    yardstick: "Yardstick",
    pictures: int,
    shape: Sequence[int],
    minutes: float,
    begun: bool,
) -> Learned:
    """What the last look at a training says.

    Args:
        look: At the weights that are kept.
        linear: Errors of the best linear denoiser at the look's levels.
        yardstick: Of the training images.
        pictures: How many there are to learn from.
        shape: Of one, [C, H, W].
        minutes: Of training.
        begun: Whether it began with another model's weights.
    """
    signs = []
    errors = look.train if look.held_out is None else look.held_out
    ratios = [
        error / least
        for sigma, error, least in zip(look.sigmas, errors, linear, strict=True)
        if _LEAST < sigma < _MOST and least > 0
    ]
    if ratios and (ratio := sum(ratios) / len(ratios)) > LINEAR:
        signs.append(
            f"its error on pictures{'' if look.held_out is None else ' kept apart'} is {ratio:.2f}"
            f" times that of the best linear denoiser, and should be below {LINEAR:g}"
        )
    if look.saturated - yardstick.saturated > SATURATED:
        signs.append(
            f"{look.saturated:.0%} of the pixels that it draws are at the end of their range,"
            f" against {yardstick.saturated:.0%} of real ones (at most {SATURATED:.0%} more)"
        )
    if look.distance > DISTANCE * yardstick.blank:
        signs.append(
            f"its pictures are {look.distance:.2g} away from real ones, a blank picture is"
            f" {yardstick.blank:.2g} away and real ones 0 ± {yardstick.floor:.1g} (kernel distance;"
            f" at most {DISTANCE:g} of a blank one's)"
        )
    return Learned(
        step=look.step,
        signs=tuple(signs),
        advice=_advice(look, pictures, shape, minutes, begun) if signs else (),
    )


def _advice(
    look: "Look", pictures: int, shape: Sequence[int], minutes: float, begun: bool
) -> tuple[str, ...]:
    advice, (channels, size, _) = [], shape
    if look.step < _FEW_UPDATES:
        advice.append(
            f"more time, for it made {look.step:,} of {_FEW_UPDATES:,} updates: --minutes"
            f" {_rounded(minutes * _FEW_UPDATES / max(1, look.step))}, or a faster machine"
        )
    if size > _LARGE:
        advice.append(f"smaller pictures, in another run: --data.size {_LARGE}")
    if channels == _COLOURS and not begun:
        advice.append("a model to begin with, in another run: --from cifar-10")
    if pictures < _FEW_PICTURES:
        advice.append(f"more pictures than {pictures:,}")
    return tuple(advice) or ("more time (--minutes), or a wider network (--network.width)",)


def _rounded(minutes: float) -> str:
    """So many minutes or a little more, as a person would say it."""
    step = 10 if minutes > 30 else 1
    return f"{-(-minutes // step) * step:,.0f}".replace(",", "")


def write_learned(folder: Path, learned: Learned) -> None:
    """Keep it in a run's folder."""
    write_json(folder / LEARNED, learned)


def read_learned(folder: Path) -> Learned | None:
    """What was found of a run's model; None where nothing was."""
    path = folder / LEARNED
    return from_plain(Learned, read_json(path), str(path)) if path.is_file() else None
