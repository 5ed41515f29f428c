"""`cascore reproduce`: measures once, goes on, draws from records alone, and says what they say."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from running import reading, silent

from cascore.cli.reproduce import EVERYTHING, Reproduce
from cascore.errors import InputError
from cascore.reproduce.claims import comparisons_table
from cascore.reproduce.floors import like_real
from cascore.reproduce.spread import Estimate, Spread, spread_of, spread_over
from cascore.reproduce.studies import SCALES, STUDIES, gather, gather_claims, reproduce
from cascore.reproduce.units import Unit, run_units

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CPU = torch.device("cpu")


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


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


@pytest.mark.parametrize("name", [name for name in STUDIES if (RESULTS / f"{name}.md").is_file()])
def test_the_committed_results_are_what_the_command_makes_of_their_records(name, tmp_path):
    """Text and numbers; pictures are drawn from the same records, but depend on matplotlib."""
    study, workshop = STUDIES[name], reading(tmp_path)
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
    records = gather(name, scale="laptop", out=RESULTS, workshop=reading(tmp_path))
    page, claims = (make("laptop", records) for make in (STUDIES[name].page, STUDIES[name].claims))
    assert page.tables["comparisons"] == comparisons_table(claims)
    assert f"]({name}/comparisons.csv)" in page.text


def test_the_committed_claims_are_those_of_all_records(tmp_path):
    page = gather_claims(list(STUDIES), scale="laptop", out=RESULTS, workshop=reading(tmp_path))
    assert (RESULTS / "claims.md").read_text(encoding="utf-8") == page.text.rstrip() + "\n"
