"""Checkpoints: whole or not at all, kept and pruned, and refused with reasons."""

import hashlib
import json
import math
import platform
import random
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.files import remove_leftovers, replaced_file, replaced_folder, write_text
from cascore.networks import MLP, MLPDiscriminator
from cascore.training import KeyedBatches, TrainState, adam, train
from cascore.training import checkpoint as module
from cascore.training.checkpoint import (
    checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from cascore.training.state import _new_moments

POINTS = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
SIGMAS = torch.tensor([1.0, 0.1], dtype=torch.float64)


def new_state(*, width=4, seed=0, hybrid=True):
    torch.manual_seed(0)
    denoiser = UnconditionalDenoiser(MLP(width=width, depth=1))
    state = TrainState(
        denoiser, adam(denoiser.parameters(), learning_rate=1e-2, betas=(0, 0.9)), seed
    )
    if hybrid:
        state.discriminator = MLPDiscriminator(width=3, depth=1)
        state.discriminator_optimizer = adam(
            state.discriminator.parameters(), learning_rate=1e-2, betas=(-0.5, 0.9)
        )
    return state


def go_on(state, steps):
    batches = KeyedBatches(POINTS, 4, seed=state.seed)
    for _ in train(state, batches, SIGMAS, steps=steps, ema_decay=0.9, clamp=None):
        pass
    return state


def copied(state):
    return {name: value.clone() for name, value in state.tensors().items()}


def assert_same(state, tensors):
    own = state.tensors()
    assert own.keys() == tensors.keys()
    assert [name for name in own if not torch.equal(own[name], tensors[name])] == []


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def saved(tmp_path):
    state = go_on(new_state(), 3)
    return state, save_checkpoint(state, tmp_path / "checkpoints")


def test_a_checkpoint_is_safetensors_and_json_and_holds_every_tensor(saved):
    state, checkpoint = saved
    assert sorted(p.name for p in checkpoint.folder.iterdir()) == [
        "state.json",
        "state.safetensors",
    ]
    assert checkpoint.folder.name == "step-00000003"
    assert_same(state, load_file(checkpoint.tensors))
    record = json.loads((checkpoint.folder / "state.json").read_text())
    assert record == {
        "step": 3,
        "seed": 0,
        "processes": 1,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "seconds": None,
        "digest": hashlib.sha256(checkpoint.tensors.read_bytes()).hexdigest(),
    }


def test_what_is_loaded_is_what_was_saved(saved):
    state, checkpoint = saved
    other = go_on(new_state(), 1)  # its own moments must give way
    assert load_checkpoint(other, checkpoint) == []
    assert other.step == 3
    assert_same(other, state.tensors())


def test_a_checkpoint_is_never_overwritten(saved):
    state, checkpoint = saved
    before = contents(checkpoint.folder)
    with pytest.raises(InputError, match="is there already"):
        save_checkpoint(state, checkpoint.folder.parent)
    assert contents(checkpoint.folder) == before


def test_a_state_before_its_first_step_can_be_saved_and_loaded(tmp_path):
    fresh = new_state()
    checkpoint = save_checkpoint(fresh, tmp_path)
    other = go_on(new_state(), 2)
    load_checkpoint(other, checkpoint)
    assert other.step == 0
    assert_same(go_on(other, 4), go_on(new_state(), 4).tensors())


def fail(*args, **kwargs):
    raise OSError(28, "No space left on device")


def half_written(tensors, path, metadata=None):
    save_file(tensors, path)
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])
    fail()


