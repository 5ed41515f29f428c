"""Ranking: what is refused, what is a tie, and who is first."""

import re
from dataclasses import replace

import pytest
from example_records import RECORD, TRAIN
from running import run

from cascore.errors import InputError
from cascore.evaluation.compare import (
    FIELDS,
    Row,
    comparison_chart,
    find_rows,
    rank,
    require_comparable,
)
from cascore.measurement import ExtractorIdentity, measurement_line, write_measurements


def changed(**parts):
    """The record with parts replaced: `images__count=5` is the count of its images."""
    record = RECORD
    for name, value in parts.items():
        part, _, inner = name.partition("__")
        whole = replace(getattr(record, part), **{inner: value}) if inner else value
        record = replace(record, **{part: whole})
    return record


def rows(tmp_path, *records):
    return [Row(f"e{i}", tmp_path / f"{i}.json", record) for i, record in enumerate(records)]


OTHERS = {
    "form": (changed(images__form="raw"), "denoised", "raw"),
    "count": (changed(images__count=500), "1000", "500"),
    "preprocessing": (changed(images__preprocessing={"size": 8}), "{}", '{"size": 8}'),
    "settings": (changed(settings={"neighbours": 5}), "{}", '{"neighbours": 5}'),
    "extractor": (changed(extractor=ExtractorIdentity("digits", "34" * 32)), "1212", "3434"),
    "reference": (changed(references=(replace(TRAIN, digest="98" * 32),)), "abab", "9898"),
    "split": (changed(references=(replace(TRAIN, split="test"),)), "train", "test"),
    "reference-count": (changed(references=(replace(TRAIN, count=99),)), "1437", "99"),
    "provenance": (changed(references=(replace(TRAIN, provenance="unknown"),)), "known", "unknown"),
    "selection": (changed(selection=None), "best of 3 by frechet", "not selected"),
}


def test_every_field_has_a_case():
    assert OTHERS.keys() == FIELDS.keys()


@pytest.mark.parametrize("field", OTHERS)
def test_numbers_that_differ_in_a_field_are_not_ranked_unless_it_is_accepted(field, tmp_path):
    other, here, there = OTHERS[field]
    pair = rows(tmp_path, RECORD, other)
    first, second = (re.escape(str(row.source)) for row in pair)
    value, other_value = map(re.escape, (here, there))
    line = rf"{field}: .*{value}.* in {first}; .*{other_value}.* in {second}\n"
    with pytest.raises(InputError, match=rf"{line}.*--accept {field}$"):
        require_comparable(pair)
    require_comparable(pair, accepted=[field])


def test_all_fields_that_differ_are_named_at_once(tmp_path):
    other = changed(images__form="raw", images__count=5, selection=None)
    with pytest.raises(InputError, match="--accept count form selection"):
        require_comparable(rows(tmp_path, RECORD, other), accepted=["count"])
    with pytest.raises(InputError, match="no field 'colour'"):
        require_comparable(rows(tmp_path, RECORD), accepted=["colour"])


@pytest.mark.parametrize(
    "other",
    [
        changed(model__digest="00" * 32, model__step=3),
        changed(sampler__nfe=100, sampler__settings={"method": "als", "n_sigma": 5}),
        changed(images__first_seed=5, images__digest="00" * 32, images__path="runs/b"),
        changed(command="cascore evaluate", software={}, value=9.0),
        changed(references=(replace(TRAIN, settings={}),)),
    ],
)
def test_what_is_compared_may_differ(other, tmp_path):
    require_comparable(rows(tmp_path, RECORD, other))


def test_ranks_count_who_is_better_beyond_the_95_percent_interval(tmp_path):
    # Errors 0.1 combine to 0.1414; 1.96 of them are 0.2772.
    ranked = rank(rows(tmp_path, *(changed(value=v) for v in (3.0, 2.278, 2.277, 2.0))))
    assert [row.measurement.value for row in ranked] == [2.0, 2.277, 2.278, 3.0]
    assert [row.rank for row in ranked] == [1, 1, 2, 4]
    assert [row.tied for row in ranked] == [False, True, False, False]


def test_an_error_of_few_parts_ties_further(tmp_path):
    """Welch of twice ten parts has 18 degrees of freedom: 2.10 errors of 0.1414 and not 1.96."""
    score = {"metric": "inception-score", "settings": {"splits": 10, "seed": 0}, "floor": None}
    ranked = rank(rows(tmp_path, *(changed(value=v, **score) for v in (3.0, 2.71, 2.69))))
    assert [row.rank for row in ranked] == [1, 1, 2]


def test_more_is_better_where_it_is(tmp_path):
    high, low = (changed(metric="recall", value=v, error=0.01, floor=None) for v in (0.9, 0.1))
    ranked = rank(rows(tmp_path, low, high))
    assert [(row.rank, row.measurement.value) for row in ranked] == [(1, 0.9), (2, 0.1)]


def test_what_is_best_in_the_middle_is_listed_and_not_ranked(tmp_path):
    ratios = [changed(metric="memorisation", value=v) for v in (None, 0.5, 1.0)]
    ranked = rank(rows(tmp_path, *ratios))
    assert [row.rank for row in ranked] == [None] * 3
    assert ranked[-1].measurement.value is None


