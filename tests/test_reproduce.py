"""`cascore reproduce`: measures once, goes on, draws from records alone, and says what they say."""

import csv
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from running import run, silent

from cascore.arguments import Reproduce
from cascore.commands.reproducing import EVERYTHING
from cascore.datasets import load_points
from cascore.errors import InputError
from cascore.reproduce.claims import comparisons_table
from cascore.reproduce.figure2.page import _edges
from cascore.reproduce.figure2.pictures import LEVELS, SCORES
from cascore.reproduce.figure2.plane import (
    CENTRES,
    MODE_STD,
    directions,
    gaussian_modes,
    share_near_roll,
    sliced_wasserstein,
)
from cascore.reproduce.figure2.values import MEASURES, claims_of, costs_of
from cascore.reproduce.figure2.work import DATA
from cascore.reproduce.figure2.work import SCALES as FIGURE_2
from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.floors import like_real
from cascore.reproduce.spread import Estimate, Spread, spread_of, spread_over
from cascore.reproduce.studies import SCALES, STUDIES, gather, gather_claims, reproduce
from cascore.reproduce.units import Unit, run_units
from cascore.reproduce.workshop import Workshop

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CPU = torch.device("cpu")


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# --- figure 1 ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figure1(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert run("reproduce", "figure1", "--scale", "tiny", "--out", out) == 0
    return out


def result(folder, unit):
    return json.loads((folder / f"{unit}.json").read_text())["result"]


@pytest.mark.parametrize("n_sigma", [1, 2, 5])
def test_recursion_and_sampled_noise_of_langevin_are_those_of_proposition_1(figure1, n_sigma):
    """The recursion to rounding; 200 sampled numbers within 4.5 standard errors of 1/sqrt(400).

    That is 7 in a million for one normal number, times 232 correlated levels: below 1 in 600.
    """
    variance, eta, expected = 50.0**2, 2e-6 / 0.01**2, []
    for i in range(232):
        sigma = 50.0 * (0.01 / 50.0) ** (i / 231)
        for _ in range(n_sigma):
            variance = variance * (1 - eta) ** 2 + 2 * eta * sigma**2
        expected.append(math.sqrt(variance))
    records = figure1 / "figure1" / "records-tiny"
    assert result(records, f"als-{n_sigma}.recursion")["std"] == pytest.approx(expected, rel=1e-9)
    sampled = result(records, f"als-{n_sigma}.chains")
    assert sampled["numbers"] == 200
    assert sampled["std"] == pytest.approx(expected, rel=4.5 / math.sqrt(400))


@pytest.mark.parametrize("name", ["cas-1", "cas-2"])
def test_noise_of_consistent_sampling_is_the_schedule(figure1, name):
    """Proposition 2: by recursion to rounding, sampled within 4.5 standard errors."""
    sigmas = [50.0 * (0.01 / 50.0) ** (i / 231) for i in range(232)]
    records = figure1 / "figure1" / "records-tiny"
    assert result(records, f"{name}.recursion")["std"] == pytest.approx(sigmas, rel=1e-9)
    sampled = result(records, f"{name}.chains")["std"]
    assert sampled == pytest.approx(sigmas, rel=4.5 / math.sqrt(400))


def test_the_page_has_pictures_numbers_and_provenance(figure1):
    page = (figure1 / "figure1.md").read_text()
    folder = figure1 / "figure1"
    for name in ("noise.png", "noise.svg", "noise.csv", "ratio.png", "ratio.svg"):
        assert f"figure1/{name}" in page
        assert (folder / name).stat().st_size > 1000
    assert (folder / "noise.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "noise.svg").read_text()
    assert "19.53 (i = 33)" in page
    assert "cascore reproduce figure1 --scale tiny" in page
    for word in ("cores", "thread", "torch", "standard error"):
        assert word in page
    assert "Did not hold" not in page


def test_the_same_command_goes_on_where_a_record_is_missing(figure1, tmp_path):
    """Only the missing unit is measured, with the same result, and all bytes are the same."""
    shutil.copytree(figure1, tmp_path / "results")
    out, records = tmp_path / "results", tmp_path / "results" / "figure1" / "records-tiny"
    before, lost = contents(out), records / "als-5.chains.json"
    kept = {path: path.stat().st_mtime_ns for path in records.iterdir()}
    lost.unlink()
    (out / "figure1.md").unlink()
    told = []
    workshop = Workshop(runs=tmp_path, device=CPU, notify=told.append)
    reproduce("figure1", scale="tiny", out=out, workshop=workshop)
    assert told == ["[6/10] als-5.chains"]
    old, new = (json.loads(each)["result"] for each in (before.pop(lost.relative_to(out)),
                                                       lost.read_bytes()))  # fmt: skip
    assert new == old
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path != lost)
    after = contents(out)
    # The page states the seconds, which a second measurement need not repeat.
    for path, content in before.items():
        if path.name != "figure1.md":
            assert after[path] == content, path