@pytest.mark.parametrize("crash", ["tensors", "half the tensors", "record", "flush", "rename"])
def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(saved, monkeypatch, crash):
    state, checkpoint = saved
    place = checkpoint.folder.parent
    before, tensors = contents(place), copied(state)
    go_on(state, 4)
    target, name, broken = {
        "tensors": (module, "save_file", fail),
        "half the tensors": (module, "save_file", half_written),
        "record": (module, "write_json", fail),
        "flush": (module.replaced_folder.__globals__["os"], "fsync", fail),
        "rename": (Path, "replace", fail),
    }[crash]
    with monkeypatch.context() as patch:
        patch.setattr(target, name, broken)
        with pytest.raises(OSError, match="No space"):
            save_checkpoint(state, place)
    assert contents(place) == before
    assert [path.name for path in place.iterdir()] == [checkpoint.folder.name]
    other = new_state()
    load_checkpoint(other, checkpoints(place)[-1])
    assert_same(other, tensors)
    assert save_checkpoint(state, place).step == 4  # and once there is space, it goes on


def test_checkpoints_are_sorted_by_number_and_what_a_killed_process_left_is_none(tmp_path):
    for name in ("step-100000000", "step-00000020", "step-99999999"):
        (tmp_path / name).mkdir()
    for name in (".step-00000009.0123456789abcdef", "step-last", "step-²"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000008").touch()
    assert [each.step for each in checkpoints(tmp_path)] == [20, 99999999, 100000000]


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "kept"),
    [(2, 0, [6, 7]), (1, 3, [3, 6, 7]), (3, 2, [2, 4, 5, 6, 7]), (9, 0, [1, 2, 3, 4, 5, 6, 7])],
)
def test_the_last_few_and_every_so_many_are_kept(tmp_path, keep_last, keep_every, kept):
    for step in range(1, 8):
        (tmp_path / f"step-{step:08d}").mkdir()
        (tmp_path / f"step-{step:08d}" / "state.json").touch()
    prune_checkpoints(tmp_path, keep_last=keep_last, keep_every=keep_every)
    assert [each.step for each in checkpoints(tmp_path)] == kept


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("denoiser.network", math.nan),
        ("ema.network", math.inf),
        ("discriminator_optimizer", math.nan),
    ],
)
def test_weights_that_are_not_finite_are_never_saved(saved, part, value):
    state, checkpoint = saved
    go_on(state, 4)
    name = next(name for name in state.tensors() if name.startswith(part))
    with torch.no_grad():
        state.tensors()[name].view(-1)[0] = value
    place = checkpoint.folder.parent
    before = contents(place)
    with pytest.raises(InputError, match=r"step 4: 1 tensors hold NaN or infinity") as caught:
        save_checkpoint(state, place)
    assert name in str(caught.value)
    assert contents(place) == before


def change_record(checkpoint, **values):
    """Other values in the record, None for none."""
    path = checkpoint.folder / "state.json"
    record = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: x for name, x in record.items() if x is not None}))


def rewrite(change):
    """Other tensors, as of a checkpoint that was written so."""

    def edit(checkpoint):
        tensors = load_file(checkpoint.tensors)
        change(tensors)
        save_file(tensors, checkpoint.tensors)
        change_record(
            checkpoint, digest=hashlib.sha256(checkpoint.tensors.read_bytes()).hexdigest()
        )

    return edit


def without(name):
    return rewrite(lambda tensors: tensors.pop(name))


def with_tensor(name, size):
    return rewrite(lambda tensors: tensors.update({name: torch.zeros(size)}))


def text(name, value):
    return lambda checkpoint: (checkpoint.folder / name).write_text(value)


