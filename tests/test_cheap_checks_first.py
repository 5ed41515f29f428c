"""What can be refused without reading pictures or drawing any is refused before that."""

import pytest
from running import run

import cascore.data.contents
import cascore.data.folder
import cascore.evaluation.evaluate
import cascore.experiment.chain
from cascore.data.listing import find_images


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Fails at the first picture that is listed, decoded or drawn; and so that it would be seen."""
    monkeypatch.chdir(tmp_path)

    def work(*arguments, **options):
        pytest.fail("the work has begun")

    monkeypatch.setattr(cascore.data.contents, "find_images", work)
    monkeypatch.setattr(cascore.data.folder, "decode_one", work)
    monkeypatch.setattr(cascore.experiment.chain, "consistent_annealed", work)
    assert find_images is not cascore.data.contents.find_images


UNWRITABLE = ("/proc/x", "/proc/x/y", "a-file/x")
COMMANDS = {
    "train": ("train", "folder:pictures", "--out"),
    "train preset": ("train", "digits", "--out"),
    "sample": ("sample", "digits", "--out"),
    "evaluate": ("evaluate", "digits", "--out"),
    "tune": ("tune", "digits", "--out"),
    "data show": ("data", "show", "folder:pictures", "--out"),
    "data prepare": ("data", "prepare", "mine", "--source", "pictures", "--root"),
    "quickstart": ("quickstart", "--out"),
    "export": ("export", "digits"),
    "compare": ("compare", "records.json", "--out"),
}  # fmt: skip


@pytest.mark.parametrize("place", UNWRITABLE)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_told_plainly(name, place, started, tmp_path, capsys):
    (tmp_path / "a-file").write_text("")
    (tmp_path / "pictures").mkdir()
    assert run(*COMMANDS[name], place) == 2
    told = capsys.readouterr().err
    assert place in told
    assert "cannot be written" in told
    assert "Traceback" not in told
    assert "being written" not in told


def test_a_file_in_place_of_a_run_is_told_plainly(started, tmp_path, capsys):
    (tmp_path / "a-file").write_text("precious")
    assert run("train", "digits", "--out", "a-file") == 2
    told = capsys.readouterr().err
    assert "Errno" not in told
    assert "choose another" in told
    assert (tmp_path / "a-file").read_text() == "precious"


def test_a_file_in_place_of_a_folder_of_sheets_is_told_of_first(started, tmp_path, capsys):
    (tmp_path / "a-file").write_text("precious")
    assert run("data", "show", "folder:pictures", "--out", "a-file") == 2
    assert "a-file/sheet.png cannot be written: " in capsys.readouterr().err
    assert (tmp_path / "a-file").read_text() == "precious"


def test_statistics_by_another_name_are_refused_before_pictures_are_read(started, capsys):
    assert run("reference", "folder:pictures", "out.npy") == 2
    assert "ends in .npz, not to out.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [("text", "holds no records"), ("folder", "is a folder"), ("/dev/null", "is no file")],
)
def test_an_evaluation_replaces_nothing_but_records(name, told, started, tmp_path, capsys):
    """Least of all what a mistyped name belongs to; an administrator could replace a device."""
    (tmp_path / "text").write_text("precious")
    (tmp_path / "folder").mkdir()
    assert run("evaluate", "digits", "--out", name) == 2
    assert told in capsys.readouterr().err
    assert (tmp_path / "text").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "text"]


@pytest.mark.parametrize(
    "given",
    [
        ("folder:pictures", "--network.kind", "mlp"),
        ("folder:pictures", "--adversarial.loss", "none-such"),
        ("folder:pictures", "--train.learning-rate", "1e300"),
        ("folder:pictures", "--data.size", "7"),
        ("fashion-mnist", "--network.kind", "mlp"),
        ("swiss-roll", "--network.kind", "unet"),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_pictures_are_read(given, started, capsys):
    assert run("train", *given, "--out", "out") == 2
    assert "Traceback" not in capsys.readouterr().err