def test_help_offers_what_there_is():
    hints = get_type_hints(Reproduce, include_extras=True)
    assert get_args(get_args(hints["name"])[0]) == (*STUDIES, EVERYTHING)
    assert get_args(hints["scale"]) == SCALES


# --- units ---------------------------------------------------------------------------------------


def units(calls, stop_at=None):
    def measure(name):
        def work(done):
            if name == stop_at:
                raise KeyboardInterrupt
            calls.append(name)
            return {"before": sorted(done)}

        return work

    return [Unit(name, {"name": name, "pair": (1, 2)}, measure(name)) for name in "abc"]


def test_an_interrupted_command_goes_on(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        run_units(units(calls, stop_at="c"), tmp_path)
    assert calls == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]
    records = run_units(units(calls), tmp_path)
    assert calls == ["a", "b", "c"]
    assert records["c"]["result"] == {"before": ["a", "b"]}
    assert run_units(units(calls), tmp_path) == records
    assert calls == ["a", "b", "c"]


def test_a_record_of_other_settings_or_of_nothing_is_refused(tmp_path):
    run_units(units([]), tmp_path)
    other = [Unit("a", {"name": "a", "pair": (1, 3)}, lambda done: {})]
    with pytest.raises(InputError, match=r"other settings \(pair\).*another --out"):
        run_units(other, tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="is not a record"):
        run_units(units([]), tmp_path)


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="known are figure1"):
        reproduce("figure9", scale="tiny", out=tmp_path, workshop=silent(tmp_path))


def test_a_spread_is_of_single_values_and_an_estimate_of_their_mean():
    a = spread_of([1.0, 2.0, 3.0])
    assert a == spread_over([[1.0], [2.0, 3.0]]) == Spread(2.0, 1.0, 3)
    assert a.plus_minus == 1.0
    assert a.text(1) == "2.0 ± 1.0"
    assert spread_of([100.0]).text(1) == "100.0"  # nothing is known of its spread
    assert Estimate(2.0, 0.25).text(2) == "2.00 ± 0.25"
    assert Estimate(2.0, 0.25).plus_minus == 0.25


def test_estimates_tie_within_the_interval_of_their_difference():
    """1.96 sqrt(2) = 2.77."""
    assert Estimate(2.0, 1.0).ties(Estimate(4.77, 1.0))
    assert not Estimate(2.0, 1.0).ties(Estimate(4.78, 1.0))


def test_a_mean_is_like_real_images_where_sets_of_them_score():
    floor = Spread(1.0, 0.3, 20)
    assert like_real(1.59, floor)
    assert like_real(0.41, floor)
    assert not like_real(1.61, floor)
    assert not like_real(0.39, floor)


# --- distances in the plane ----------------------------------------------------------------------


def test_sliced_wasserstein_is_the_best_assignment_along_each_direction():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    along = directions(7)
    best = []
    for direction in along:
        u, v = a @ direction, b @ direction
        costs = [(u - v[list(p)]).square().mean() for p in itertools.permutations(range(5))]
        best.append(min(float(cost) for cost in costs))
    expected = math.sqrt(sum(best) / len(best))
    assert sliced_wasserstein(a, b, along) == pytest.approx(expected, rel=1e-12)


def test_directions_are_uniform_units():
    """A shift of length 1 has distance sqrt(1/2); the mean of cos² over 2,000 errs by 0.008."""
    along = directions(2000)
    assert along.norm(dim=1).numpy() == pytest.approx(1.0, rel=1e-12)
    points = load_points("swiss-roll", "test").points.double()
    moved = points + torch.tensor([1.0, 0.0])
    found = sliced_wasserstein(points, moved, along) ** 2
    assert found == pytest.approx(0.5, abs=4 * 0.008)


def test_different_counts_are_refused():
    with pytest.raises(InputError, match="as many points: 3 and 2"):
        sliced_wasserstein(torch.zeros(3, 2), torch.zeros(2, 2), directions(2))


