"""Table 4: modes of stacked digits, counted over blocks, honestly and as published."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch

from cascore.experiment.presets import PRESETS, PUBLISHED
from cascore.metrics import ModeCoverage, mode_coverage
from cascore.reproduce.table4.page import _blocks_line
from cascore.reproduce.table4.values import (
    PRINTED,
    claims_of,
    coverage_line,
    coverages_of,
    floor_line,
    honest_kl,
    printed_kl,
    published_line,
)
from cascore.reproduce.table4.work import (
    OBJECTIVES,
    OUTCOMES,
    SCALES,
    coverage_of,
    stacks_of_channels,
)
from cascore.schedule import geometric_sigmas, kappa_from_eta


def counts(labels):
    return " ".join(map(str, torch.tensor(labels).bincount(minlength=1000).tolist()))


def test_blocks_are_counted_together():
    """Against a count of all labels by hand: Σ q log 1000 q."""
    first, second = [0, 0, 5, 999], [5, 7]
    found = coverage_of([counts(first), counts(second)])
    shares = [n / 6 for n in Counter(first + second).values()]
    assert (found.covered, found.count) == (4, 6)
    assert found.kl == pytest.approx(sum(q * math.log(1000 * q) for q in shares))


def test_the_published_number_is_that_of_the_authors_loop():
    """Their program, literally: each batch twice into one histogram, over a total of its own."""
    batches = torch.randint(40, (5, 10), generator=torch.Generator().manual_seed(0)).tolist()
    histogram = [0] * 1000
    for batch in batches:
        for _ in range(2):
            for label in batch:
                histogram[label] += 1
    total = 52  # as 26,000 is to 25,000
    printed = sum(n / total * math.log(1000 * n / total) for n in histogram if n)
    found = coverage_of([counts(batch) for batch in batches])
    assert printed_kl(found) == pytest.approx(printed)


def test_what_the_paper_printed_means():
    assert honest_kl(PRINTED["plain"]) == pytest.approx(0.053, abs=5e-4)
    assert honest_kl(PRINTED["adversarial"]) == pytest.approx(0.121, abs=5e-4)


def test_real_stacks_have_the_shares_of_their_channels():
    """Channels 0, 1, 1, 1: of 20,000 stacks 3/4 have a 1 in front; 4.5 standard errors."""
    labels = stacks_of_channels(torch.tensor([0, 1, 1, 1]), 20_000)
    assert set(labels.tolist()) == {0, 1, 10, 11, 100, 101, 110, 111}
    error = 4.5 * math.sqrt(3 / 16 / 20_000)
    for power in (1, 10, 100):
        assert float((labels // power % 10).double().mean()) == pytest.approx(0.75, abs=error)
    all_ones = float((labels == 111).double().mean())  # channels are independent
    assert all_ones == pytest.approx(27 / 64, abs=4.5 * math.sqrt(27 / 64 * 37 / 64 / 20_000))


def test_sentences_say_what_the_numbers_say():
    even = mode_coverage(torch.arange(1000).repeat(20), 1000)
    uneven = mode_coverage(
        torch.cat([torch.arange(999).repeat(10), torch.zeros(9000).long()]), 1000
    )
    found = {("plain", "s", "raw"): even, ("adversarial", "s", "raw"): uneven}
    assert coverage_line(found, even) == (
        "Of 2 kinds of samples 1 cover all 1,000 modes; the fewest are 999. As many stacks of real"
        " test images cover 1,000."
    )
    few = {("plain", "s", "raw"): replace(even, covered=949)}
    assert coverage_line(few, even).endswith("and longer ones may rank otherwise.")
    assert not coverage_line(few, replace(even, covered=998)).endswith("otherwise.")


REAL = ModeCoverage(
    covered=1000, covered_error=0.0, kl=0.1, kl_error=0.003, kl_floor=0.1, count=5000, modes=1000
)


def test_who_ties_with_real_images_is_read_from_the_divergences():
    found = {
        ("plain", "s", "raw"): replace(REAL, kl=0.108),  # 1.96 sqrt(2) 0.003 = 0.0083 ties
        ("plain", "s", "denoised"): replace(REAL, kl=0.109),
        ("adversarial", "s", "raw"): replace(REAL, kl=0.2),
    }
    assert floor_line(found, REAL) == (
        "1 of 3 tie with the real images' divergence of 0.1000 ± 0.0030; the lowest is"
        " 0.1080 ± 0.0030."
    )


def test_what_the_authors_program_would_print_is_of_raw_samples():
    """a (ln a + KL) with a = 50 / 26, of 0.1 and 0.2; the denoised 9 is not asked."""
    found = {
        ("plain", "s", "raw"): REAL,
        ("plain", "s", "denoised"): replace(REAL, kl=9.0),
        ("adversarial", "s", "raw"): replace(REAL, kl=0.2),
    }
    a = 50 / 26
    low, high = (a * (math.log(a) + kl) for kl in (0.1, 0.2))
    assert f"would print {low:.2f} to {high:.2f} of the raw" in published_line(found)
    assert "the paper prints 1.36 and 1.49" in published_line(found)


def test_how_far_blocks_are_apart_is_said_in_their_own_errors():
    """Two blocks of all labels 0 and of 0 and 1 in equal parts: KLs of ln 1000 and ln 500."""
    group = replace(SCALES["tiny"][0], samplers={"s": SCALES["tiny"][0].samplers["20-calls"]})
    one, two = counts([0] * 8), counts([0, 1] * 4)
    records = {
        group.unit(objective, "s", block): {
            "result": {"counts": dict.fromkeys(OUTCOMES, (one, two)[block])}
        }
        for objective in OBJECTIVES
        for block in range(2)
    }
    found = coverages_of(group, records)
    error = next(iter(found.values())).kl_error
    ratio = math.log(2) / (2 * error)
    assert f"at most {ratio:.1f} times as far apart" in _blocks_line(group, records, found)
    assert _blocks_line(replace(group, blocks=1), records, found) == ""


def test_claims_compare_divergences_that_differ_in_one_thing():
    even = mode_coverage(torch.arange(1000).repeat(20), 1000)
    uneven = mode_coverage(
        torch.cat([torch.arange(999).repeat(10), torch.zeros(9000).long()]), 1000
    )
    group = SCALES["tiny"][0]
    kinds = list(product(OBJECTIVES, group.samplers, OUTCOMES))

    def verdicts(better):
        found = {kind: even if better in kind else uneven for kind in kinds}
        return [claim.verdict for claim in claims_of(group, found)]

    held, against, tie = "held (4 of 4)", "did not hold (4 of 4)", "tie (4 of 4)"
    assert verdicts("adversarial") == [held, tie, tie]
    assert verdicts("plain") == [against, tie, tie]
    assert verdicts("denoised") == [tie, held, tie]
    assert verdicts("20-calls") == [tie, tie, against]


def test_all_levels_have_the_papers_step_size():
    sigmas = geometric_sigmas(50.0, 0.01, 200)
    kappa = kappa_from_eta(0.05, float(sigmas[1] / sigmas[0]))
    assert SCALES["laptop"][0].samplers["all-levels"].kappa == pytest.approx(kappa, abs=5e-3)


def test_the_small_network_is_not_taken_for_the_published_one():
    assert "stacked-mnist" in PRESETS
    assert "stacked-mnist" not in PUBLISHED
    assert "stacked-mnist-ncsnv2-adversarial" in PUBLISHED
