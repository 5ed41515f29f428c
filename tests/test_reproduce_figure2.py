"""Figure 2: distances in the plane, and what its claims are read from."""

import csv
import itertools
import math
from pathlib import Path

import pytest
import torch
from running import reading

from cascore.data import load_points
from cascore.errors import InputError
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
from cascore.reproduce.figure2.work import DATA, SCALES
from cascore.reproduce.studies import gather

RESULTS = Path(__file__).parents[1] / "docs" / "results"

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


# --- claims ---------------------------------------------------------------------------------------

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
        SCALES["laptop"],
        gather("figure2", scale="laptop", out=RESULTS, workshop=reading(tmp_path)),
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
