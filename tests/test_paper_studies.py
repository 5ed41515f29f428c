"""What the studies compute themselves, against closed forms and other implementations."""

import csv
import itertools
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cascore.data import load_points
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Schedule
from cascore.schedule import geometric_sigmas
from cascore.theory import EmpiricalDenoiser
from paper import conditional, few_calls, figure1, figure2, initialisation, table4
from paper.authors import best_kappa, excess, published_curves
from paper.engine.lab import Lab, Measured
from paper.engine.models import Models
from paper.engine.rows import Rows
from paper.engine.settings import VALIDATION_SEED, Chain, als, cas
from paper.engine.store import Store
from paper.figure2 import CENTRES, MODE_STD, directions, judged, sliced_wasserstein

CPU = torch.device("cpu")
RESULTS = Path(__file__).parents[1] / "docs/results"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    return Lab(Store(folder / "m.jsonl.gz"), Models(folder, folder, CPU, lambda message: None))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# --- Figure 1 ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise(lab: Lab) -> Rows:
    return figure1.measure(lab, figure1.STUDY.scales["tiny"])


@pytest.mark.parametrize("name", ["als-1", "als-2", "als-5", "cas-1", "cas-2"])
def test_noise_is_that_of_both_propositions(noise: Rows, name: str) -> None:
    """The recursion to rounding; 200 sampled numbers within 4.5 standard errors of 1/sqrt(400).

    That is 7 in a million for one normal number, times 232 correlated levels: below 1 in 600.
    """
    expected = [50.0 * (0.01 / 50.0) ** (i / 231) for i in range(232)]
    if name.startswith("als"):
        variance, eta, sigmas, expected = 50.0**2, 2e-6 / 0.01**2, expected, []
        for sigma in sigmas:
            for _ in range(int(name[-1])):
                variance = variance * (1 - eta) ** 2 + 2 * eta * sigma**2
            expected.append(math.sqrt(variance))
    rows = noise.where(name=name)
    assert rows.values("exact") == pytest.approx(expected, rel=1e-9)
    assert rows.values("sampled") == pytest.approx(expected, rel=4.5 / math.sqrt(400))


# --- Figure 2 ------------------------------------------------------------------------------------


def test_sliced_wasserstein_is_the_best_assignment_along_each_direction() -> None:
    source = generator()
    a, b = (torch.randn(5, 2, generator=source, dtype=torch.float64) for _ in range(2))
    along = directions(7)
    best = []
    for direction in along:
        u, v = a @ direction, b @ direction
        costs = [(u - v[list(p)]).square().mean() for p in itertools.permutations(range(5))]
        best.append(min(float(cost) for cost in costs))
    expected = math.sqrt(sum(best) / len(best))
    assert sliced_wasserstein(a, b, along) == pytest.approx(expected, rel=1e-12)


def test_directions_are_uniform_units() -> None:
    """A shift of length 1 has distance sqrt(1/2); the mean of cos^2 over 2,000 errs by 0.008."""
    along = directions(2000)
    assert along.norm(dim=1).numpy() == pytest.approx(1.0, rel=1e-12)
    points = load_points("swiss-roll", "test").points.double()
    moved = points + torch.tensor([1.0, 0.0])
    assert sliced_wasserstein(points, moved, along) ** 2 == pytest.approx(0.5, abs=4 * 0.008)


def test_good_points_are_within_four_deviations() -> None:
    centres = judged(CENTRES, "25-gaussians")
    assert (centres["good"], centres["covered"]) == (1.0, 25)
    near, far = torch.tensor([3.9 * MODE_STD, 0.0]), torch.tensor([0.0, 4.1 * MODE_STD])
    three = judged(torch.stack([CENTRES[0], CENTRES[0] + near, CENTRES[7] + far]), "25-gaussians")
    assert (three["good"], three["covered"]) == (pytest.approx(2 / 3), 1)
    # Of the mixture 1 - exp(-8) = 0.99966: 2,000 points miss 0.7 of them.
    real = judged(load_points("25-gaussians", "train").points[:2000], "25-gaussians")
    assert real["covered"] == 25
    assert real["good"] >= 0.997
    # Beyond 4 deviations lie 6e-5 of the points beside the line, a little more at its ends.
    assert judged(load_points("swiss-roll", "train").points[:2000], "swiss-roll")["good"] >= 0.998
    assert judged(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), "swiss-roll")["good"] == 0.0


