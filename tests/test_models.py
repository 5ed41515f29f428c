"""Model folders: what they hold, that they are enough, and each way to break them."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from running import CPU, POINTS, run, trained_in
from safetensors.torch import load_file, save_file

from cascore.errors import InputError
from cascore.experiment.settings import Data, Sampler
from cascore.files import file_digest
from cascore.measurement import Selection
from cascore.model.convert import convert_run, write_model_folder
from cascore.model.folder import FORMAT_VERSION, ModelRecord
from cascore.model.loading import is_model, load
from cascore.plain import from_plain, json_text, to_plain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and its model folder."""
    place = tmp_path_factory.mktemp("models")
    trained_in(place / "run", POINTS)
    convert_run(place / "run", place / "model", weights="ema")
    return place / "run", place / "model"


@pytest.fixture
def model(made, tmp_path):
    """A copy that may be broken."""
    shutil.copytree(made[1], tmp_path / "model")
    return tmp_path / "model"


def test_the_directory_alone_is_the_model_of_the_run(made, model):
    ours, theirs = load(model, device=CPU), load(made[0], device=CPU)
    x, sigma = torch.randn(5, 2), torch.rand(5)
    assert torch.equal(ours.denoiser(x, sigma), theirs.denoiser(x, sigma))
    assert not ours.denoiser.training
    assert not any(parameter.requires_grad for parameter in ours.denoiser.parameters())
    assert is_model(model)
    assert is_model(made[0])
    assert not is_model(model.parent)
    bare = {name.removeprefix("network.") for name in ours.denoiser.state_dict()}
    assert load_file(model / "model.safetensors").keys() == bare
    for name in ("shape", "experiment", "step"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.digest == file_digest(model / "model.safetensors")
    newest = made[0] / "checkpoints" / "step-00000002" / "state.safetensors"
    assert theirs.digest == file_digest(newest)
    assert ours.data == theirs.data
    assert ours.data["count"] == 10_000


def record(**changes):
    whole = ModelRecord(
        shape=(3, 8, 8),
        pixel_range=(-1.0, 1.0),
        experiment=replace(POINTS, data=Data(name="swiss-roll", root="of this machine")),
        step=3,
        weights="raw",
        digest="0" * 64,
        discriminator=None,
        data={"name": "a", "count": 3},
        source={"kind": "b"},
        samplers={"c": Sampler(epsilon=1e-6)},
        software={"torch": "2"},
    )
    return replace(whole, **changes)


@pytest.mark.parametrize(
    "each",
    [
        record(),
        record(shape=(2,), pixel_range=None, discriminator="f" * 64),
        record(selection=Selection(metric="frechet", value=1.5, step=3, candidates=4)),
    ],
)
def test_a_record_is_read_as_it_was_written(each):
    assert from_plain(ModelRecord, json.loads(json_text(each)), "it") == each


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("format_version", FORMAT_VERSION + 1, "install a newer cascore"),
        ("format_version", None, "format_version is None"),
        ("shape", [], "shape is"),
        ("shape", [3, 8, 0], "shape is"),
        ("shape", [3, 8, 8.0], r"shape\[2\] is"),
        ("pixel_range", [1, 0], "low < high"),
        ("pixel_range", [0], "1 entries; expected 2"),
        ("step", -1, "step is -1"),
        ("weights", "best", '"ema" or "raw"'),
        ("digest", 3, "text"),
        ("data", [], "an object"),
        ("experiment", {"network": {"kind": "transformer"}}, "experiment.network.kind"),
        ("experiment", {"nothing": 1}, "experiment.nothing is unknown"),
        ("extra", 1, "extra is unknown"),
    ],
)
def test_an_entry_that_cannot_be_is_named(name, value, told):
    with pytest.raises(InputError, match=told):
        from_plain(ModelRecord, to_plain(record()) | {name: value}, "it")


def test_a_missing_entry_is_named():
    whole = to_plain(record())
    for name in whole.keys() - {"scores", "selection"}:  # of which older folders hold none
        with pytest.raises(InputError, match=name):
            from_plain(ModelRecord, {k: v for k, v in whole.items() if k != name}, "it")


def edit(folder, **changes):
    values = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(values | changes))


def rewrite(folder, change):
    """Other weights, with the digest to go with them."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    edit(folder, digest=file_digest(folder / "model.safetensors"))


def flip_a_bit(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def network_of(**settings):
    plain = to_plain(POINTS)
    return {**plain, "network": {**plain["network"], **settings}}


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


FAULTS = {
    "a flipped bit": (flip_a_bit, "is not the file that model.json describes"),
    "other weights": (write("model.safetensors", b"abc"), "is not the file that model.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "is not whole"),
    "no record": (lambda f: (f / "model.json").unlink(), "there is no file"),
    "no JSON": (write("model.json", b"{"), "not JSON"),
    "no text": (write("model.json", b"\xff\xfe\x00"), "UTF-8"),
    "a list": (write("model.json", b"[]"), "expected an object"),
    "nesting": (write("model.json", b"[" * 100_000), "nested deeper"),
    "a later format": (lambda f: edit(f, format_version=2), "install a newer cascore"),
    "another network": (lambda f: edit(f, experiment=network_of(width=9)), "does not fit"),
    "a network of images": (lambda f: edit(f, experiment=network_of(kind="ncsnv2")), "use mlp"),
    "a network of nothing": (lambda f: edit(f, experiment=network_of(width=0)), "width"),
    "a network beyond all memory": (
        lambda f: edit(f, experiment=network_of(width=16_384, depth=256)), "GB of memory",
    ),
    "another shape": (lambda f: edit(f, shape=[3]), "does not fit"),
    "a tensor less": (
        lambda f: rewrite(f, lambda t: t.pop("layers.0.bias")), "missing layers.0.bias",
    ),
    "a tensor more": (
        lambda f: rewrite(f, lambda t: t.update(a=torch.zeros(1))), "surplus a",
    ),
    "a digest for what is no safetensors file": (
        lambda f: (
            write("model.safetensors", b"abc")(f),
            edit(f, digest=file_digest(f / "model.safetensors")),
        ),
        "cannot be read as a whole safetensors file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_clear_message(model, capsys, fault):
    breaks, told = FAULTS[fault]
    breaks(model)
    for command in ("info", "sample"):
        assert run(command, model) == 2
        captured = capsys.readouterr()
        assert told in captured.err
        assert str(model) in captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
    assert not (model / "samples").exists()


def test_a_model_directory_is_never_written_over(model):
    before = {path: path.read_bytes() for path in model.iterdir()}
    with pytest.raises(InputError, match="is there already"):
        write_model_folder(model, record(), weights={"a": torch.zeros(1)}, discriminator=None)
    assert {path: path.read_bytes() for path in model.iterdir()} == before


def test_paths_of_the_machine_do_not_travel(made, tmp_path):
    source = tmp_path / "run"
    shutil.copytree(made[0], source)
    values = json.loads((source / "experiment.json").read_text())
    values["data"]["root"] = "/home/someone"
    (source / "experiment.json").write_text(json.dumps(values))
    convert_run(source, tmp_path / "out", weights="ema")
    for path in (tmp_path / "out").iterdir():
        assert b"/home/someone" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
