"""JSON into dataclasses: there and back, and every fault an InputError that names it."""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import reading_at_most

from cascore import plain
from cascore.errors import InputError
from cascore.plain import (
    from_plain,
    json_text,
    last_line,
    log_from_end,
    parse_json,
    read_json,
    read_json_lines,
    read_log,
    to_plain,
    write_json,
)


@dataclass(frozen=True)
class Inner:
    number: float
    whole: int
    true: bool = False


@dataclass(frozen=True)
class Outer:
    text: str
    inner: Inner
    several: tuple[Inner, ...]
    pair: tuple[int, str]
    choice: Literal[1, 2, "all"]
    maybe: float | None
    either: int | Literal["all"] | tuple[float, ...] | None
    numbers: Mapping[str, float]
    parts: Mapping[str, Inner]
    anything: Any

    def __post_init__(self):
        if self.text == "refused":
            raise InputError("this text is refused")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter("refused".__ne__)
FLOAT = st.floats(allow_nan=False)
WHOLE = st.integers(-(2**63), 2**64 - 1)
INNER = st.builds(Inner, FLOAT, WHOLE, st.booleans())
OUTER = st.builds(
    Outer,
    TEXT,
    INNER,
    st.lists(INNER, max_size=3).map(tuple),
    st.tuples(WHOLE, TEXT),
    st.sampled_from([1, 2, "all"]),
    st.none() | FLOAT,
    st.none() | WHOLE | st.just("all") | st.lists(FLOAT, max_size=3).map(tuple),
    st.dictionaries(TEXT, FLOAT, max_size=3),
    st.dictionaries(TEXT, INNER, max_size=3),
    st.none() | WHOLE | TEXT | st.lists(TEXT, max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=8), parts),
    max_leaves=12,
)


def example(**changes):
    inner = {"number": 1.5, "whole": 3}
    values = {
        "text": "a", "inner": inner, "several": [inner], "pair": [1, "b"], "choice": 1,
        "maybe": None, "either": 3, "numbers": {"c": 1}, "parts": {"d": inner},
        "anything": {"e": [1]},
    }  # fmt: skip
    return values | changes


def refusal(call):
    """The message of the InputError that a call raises; None without one."""
    try:
        call()
    except InputError as error:
        return str(error)
    return None


@given(OUTER)
def test_every_value_survives_json(value):
    again = from_plain(Outer, parse_json(json_text(value), "it"), "it")
    assert again == value
    assert repr(again) == repr(value)  # the kinds too: a tuple is a tuple, 1.0 is no 1


@given(OUTER, st.sampled_from([*example()]), JSON)
def test_a_field_of_any_value_is_read_or_named(value, name, other):
    message = refusal(lambda: from_plain(Outer, to_plain(value) | {name: other}, "it"))
    assert message is None or message.startswith((f"it.{name}", "it: this text"))


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_bytes_are_json_or_refused(content):
    message = refusal(lambda: parse_json(content, "it"))
    if message is None:
        assert parse_json(content, "it") == json.loads(content)
    else:
        assert message.startswith("it ")


@given(JSON)
def test_what_is_parsed_can_be_written_again(value):
    try:
        parsed = parse_json(json.dumps(value), "it")
    except InputError:
        return  # NaN, an infinity, an integer beyond 64 bits, half of a surrogate pair
    assert parse_json(json_text(parsed).encode(), "it") == parsed == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not text in UTF-8"),
        (b'{"a": 1, "a": 2}', "the name 'a' is given twice"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 100_000, "nested deeper than 64"),
        (b"1" * 21, "an integer of more than 20 digits"),
        (b"1" * 10_000, "4300 digits"),
        (b"NaN", "the number nan is not finite"),
        (b"[-Infinity]", "the number -inf is not finite"),
        (b"1e999", "the number inf is not finite"),
        (rb'"\ud800"', "half of a surrogate pair"),
    ],
)
def test_what_is_no_sound_json_is_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        read_json(path)
    assert str(refused.value).startswith(str(path))
    assert len(str(refused.value)) < 300
    for absent in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(InputError, match="there is no file"):
            read_json(absent)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"written to .*a\.json .*half of a surrogate pair"):
        write_json(tmp_path / "a.json", {"classes": ["caf\udce9"]})
    assert not list(tmp_path.iterdir())