def test_points_are_drawn_only_where_they_were_measured_just_now(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure2, "ETAS", (0.1,))
    monkeypatch.setattr(figure2, "DATA", {"25-gaussians": "25 Gaussians"})
    scale = figure2.Scale(steps=2, trainings=1, draws=1, count=8, tried=4)
    pictures = set(figure2.page(figure2.measure(lab, scale), scale).pictures)
    assert pictures == {"distance", "25-gaussians-1", "25-gaussians-10"}
    again = Lab(Store(lab.store.path))
    assert set(figure2.page(figure2.measure(again, scale), scale).pictures) == {"distance"}


# --- how chains start and end --------------------------------------------------------------------

SCHEDULE = Schedule(first=5.0, last=0.01, levels=28)
GAMMA = (0.01 / 5.0) ** (1 / 27)
ONE = torch.full((1, 1, 8, 8), 127 / 255)


def langevin(eta: float) -> tuple[float, float]:
    """The noise before and after the last step of Algorithm 1, literally, in units of sigma_L."""
    variance, before = 25.0, 0.0
    for i in range(28):
        before, sigma = variance, 5.0 * GAMMA**i
        variance = (1 - eta) ** 2 * variance + 2 * eta * sigma**2
    return math.sqrt(before) / 0.01, math.sqrt(variance) / 0.01


