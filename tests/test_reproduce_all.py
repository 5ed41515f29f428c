"""`cascore reproduce all`: every study in order, and a page of what the paper claims."""

import json
import math

import pytest
from running import run, silent

from cascore.errors import InputError
from cascore.reproduce import studies
from cascore.reproduce.claims import (
    Claim,
    Statement,
    claims_page,
    claims_table,
    comparisons_table,
)
from cascore.reproduce.comparisons import (
    between_trainings,
    estimated,
    independent,
    paired,
    within_trainings,
)
from cascore.reproduce.pages import Page
from cascore.reproduce.spread import Estimate
from cascore.reproduce.studies import reproduce
from cascore.reproduce.study import Study
from cascore.reproduce.units import Unit


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


# --- claims --------------------------------------------------------------------------------------

A, B = Estimate(1.0, 0.1), Estimate(2.0, 0.1)
HELD, TIE, AGAINST = estimated("", A, B), estimated("", A, A), estimated("", B, A)
LOWER, ROUND = Statement("it is lower", "yes"), Statement("it is round")


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([HELD, HELD], "held (2 of 2)"),
        ([AGAINST, TIE], "did not hold (1 of 2, 1 tie)"),
        ([TIE, TIE], "tie (2 of 2)"),
        ([HELD, TIE, TIE], "mostly ties (2 of 3; 1 held)"),
        ([HELD, AGAINST, TIE, TIE], "mixed (1 of 4 held, 1 did not, 2 ties)"),
    ],
)
def test_the_verdict_counts_the_comparisons(comparisons, verdict):
    assert Claim(LOWER, "`x`", comparisons).verdict == verdict


def test_pairs_are_compared_by_their_differences():
    """Each spreads by 1; every pair differs by 0.1, give or take 0.01."""
    raw, denoised = [1.0, 2.0, 3.0], [0.9, 1.91, 2.89]
    assert paired("", denoised, raw).verdict == "held"
    assert paired("", raw, denoised).verdict == "did not hold"
    assert paired("", denoised, [0.8, 2.2, 2.89]).verdict == "tie"
    assert independent("", denoised, raw).verdict == "tie"
    assert paired("", [1.0], [2.0]).verdict == "tie"  # nothing is known of its spread


def test_each_training_is_a_pair_of_its_own_for_two_ways_of_sampling():
    """The second network says the contrary of the first."""
    lower = [[0.9, 1.91, 2.89], [1.0, 2.0, 3.0]]
    higher = [[1.0, 2.0, 3.0], [0.9, 1.91, 2.89]]
    found = within_trainings("n", lower, higher)
    assert [each.where for each in found] == ["n, training 0", "n, training 1"]
    assert [each.verdict for each in found] == ["held", "did not hold"]
    (alone,) = within_trainings("n", lower[:1], higher[:1])
    assert (alone.where, alone.verdict) == ("n", "held")


def test_two_ways_of_training_are_compared_by_the_means_of_their_trainings():
    """Seeds spread by 1 and pairs hardly; trainings spread by 0.5 or by 0.01, and decide."""
    one = [[0.0, 1.0, 2.0], [0.5, 1.5, 2.5]]
    other = [[each + 0.3 for each in values] for values in one]
    assert between_trainings("", one, other).verdict == "tie"
    near = [[0.0, 1.0, 2.0], [0.01, 1.01, 2.01]]
    far = [[each + 0.3 for each in values] for values in near]
    found = between_trainings("n", near, far)
    assert (found.where, found.verdict, found.lower.count) == ("n", "held", 2)
    alone = between_trainings("n", near[:1], far[:1])
    assert (alone.where, alone.verdict) == ("n, one training each", "held")


def test_a_csv_has_both_sides_their_difference_and_what_it_says():
    table = comparisons_table([Claim(LOWER, "`x`", [HELD])])
    assert dict(zip(table.columns, *table.rows, strict=True)) == {
        "claim": "it is lower",
        "measured": "x",
        "where": "",
        "lower": 1.0,
        "lower_plus_minus": 0.1,
        "higher": 2.0,
        "higher_plus_minus": 0.1,
        "difference": 1.0,
        "standard_error": pytest.approx(0.1 * math.sqrt(2)),
        "degrees_of_freedom": math.inf,
        "margin_95": pytest.approx(1.96 * 0.1 * math.sqrt(2), rel=1e-4),
        "compared_by": "errors",
        "verdict": "held",
    }


def test_the_change_is_a_geometric_mean():
    quarter, same = paired("", [1.0], [4.0]), paired("", [3.0], [3.0])
    assert Claim(LOWER, "", [quarter, same]).change == pytest.approx(0.5)
    zero = paired("", [0.0], [4.0])
    assert math.isnan(Claim(LOWER, "", [quarter, zero]).change)


