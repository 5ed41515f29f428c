"""Two processes train the model that one trains."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from ast import literal_eval
from dataclasses import replace
from pathlib import Path

import parallel_worker as worker
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import cascore
from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.training import TrainState, Workers
from cascore.training.checkpoint import checkpoints

PROCESSES = 2
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(cascore.__file__).parents[1]),
    # Peers are met on this machine's own address, whatever its name resolves to.
    "GLOO_SOCKET_IFNAME": "lo",
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launched(*arguments, processes=PROCESSES, restarts=0):
    """The command that starts so many processes."""
    where = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    if restarts:
        where = ["--standalone", f"--max-restarts={restarts}"]
    return [
        sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}",
        *where, *map(str, arguments),
    ]  # fmt: skip


def torchrun(*arguments, processes=PROCESSES):
    """Start so many processes and wait for their clean end."""
    done = subprocess.run(
        launched(*arguments, processes=processes),
        env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs of one process and of two, each also resumed from the other's checkpoint."""
    place = tmp_path_factory.mktemp("parallel")
    one, two = place / "one", place / "two"
    one.mkdir()
    two.mkdir()
    told = {case: worker.both_halves(one, case, Workers(), given=None) for case in worker.CASES}
    torchrun(worker.__file__, two, one)
    for case in worker.CASES:
        worker.resume(two, one, case, Workers())
    return one, two, told


def newest(folder):
    checkpoint = checkpoints(folder)[-1]
    assert checkpoint.step == worker.STEPS
    record = json.loads((checkpoint.folder / "state.json").read_text())
    return load_file(checkpoint.tensors), record["processes"]


@pytest.mark.parametrize("case", worker.CASES)
def test_two_processes_train_the_model_of_one(folders, case):
    one, two, _ = folders
    expected, alone = newest(one / case)
    moved = load_file(checkpoints(one / case)[0].tensors)
    assert alone == 1
    weights = [name for name in expected if name.startswith(("denoiser.", "ema.", "optimizer."))]
    assert not any(torch.equal(expected[name], moved[name]) for name in weights)
    for folder, count in (
        (two / case, 2),
        (two / f"{case}-resumed", 2),
        (one / f"{case}-resumed", 1),
    ):
        found, processes = newest(folder)
        assert processes == count
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            # 1e-9: float64, sums in another order, 20 steps of Adam.
            assert torch.allclose(found[name], value, rtol=1e-9, atol=1e-9), (folder.name, name)


@pytest.mark.parametrize("case", worker.SHARDED)
def test_parts_of_a_network_train_as_the_whole_and_their_checkpoints_cross(folders, case):
    """FSDP2 in place of DDP: losses, weights, averages, moments, from either's checkpoint."""
    one, two, told = folders
    expected, _ = newest(one / case)
    for name in ("parts", "taken-over", "given-back"):
        found, processes = newest(two / f"{case}-{name}")
        assert processes == 2
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            # As above.
            assert torch.allclose(found[key], value, rtol=1e-9, atol=1e-9), (name, key)
    lines = lines_of(two, 0, f"{case}-parts")
    assert lines == lines_of(two, 1, f"{case}-parts")
    metrics = [literal_eval(line) for line in lines]
    assert [found["dsm"] for found in metrics] == pytest.approx(
        [x.dsm for x in told[case]], rel=1e-8
    )
    shares = [lines_of(two, rank, f"{case}-share")[0].split() for rank in range(2)]
    held, whole = zip(*(map(int, share) for share in shares), strict=True)
    assert sum(held) == whole[0]
    assert max(held) < 0.7 * whole[0]  # tensors of an odd length are not halves


def test_what_cannot_be_held_in_parts_is_refused(tmp_path):
    workers = Workers(0, 2, sharded=True)
    timed = replace(PRESETS["digits"], minutes=1.0)
    with pytest.raises(InputError, match=r"train\.steps"):
        training_run(timed, tmp_path / "run", device=worker.CPU, workers=workers)
    assert list(tmp_path.iterdir()) == []
    network = nn.Conv2d(3, 3, 3, padding=1).to(memory_format=torch.channels_last)
    with pytest.raises(InputError, match="channels-last"):
        TrainState(UnconditionalDenoiser(network)).shard(workers, device=worker.CPU)


@pytest.mark.parametrize(
    ("batch", "parts", "message"),
    [(7, 1, "a batch of 7 cannot be shared by 2"), (8, 8, "4 rows .*accumulation 8 must divide")],
)
def test_a_batch_that_processes_cannot_share_is_refused_before_there_is_a_folder(
    batch, parts, message, tmp_path
):
    digits = PRESETS["digits"]
    train = replace(digits.train, batch_size=batch, accumulation=parts)
    with pytest.raises(InputError, match=message):
        training_run(
            replace(digits, train=train), tmp_path / "run", device=worker.CPU, workers=Workers(0, 2)
        )
    assert list(tmp_path.iterdir()) == []


