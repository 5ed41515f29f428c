"""What the tests of `cascore reproduce` share."""

from running import run


def reproduced(study, tmp_path):
    """The folder of results after `cascore reproduce STUDY --scale tiny`."""
    out = tmp_path / "out"
    arguments = ("reproduce", study, "--scale", "tiny", "--out", out)
    assert run(*arguments, "--runs", tmp_path / "runs", "--device", "cpu") == 0
    return out


def rows_of(path):
    """The rows of a CSV file without their header."""
    return path.read_text(encoding="utf-8").splitlines()[1:]