def test_entries_are_found_in_files_folders_and_runs(tmp_path):
    other = [changed(metric="kernel"), changed(images__form="raw", value=1.0)]
    held_out = changed(references=(replace(TRAIN, split="test"),), value=7.0)
    write_measurements(tmp_path / "run" / "evaluations" / "a.json", [RECORD, *other, held_out])
    write_measurements(tmp_path / "run" / "evaluations" / "b.json", [changed(sampler__nfe=100)])
    write_measurements(tmp_path / "other.json", [changed(images__form="images")])

    def values(path, **options):
        asked = {"metric": "frechet", "form": "denoised", "split": None} | options
        return [row.measurement.value for row in find_rows([path], **asked)]

    run = tmp_path / "run"
    assert values(run) == values(run / "evaluations") == [2.5, 2.5]
    assert values(run / "evaluations" / "a.json", form="both") == [2.5, 1.0]
    assert values(run, split="test") == [7.0]
    assert values(run, form="raw") == [1.0]
    for form in ("raw", "denoised", "both"):  # images of another program are each
        assert values(tmp_path / "other.json", form=form) == [2.5]
    listed = find_rows([run], metric="frechet", form="denoised", split=None)
    assert [row.label for row in listed] == ["12 calls", "100 calls"]


def test_of_numbers_by_class_the_whole_is_compared(tmp_path):
    for name, value in (("a", 0.9), ("b", 0.8)):
        whole = changed(metric="agreement", value=value, images__path=name)
        parts = [replace(whole, value=0.5, settings={"class": c}) for c in ("0", "1")]
        write_measurements(tmp_path / f"{name}.json", [*parts, whole])
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    found = find_rows(files, metric="agreement", form="denoised", split=None)
    require_comparable(found)
    assert [(row.label, row.measurement.value) for row in found] == [("a", 0.9), ("b", 0.8)]


def test_calls_are_of_the_chain_and_not_the_evaluations_that_guidance_needs(tmp_path):
    for name, calls, nfe in (("a", 12, 24), ("b", 24, 48), ("c", None, 12)):  # c: of cascore 0.3
        settings = dict(RECORD.sampler.settings) | ({} if calls is None else {"calls": calls})
        record = changed(sampler__settings=settings, sampler__nfe=nfe, images__path=name)
        write_measurements(tmp_path / f"{name}.json", [record])
    files = [tmp_path / f"{name}.json" for name in "abc"]
    found = find_rows(files, metric="frechet", form="denoised", split=None)
    assert [row.label for row in found] == ["a, 12 calls", "b, 24 calls", "c, 12 calls"]


def test_a_run_that_was_evaluated_on_the_way_alone_is_compared_by_that(tmp_path):
    run = tmp_path / "run"
    write_measurements(tmp_path / "here.json", [RECORD])
    run.mkdir()
    (run / "experiment.json").write_text("{}")
    (run / "data.json").write_text("{}")
    with pytest.raises(InputError, match="run holds no record"):
        find_rows([run], metric="frechet", form="denoised", split=None)
    (run / "evaluations.jsonl").write_text(measurement_line(RECORD))
    (row,) = find_rows([run], metric="frechet", form="denoised", split=None)
    assert row.measurement == RECORD


@pytest.mark.parametrize(
    ("metric", "path", "message"),
    [
        ("fid", "a.json", "no number 'fid'"),
        ("kernel", "a.json", "holds no record of kernel of denoised samples"),
        ("frechet", "absent", "no file or folder"),
        ("frechet", "empty", "cascore evaluate writes them"),
    ],
)
def test_nothing_to_compare_is_told(tmp_path, metric, path, message):
    write_measurements(tmp_path / "a.json", [RECORD])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_rows([tmp_path / path], metric=metric, form="denoised", split=None)


def test_the_command_prints_a_table_and_draws(tmp_path, capsys):
    near = changed(images__path="runs/b", value=2.6)
    far = changed(images__path="runs/c", value=9.0, error=0.5)
    for name, record in (("a", RECORD), ("b", near), ("c", far)):
        write_measurements(tmp_path / f"{name}.json", [record])
    files = [tmp_path / f"{name}.json" for name in "cab"]
    assert run("compare", *files, "--out", tmp_path / "a.svg") == 0
    message = capsys.readouterr().out
    rows = [line.split() for line in message.splitlines() if "runs/" in line]
    assert [(row[0], row[1]) for row in rows] == [("1", "runs/a"), ("1", "runs/b"), ("3", "runs/c")]
    assert "tie with the first" in message
    assert max(map(len, message.splitlines())) <= 100
    svg = (tmp_path / "a.svg").read_text()
    assert svg.startswith("<?xml")
    assert "</svg>" in svg
    write_measurements(tmp_path / "d.json", [changed(images__count=500, images__path="runs/d")])
    assert run("compare", *files, tmp_path / "d.json") == 2
    way_out = re.search(r"(--accept .*)", capsys.readouterr().err)[1].split()
    assert run("compare", *files, tmp_path / "d.json", *way_out) == 0
    assert "Differences accepted: count" in " ".join(capsys.readouterr().out.split())


def test_numbers_that_no_scale_holds_are_listed_without_a_drawing(tmp_path, capsys):
    write_measurements(tmp_path / "a.json", [changed(value=1e308, error=1e308), changed(value=2.0)])
    assert run("compare", tmp_path / "a.json") == 0
    told = capsys.readouterr().out
    assert "1e+308" in told
    assert "●" not in told


def test_a_chart_has_a_dot_for_every_finite_value_and_refuses_other_endings(tmp_path):
    ranked = rank(rows(tmp_path, RECORD, changed(value=3.0), changed(value=None)))
    comparison_chart(ranked, tmp_path / "deep" / "a.png", title="a", across="b")
    assert (tmp_path / "deep" / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        comparison_chart(ranked, tmp_path / "a.gif", title="a", across="b")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]