def test_modes_and_quality_of_points():
    good, covered = gaussian_modes(CENTRES)
    assert (good, covered) == (1.0, 25)
    two = torch.stack([CENTRES[0], CENTRES[0] + torch.tensor([3.9 * MODE_STD, 0.0]),
                       CENTRES[7] + torch.tensor([0.0, 4.1 * MODE_STD])])  # fmt: skip
    assert gaussian_modes(two) == (pytest.approx(2 / 3), 1)
    # Of the mixture 1 - exp(-8) = 0.99966: 10,000 points miss 3.4 of them, give or take 1.8.
    good, covered = gaussian_modes(load_points("25-gaussians", "train").points)
    assert covered == 25
    assert 0.9985 <= good < 1


def test_real_points_are_near_the_roll_and_others_are_not():
    """Beyond 4 deviations lie 6e-5 of the points beside the line, a little more at its ends."""
    assert share_near_roll(load_points("swiss-roll", "train").points) >= 0.999
    assert share_near_roll(torch.tensor([[0.0, 0.0], [3.0, 0.0]])) == 0.0


# --- the authors' curves -------------------------------------------------------------------------

CIFAR_SCANS = [c for c in load_curves().values() if c.kappa is not None and c.data == "cifar10"]


def test_all_of_the_authors_rows_are_here():
    curves = load_curves()
    assert len(curves) == 14
    # Rows counted in the files, whose first line is a header.
    assert sum(len(curve.epsilon) for curve in curves.values()) == 314 - 14
    curve = curves["cifar10_ncsnv2__nc_adv_n1_5k"]
    assert (min(curve.raw), min(curve.denoised)) == (36.234047, 15.037924)
    assert curve.kappa is None


def test_kappa_of_the_authors_step_sizes():
    """By hand: gamma = 5000^(-1/231), kappa = ln(1 - epsilon / 1e-4) / ln gamma."""
    curve = load_curves()["cifar10_ncsnv2__c_adv_n1_5k"]
    for epsilon, kappa in zip(curve.epsilon, curve.kappa, strict=True):
        assert kappa == pytest.approx(-231 * math.log(1 - epsilon / 1e-4) / math.log(5000))


def test_denoised_minima_lie_about_one_and_a_half():
    assert len(CIFAR_SCANS) == 6
    best = [best_kappa(curve, "denoised") for curve in CIFAR_SCANS]
    assert 1.34 <= min(best) <= max(best) <= 1.61
    assert all(excess_at(curve, "denoised", 1.5) <= 0.01 for curve in CIFAR_SCANS)


def test_raw_minima_lie_below():
    best = [best_kappa(curve, "raw") for curve in CIFAR_SCANS]
    assert 1.19 <= min(best) <= max(best) <= 1.43
    assert max(excess_at(curve, "raw", 1.5) for curve in CIFAR_SCANS) == pytest.approx(
        0.14, abs=0.01
    )


def test_one_row_lies_outside_of_the_allowed_interval_and_is_kept():
    outside = [
        (curve.name, epsilon)
        for curve in load_curves().values()
        for epsilon, allowed in zip(curve.epsilon, curve.allowed, strict=True)
        if not allowed
    ]
    assert outside == [("cifar10_unet__c_adv_n5_2k", 7e-7)]


# --- figures 2 and 3, end to end -----------------------------------------------------------------


