"""`cascore train --from MODEL`: what is taken over, what is said, what stands in the records."""

import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from running import run
from safetensors.torch import load_file

from cascore.cli.train import parse_train
from cascore.data import load_images
from cascore.errors import InputError
from cascore.experiment.fine_tuning import read_base
from cascore.experiment.run_folder import read_experiment
from cascore.files import file_digest
from cascore.model.convert import convert_run
from cascore.model.folder import read_model_record
from cascore.model.front_matter import front_matter
from cascore.model.loading import load
from cascore.pixels import save_png
from cascore.training.checkpoint import checkpoints

EDM = ("--network.conditional", "--network.preconditioned", "--network.labels")
SMALL = ("--train.batch-size", "8", "--threads", "1", "--device", "cpu")


def tensors_at(run, step):
    saved = {checkpoint.step: checkpoint for checkpoint in checkpoints(run / "checkpoints")}
    return load_file(saved[step].tensors)


def tune(out, base, *options):
    start = ("train", "digits", *EDM, "--network.width", "8", *SMALL, "--out", out, *options)
    return run(*start, *(() if base is None else ("--from", base)))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "run"
    assert tune(folder, None, "--train.steps", "5") == 0
    return folder


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    assert tune(folder, base, "--train.steps", "1", "--train.keep-every", "1") == 0
    return folder


def test_a_run_begins_with_the_average_of_the_other_and_says_so(base, tuned):
    theirs, ours = tensors_at(base, 5), tensors_at(tuned, 0)
    names = [name for name in theirs if name.startswith("ema.")]
    assert names
    for name in names:
        assert torch.equal(ours[name], theirs[name])
        assert torch.equal(ours[name.replace("ema.", "denoiser.")], theirs[name])
    record = read_base(tuned)
    assert (record.step, record.unlike) == (5, ())
    assert record.digest == file_digest(checkpoints(base / "checkpoints")[-1].tensors)
    assert run("info", tuned) == 0


