"""`cascore reproduce all`: every study in order, and a page of what the paper claims."""

import json
import math
import re
from pathlib import Path

import pytest
from running import run, silent

from cascore.commands import reproducing
from cascore.errors import InputError
from cascore.reproduce import studies
from cascore.reproduce.claims import Claim, Comparison, claims_page, claims_table, paired
from cascore.reproduce.figure3 import page as figure3_page
from cascore.reproduce.pages import Page, Spread
from cascore.reproduce.studies import gather, reproduce
from cascore.reproduce.study import Study
from cascore.reproduce.units import Unit


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


# --- claims --------------------------------------------------------------------------------------

A, B = Spread(1.0, 0.1, 3), Spread(2.0, 0.1, 3)
HELD, TIE, AGAINST = Comparison("", A, B), Comparison("", A, A), Comparison("", B, A)


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
    assert Claim("it is lower", "`x`", comparisons).verdict == verdict


def test_pairs_are_compared_by_their_differences():
    """Each spreads by 1; every pair differs by 0.1, give or take 0.01."""
    raw, denoised = [1.0, 2.0, 3.0], [0.9, 1.91, 2.89]
    assert paired("", denoised, raw).outcome == "held"
    assert paired("", raw, denoised).outcome == "did not hold"
    assert paired("", denoised, [0.8, 2.2, 2.89]).outcome == "tie"
    assert paired("", [1.0], [2.0]).outcome == "tie"  # nothing is known of its spread


def test_the_change_is_a_geometric_mean():
    quarter = Comparison("", Spread(1.0, 0, 3), Spread(4.0, 0, 3))
    same = Comparison("", Spread(3.0, 0, 3), Spread(3.0, 0, 3))
    assert Claim("", "", [quarter, same]).change == pytest.approx(0.5)
    zero = Comparison("", Spread(0.0, 0, 3), Spread(4.0, 0, 3))
    assert math.isnan(Claim("", "", [quarter, zero]).change)


def test_the_table_of_claims_says_each_statement_once():
    found = [Claim("it is lower", "`x`", [HELD]), Claim("it is lower", "`y`", [TIE])]
    assert claims_table(found).splitlines()[2:] == [
        "| it is lower | `x` | held (1 of 1) | 50.0% lower |",
        "|  | `y` | tie (1 of 1) | 0.0% lower |",
    ]


def test_the_claims_page_counts_every_pair_and_then_names_the_studies():
    page = claims_page(
        "tiny",
        {
            "one": [Claim("it is lower", "`x`", [HELD]), Claim("it is round", "`x`", [TIE])],
            "two": [Claim("it is lower", "`y`", [AGAINST, HELD])],
        },
    )
    rows = [line for line in page.text.splitlines() if line.startswith("|")]
    assert rows == [
        "| claim | held | tie | did not hold |",
        "| --- | ---: | ---: | ---: |",
        "| it is lower | 2 | 0 | 1 |",
        "| it is round | 0 | 1 | 0 |",
        "| claim | study | measured | verdict | on average |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| it is lower | [one](one.md) | `x` | held (1 of 1) | 50.0% lower |",
        "|  | [two](two.md) | `y` | mixed (1 of 2 held, 1 did not) | 0.0% lower |",
        "| it is round | [one](one.md) | `x` | tie (1 of 1) | 0.0% lower |",
    ]


def test_figure_3_claims_what_its_committed_page_says(tmp_path):
    """The page was written before there were claims."""
    results = Path(__file__).parents[1] / "docs" / "results"
    page = (results / "figure3.md").read_text(encoding="utf-8")
    records = gather("figure3", scale="laptop", out=results, workshop=silent(tmp_path))
    claims = {claim.statement: claim for claim in figure3_page.claims("laptop", records)}
    outcomes = {"held": "CAS lowers", "tie": "CAS is a tie", "did not hold": "CAS raises"}
    samplers = claims["CAS is better than ALS at n_σ = 1, denoised"]
    for comparison in samplers.comparisons:
        assert f"- {comparison.where}, n_σ = 1, denoised: {outcomes[comparison.outcome]}" in page
    words = {"held": "lowers the distance", "tie": "is a tie", "did not hold": "raises"}
    for method in ("ALS", "CAS"):
        for each in claims[f"denoising lowers the distance of {method}"].comparisons:
            start = f"- {each.where}, {method}, n_σ = 1: denoising {words[each.outcome]}"
            assert f"{start} ({each.higher.text(2)} raw, {each.lower.text(2)} denoised" in page


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
        lambda scale, records: [Claim(f"{name} is right", "", [HELD])],
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
    monkeypatch.setattr(reproducing, "STUDIES", found)
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


def test_everything_runs_at_the_tiny_scale_and_a_second_time_measures_nothing(tmp_path, capsys):
    command = (
        "reproduce",
        "all",
        "--scale",
        "tiny",
        "--out",
        tmp_path,
        "--runs",
        tmp_path / "runs",
    )
    assert run(*command) == 0
    pages = {path.stem for path in tmp_path.glob("*.md")}
    assert pages == {*studies.STUDIES, studies.CLAIMS}
    for path in tmp_path.glob("*.md"):
        targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
        missing = [each for each in targets if "://" not in each and not (tmp_path / each).exists()]
        assert not missing, f"{path.name} points at {missing}"
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("records-tiny/*.json")}
    assert {path.parts[-3] for path in records} == {*studies.STUDIES} - {"headline"}
    capsys.readouterr()
    assert run(*command) == 0
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("records-tiny/*.json")}
    assert again == records
    assert f"0 of {len(studies.STUDIES)} studies left out" in capsys.readouterr().err
