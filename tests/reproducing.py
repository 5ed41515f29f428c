"""What the tests of `cascore reproduce` share."""

import pytest

from cascore import cli


def reproduced(study, tmp_path):
    """The folder of results after `cascore reproduce STUDY --scale tiny`."""
    out = tmp_path / "out"
    arguments = ("reproduce", study, "--scale", "tiny", "--out", out)
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            [str(each) for each in (*arguments, "--runs", tmp_path / "runs", "--device", "cpu")]
        )
    assert stopped.value.code == 0
    return out


def rows_of(path):
    """The rows of a CSV file without their header."""
    return path.read_text(encoding="utf-8").splitlines()[1:]