WEIGHT, MOMENT = "ema.network.layers.0.weight", "discriminator_optimizer.layers.0.bias.exp_avg"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda c: c.tensors.write_bytes(c.tensors.read_bytes()[:-5]),
            r"state.safetensors is not what was written",
        ),
        (text("state.safetensors", ""), r"not what was written"),
        (lambda c: c.tensors.unlink(), r"there is no file .*state.safetensors"),
        (lambda c: (c.folder / "state.json").unlink(), r"state.json"),
        (text("state.json", '{"step": 3,'), r"state.json"),
        (text("state.json", "[3]"), r"expected an object"),
        (partial(change_record, seed=7), r"of seed 7, not 0"),
        (partial(change_record, step=4), r"of step 4, unlike its folder"),
        (partial(change_record, threads="two"), r"state.json.threads"),
        (without(WEIGHT), rf"does not fit this model: missing {WEIGHT}$"),
        (without(MOMENT), rf"missing {MOMENT}$"),
        (with_tensor("other", 1), r"does not fit this model: surplus other$"),
        (with_tensor(WEIGHT, 9), rf"{WEIGHT} is \[9\], not \[4, 2\]$"),
    ],
)
def test_a_broken_or_foreign_checkpoint_is_refused_and_changes_nothing(saved, damage, message):
    _, checkpoint = saved
    damage(checkpoint)
    state = go_on(new_state(), 2)
    before = copied(state)
    with pytest.raises(InputError, match=message):
        load_checkpoint(state, checkpoint)
    assert state.step == 2
    assert_same(state, before)


def test_another_model_is_refused_with_a_list_that_ends(saved):
    _, checkpoint = saved
    with pytest.raises(InputError, match=r"surplus discriminator\.layers.*; and \d+ more$") as told:
        load_checkpoint(new_state(hybrid=False), checkpoint)
    assert str(told.value).count("surplus") == 8
    with pytest.raises(InputError, match=r"is \[4, 2\], not \[5, 2\]"):
        load_checkpoint(new_state(width=5), checkpoint)


def test_another_torch_and_number_of_threads_are_reported(saved):
    _, checkpoint = saved
    threads = torch.get_num_threads()
    change_record(checkpoint, torch="1.0", threads=threads + 1)
    assert load_checkpoint(new_state(), checkpoint) == [
        f"torch was 1.0 and is {torch.__version__}",
        f"threads was {threads + 1} and is {threads}",
    ]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_no_bit_of_a_checkpoint_can_flip_in_silence(saved, name):
    """Either it is refused, or the state is the one that was saved, bit for bit."""
    state, checkpoint = saved
    path, generator = checkpoint.folder / name, random.Random(7)
    content = path.read_bytes()
    for _ in range(100):
        broken = bytearray(content)
        broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
        path.write_bytes(broken)
        other = new_state()
        try:
            load_checkpoint(other, checkpoint)
        except InputError:
            continue
        assert name == "state.json"
        assert other.step == 3
        assert_same(other, state.tensors())


def test_a_checkpoint_without_a_digest_is_read_as_far_as_it_can_be(saved):
    """As cascore 0.3 wrote it."""
    state, checkpoint = saved
    change_record(checkpoint, digest=None)
    other = new_state()
    assert load_checkpoint(other, checkpoint) == []
    assert_same(other, state.tensors())
    checkpoint.tensors.write_bytes(b"PK\x03\x04 a pickle, say")
    with pytest.raises(InputError, match="cannot be read as a whole safetensors file"):
        load_checkpoint(other, checkpoint)


def test_text_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "σ")
    assert path.read_bytes() == "σ".encode()


@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_block_that_fails_leaves_nothing(tmp_path, replaced):
    def write():
        with replaced(tmp_path / "target") as temporary:
            (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = (".bashrc", ".step-00000001", "step-00000002", f"notes.{32 * 'a'}", f".x.{31 * 'a'}")
    left = (f".step-00000003.{32 * '0'}", f".metrics.jsonl.{32 * 'f'}")
    for name in (*kept, *left):
        (tmp_path / name).mkdir()
    (tmp_path / left[0] / "state.json").touch()
    remove_leftovers(tmp_path, of="metrics.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, left[0]}
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept}


@pytest.mark.parametrize(("fused", "device"), [(True, "meta"), (False, "cpu")])
def test_adam_counts_its_steps_where_its_kernel_looks_for_them(fused, device):
    """The fused one beside the weights, on a GPU too; the plain one on the processor."""
    weights = torch.nn.Parameter(torch.empty(2, device="meta"))
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))], fused=fused)
    assert _new_moments(weights, optimizer)["step"].device.type == device