@pytest.mark.parametrize(
    ("chain", "call", "result"),
    [
        (als(0.5), *langevin(0.5)),
        # Before the last step sigma_L; that step leaves gamma^kappa of it and adds nothing.
        (cas(1.5), 1.0, GAMMA**1.5),
        (cas(2.0, order=2, levels=12), 1.0, ((0.01 / 5.0) ** (1 / 11)) ** 2),
    ],
)
def test_the_gap_of_a_single_datum_is_its_noise(
    lab: Lab, chain: Chain, call: float, result: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 x 64 numbers of one deviation: its relative error is 1 / sqrt(2 x 12,800) = 0.6 %."""
    image = SimpleNamespace(images=torch.full((1, 1, 8, 8), 127, dtype=torch.uint8))
    monkeypatch.setattr(lab, "images", lambda data, split: image)
    experiment = replace(PRESETS["digits"], schedule=SCHEDULE)
    model = SimpleNamespace(experiment=experiment, denoiser=EmpiricalDenoiser(ONE), shape=(1, 8, 8))
    _, found = initialisation.draw(lab, chain, "data", model, range(200))  # type: ignore[arg-type]
    ideal, gap = found["ideal"], found["gap"]
    assert (ideal["call"], ideal["result"]) == (pytest.approx(call), pytest.approx(result))
    error = 4.5 / math.sqrt(2 * 12_800)
    assert gap["call"] == pytest.approx(call, rel=error)
    assert gap["result"] == pytest.approx(result, rel=error)


def test_starts_from_data_and_from_noise_share_the_noise() -> None:
    train = torch.rand(5, 1, 8, 8, generator=generator())
    noise, data = (
        initialisation.starting_points(start, range(40), sigma=5.0, train=train)
        for start in ("noise", "data")
    )
    nearest = ((data - noise)[:, None] - train).abs().flatten(2).amax(dim=2).min(dim=1)
    assert float(nearest.values.max()) < 1e-4  # float32 at 5 sigma
    assert set(nearest.indices.tolist()) == set(range(5))
    assert float(noise.std()) == pytest.approx(5.0, rel=4.5 / math.sqrt(2 * 2560))


def test_the_authors_start_is_uniform() -> None:
    """Mean 1/2 and variance 1/12 of 64,000 numbers: errors 1.1e-3 and 3e-4."""
    x = initialisation.starting_points("uniform", range(1000), sigma=5.0, train=ONE)
    assert x.shape == (1000, 1, 8, 8)
    assert 0 <= float(x.min()) < 0.001 < 0.999 < float(x.max()) <= 1
    assert float(x.mean()) == pytest.approx(0.5, abs=4.5 * 1.15e-3)
    assert float(x.var()) == pytest.approx(1 / 12, abs=4.5 * 3e-4)


# --- networks that see the noise level -----------------------------------------------------------


def test_losses_of_gaussian_data_are_those_of_theory() -> None:
    """H = x / (1 + sigma^2) on N(0, I) loses D / 2 / (1 + sigma^2); a loss errs by its spread."""
    clean, sigmas = torch.randn(4000, 6, generator=generator()), geometric_sigmas(2.0, 0.1, 4)
    losses = conditional.level_losses(lambda x, s: x / (1 + s[:, None] ** 2), clean, sigmas)
    # D chi-squares: the standard deviation of one loss is sqrt(2 / D) of it.
    error = 4.5 * math.sqrt(2 / 6 / 4000)
    expected = [3 / (1 + sigma**2) for sigma in sigmas.tolist()]
    assert losses == pytest.approx(expected, rel=error)


@pytest.mark.parametrize("levels", [1, 4])
def test_sight_of_the_level_is_worth_something_where_there_are_several(levels: int) -> None:
    pixels = torch.randint(0, 256, (60, 1, 2, 3), generator=generator(), dtype=torch.uint8)
    data = SimpleNamespace(images=lambda data, split: SimpleNamespace(images=pixels), device=CPU)
    last = 0.05 if levels > 1 else 0.5
    schedule = Schedule(first=0.5, last=last, levels=levels)
    preset = replace(PRESETS["digits"], schedule=schedule)
    least, _ = conditional.optima(data, preset, 60)  # type: ignore[arg-type]
    seen, blind = sum(least["conditional"]), sum(least["unconditional"])
    assert blind == pytest.approx(seen, rel=1e-4) if levels == 1 else blind > 1.05 * seen


# --- few calls -----------------------------------------------------------------------------------


def _cells(distances: dict[tuple[str, int], float]) -> few_calls.Found:
    """Two seeds of four blocks, ± 0.01 about each distance, alike in all cells."""
    blocks = [[-0.01, 0.01, 0.0, 0.01], [0.0, -0.01, 0.01, -0.01]]
    rows = Rows(
        {"model": "m", "aware": False, "method": method, "budget": calls, "nfe": calls,
         "label": method, "pictures": 80, "seed": seed, "values": [mean + x for x in values]}
        for (method, calls), mean in distances.items()
        for seed, values in enumerate(blocks)
    )  # fmt: skip
    (network,) = few_calls.found(Measured(rows))
    return network


def test_the_fewest_calls_are_tested_from_the_most_on_and_end_at_the_first_that_is_not_shown() -> (
    None
):
    distances = {("paper", 140): 1.0, ("default", 20): 1.0, ("default", 12): 1.09}
    assert _cells({**distances, ("default", 8): 1.3, ("default", 5): 0.5}).fewest("default") == "12"
    assert _cells({**distances, ("default", 20): 1.2}).fewest("default") == "> 20"


def test_ratios_are_paired_and_bounded_and_the_peer_is_the_lowest() -> None:
    network = _cells(
        {("paper", 140): 1.0, ("default", 8): 2.0, ("unipc", 8): 4.0, ("ddim", 8): 5.0}
    )
    ratio = network.ratios("default")[8]
    low, high = ratio.bounds
    assert ratio.paired
    assert 1.98 < low < 2 < high < 2.02
    assert ratio.verdict == "refuted"
    peer = network.peer(8)
    assert peer is not None
    assert (peer.below.rows[0]["method"], peer.verdict) == ("unipc", "shown")


def test_a_default_that_is_higher_does_not_hold_as_lower() -> None:
    network = _cells({("paper", 140): 1.0, ("default", 8): 2.0, ("default", 12): 0.5})
    rows = Rows(row for cells in network.cells.values() for d in cells.values() for row in d.rows)
    of = few_calls.claims(Measured(Rows([*rows, *network.best.rows])), ())
    assert [claim.comparisons[0].verdict for claim in of] == ["did not hold", "held"]


def test_no_choice_has_seen_the_pictures_that_are_reported() -> None:
    for subject in few_calls.STUDY.scales["laptop"]:
        assert subject.chosen.seeds <= few_calls.FIRST
        assert all(cell.seeds < VALIDATION_SEED for cell in subject.plan.values())


def test_the_claims_name_every_study_that_compares_by_the_errors_of_pictures() -> None:
    page = (RESULTS / "claims.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^- ([^.]*?) have the errors", page, re.M)
    studies = {
        table.parent.name
        for table in RESULTS.glob("*/comparisons.csv")
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())
        if row["compared_by"] == "errors"
    }
    assert set(re.findall(r"`(.*?)`", told)) == studies


def test_the_readme_prints_what_the_page_was_made_from() -> None:
    """Its table, a cell a distance: within half a unit of the last printed digit."""
    root = Path(__file__).parents[1]
    lab = Lab(Store(RESULTS / "measurements.jsonl.gz"))
    measured = few_calls.measure(lab, few_calls.STUDY.scales["laptop"])
    networks = few_calls.found(measured)[:2]
    known = {
        method: [cell.estimate for network in networks for cell in network.cells[method].values()]
        for method in networks[0].cells
    }
    known["paper"] = [network.best.estimate for network in networks]
    words = {
        "the default": "default", "SDE-DPM": "sde-dpm-2m", "κ = 1: DPM": "dpm-2m",
        "UniPC": "unipc", "ancestral": "ancestral", "DDIM": "ddim", "the paper's best": "paper",
    }  # fmt: skip
    printed = {}
    for line in (root / "README.md").read_text(encoding="utf-8").splitlines():
        first, *_ = line.removeprefix("| ").split(" |")
        method = next((name for word, name in words.items() if word in first), None)
        cells = re.findall(r"(\d+\.(\d+)) ± (\d+\.\d+)", line)
        if line.startswith("| ") and method and cells:
            printed[method] = cells
    assert printed.keys() == known.keys()
    for method, cells in printed.items():
        for (mean, digits, error), estimate in zip(cells, known[method], strict=True):
            near = 0.5001 * 10 ** -len(digits)
            assert abs(float(mean) - estimate.mean) <= near, (method, mean)
            assert abs(float(error) - estimate.error) <= near, (method, error)


# --- Table 4 -------------------------------------------------------------------------------------


def _line(labels: list[int]) -> str:
    return " ".join(map(str, torch.tensor(labels).bincount(minlength=1000).tolist()))


def test_blocks_are_counted_together() -> None:
    """Against a count of all labels by hand: Σ q log 1000 q."""
    first, second = [0, 0, 5, 999], [5, 7]
    both = table4.coverage(_line(first), _line(second))
    shares = [n / 6 for n in Counter(first + second).values()]
    assert (both.covered, both.count) == (4, 6)
    assert both.kl == pytest.approx(sum(q * math.log(1000 * q) for q in shares))


def test_the_published_number_is_that_of_the_authors_loop() -> None:
    """Their program, literally: each batch twice into one histogram, over a total of its own."""
    batches = torch.randint(40, (5, 10), generator=torch.Generator().manual_seed(0)).tolist()
    histogram = [0] * 1000
    for batch in batches:
        for _ in range(2):
            for label in batch:
                histogram[label] += 1
    total = 52  # as 26,000 is to 25,000
    printed = sum(n / total * math.log(1000 * n / total) for n in histogram if n)
    honest = table4.coverage(*(_line(batch) for batch in batches))
    assert table4.printed(honest.kl, honest.count) == pytest.approx(printed)


def test_what_the_paper_printed_means() -> None:
    assert table4.honest(1.36) == pytest.approx(0.053, abs=5e-4)
    assert table4.honest(1.49) == pytest.approx(0.121, abs=5e-4)


# --- the authors' curves -------------------------------------------------------------------------


def _scans() -> list[Rows]:
    """The curves of consistent sampling on CIFAR-10, by kappa."""
    curves = published_curves().where(data="cifar10", sampler="CAS").by("curve")
    return list(curves.values())


def test_all_of_the_authors_rows_are_here() -> None:
    rows = published_curves()
    assert len(rows.by("curve")) == 14
    assert len(rows) == 314 - 14  # counted in the files, whose first line is a header
    curve = rows.where(curve="cifar10_ncsnv2__nc_adv_n1_5k")
    assert (min(curve.values("raw")), min(curve.values("denoised"))) == (36.234047, 15.037924)


def test_kappa_of_the_authors_step_sizes() -> None:
    """By hand: gamma = 5000^(-1/231), kappa = ln(1 - epsilon / 1e-4) / ln gamma."""
    for row in published_curves().where(curve="cifar10_ncsnv2__c_adv_n1_5k"):
        by_hand = -231 * math.log(1 - row["epsilon"] / 1e-4) / math.log(5000)
        assert row["kappa"] == pytest.approx(by_hand)


def test_the_authors_minima_are_the_noted_ones() -> None:
    """Denoised at kappa 1.34 to 1.61, raw at 1.19 to 1.43; 1.5 costs at most 1 % and 14 %."""
    assert len(_scans()) == 6
    denoised, raw = ([best_kappa(curve, of) for curve in _scans()] for of in ("denoised", "raw"))
    assert 1.34 <= min(denoised) <= max(denoised) <= 1.61
    assert 1.19 <= min(raw) <= max(raw) <= 1.43
    assert all(excess(curve, "denoised", 1.5) <= 0.01 for curve in _scans())
    assert max(excess(c, "raw", 1.5) for c in _scans()) == pytest.approx(0.14, abs=0.01)


def test_one_of_the_authors_rows_lies_outside_of_the_allowed_interval_and_is_kept() -> None:
    outside = [(row["curve"], row["epsilon"]) for row in published_curves().where(allowed=False)]
    assert outside == [("cifar10_unet__c_adv_n5_2k", 7e-7)]


# --- photographs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", [1.0, 1.5, 2.5])
def test_noise_of_a_blind_network_is_proposition_4_in_its_own_words(knob: float) -> None:
    """docs/blindness.md: kappa of consistent annealing, a tenth of it as eta of Langevin."""
    schedule = PRESETS["cifar-10-small"].schedule
    gamma = (0.01 / 50.0) ** (1 / 231)
    of_cas = of_als = 1.01 * 50.0
    for i in range(231):
        sigma, eta = 50.0 * gamma**i, knob / 10
        kept, fresh = gamma**knob, gamma**2 - gamma ** (2 * knob)
        of_cas = math.sqrt((of_cas - sigma + sigma * kept) ** 2 + sigma**2 * fresh)
        of_als = math.sqrt((of_als - eta * sigma) ** 2 + 2 * eta * sigma**2)
    last_calls = (
        float(chain.blind_noise(schedule, excess=0.01).before[-1])
        for chain in (cas(knob), als(knob / 10))
    )
    assert tuple(last_calls) == pytest.approx((of_cas, of_als), rel=1e-9)