def test_the_table_of_claims_says_each_statement_once():
    found = [Claim(LOWER, "`x`", [HELD]), Claim(LOWER, "`y`", [TIE])]
    assert claims_table(found).splitlines()[2:] == [
        "| it is lower | yes | `x` | held (1 of 1) | 50.0% lower |",
        "|  |  | `y` | tie (1 of 1) | 0.0% lower |",
    ]


def test_the_claims_page_counts_every_pair_and_then_names_the_studies():
    page = claims_page(
        "tiny",
        {
            "one": [Claim(LOWER, "`x`", [HELD]), Claim(ROUND, "`x`", [TIE])],
            "two": [Claim(LOWER, "`y`", [AGAINST, HELD])],
        },
    )
    rows = [line for line in page.text.splitlines() if line.startswith("|")]
    assert rows == [
        "| claim | the paper | held | tie | did not hold |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| it is lower | yes | 2 | 0 | 1 |",
        "| it is round | not asked | 0 | 1 | 0 |",
        "| claim | study | measured | here | on average |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| it is lower | [one](one.md) | `x` | held (1 of 1) | 50.0% lower |",
        "|  | [two](two.md) | `y` | mixed (1 of 2 held, 1 did not) | 0.0% lower |",
        "| it is round | [one](one.md) | `x` | tie (1 of 1) | 0.0% lower |",
    ]


@pytest.mark.parametrize(
    ("comparisons", "said"),
    [
        ([TIE, TIE], "cannot be told here. 0 of 2 pairs say so, 0 the contrary, 2 cannot be told."),
        ([HELD, TIE], "held here. 1 of 2 pairs"),
        ([HELD, TIE, TIE], "held here where it can be told. 1 of 3 pairs"),
        ([AGAINST, TIE], "did not hold here. 0 of 2 pairs say so, 1 the contrary"),
        ([AGAINST, TIE, TIE], "did not hold here where it can be told."),
        ([HELD, HELD, AGAINST], "not always so here. 2 of 3 pairs say so, 1 the contrary"),
        ([HELD, AGAINST, AGAINST], "more often not so here."),
    ],
)
def test_the_claims_page_says_plainly_what_became_of_what_the_paper_affirms(comparisons, said):
    asked = [Claim(LOWER, "`x`", comparisons), Claim(ROUND, "`x`", [HELD])]
    page = claims_page("tiny", {"one": asked})
    (line,) = (line for line in page.text.splitlines() if line.startswith("- *it is"))
    assert line.startswith(f"- *it is lower* (the paper: yes): {said}")


# --- everything ----------------------------------------------------------------------------------


def study(name, *, error=None, needs=()):
    def measure(done):
        del done
        if error is not None:
            raise InputError(error)
        return {}

    return Study(
        name,
        lambda scale, workshop: [Unit("unit", {}, measure)],
        lambda scale, records: Page(text=" ".join(sorted(records)), pictures={}, tables={}),
        lambda scale, records: [Claim(Statement(f"{name} is right"), "", [HELD])],
        needs,
    )


@pytest.fixture
def three(monkeypatch):
    found = {
        "good": study("good"),
        "bad": study("bad", error="no data: fetch them"),
        "after": study("after", needs=("bad",)),
        "last": study("last", needs=("good",)),
    }
    monkeypatch.setattr(studies, "STUDIES", found)
    return found


def test_all_goes_on_after_a_study_that_cannot_be_done_and_says_so(three, tmp_path, capsys):
    arguments = ("reproduce", "all", "--scale", "tiny", "--device", "cpu", "--out", tmp_path)
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out.split() == [str(tmp_path / f"{n}.md") for n in ("good", "last", "claims")]
    last = told.err.replace("\n", " ")
    assert "left out: bad: no data: fetch them" in last
    assert "left out: after: after is made of the records of bad: no data: fetch them" in last
    assert "2 of 4 studies left out" in last
    assert (tmp_path / "last.md").read_text() == "good/unit unit\n"
    claims = (tmp_path / "claims.md").read_text()
    assert [name for name in three if f"| {name} is right |" in claims] == ["good", "last"]


def test_records_of_other_settings_leave_a_study_out(three, tmp_path, capsys):
    """Its records are whole, so that nothing but the reason tells it from the others."""
    reproduce("good", scale="tiny", out=tmp_path, workshop=silent(tmp_path))
    record = tmp_path / "good" / "records-tiny" / "unit.json"
    record.write_text(json.dumps({**read(record), "settings": {"count": 3}}))
    del three["bad"], three["after"], three["last"]
    assert run("reproduce", "all", "--scale", "tiny", "--device", "cpu", "--out", tmp_path) == 2
    told = capsys.readouterr()
    assert "other settings (count)" in told.err.replace("\n", " ")
    assert told.out.split() == [str(tmp_path / "claims.md")]


def test_all_succeeds_when_nothing_is_left_out(three, tmp_path, capsys):
    del three["bad"], three["after"]
    assert run("reproduce", "all", "--scale", "tiny", "--device", "cpu", "--out", tmp_path) == 0
    assert "0 of 2 studies left out" in capsys.readouterr().err.replace("\n", " ")
