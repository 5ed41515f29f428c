"""The schema of records: what is written is read back, and nothing else is."""

import json
import math
from dataclasses import replace

import pytest
from example_records import RECORD

from cascore.errors import InputError
from cascore.measurement import (
    SCHEMA,
    measurement_from_plain,
    measurement_line,
    read_measurements,
    write_measurements,
)


def plain(record=RECORD):
    return json.loads(measurement_line(record))


def test_a_file_of_records_is_read_back(tmp_path):
    files = replace(RECORD, model=None, sampler=None, selection=None, floor=None, references=())
    unknown = replace(RECORD, value=None, error=None, extractor=None)
    for name in ("a.json", "a.jsonl"):
        write_measurements(tmp_path / "deep" / name, [RECORD, files, unknown])
        assert read_measurements(tmp_path / "deep" / name) == [RECORD, files, unknown]
    assert (tmp_path / "deep" / "a.jsonl").read_text().count("\n") == 3
    assert json.loads((tmp_path / "deep" / "a.json").read_text())[0]["schema"] == SCHEMA
    (tmp_path / "one.json").write_text(json.dumps(plain()))
    (tmp_path / "two.jsonl").write_text(f"{json.dumps(plain())}\n{json.dumps(plain())}\n")
    assert read_measurements(tmp_path / "one.json") == [RECORD]
    assert read_measurements(tmp_path / "two.jsonl") == [RECORD, RECORD]


def paths(value, before=()):
    """The way to every entry of a JSON value that the schema names."""
    free = {"settings", "preprocessing", "experiment", "software"}
    for name, entry in value.items():
        here = (*before, name)
        yield here
        if isinstance(entry, dict) and name not in free and here != ("model", "data"):
            yield from paths(entry, here)


ENTRIES = [*paths(plain())]
LATER = {("computation", "precision"): "float32", ("computation", "compiled"): False}
"""What version 0.3 did not write, and what it means where it is absent."""


def at(value, path):
    for name in path[:-1]:
        value = value[name]
    return value


def test_every_entry_is_needed_and_of_its_kind():
    assert len(ENTRIES) > 40
    for path in ENTRIES:
        missing, mistyped, unknown = plain(), plain(), plain()
        del at(missing, path)[path[-1]]
        at(mistyped, path)[path[-1]] = [[{}]]
        at(unknown, path)[f"{path[-1]}_more"] = 1
        if path in LATER:
            read = measurement_from_plain(missing, "it")
            assert getattr(getattr(read, path[0]), path[1]) == LATER[path]
        else:
            with pytest.raises(InputError, match=path[-1]):
                measurement_from_plain(missing, "it")
        with pytest.raises(InputError, match=r"it\." + r"\.".join(path)):
            measurement_from_plain(mistyped, "it")
        with pytest.raises(InputError, match=f"{path[-1]}_more is unknown"):
            measurement_from_plain(unknown, "it")


def test_a_negative_error_is_refused():
    with pytest.raises(InputError, match=r"error is -1\.0; expected at least 0, or none"):
        measurement_from_plain(plain() | {"error": -1.0}, "it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no record"),
        ("3", "expected a record"),
        ('{"a": 1}', "schema is None"),
        ('{"schema": "cascore.record/2"}', "schema is 'cascore.record/2'"),
        ("[" * 100_000, "nested deeper"),
    ],
)
def test_what_is_no_file_of_records_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_measurements(tmp_path / "a.json")
    with pytest.raises(InputError, match="no file"):
        read_measurements(tmp_path / "absent.json")


def test_an_infinite_kappa_is_a_word_on_the_disk_and_a_number_for_every_reader(tmp_path):
    settings = {**RECORD.sampler.settings, "kappa": math.inf}
    new = replace(RECORD, sampler=replace(RECORD.sampler, settings=settings))
    write_measurements(tmp_path / "a.json", [new])
    (written,) = json.loads((tmp_path / "a.json").read_text())
    assert written["sampler"]["settings"]["kappa"] == "inf"
    (read,) = read_measurements(tmp_path / "a.json")
    assert read == new
    assert read.sampler.settings["kappa"] == math.inf
