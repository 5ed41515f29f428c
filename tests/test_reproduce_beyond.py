"""`cascore reproduce beyond`: the samplers of one table, and what their records say."""

import sys
from dataclasses import replace

import pytest
import torch
from running import silent

from cascore.errors import MissingExtraError
from cascore.experiment.presets import PRESETS, SHAPES
from cascore.metrics import load_extractor
from cascore.reproduce.beyond.claims import default_claims, levels_claims
from cascore.reproduce.beyond.methods import (
    BEST,
    DEFAULT,
    GEOMETRIC,
    METHODS,
    SCALES,
    levels_of,
    name_of,
)
from cascore.reproduce.beyond.schedulers import SCHEDULERS
from cascore.reproduce.beyond.tables import (
    budget_rows,
    default_sentences,
    fewest_rows,
    fewest_sentences,
)
from cascore.reproduce.beyond.values import Key, against, fewest_calls
from cascore.reproduce.beyond.work import Cell, units
from cascore.reproduce.spread import Estimate, mean_of
from cascore.reproduce.studies import reproduce

TINY = SCALES["tiny"][0]


def test_without_diffusers_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"cascore\[schedulers\]"):
        reproduce("beyond", scale="tiny", out=tmp_path / "out", workshop=silent(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


# --- the table of methods ------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_every_plan_can_be_carried_out(scale, tmp_path):
    names = [unit.name for unit in units(scale, silent(tmp_path))]
    assert len(set(names)) == len(names)
    for subject in SCALES[scale]:
        assert subject.preset in PRESETS
        assert set(subject.plan) <= set(METHODS)
        assert subject.plan[BEST] == (None,)
        assert DEFAULT in subject.plan
    assert list(tmp_path.iterdir()) == []


def test_names_tell_choices_apart_and_levels_are_the_calls():
    for method in METHODS.values():
        assert len({name_of(choice) for choice in method.choices}) == len(method.choices)
        for choice in method.choices:
            assert isinstance(choice, str) <= (choice in SCHEDULERS)
    assert levels_of("heun", 8).steps == 4
    assert levels_of("unipc", 8).steps == 8
    assert levels_of(METHODS[BEST].choices[0], 50).steps == 10
    assert levels_of(METHODS[DEFAULT].choices[0], None).steps is None


# --- what is said of records ---------------------------------------------------------------------

SUBJECT = replace(TINY, extractors=("digits",), plan={
    BEST: (None,), "order-2-kappa-1": (5, 8, 12), DEFAULT: (5, 8, 12), "unipc": (5,),
})  # fmt: skip
DISTANCES = {
    (BEST, None): 2.0,
    ("order-2-kappa-1", 5): 3.2,  # ties with the 3.0 of UniPC
    ("order-2-kappa-1", 8): 2.25,  # 0.25 above 2 with errors of 0.1: a tie below 0.277
    ("order-2-kappa-1", 12): 2.1,
    (DEFAULT, 5): 9.2,
    (DEFAULT, 8): 4.5,
    (DEFAULT, 12): 1.0,
    ("unipc", 5): 3.0,
}
MEASURED = {
    Key(Cell("digits", method, calls), "digits", "denoised"): Estimate(value, 0.1)
    for (method, calls), value in DISTANCES.items()
}


def test_the_default_is_put_against_the_papers_best():
    """4.5 at 8 calls and 1.0 at 12 against 2.0; 20 calls were not measured."""
    found = {claim.statement.text: claim.verdict for claim in default_claims([SUBJECT], MEASURED)}
    what = "has a lower distance than the paper's best sampling"
    assert found == {
        f"the default at 8 calls {what}": "did not hold (1 of 1)",
        f"the default at 12 calls {what}": "held (1 of 1)",
    }


def test_the_default_is_put_against_its_own_sampler_at_geometric_levels():
    """At 5 and 12 calls alone both are measured: 9.2 against 9.2, and 1.0 against 1.5."""
    subject = replace(SUBJECT, plan={**SUBJECT.plan, GEOMETRIC: (5, 12)})
    measured = MEASURED | {
        Key(Cell("digits", GEOMETRIC, calls), "digits", "denoised"): Estimate(value, 0.1)
        for calls, value in ((5, 9.2), (12, 1.5))
    }
    (claim,) = levels_claims([subject], measured)
    assert [each.where for each in claim.comparisons] == ["digits, 5 calls", "digits, 12 calls"]
    assert [each.verdict for each in claim.comparisons] == ["tie", "held"]
    assert levels_claims([SUBJECT], MEASURED) == []


def test_the_fewest_calls_are_the_first_tie_or_win():
    found = {name: fewest_calls(SUBJECT, name, MEASURED, "digits") for name in SUBJECT.plan}
    assert found == {
        BEST: (140, 140), "order-2-kappa-1": (8, 12), DEFAULT: (12, 12), "unipc": (None, 5),
    }  # fmt: skip
    assert [row[1] for row in fewest_rows([SUBJECT], MEASURED)] == [
        "8 (+12 ± 15 %)",
        "12 (-50 ± 11 %)",
        "> 5",
    ]
    (sentence,) = fewest_sentences([SUBJECT], MEASURED)
    assert "from 8 calls on, 18 times fewer than the paper's 140" in sentence
    assert "DPM-Solver++(2M) cannot be told from it; nor can the default from 12 on" in sentence


def test_that_nothing_reaches_the_paper_is_said_too():
    out_of_reach = {
        key: value if key.cell.method == BEST else Estimate(50.0, 0.1)
        for key, value in MEASURED.items()
    }
    (sentence,) = fewest_sentences([SUBJECT], out_of_reach)
    assert "no untuned method ties with the paper's best" in sentence


def test_bold_are_the_lowest_and_its_ties():
    rows = {row[0]: row[1:] for row in budget_rows(SUBJECT, MEASURED, (5, 8, 12))}
    assert rows[METHODS["order-2-kappa-1"].label][0] == "**3.20 ± 0.10**"
    assert rows["UniPC of diffusers"] == ("**3.00 ± 0.10**", "", "")
    assert rows[METHODS[DEFAULT].label] == ("9.20 ± 0.10", "4.50 ± 0.10", "**1.00 ± 0.10**")
    (sentence,) = default_sentences([SUBJECT], MEASURED)
    assert "5 calls: +207% (UniPC of diffusers); 8 calls: +100%" in sentence
    assert sentence.endswith("12 calls: the lowest.")


def test_a_verdict_is_a_tie_or_a_share():
    assert against(Estimate(1.2, 0.1), Estimate(1.0, 0.1)) == "a tie"
    assert against(Estimate(1.5, 0.1), Estimate(1.0, 0.1)) == "+50%"


def test_the_error_of_a_mean_falls_with_the_measurements():
    """Two of error 3 and 4: sqrt(9 + 16) / 2."""
    found = mean_of([{"value": 1.0, "error": 3.0}, {"value": 2.0, "error": 4.0}])
    assert found == Estimate(1.5, 2.5)


@pytest.mark.parametrize("subject", SCALES["laptop"], ids=lambda each: each.preset)
def test_every_extractor_takes_the_images_of_its_model(subject):
    shape = SHAPES[PRESETS[subject.preset].data.name]
    images = torch.zeros(2, *shape, dtype=torch.uint8)
    for name in subject.extractors:
        extractor = load_extractor(name, image_shape=shape, device=torch.device("cpu"))
        assert len(extractor(images)) == 2
