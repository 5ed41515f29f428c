"""What a person is shown: any name as text, in any encoding, and no traceback for an interrupt."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import RECORD
from hypothesis import given
from hypothesis import strategies as st

from cascore.cli import __main__ as command_line
from cascore.cli.common import plain_console
from cascore.evaluation.compare import dot_chart
from cascore.files import replaced_file, replaced_folder
from cascore.measurement import write_measurements
from cascore.plain import printable, whole_number
from cascore.progress import Display, TextConsole
from cascore.stats import Estimate

NASTY = "a$\\frac$ \x1b]0;owned\x07 \u202egnp.exe \udc80 é"


@given(st.text())
def test_what_is_printable_stays_and_nothing_else_does(text):
    shown = printable(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    assert (shown == text) == all(letter.isprintable() or letter in "\n\t" for letter in text)


@given(st.integers(0, 10**20 - 1), st.sampled_from("²٣ -_."))
def test_a_number_in_a_name_has_digits_alone(number, other):
    assert whole_number(str(number)) == whole_number(f"{number:020d}") == number
    assert whole_number(f"{number}{other}") is whole_number(other) is whole_number("") is None
    assert whole_number("9" * 21) is None


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_a_chart_draws_any_name_as_text(tmp_path, form):
    name = "a$\\frac$ \x1b[2J $x"
    path = tmp_path / f"chart.{form}"
    dot_chart([(name, Estimate(1, 0.1), "red")], path, title=name, across="value", floor=None)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp1251", "utf-8"])
def test_a_table_survives_every_encoding_and_no_name_moves_the_terminal(tmp_path, encoding):
    numbers = [
        replace(RECORD, value=value, images=replace(RECORD.images, path=f"{value} {NASTY}"[:-4]))
        for value in (2.0, 3.0)
    ]
    write_measurements(tmp_path / "numbers.json", numbers)
    done = subprocess.run(
        [sys.executable, "-m", "cascore", "compare", "numbers.json", "--out", "é.png"],
        cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "é.png").is_file()
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert b"Fr\xc3\xa9chet" in done.stdout or b"Fr?chet" in done.stdout


def test_a_message_shows_control_characters_as_escapes(capsys):
    shown = "[bold]a$\\frac$ \\x1b]0;owned\\x07 \\u202egnp.exe \\udc80 é\n"
    Display().say(f"[bold]{NASTY}")
    assert capsys.readouterr().err == shown
    plain_console().print(Path(f"[bold]{NASTY}"))
    assert capsys.readouterr().out == shown


def test_a_name_is_not_turned_into_a_picture(capsys):
    Display().say("runs/a:cat:b")
    assert capsys.readouterr().err == "runs/a:cat:b\n"


def test_the_title_of_a_bar_is_shown_as_it_is():
    stream = io.StringIO()
    display = Display(TextConsole(file=stream, force_terminal=True, width=200))
    for title in ("unpacking a[/b].zip", "unpacking [backup].zip", "unpacking :cat:.zip"):
        with display.counting(title, 3) as advance:
            advance(3)
        assert title in stream.getvalue()
    with display.counting("unpacking \x1b]0;owned.zip", 3) as advance:
        advance(3)
    assert "\\x1b]0;owned.zip" in stream.getvalue()


def interrupted():
    """What a library makes of an interrupt while it is imported."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise ImportError("numpy failed to import") from error


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "cascore: stopped"),
        (interrupted, 130, "cascore: stopped"),
        (OSError(28, "No space left on device", "runs/a"), 2, "runs/a'; .* same command goes on"),
        (OSError(30, "Read-only file system", "runs/a"), 2, "runs/a'; .* same command goes on"),
        (OSError(13, "Permission denied", "runs/a"), 2, "Permission denied: 'runs/a'$"),
        (MemoryError("of 3 GB"), 2, "out of memory"),
    ],
)
def test_what_ends_a_command_is_one_line(monkeypatch, capsys, raised, code, told):
    def fail(given):
        if callable(raised):
            raised()
        raise raised

    monkeypatch.setattr(command_line, "parse", fail)
    with pytest.raises(SystemExit) as stopped:
        command_line.main([])
    assert stopped.value.code == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(told, error.strip())


@pytest.mark.parametrize("number", [28, 30])
@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_disk_that_is_full_or_read_only_names_what_was_to_be_written(tmp_path, replaced, number):
    target = tmp_path / "kept"
    with pytest.raises(OSError, match="kept") as caught, replaced(target):
        raise OSError(number, os.strerror(number))  # as a write does, which knows no name
    assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert [*tmp_path.iterdir()] == []


def test_a_mistake_of_ours_is_a_traceback(monkeypatch):
    monkeypatch.setattr(command_line, "parse", lambda given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command_line.main([])


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["presets"], ["info", "digits"]], ids=" ".join
)
def test_nothing_is_said_to_a_reader_who_has_gone(words):
    """As `| head` goes: before a word is written, which is the hardest."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "cascore", *words], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (0, 128 + signal.SIGPIPE)


@pytest.mark.parametrize("words", [["--version"], ["info", "digits"]], ids=" ".join)
def test_results_that_find_no_room_are_one_clear_message(words):
    """As `> results.txt` on a disk that is full; Python buffers them, and writes at its end."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cascore", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, env=buffered,
        )  # fmt: skip
    assert re.fullmatch("cascore: error: .*No space left on device.*\n", done.stderr)
    assert done.returncode == 2


def test_messages_that_find_no_room_do_not_end_the_work(tmp_path):
    """As `2> log` on a disk that is full."""
    draw = ["sample", "digits", "--count", "1", "--calls", "1", "--device", "cpu", "--out", "out"]
    for words, code in ((draw, 0), (["sampel"], 2)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cascore", *words], cwd=tmp_path, stderr=full
            )
        assert done.returncode == code
    assert (tmp_path / "out" / "denoised.png").is_file()


def test_streams_that_are_closed_are_nobody(tmp_path):
    """As `>&- 2>&-` closes them."""
    code = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, sys.argv[1:])"
    words = [sys.executable, "-m", "cascore", "info", "digits"]
    assert subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path).returncode == 0


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_shell_completes_commands_options_and_choices(tmp_path):
    """As bash does at the tab key, with the last of the words half typed."""
    script = subprocess.run(
        [sys.executable, "-m", "cascore", "--print-completion", "bash"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (tmp_path / "completion").write_text(
        script + 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tyro_cascore; echo "${COMPREPLY[@]}"'
    )
    for words, expected in (
        ("cascore sam", "sample"),
        ("cascore data ver", "verify"),
        ("cascore sample --metho", "--method"),
        ("cascore sample digits --method c", "cas"),
        ("cascore train digits --train.learning", "--train.learning-rate"),
    ):
        done = subprocess.run(
            ["bash", tmp_path / "completion", *words.split()], capture_output=True, text=True
        )
        assert (done.stdout.strip(), done.stderr) == (expected, "")


@pytest.mark.parametrize("words", [[], ["fish"], ["bash", "zsh"]], ids=" ".join)
def test_the_shells_that_can_be_completed_are_named(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["--print-completion", *words])
    assert stopped.value.code == 2
    assert "bash, zsh" in capsys.readouterr().err


def test_a_count_off_a_terminal_is_told_once():
    told = io.StringIO()
    with Display(TextConsole(file=told)).counting("sampling", 3) as advance:
        for more in (1, 2, 0):
            advance(more)
    assert told.getvalue().splitlines() == ["sampling 3/3"]