def test_figure_2_runs_end_to_end(tmp_path):
    arguments = ("reproduce", "figure2", "--scale", "tiny", "--out", tmp_path / "out")
    assert run(*arguments, "--runs", tmp_path / "runs", "--device", "cpu") == 0
    page = (tmp_path / "out" / "figure2.md").read_text()
    assert "| 10 levels, adversarial |" in page
    rows = (tmp_path / "out" / "figure2" / "measurements.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2 * 3 * 2 * 2  # data, levels, scores, draws, outcomes
    exact = result(
        tmp_path / "out" / "figure2" / "records-tiny", "25-gaussians.levels-1.exact-0.draw-1"
    )
    # The exact score pulls points that start at 0.1 from a datum to their mode.
    assert exact["denoised"]["good"] > 0.5
    assert exact["nfe"] == 10


def test_figure_3_runs_end_to_end(tmp_path):
    arguments = ("reproduce", "figure3", "--scale", "tiny", "--out", tmp_path / "out")
    assert run(*arguments, "--runs", tmp_path / "runs", "--device", "cpu") == 0
    page = (tmp_path / "out" / "figure3.md").read_text()
    assert "from κ = 1.35 to\n  1.60" in page
    for name in ("authors-epsilon", "authors-kappa", "kappa", "eta"):
        assert (tmp_path / "out" / "figure3" / f"{name}.png").is_file()
    records = tmp_path / "out" / "figure3" / "records-tiny"
    found = result(records, "digits.cas-2.1.5.seed-0")
    assert found["nfe"] == 2 * 27 + 1
    assert found["raw"]["value"] > result(records, "floor")["mean"]  # after two steps of training


@pytest.mark.parametrize("name", [name for name in STUDIES if (RESULTS / f"{name}.md").is_file()])
def test_the_committed_results_are_what_the_command_makes_of_their_records(name, tmp_path):
    """Text and numbers; pictures are drawn from the same records, but depend on matplotlib."""
    study, workshop = STUDIES[name], silent(tmp_path)
    folder = RESULTS / name / "records-laptop"
    wanted = study.units("laptop", workshop)
    assert sorted(path.stem for path in folder.glob("*")) == sorted(unit.name for unit in wanted)
    page = study.page("laptop", gather(name, scale="laptop", out=RESULTS, workshop=workshop))
    assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == page.text.rstrip() + "\n"
    for picture in page.pictures:
        assert (RESULTS / name / f"{picture}.png").is_file()
        assert (RESULTS / name / f"{picture}.svg").is_file()
    for table in page.tables:
        path = RESULTS / name / f"{table}.csv"
        assert path.read_text(encoding="utf-8") == page.tables[table].csv
    assert {f"{each}.csv" for each in page.tables} == {
        path.name for path in (RESULTS / name).glob("*.csv")
    }


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.claims])
def test_every_study_that_claims_something_shows_its_pairs(name, tmp_path):
    records = gather(name, scale="laptop", out=RESULTS, workshop=silent(tmp_path))
    page, claims = (make("laptop", records) for make in (STUDIES[name].page, STUDIES[name].claims))
    assert page.tables["comparisons"] == comparisons_table(claims)
    assert f"]({name}/comparisons.csv)" in page.text


def test_the_committed_claims_are_those_of_all_records(tmp_path):
    page = gather_claims(list(STUDIES), scale="laptop", out=RESULTS, workshop=silent(tmp_path))
    assert (RESULTS / "claims.md").read_text(encoding="utf-8") == page.text.rstrip() + "\n"


# Draws spread by 0.1 and more; pairs of them differ by 0.005 give or take 0.0005, trainings by
# 0.0001. So the last step is told apart by pairs, and an objective by trainings, each alone.
DRAWS = {0: [0.5, 0.6, 0.7], 1: [0.5003, 0.6001, 0.7002]}
JITTER = [0.0005, -0.0005, 0.0]


@pytest.mark.parametrize(("sign", "word"), [(1, "held"), (-1, "did not hold")])
def test_figure_2_pairs_the_last_step_by_draw_and_the_objectives_by_training(sign, word):
    def verdicts(kind):
        costs = {
            (data, levels, score, outcome, measure): [
                [
                    draw - sign * (0.005 + jitter) * (kind in (score, outcome))
                    for draw, jitter in zip(draws, JITTER, strict=True)
                ]
                for draws in DRAWS.values()
            ]
            for data, levels, score, outcome, measure in itertools.product(
                DATA, LEVELS, SCORES, ("raw", "denoised"), MEASURES
            )
        }
        return {(claim.statement.text, claim.measure): claim.verdict for claim in claims_of(costs)}

    denoising, adversarial = verdicts("denoised"), verdicts("adversarial")
    # For each measure the last step at one level and at ten, and the objective.
    assert len(denoising) == len(MEASURES) * (len(LEVELS) + 1)
    for (statement, _), verdict in denoising.items():
        assert verdict == (f"{word} (12 of 12)" if "denoising" in statement else "tie (4 of 4)")
    for (statement, _), verdict in adversarial.items():
        assert verdict == ("tie (12 of 12)" if "denoising" in statement else f"{word} (4 of 4)")


def test_figure_2_takes_a_higher_share_of_good_points_for_better(tmp_path):
    costs = costs_of(
        FIGURE_2["laptop"],
        gather("figure2", scale="laptop", out=RESULTS, workshop=silent(tmp_path)),
    )
    with (RESULTS / "figure2" / "measurements.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        key = (row["data"], int(row["levels"]), row["score"], row["outcome"])
        training, draw = int(row["training"]), int(row["draw"]) - 1
        assert costs[*key, "distance"][training][draw] == float(row["distance"])
        assert costs[*key, "good"][training][draw] == pytest.approx(1 - float(row["good"]))


def test_step_sizes_at_an_edge_are_marked():
    assert _edges([0.01, 0.05]) == "0.01*, 0.05"
    assert _edges([0.8]) == "0.8*"