def lines_of(folder, rank, key):
    lines = (folder / f"told-{rank}.txt").read_text().splitlines()
    return [line.removeprefix(f"{key} ") for line in lines if line.startswith(f"{key} ")]


@pytest.mark.parametrize("case", worker.CASES)
def test_both_processes_tell_the_losses_of_the_global_batch(folders, case):
    _, two, told = folders
    assert lines_of(two, 0, case) == lines_of(two, 1, case)
    found = [literal_eval(line) for line in lines_of(two, 0, case)]
    assert len(found) == worker.STEPS
    for mine, expected in zip(found, told[case], strict=True):
        assert mine == pytest.approx(expected.numbers, rel=1e-8)


def test_every_process_holds_the_same_state_and_stops_for_the_same_reason(folders):
    _, two, _ = folders
    assert lines_of(two, 0, "same") == lines_of(two, 1, "same") == ["True"]
    (message,) = lines_of(two, 0, "diverged")
    assert message.startswith("step 1: the loss is not finite (worst sample: nan at sigma = ")
    assert lines_of(two, 1, "diverged") == [message]
    (message,) = lines_of(two, 0, "refused")
    assert message == "a batch of 7 cannot be shared by 2 processes: choose a multiple of 2"
    assert lines_of(two, 1, "refused") == [message]


def test_the_command_trains_under_torchrun(tmp_path):
    settings = (
        "train",
        "digits-adversarial",
        "--network.width",
        "8",
        "--adversarial.width",
        "2",
        "--device",
        "cpu",
        "--train.batch-size",
        "16",
        "--train.steps",
        "4",
        "--threads",
        "1",
        "--out",
    )
    subprocess.run(
        [sys.executable, "-m", "cascore", *settings, str(tmp_path / "one")],
        env=ENVIRONMENT, capture_output=True, check=True, timeout=240,
    )  # fmt: skip
    for name, parallel in (("two", "ddp"), ("parts", "fsdp")):
        done = torchrun("-m", "cascore", *settings, tmp_path / name, "--parallel", parallel)
        assert done.stderr.count("trained to step 4") == 1  # one process speaks for both
        one, two = (
            [json.loads(x) for x in (tmp_path / each / "metrics.jsonl").read_text().splitlines()]
            for each in ("one", name)
        )
        assert [each["step"] for each in two] == [1, 2, 3, 4]
        for found, expected in zip(two, one, strict=True):
            # 1e-3: float32, magnified by the first steps of Adam, which are sign(gradient).
            assert found == pytest.approx(expected, rel=1e-3)
        (checkpoint,) = (tmp_path / name / "checkpoints").iterdir()
        assert json.loads((checkpoint / "state.json").read_text())["processes"] == 2


def test_under_max_restarts_a_training_resumes_itself(tmp_path):
    """Of torchrun's restarts each has a store of its own: docs/commands.md, tools/rejoin.py."""
    settings = ("train", "digits", "--network.width", "8", "--train.batch-size", "8")
    settings += ("--train.save-every", "2", "--device", "cpu", "--threads", "1", "--out")
    run = tmp_path / "run"
    process = subprocess.Popen(
        launched("-m", "cascore", *settings, run, "--train.steps", "40", restarts=3),
        env=ENVIRONMENT | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 240
    while not checkpoints(run / "checkpoints"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "no checkpoint in four minutes"
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said[-4000:]
    assert "resumed from" in said
    assert checkpoints(run / "checkpoints")[-1].step == 40
    steps = [json.loads(x)["step"] for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 41))


def test_a_killed_worker_ends_both_and_the_run_goes_on(tmp_path):
    settings = ("train", "digits", "--network.width", "8", "--train.batch-size", "8")
    settings += ("--device", "cpu", "--threads", "1", "--out", tmp_path / "run")
    endless = ("--train.steps", "1000000", "--train.save-every", "2")
    process = subprocess.Popen(
        launched("-m", "cascore", *settings, *endless),
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 240
    while not checkpoints(tmp_path / "run" / "checkpoints"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "no checkpoint in four minutes"
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = [int(number) for number in children.read_text().split()]
    assert len(workers) == PROCESSES
    os.kill(workers[1], signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not [number for number in workers if Path(f"/proc/{number}").exists()]
    done = checkpoints(tmp_path / "run" / "checkpoints")[-1].step
    again = [sys.executable, "-m", "cascore", *map(str, settings), "--train.steps", str(done + 2)]
    subprocess.run(again, env=ENVIRONMENT, capture_output=True, check=True, timeout=240)
    assert checkpoints(tmp_path / "run" / "checkpoints")[-1].step == done + 2
