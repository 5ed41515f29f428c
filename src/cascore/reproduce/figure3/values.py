"""What the records of Figure 3 say of our own models: distances, best steps and claims."""

from collections.abc import Mapping, Sequence

from cascore.reproduce.claims import Claim, consistent_is_better, denoising_lowers
from cascore.reproduce.comparisons import estimated
from cascore.reproduce.figure3.work import SCALES, Point, Subject, points
from cascore.reproduce.floors import band_of
from cascore.reproduce.spread import Estimate, Spread, mean_of
from cascore.reproduce.tuning import Method
from cascore.reproduce.units import Records

__all__ = [
    "METHODS",
    "OUTCOMES",
    "Measured",
    "best_of",
    "claims",
    "floors_of",
    "measured_of",
    "scan_of",
]

OUTCOMES = ("raw", "denoised")
METHODS: tuple[Method, ...] = ("als", "cas")

Measured = Mapping[tuple[Point, str, str], Estimate]
"""By step size, extractor and outcome: the mean over seeds and the standard error of that mean."""


def measured_of(scale_name: str, records: Records) -> Measured:
    """Every step size of every network with its distances."""
    return {
        (point, extractor, outcome): mean_of(
            [
                records[point.unit(seed)]["result"][outcome][extractor]
                for seed in range(subject.seeds)
            ]
        )
        for subject in SCALES[scale_name]
        for point in points(subject)
        for extractor in subject.extractors
        for outcome in OUTCOMES
    }


def floors_of(subject: Subject, records: Records) -> dict[str, Spread]:
    """What real images score, by extractor."""
    return {each: band_of(records[subject.floor(each)]["result"]) for each in subject.extractors}


def scan_of(subject: Subject, method: Method, n_sigma: int) -> list[Point]:
    """The step sizes of one sampler on one network, from the smallest on."""
    found = [
        point
        for point in points(subject)
        if (point.sampler.method, point.sampler.n_sigma) == (method, n_sigma)
    ]
    return sorted(found, key=lambda each: each.knob)


def best_of(
    scan: Sequence[Point], measured: Measured, *, extractor: str, outcome: str
) -> tuple[Point, Estimate]:
    """The step size with the lowest distance, and that distance."""
    best = min(scan, key=lambda each: measured[each, extractor, outcome].mean)
    return best, measured[best, extractor, outcome]


def claims(scale_name: str, records: Records) -> list[Claim]:
    """The paper's claims of both samplers, each side at its best step size."""
    subjects, measured = SCALES[scale_name], measured_of(scale_name, records)

    def best(
        subject: Subject, method: Method, n_sigma: int, extractor: str, outcome: str
    ) -> Estimate:
        scan = scan_of(subject, method, n_sigma)
        return best_of(scan, measured, extractor=extractor, outcome=outcome)[1]

    found = []
    for extractor in dict.fromkeys(name for each in subjects for name in each.extractors):
        seen = [(each, n) for each in subjects if extractor in each.extractors for n in each.both]
        found += [
            Claim(
                denoising_lowers(method),
                f"`{extractor}`",
                [
                    estimated(f"{each.preset}, n_σ = {n}",
                              *(best(each, method, n, extractor, outcome)
                                for outcome in ("denoised", "raw")))
                    for each, n in seen
                ],
            )
            for method in METHODS
        ]  # fmt: skip
        found += [
            Claim(
                consistent_is_better(n, outcome),
                f"`{extractor}`",
                [
                    estimated(each.preset, *(best(each, method, n, extractor, outcome)
                                             for method in ("cas", "als")))
                    for each, its in seen if its == n
                ],
            )
            for n in sorted({n for _, n in seen})
            for outcome in OUTCOMES
        ]  # fmt: skip
    return found
