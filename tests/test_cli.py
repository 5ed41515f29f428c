"""The command line as a user meets it: results, records, and one clear line for every mistake."""

import json
import re
import shutil

import pytest
import torch
from running import run
from safetensors import SafetensorError

import cascore
from cascore.data import load_images
from cascore.experiment.presets import PRESETS, SAMPLERS
from cascore.measurement import read_measurements
from cascore.metrics import extractor_names
from cascore.pixels import save_png

TINY = ("--network.width", "8", "--train.batch-size", "16", "--train.steps", "3", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert run("train", "digits", *TINY, "--out", folder) == 0
    return folder


def test_training_a_finished_run_again_changes_nothing(trained):
    before = (trained / "metrics.jsonl").read_bytes()
    assert run("train", "digits", *TINY, "--out", trained) == 0
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_dry_run_describes_a_run_and_writes_nothing(tmp_path, capsys, monkeypatch):
    """Of data that are here, and of data that are not."""
    monkeypatch.chdir(tmp_path)
    narrow = ("--network.width", "4", "--adversarial.width", "2", "--train.batch-size", "4")
    for preset, facts in (
        ("digits-adversarial", ('"objective": "hybrid"', "ms a step")),
        (
            "cifar10-ncsnv2-adversarial",
            ("data: not here, of shape [3, 32, 32]", '"levels": 232', ", from its operations, "),
        ),
    ):
        assert run("train", preset, "--device", "cpu", "--dry-run", *narrow) == 0
        described = capsys.readouterr().out
        assert [fact for fact in (*facts, "discriminator: ") if fact not in described] == []
    assert list(tmp_path.iterdir()) == []


def test_presets_lists_every_preset_and_sampler(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run("presets", "--device", "cpu") == 0
    listed = capsys.readouterr().out
    assert [name for name in (*PRESETS, *SAMPLERS) if name not in listed] == []
    assert "29,694,083" in listed


def test_sample_writes_pictures_sheets_and_a_record(trained, tmp_path):
    out = tmp_path / "pictures"
    assert run("sample", trained, "--count", 3, "--seed", 7, "--calls", 4, "--out", out) == 0
    record = json.loads((out / "record.json").read_text())
    assert (record["nfe"], record["first_seed"], record["step"]) == (4, 7, 3)
    assert record["sampler"]["kappa"] == 2.5
    names = ["seed-00000007.png", "seed-00000008.png", "seed-00000009.png"]
    assert sorted(path.name for path in (out / "raw").iterdir()) == names
    assert (out / "denoised.png").is_file()
    out = tmp_path / "like"
    assert run("sample", trained, "--count", "2", "--like", "figure-2", "--out", out) == 0
    record = json.loads((out / "record.json").read_text())
    assert record["nfe"] == 280  # ten calls at each of 28 levels
    assert record["sampler"]["eta"] == 0.2


def test_evaluations_of_a_run_lie_in_it_and_are_compared(trained, capsys):
    for steps in (2, 3):
        asked = ("--count", 20, "--calls", steps, "--metrics", "frechet", "--device", "cpu")
        assert run("evaluate", trained, *asked) == 0
    names = sorted(path.name for path in (trained / "evaluations").iterdir())
    assert names == [
        f"cas-order-2-kappa-2.5-centred-levels-{calls}-calls-seed-0-count-20-step-3-metrics-frechet.json"
        for calls in (2, 3)
    ]
    capsys.readouterr()
    assert run("compare", trained) == 0
    told = capsys.readouterr().out
    assert "2 calls" in told
    assert "3 calls" in told
    shutil.rmtree(trained / "evaluations")


def test_other_questions_about_the_same_pictures_have_files_of_their_own(trained):
    asked = ("--count", 20, "--calls", 2, "--device", "cpu", "--metrics", "frechet")
    others = {
        "metrics-frechet-kernel": ("kernel",),
        "extractor-pixels-metrics-frechet": ("--extractor", "pixels"),
        "data-digits-metrics-frechet": ("--data", "digits"),
    }
    for question in others.values():
        assert run("evaluate", trained, *asked, *question) == 0
    names = {path.stem.partition("-step-3-")[2] for path in (trained / "evaluations").iterdir()}
    assert names == others.keys()
    shutil.rmtree(trained / "evaluations")


@pytest.mark.parametrize("command", ["evaluate", "reference"])
def test_help_names_every_extractor(command, capsys):
    assert run(command, "--help") == 0
    told = re.split(r"[\s│,;]+", capsys.readouterr().out)
    assert {*extractor_names()} <= {*told}


def test_evaluate_judges_a_folder_of_real_images_at_the_floor(tmp_path, capsys):
    # 100 held-out digits are as good as a perfect model's.
    for index, image in enumerate(load_images("digits", "test").images[:100]):
        save_png(image, tmp_path / f"{index}.png")
    out = tmp_path / "records.json"
    assert run("evaluate", tmp_path, "--data", "digits", "--out", out) == 0
    record = read_measurements(out)[0]
    assert record.value <= record.floor.mean + 2 * record.floor.spread
    row = next(x for x in capsys.readouterr().out.splitlines() if "1,437 training" in x)
    assert f"= {record.value:.3f}" in row


def test_the_version_is_one_line(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"cascore {cascore.__version__}\n"


def mistakes(trained, tmp_path):
    """Arguments, and a word that the message must hold."""
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    save_png(torch.zeros(1, 8, 8, dtype=torch.uint8), mixed / "grey.png")
    save_png(torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8), mixed / "colour.png")
    twice = tmp_path / "twice"
    twice.mkdir()
    (twice / "record.json").write_text("{}")
    truncated = tmp_path / "truncated"
    shutil.copytree(trained, truncated)
    tensors = truncated / "checkpoints" / "step-00000003" / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    foreign = tmp_path / "foreign"
    shutil.copytree(trained, foreign)
    experiment = json.loads((foreign / "experiment.json").read_text())
    experiment["network"]["width"] = 16
    (foreign / "experiment.json").write_text(json.dumps(experiment))
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html>")
    als = ("--method", "als", "--n-sigma", "5")
    cifar10 = ("--network", "cifar10-ncsnv2")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model.json").write_text("{}")
    full = ("--train.steps", "2", "--device", "cpu", "--out", "/dev/full/run")
    return [
        (("train", "digit"), "digits"),
        (("train", "digits", "--train.stepz", "3"), "--train.steps"),
        (("train", "digits", "--train.steps", "0"), "--train.steps must be at least 1, not 0"),
        (("train", "digits", "--data.name", "nothing"), "nothing"),
        (("train", "digits", "--data.name", f"folder:{empty}"), "no image"),
        (("train", "digits", "--data.name", f"folder:{broken}"), "a.png"),
        (("train", "digits", "--data.name", f"folder:{mixed}"), "grey.png"),
        (("train", "digits", "--adversarial.gan", "best"), "lsgan"),
        (("train", "digits", *full), "/dev/full"),
        (("train", "digits", "--out", trained), "another experiment"),
        (("sample", tmp_path / "absent"), "absent"),
        (("sample", empty), "neither a run nor a model folder"),
        (("sample", damaged), "format_version is None"),
        (("evaluate", damaged), "format_version is None"),
        (("info", damaged), "format_version is None"),
        (("convert", page, tmp_path / "out"), "--network"),
        (("convert", page, tmp_path / "out", "--network", "cifar"), "cifar10-ncsnv2"),
        (("convert", page, tmp_path / "out", *cifar10), "web page"),
        (("convert", page, tmp_path / "out", *cifar10, "--size", "0"), "--size"),
        (("convert", page, tmp_path / "out", *cifar10, "--last", "60"), "first > last"),
        (("convert", page, mixed, *cifar10), "is there already"),
        (("convert", tmp_path / "absent.pth", tmp_path / "out", *cifar10), "no file"),
        (("convert", empty, tmp_path / "out"), "no experiment.json"),
        (("convert", damaged, tmp_path / "out"), "model folder already"),
        (("convert", trained, tmp_path / "out", *cifar10), "leave out --network"),
        (("convert", truncated, tmp_path / "out"), "is not what was written"),
        (("convert", foreign, tmp_path / "out"), "does not fit"),
        (("sample", truncated), "is not what was written"),
        (("sample", foreign), "does not fit"),
        (("sample", trained, "--count", "0"), "count"),
        (("sample", trained, "--count", "x"), "'x' is not a whole number"),
        (("sample", trained, "--kappa", "x"), "'x' is not a number"),
        (("train", "digits", "--network.width", "16384", "--dry-run"), "memory"),
        (("sample", trained, "--seed", "-1"), "--seed must be at least 0"),
        (("sample", trained, "--eta", "5"), "--eta must be below 2"),
        (("sample", trained, "--eta", "0.5", "--kappa", "2"), "--kappa and --eta"),
        (("sample", trained, "--kappa", "0.5"), "kappa"),
        (("sample", trained, "--calls", "0"), "--calls must be at least 1, not 0"),
        (("sample", trained, "--steps", "12"), "--calls"),
        (("sample", trained, "--steps=None"), "--levels all"),
        (("tune", trained, "--steps", "12"), "--calls"),
        (("evaluate", trained, "--steps", "12"), "--calls"),
        (("sample", trained, "--calls", "3", "--levels", "all"), "not both"),
        (("sample", trained, "--method", "als", "--order", "2"), "--order 2 is for --method cas"),
        (("sample", trained, *als, "--calls", "12"), "give 10 or 15"),
        (("sample", trained, "--n-sigma", "5"), "--levels all"),
        (("sample", trained, "--like", "figure-2", "--order", "2"), "leave out --order"),
        (("sampel", trained), "did you mean sample?"),
        (("train",), "cascore train digits"),
        (("train", empty), f"cascore train folder:{empty}"),
        (("train", "./photos"), "folder:./photos"),
        (("train", "./my photos"), "cascore train 'folder:./my photos'"),
        (("train", "swiss-roll", "--minutes", "3"), "--minutes is for images"),
        (("train", "digits", "--data.size", "16"), "one fixed form"),
        (("sample", trained, "--like", "figure-2", "--calls=3"), "leave out --calls"),
        (("sample", trained, "--like", "figure-2", "--n-sigma", "1"), "leave out --n-sigma"),
        (("evaluate", trained, "--like=figure-2", "--method", "cas"), "leave out --method"),
        (("sample", trained, "--like", "figure-9"), "figure-2"),
        (("sample", trained, "--like", "cifar10-unet-als-5"), "232 levels from 50"),
        (("train", "digits", "--network.kind", "mlp"), "use unet or ncsnv2"),
        (("evaluate", mixed), "--data"),
        (("evaluate", mixed, "--data", "digits"), "grey.png"),
        (("evaluate", mixed, "--data", "digits", "--count=9", "--seed", "5"), "--count, --seed: "),
        (("evaluate", trained, "--count", "1"), "at least 2"),
        (("evaluate", twice, "--data", "digits"), "samples of cascore twice"),
        (("evaluate", trained, "--data", mixed / "absent.npz"), "cannot be read as statistics"),
        (("evaluate", trained, "--size", "16"), "for folders of images"),
        (("evaluate", trained, "--extractor", "eyes"), "no extractor"),
        (("evaluate", trained, "--checkpoint", "best"), "none was evaluated during training"),
        (("evaluate", trained, "--as-published"), "divergence of modes"),
        (("evaluate", trained, "--metrics", "fid"), "inception-score"),
        (("compare", empty), "holds no record"),
        (("compare", damaged), "holds no record"),
        (("compare", page), "not JSON"),
        (("compare",), "nothing to compare"),
        (("verify", page), "not JSON"),
        (("verify", tmp_path / "absent.json"), "there is no file"),
        (("reference", "digits", page), "is there already"),
        (("reference", "digits", tmp_path / "out.npy"), "ends in .npz"),
        (("reference", "digits", tmp_path / "out.npz", "--split", "all"), "no split 'all'"),
        (("reference", "swiss-roll", tmp_path / "out.npz"), "set of points"),
        (("train", "digits", "--train.evaluate-count", "1"), "--train.evaluate-count must be"),
        (("info", empty), "neither a run nor a model folder"),
    ]


def test_every_mistake_is_one_clear_message_and_exit_code_2(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, word in mistakes(trained, tmp_path):
        capsys.readouterr()
        assert run(*arguments) == 2, arguments
        captured = capsys.readouterr()
        told = " ".join((captured.err + captured.out).replace("│", " ").split())
        assert word in told, (arguments, told)
        assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "runs" / "digits" / "checkpoints").exists()
    assert not (trained / "samples").exists()


def test_a_full_disk_is_one_clear_message_and_leaves_nothing_half_written(
    tmp_path, capsys, monkeypatch
):
    def full(tensors, path, metadata=None):
        path.write_bytes(b"half")
        told = "No space left on device (os error 28)"  # its words of a disk that was full
        raise SafetensorError(f"Error while serializing: I/O error: {told}")

    monkeypatch.setattr("cascore.training.checkpoint.save_file", full)
    assert run("train", "digits", *TINY, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert str(tmp_path / "run" / "checkpoints" / "step-") in told
    assert "the same command goes on" in told
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    monkeypatch.undo()  # with room again, the same command goes on
    assert run("train", "digits", *TINY, "--out", tmp_path / "run") == 0