def test_it_goes_on_without_the_other_to_the_bit(base, tuned, tmp_path):
    away = tmp_path / "away"
    shutil.copytree(base, away)
    assert tune(tmp_path / "run", away, "--train.steps", "1") == 0
    shutil.rmtree(away)
    assert tune(tmp_path / "run", None, "--train.steps", "3") == 0
    shutil.copytree(tuned, tmp_path / "whole")
    assert tune(tmp_path / "whole", base, "--train.steps", "3") == 0  # the same may be named
    found, expected = (tensors_at(tmp_path / name, 3) for name in ("run", "whole"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert read_base(tmp_path / "run").digest == read_base(tmp_path / "whole").digest


def test_another_model_or_one_where_there_was_none_is_refused(base, tuned, tmp_path, capsys):
    for folder, words in ((tuned, "began with the weights of"), (base, "weights of its own")):
        before = (folder / "experiment.json").read_bytes()
        for dry in ((), ("--dry-run",)):
            assert tune(folder, "digits", "--train.steps", "5", *dry) == 2
            message = " ".join(capsys.readouterr().err.split())
            assert words in message
            assert "leave --from out" in message
        assert (folder / "experiment.json").read_bytes() == before
    shutil.copytree(tuned, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "checkpoints").mkdir()
    assert tune(tmp_path / "run", None, "--train.steps", "3") == 2
    assert "no checkpoint holds" in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_the_model_names_its_base_and_not_the_path(base, tuned, tmp_path):
    convert_run(tuned, tmp_path / "model", weights="ema")
    record = read_model_record(tmp_path / "model")
    assert record.source["base"]["digest"] == read_base(tuned).digest
    card = (tmp_path / "model" / "README.md").read_text()
    assert read_base(tuned).digest in card
    assert str(base.parent) not in card + (tmp_path / "model" / "model.json").read_text()
    on_hub = replace(record, source={**record.source, "base": {"name": "hf://some/model@v1"}})
    head = yaml.safe_load(front_matter(on_hub, ()).strip("-\n"))
    assert head["base_model"] == "some/model"
    assert "base_model" not in yaml.safe_load(front_matter(record, ()).strip("-\n"))


def test_a_folder_is_brought_to_the_model_and_classes_keep_their_vectors(base, tmp_path):
    """Larger pictures of two classes that it knows, and of one that is new."""
    digits = load_images("digits", "train")
    for name, label in (("3", 3), ("7", 7), ("a", 1)):
        (tmp_path / "new" / name).mkdir(parents=True)
        for i, image in enumerate(digits.images[digits.labels == label][:12]):
            larger = image.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
            save_png(larger, tmp_path / "new" / name / f"{i}.png")
    out = tmp_path / "run"
    options = ("--train.steps", "2", "--from", base, "--out", out, *SMALL)
    assert run("train", f"folder:{tmp_path / 'new'}", *options, "--train.keep-every", "1") == 0
    experiment = read_experiment(out)
    assert experiment.network == read_experiment(base).network
    assert experiment.train.sigmas == "levels"  # as of the base, not as of folders
    assert experiment.schedule == read_experiment(base).schedule  # it knows nothing between them
    theirs, ours = (
        tensors["ema.network.labels.table.weight"]
        for tensors in (tensors_at(base, 5), tensors_at(out, 0))
    )
    model = load(out)
    assert (model.classes, model.shape) == (("3", "7", "a"), (1, 8, 8))
    assert len(theirs.unique(dim=0)) == len(theirs) == 11
    assert torch.equal(ours, theirs[[3, 7, 10, 10]])
    (unlike,) = read_base(out).unlike
    assert unlike.endswith(": a")


def test_what_fits_in_part_begins_with_that_and_names_the_rest(base, tmp_path):
    out = tmp_path / "run"
    assert tune(out, base, "--network.multipliers", "1", "3", "--train.steps", "1",
                "--train.keep-every", "1") == 0  # fmt: skip
    stays = {line.partition(" stays new")[0] for line in read_base(out).unlike if "stays" in line}
    theirs, ours = tensors_at(base, 5), tensors_at(out, 0)
    network = [name.removeprefix("ema.") for name in ours if name.startswith("ema.network.")]
    unlike = {
        name
        for name in network
        if f"ema.{name}" not in theirs or theirs[f"ema.{name}"].shape != ours[f"ema.{name}"].shape
    }
    assert set() < unlike < set(network)
    assert stays == unlike
    for name in set(network) - unlike:
        assert torch.equal(ours[f"ema.{name}"], theirs[f"ema.{name}"])


def test_what_means_another_thing_is_told(base, tmp_path, capsys):
    options = ("--network.width", "8", "--train.steps", "1", *SMALL, "--dry-run")
    assert run("train", "digits", *options, "--from", base, "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert "--network.conditional" in out
    assert "--network.preconditioned" in out


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("stacked-digits", "channels: 1, and these have 3, which no training changes"),
        ("swiss-roll", "is a model of images, and these data are points"),
        ("digits-ncsnv2", "weights have no place in a ncsnv2"),
    ],
)
def test_what_cannot_begin_so_is_refused_with_words(start, words, tmp_path, capsys):
    options = ("--train.steps", "1", "--out", tmp_path / "run", *SMALL)
    assert run("train", start, "--from", "digits", *options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_the_word_after_from_is_not_what_is_trained():
    for line in (["--from", "digits", "fashion-mnist"], ["fashion-mnist", "--from=digits"]):
        command = parse_train(line)
        assert (command.start, command.base) == ("fashion-mnist", "digits")
    with pytest.raises(InputError, match="say what to train"):
        parse_train(["--from", "digits"])


@pytest.mark.parametrize(
    "switch",
    [
        *("--dry-run", "--no-dry-run", "--train.compiled", "--data.no-flip"),
        *("--threads=1", "--train.steps=3"),
    ],
)
def test_the_word_after_a_switch_is_what_is_trained(switch):
    assert parse_train([switch, "cifar-10-small"]).start == "cifar-10-small"
