"""What the page of `cascore quickstart` says, as records that anyone can fill."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cascore.errors import InputError

__all__ = [
    "Distance",
    "Exhibit",
    "Film",
    "Gallery",
    "LossCurve",
    "NeighbourRow",
    "Report",
    "SamplerRow",
]


@dataclass(frozen=True, kw_only=True)
class Distance:
    """A Fréchet distance and its floor, what real images score at the same counts.

    Attributes:
        value: The distance.
        floor_mean: Mean of the floor.
        floor_spread: Standard deviation of a single floor measurement.
        at_floor: Whether the distance cannot be told from that of real images.
        extrapolated: Whether the floor was extrapolated from smaller sets.
    """

    value: float
    floor_mean: float
    floor_spread: float
    at_floor: bool
    extrapolated: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplerRow:
    """What one sampler made, and how far that is from real images.

    Attributes:
        name: Such as "CAS, order 2, kappa 2".
        settings: The rest of what decides the samples, in a few words.
        nfe: Network calls per image.
        images_raw: uint8 [n, C, H, W], last states of the chains.
        images_denoised: uint8 [n, C, H, W], the same chains denoised.
        to_train_raw: Raw samples against the training images.
        to_train_denoised: Denoised samples against the training images.
        to_held_out_raw: Raw samples against images held out from training.
        to_held_out_denoised: Denoised samples against images held out from training.
        seconds: Time that sampling took.
        count: Images that were sampled and compared.
    """

    name: str
    settings: str
    nfe: int
    images_raw: Tensor
    images_denoised: Tensor
    to_train_raw: Distance
    to_train_denoised: Distance
    to_held_out_raw: Distance
    to_held_out_denoised: Distance
    seconds: float
    count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighbourRow:
    """A sample and the training images nearest to it.

    Attributes:
        sample: uint8 [C, H, W].
        neighbours: uint8 [k, C, H, W], nearest first.
        distances: k Euclidean distances, pixels in [0, 1].
    """

    sample: Tensor
    neighbours: Tensor
    distances: Sequence[float]

    def __post_init__(self) -> None:
        _require_equal(neighbours=len(self.neighbours), distances=len(self.distances))


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """Frames of one chain.

    Attributes:
        sigmas: T noise levels, decreasing.
        x: uint8 [T, C, H, W], the state at each level.
        denoised: uint8 [T, C, H, W], H(x, sigma), what the network sees in it.
    """

    sigmas: Sequence[float]
    x: Tensor
    denoised: Tensor

    def __post_init__(self) -> None:
        _require_equal(sigmas=len(self.sigmas), x=len(self.x), denoised=len(self.denoised))


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """The denoising score matching loss (Eq. 1) during training.

    Attributes:
        steps: Training steps.
        values: The loss at each of them.
        note: What a reader should know, such as the noise levels it averages over.
    """

    steps: Sequence[int]
    values: Sequence[float]
    note: str

    def __post_init__(self) -> None:
        _require_equal(steps=len(self.steps), values=len(self.values))


@dataclass(frozen=True, kw_only=True, eq=False)
class Exhibit:
    """A sheet of one model.

    Attributes:
        name: Of the model.
        note: How it was trained and sampled, in a few words.
        images: uint8 [n, C, H, W].
    """

    name: str
    note: str
    images: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Gallery:
    """Sheets of several models, and what they show, in a few sentences."""

    text: str
    exhibits: Sequence[Exhibit]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Everything that the page says.

    Attributes:
        title: What this is, in a few words.
        headline: The result, in one sentence.
        facts: (label, value): data set, network, training, machine, versions, seeds.
        real: uint8 [n, C, H, W], real images to compare with.
        rows: At least one sampler, in the order of the page.
        neighbours: Samples and their nearest training images; may be empty.
        memorisation_ratio: See `cascore.metrics.memorisation_ratio`.
        film: One chain.
        losses: The training loss.
        extractor: What made the features of the Fréchet distances.
        next_steps: (command, what it does).
        gallery: Models that come with cascore; None if there are none.
    """

    title: str
    headline: str
    facts: Sequence[tuple[str, str]]
    real: Tensor
    rows: Sequence[SamplerRow]
    neighbours: Sequence[NeighbourRow]
    memorisation_ratio: float
    film: Film
    losses: LossCurve
    extractor: str
    next_steps: Sequence[tuple[str, str]]
    gallery: Gallery | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a report without samplers has nothing to show; give at least one row")


def _require_equal(**lengths: int) -> None:
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise InputError(f"got {got}; expected as many of each")
