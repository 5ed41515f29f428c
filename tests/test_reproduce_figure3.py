"""Figure 3: the authors' curves, and the best step sizes of ours."""

import csv
import itertools
import math
import statistics
from collections import defaultdict
from pathlib import Path

import pytest
from running import reading

from cascore.reproduce.figure3 import values
from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3.tables import kappa_rows
from cascore.reproduce.figure3.work import SCALES
from cascore.reproduce.studies import gather

RESULTS = Path(__file__).parents[1] / "docs" / "results"

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


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    """The records, and from the CSV the mean over seeds and its error of each step size."""
    workshop = reading(tmp_path_factory.mktemp("runs"))
    records = gather("figure3", scale="laptop", out=RESULTS, workshop=workshop)
    cells = defaultdict(list)
    with (RESULTS / "figure3" / "measurements.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            scan = tuple(row[name] for name in ("model", "method", "n_sigma"))
            seen = (row["extractor"], row["outcome"])
            knob = float(row["kappa"] or row["eta"])
            cells[*scan, *seen, knob].append((float(row["distance"]), float(row["standard_error"])))
    means = {
        key: (
            statistics.fmean(value for value, _ in found),
            math.hypot(*(error for _, error in found)) / len(found),
        )
        for key, found in cells.items()
    }
    return records, means


def scan(means, *key):
    """By step size, the mean and its error."""
    return {each[-1]: value for each, value in means.items() if each[:-1] == key}


def test_both_samplers_are_compared_at_their_best_step_sizes(laptop):
    records, means = laptop
    asked = {
        f"CAS is better than ALS at n_σ = {n}, {kind}": (("cas", kind), ("als", kind))
        for n, kind in itertools.product((1, 5), ("raw", "denoised"))
    } | {
        "denoising lowers the distance of ALS": (("als", "denoised"), ("als", "raw")),
        "denoising lowers the distance of CAS": (("cas", "denoised"), ("cas", "raw")),
    }
    found = values.claims("laptop", records)
    assert {claim.statement.text for claim in found} == asked.keys()
    for claim in found:
        for each in claim.comparisons:
            preset, _, said = each.where.partition(", n_σ = ")
            n = said or claim.statement.text.partition("n_σ = ")[2][0]
            lower, higher = (
                min(scan(means, preset, method, n, claim.measure.strip("`"), kind).values())
                for method, kind in asked[claim.statement.text]
            )
            assert each.difference.mean == pytest.approx(higher[0] - lower[0])
            assert each.difference.margin == pytest.approx(
                1.96 * math.hypot(lower[1], higher[1]), rel=1e-4
            )


def test_the_table_of_kappas_names_the_lowest_and_what_the_authors_value_costs(laptop):
    records, means = laptop
    measured = values.measured_of("laptop", records)
    for name, n, features, *cells in kappa_rows(SCALES["laptop"], measured):
        for outcome, (best, cost) in zip(("denoised", "raw"), (cells[:2], cells[2:]), strict=True):
            found = scan(means, name.strip("`"), "cas", n, features.strip("`"), outcome)
            lowest = min(found, key=found.get)
            edge = "*" if lowest in (min(found), max(found)) else ""
            assert best.split(";")[0] == f"{lowest:g}{edge}"
            (mean, error), (at_default, other) = found[lowest], found[1.5]
            ties = at_default - mean <= 1.96 * math.hypot(error, other)
            assert cost == ("tie" if ties else f"+{at_default / mean - 1:.0%}")
