"""Figure 3: the authors' curves, and the best step sizes of ours."""

import csv
import math
import statistics
from collections import defaultdict
from pathlib import Path

import pytest
from running import silent

from cascore.reproduce.figure3 import values
from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.studies import gather

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


def test_figure_3_compares_the_best_step_sizes_of_its_measurements(tmp_path):
    """From the CSV: means over seeds, errors of both, the lowest of each scan at n_sigma 1."""
    results = Path(__file__).parents[1] / "docs" / "results"
    records = gather("figure3", scale="laptop", out=results, workshop=silent(tmp_path))
    cells = defaultdict(list)
    text = (results / "figure3" / "measurements.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        if row["n_sigma"] == "1":
            key = (row["model"], row["method"], row["outcome"], row["kappa"], row["eta"])
            cells[key].append((float(row["distance"]), float(row["standard_error"])))
    best = {}
    for (model, method, outcome, *_), found in cells.items():
        mean = statistics.fmean(value for value, _ in found)
        error = math.hypot(*(error for _, error in found)) / len(found)
        best[model, method, outcome] = min(
            (mean, error), best.get((model, method, outcome), (math.inf, 0.0))
        )
    claims = {claim.statement.text: claim for claim in values.claims("laptop", records)}
    asked = {
        "CAS is better than ALS at n_σ = 1, raw": (("cas", "raw"), ("als", "raw")),
        "CAS is better than ALS at n_σ = 1, denoised": (("cas", "denoised"), ("als", "denoised")),
        "denoising lowers the distance of ALS": (("als", "denoised"), ("als", "raw")),
        "denoising lowers the distance of CAS": (("cas", "denoised"), ("cas", "raw")),
    }
    assert claims.keys() == asked.keys()
    for statement, sides in asked.items():
        for each in claims[statement].comparisons:
            lower, higher = (best[each.where, *side] for side in sides)
            assert each.difference.mean == pytest.approx(higher[0] - lower[0])
            assert each.difference.margin == pytest.approx(
                1.96 * math.hypot(lower[1], higher[1]), rel=1e-4
            )