def test_many_names_before_one_given_twice_do_not_take_their_square_of_time():
    names = [str(number) for number in range(300_000)]  # an hour, if each is compared with all
    text = "{" + ", ".join(f'"{name}": 0' for name in [*names, names[-1]]) + "}"
    with pytest.raises(InputError, match="the name '299999' is given twice"):
        parse_json(text, "it")


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n"\xc3\xa9"\n')
    assert read_json_lines(path) == [{"a": 1}, "é"]
    path.write_text('1\n{"b"\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2 is not JSON"):
        read_json_lines(path)


def test_a_log_gives_every_line_that_can_be_read_and_counts_the_others(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == ([], 0)
    for content, values, damaged in (
        (b'1\n{"b"', [1], 0),  # unfinished
        (b'1\n{"b"\n3\n', [1, 3], 1),
        (b"\xff\n2\n\xff\n4\n[", [2, 4], 2),
        (b"", [], 0),
    ):
        path.write_bytes(content)
        assert read_log(path) == (values, damaged)


@pytest.mark.parametrize("block", [1, 2, 7, 2**16])
def test_a_log_is_read_from_its_end_as_from_its_start(tmp_path, monkeypatch, block):
    monkeypatch.setattr(plain, "_BLOCK", block)
    path = tmp_path / "log.jsonl"
    assert list(log_from_end(path)) == []
    assert last_line(path) is None
    for content in (
        b"",
        b'1\n{"b"',
        b'1\n{"b"\n3\n',
        b"\xff\n2\n\xff\n4\n[",
        b'\xef\xbb\xbf{"a": 1}\r\n"\xc3\xa9"\n\n\n{"step": 12}',
    ):
        path.write_bytes(content)
        lines = list(log_from_end(path))[::-1]
        values = [line.value for line in lines if line.value is not None]
        assert values == read_log(path).values
        assert last_line(path) == (values[-1] if values else None)
        ends = itertools.accumulate(map(len, content.splitlines(keepends=True)))
        assert [line.end for line in lines] == list(ends)


def test_a_line_longer_than_any_is_passed_over_from_the_end_too(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"[" + b"{}," * 400_000 + b"{}]\n2\n")
    assert list(log_from_end(path)) == [(2, 1_200_007), (None, 1_200_005)]


def test_the_last_line_of_a_log_is_read_without_the_others(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("wb") as log:
        log.truncate(2**30)  # which takes no room
        log.seek(2**30)
        log.write(b'\n{"step": 7}\n{"ste')
    with reading_at_most(2**17):
        assert last_line(path) == {"step": 7}


def test_what_is_too_long_is_refused_before_its_values_fill_the_memory(tmp_path):
    line = b"[" + b"{}," * 400_000 + b"{}]\n"
    (tmp_path / "a.jsonl").write_bytes(line)
    (tmp_path / "a.json").write_bytes(line * 14)
    with pytest.raises(InputError, match="line 1 is too long"):
        read_json_lines(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="more than 16 MiB"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": 3}, "it.text is 3; expected text"),
        ({"inner": []}, r"it.inner is \[\]; expected an object"),
        ({"inner": {"number": 1}}, "it.inner.whole is missing; expected a whole number"),
        ({"inner": {"number": True, "whole": 1}}, "it.inner.number is True; expected a number"),
        ({"inner": {"number": 10**400, "whole": 1}}, "it.inner.number is 1000"),
        ({"inner": {"number": math.nan, "whole": 1}}, "it.inner.number is nan"),
        ({"inner": {"number": 1, "whole": 1.0}}, "it.inner.whole is 1.0"),
        ({"inner": {"number": 1, "whole": 1, "true": 1}}, "it.inner.true is 1; expected true or"),
        ({"several": [{"number": 1, "whole": "x"}]}, r"it.several\[0\].whole is 'x'"),
        ({"several": {}}, r"it.several is {}; expected a list"),
        ({"pair": [1]}, "it.pair has 1 entries; expected 2"),
        ({"choice": True}, 'it.choice is True; expected 1 or 2 or "all"'),
        ({"maybe": "1"}, "it.maybe is '1'; expected a number"),
        ({"either": "some"}, "it.either is 'some'; expected a whole number or \"all\" or a list"),
        ({"parts": {"d": {}}}, "it.parts.d.number is missing"),
        ({"more": 1}, "it.more is unknown; expected only text, inner"),
        ({"text": "refused"}, "it: this text is refused"),
    ],
)
def test_a_fault_is_named_by_its_path(changes, message):
    with pytest.raises(InputError, match=message):
        from_plain(Outer, example(**changes), "it")


def test_defaults_infinities_and_whole_floats():
    assert from_plain(Inner, {"number": "-inf", "whole": 0}, "it") == Inner(-math.inf, 0, False)
    assert type(from_plain(Inner, {"number": 3, "whole": 0}, "it").number) is float
    with pytest.raises(InputError, match="NaN"):
        json_text([1.0, math.nan])
    assert to_plain({"kappa": math.inf, "betas": (0, 0.9)}) == {"kappa": "inf", "betas": [0, 0.9]}


def test_what_an_older_version_wrote_is_turned_into_the_present_form():
    @dataclass(frozen=True)
    class Renamed:
        calls: int

        @staticmethod
        def upgraded(values):
            if "steps" in values:
                return {"calls": values["steps"]}
            return values

    @dataclass(frozen=True)
    class Holder:
        part: Renamed

    assert from_plain(Holder, {"part": {"steps": 3}}, "it") == Holder(Renamed(3))
    assert from_plain(Holder, {"part": {"calls": 3}}, "it") == Holder(Renamed(3))
