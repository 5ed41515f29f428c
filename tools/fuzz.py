"""Give damaged bytes to whatever reads files, and odd words to the command line.

    python tools/fuzz.py --seconds 20

Whole files of every kind are made, then bytes of them flipped, cut, repeated, exchanged, or put in
the place of numbers; JSON is also damaged where it stays JSON, pickles among their instructions.
A reader must give a value or an InputError; anything else, more than ten seconds of the processor,
and memory beyond the limit is a failure, whose input is kept. The seed is printed: the same seed
tries the same.
"""

import argparse
import contextlib
import gzip
import io
import json
import pickle
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

from cascore.cli.__main__ import parse
from cascore.data.archives import opened_zip, read_zip_member
from cascore.data.celeba import _read_partition
from cascore.data.cifar import find_cifar10
from cascore.data.decoding import Target, decode_one, read_header
from cascore.data.idx import read_idx
from cascore.data.listing import ListedImage
from cascore.data.lsun import require_whole
from cascore.data.originals import mapped_array
from cascore.data.packed import find_packed
from cascore.data.prepared import PreparedRecord
from cascore.data.shards import places_in
from cascore.data.unpickling import unpickle_arrays
from cascore.errors import InputError
from cascore.evaluation.evaluate import evaluate
from cascore.evaluation.reference import read_statistics
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import EvaluationSettings, Experiment, Sampler
from cascore.measurement import measurement_line, read_measurements
from cascore.model.advice import read_choices
from cascore.model.checkpoint_file import read_checkpoint_file
from cascore.model.folder import ModelRecord
from cascore.model.pretrained import shipped_folders
from cascore.plain import from_plain, json_text, log_from_end, read_json, read_log
from cascore.training.checkpoint import read_tensors

PATIENCE = 10.0  # seconds of the processor for one input
STUCK = 600.0  # seconds by the clock, of which a busy machine may give little
MEMORY = 2**32  # bytes beyond what is taken before the first input
ODD = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (-1, 0, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 1e308, 10**19, 10**400, "", "inf", "²", "\ud800", "a$\\frac$"),
    *([], {}, [[]], {"": None}, [1] * 40, "\x1b]0;x\x07", float("nan"), float("-inf")),
)
WORDS = (
    *("-1", "0", "1", "2", "1.5", "nan", "inf", "-inf", "1e300", "1e-300", "9" * 30, "9" * 5000),
    *(
        "",
        " ",
        "²",
        "١٢",
        "1_0",
        "None",
        "all",
        "\udc80",
        "a\x00b",
        "--",
        "--help",
        "[/red]",
        "$x$",
    ),
    *("/proc/x", "/dev/full", ".", "..", "~", "folder:", "folder:.", "digits", "a" * 5000),
)


class Kind(NamedTuple):
    """A kind of file: the name and bytes of a whole one, and what reads it."""

    name: str
    whole: bytes
    read: Callable[[Path], object]


def from_json(kind: type) -> Callable[[Path], object]:
    """What reads a dataclass from a file of JSON."""
    return lambda path: from_plain(kind, read_json(path), path.name)  # type: ignore[arg-type]


def decoded(path: Path) -> object:
    """The pixels of an image."""
    header = read_header(path.parent, ListedImage(Path(path.name), PurePosixPath(path.name)))
    return decode_one(path.parent, header, target=Target(3, 8, 8, "center", "box"))


def zipped(path: Path) -> object:
    """The first member of a zip archive."""
    with opened_zip(path) as archive:
        return [read_zip_member(archive, x, path=path, limit=10_000) for x in archive.namelist()]


def unpacked(path: Path) -> object:
    """All images of a packed set."""
    return list(find_packed(path).images)


def packed_files(rng: np.random.Generator) -> Iterator[Kind]:
    """Sets of pictures in one file, to be unpacked."""
    stream, picture = io.BytesIO(), image("PNG")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", picture)
        archive.writestr("dataset.json", json.dumps({"labels": [["a/1.png", 3]]}))
    yield Kind("set.zip", stream.getvalue(), unpacked)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (("a.png", picture), ("a.cls", b"3"), (f"{'b' * 120}.png", picture)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    yield Kind("set.tar", stream.getvalue(), places_in)
    stream, pixels = io.BytesIO(), rng.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    np.savez_compressed(stream, arr_0=pixels, arr_1=np.arange(4))
    yield Kind("set.npz", stream.getvalue(), unpacked)
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    known = json.dumps({"info": {"features": features}}).encode()
    rows = {"image": [{"bytes": picture}] * 3, "label": [0, 1, 1]}
    table = pyarrow.table(rows).replace_schema_metadata({b"huggingface": known})
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    yield Kind("set.parquet", stream.getvalue(), unpacked)


def columns(path: Path) -> object:
    """CIFAR-10 from a parquet file that serves as both splits."""
    (path.parent / "test-0.parquet").write_bytes(path.read_bytes())
    originals = find_cifar10(path)
    return [sum(1 for _ in part.items(0)) for part in originals.splits.values()]


def saved(value: object, *, old: bool = False) -> bytes:
    """What torch.save writes of it."""
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def image(form: str, mode: str = "RGB") -> bytes:
    """A picture in one of Pillow's formats."""
    stream, noise = io.BytesIO(), np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(stream, form)
    return stream.getvalue()


def kinds(folder: Path) -> Iterator[Kind]:
    """Whole files of every kind that is read, made in an empty folder."""
    rng = np.random.default_rng(0)
    model = shipped_folders()["digits"]
    for number, preset in enumerate(PRESETS.values()):
        if number % 4 == 0:
            yield Kind("experiment.json", json_text(preset).encode(), from_json(Experiment))
    yield Kind("model.json", (model / "model.json").read_bytes(), from_json(ModelRecord))
    split = {"count": 4, "shape": [1, 8, 8], "digest": "0" * 64, "labels": True}
    record = {"name": "a", "splits": {"train": split, "test": split}, "classes": ["a"]}
    record |= {"source": "s", "split": "s", "preparation": [], "fingerprint": "f", "cascore": "0"}
    yield Kind("record.json", json.dumps(record).encode(), from_json(PreparedRecord))
    metrics = b"".join(b'{"step": %d, "dsm": 1.5}\n' % step for step in range(1, 9))
    yield Kind("metrics.jsonl", metrics, lambda path: (read_log(path), [*log_from_end(path)]))
    choice = {"order": 2, "kappa": 2.0, "spacing": "centred", "weights": "w", "extractor": "e"}
    choice |= {"gain": 0.1, "gain_error": 0.1, "tuned": True}
    advice = {"format_version": 1, "calls": {"12": choice}}
    yield Kind("sampler.json", json.dumps(advice).encode(), read_choices)
    settings = EvaluationSettings(path=model, count=8, sampler=Sampler(calls=2))
    numbers = evaluate(settings, device=torch.device("cpu")).measurements
    lines = "".join(measurement_line(number) for number in numbers[:2])
    yield Kind("numbers.jsonl", lines.encode(), read_measurements)
    state = {f"layer.{n}.weight": torch.rand(3, 2) for n in range(4)}
    groups = [{"betas": (0.9, 0.999), "params": [0, 1]}]
    values = [state, {"state": {0: {"step": 1}}, "param_groups": groups}, 3, 7, dict(state)]
    for old in (False, True):
        yield Kind("a.pth", saved(values, old=old), read_checkpoint_file)
    save_file(state, folder / "whole")
    tensors = (folder / "whole").read_bytes()
    yield Kind("a.safetensors", tensors, read_tensors)
    statistics = {"mu": rng.random(4), "sigma": np.eye(4), "count": np.array(9)}
    for write in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        write(stream, **statistics)
        yield Kind("a.npz", stream.getvalue(), read_statistics)
    stream = io.BytesIO()
    np.save(stream, rng.integers(0, 256, (4, 1, 3, 3), dtype=np.uint8))
    shape = (4, 1, 3, 3)
    yield Kind(
        "a.npy",
        stream.getvalue(),
        lambda path: mapped_array(path, dtype=np.uint8, shape=shape, advice="make it anew"),
    )
    yield from data_files(rng)
    yield from packed_files(rng)


def data_files(rng: np.random.Generator) -> Iterator[Kind]:
    """The files of data sets."""
    pixels = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
    batch = {b"data": pixels, b"labels": [0, 1, 2, 3], b"filenames": [b"a.png"] * 4}
    for protocol in (0, 2, 4):
        content = pickle.dumps(batch, protocol=protocol)
        yield Kind("batch", content, lambda path: unpickle_arrays(path.read_bytes(), path=path))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]:
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = 2 * 3073
            archive.addfile(info, io.BytesIO(bytes(2 * 3073)))
    yield Kind("cifar.tar.gz", gzip.compress(stream.getvalue(), 1), find_cifar10)
    items = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(2 * 784)
    for content in (items, gzip.compress(items)):
        yield Kind("idx", content, lambda path: read_idx(path, item_shape=(28, 28)))
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        yield Kind(f"a.{form.lower()}", image(form), decoded)
    yield Kind("grey.png", image("PNG", "LA"), decoded)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img/1.jpg", image("JPEG"))
        archive.writestr("img/2.jpg", bytes(999))
    yield Kind("faces.zip", stream.getvalue(), zipped)
    yield Kind("list.txt", b"1.jpg 0\n2.jpg 1\n3.jpg 2\n", _read_partition)
    side = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(side, "PNG")
    table = pyarrow.table({"img": [{"bytes": side.getvalue()}] * 3, "label": [0, 1, 2]})
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    yield Kind("train-0.parquet", stream.getvalue(), columns)
    page = bytearray(2 * 4096)
    page[16:24] = bytes.fromhex("dec0efbe01000000")
    page[40:44] = (4096).to_bytes(4, "little")
    yield Kind("data.mdb", bytes(page), require_whole)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Bytes with one to four faults."""
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(8):
            case 0 if place < len(content):
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                content[place : place + 1] = bytes([rng.choice(ODD)])
            case 2:
                del content[place:]
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length] * rng.choice((1, 2, 300))
            case 5:
                number = rng.choice(NUMBERS) % 2**64
                order = rng.choice(("little", "big"))
                content[place : place + 8] = number.to_bytes(8, order)  # type: ignore[arg-type]
            case 6:
                content[place : place + length] = rng.randbytes(length)
            case _:
                other = rng.randrange(len(content) + 1)
                content[place : place + length] = content[other : other + length]
    return bytes(content)


def damaged_json(whole: bytes, rng: random.Random) -> bytes:
    """JSON in which a value is another, absent, deep, or there under another name."""
    lines = [json.loads(line) for line in whole.splitlines()] if b"}\n{" in whole else None
    value = json.loads(whole) if lines is None else lines
    spots: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        for key in part if isinstance(part, dict) else range(len(part)):
            spots.append((part, key))
            if isinstance(part[key], dict | list):
                walk(part[key])

    walk(value)
    part, key = rng.choice(spots)
    match rng.randrange(4):
        case 0:
            del part[key]
        case 1 if isinstance(part, dict):
            part[rng.choice(("", "²", "\x1b[2J", "__class__", "upgraded"))] = part.pop(key)
        case 2:
            deep: Any = part[key]
            for _ in range(rng.choice((2, 70, 800))):
                deep = [deep]
            part[key] = deep
        case _:
            part[key] = rng.choice(VALUES)
    parts = [value] if lines is None else lines
    return "\n".join(json.dumps(x, ensure_ascii=rng.random() < 0.5) for x in parts).encode(
        "utf-8", "surrogatepass"
    )


INSTRUCTIONS = b"(.0125FGIJKLMNQRSTUVXabcdeghijlopqrstu}]){" + bytes(range(0x80, 0x99))


def damaged_pickle(whole: bytes, rng: random.Random) -> bytes:
    """A pickle with instructions of others in it, or one made of them alone."""
    if rng.random() < 0.5:
        body = bytes(rng.choice(INSTRUCTIONS) for _ in range(rng.randrange(1, 60)))
        return b"\x80\x02" + body + b"."
    content = bytearray(whole)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(2, len(content))
        content[place:place] = bytes(rng.choice(INSTRUCTIONS) for _ in range(rng.randrange(1, 9)))
    return bytes(content)


def odd_line(rng: random.Random) -> list[str]:
    """A command with odd values; those that do nothing before they are refused."""
    fields = ("--count", "--seed", "--batch-size", "--calls", "--kappa", "--eta", "--n-sigma")
    fields += ("--size", "--threads", "--train.steps", "--network.width", "--out", "--levels")
    fields += ("--train.learning-rate", "--schedule.first", "--minutes", "--blocks", "--like")
    command = rng.choice(
        ("train digits", "sample x", "evaluate x", "tune x", "info x", "data show")
    )
    words = command.split()
    for _ in range(rng.randrange(4)):
        words += [rng.choice(fields), rng.choice(WORDS)]
    words.insert(rng.randrange(len(words) + 1), rng.choice(WORDS))
    return words


TIMERS = (
    (signal.SIGPROF, signal.ITIMER_PROF, PATIENCE),
    (signal.SIGALRM, signal.ITIMER_REAL, STUCK),
)


class TooLongError(BaseException):
    """An input took longer than the patience."""


def tried(act: Callable[[], object]) -> str:
    """How it ended: "value", "refused", or the traceback of a failure."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    for number, timer, seconds in TIMERS:
        signal.signal(number, late)
        signal.setitimer(timer, seconds)
    try:
        act()
    except (InputError, SystemExit):
        return "refused"
    except BaseException:
        return traceback.format_exc()
    finally:
        for _, timer, _ in TIMERS:
            signal.setitimer(timer, 0.0)
    return "value"


def fuzz(*, seconds: float, inputs: int, seed: int, keep: Path) -> dict[str, Counter[str]]:
    """Counts of what came of the inputs of each kind; those that failed are kept in a folder."""
    rng, table, end = random.Random(seed), {}, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        every = list(kinds(folder))
        for kind in every:  # a whole file is read, or nothing would be tried
            (folder / kind.name).write_bytes(kind.whole)
            if (answer := tried(lambda kind=kind: kind.read(folder / kind.name))) != "value":
                raise RuntimeError(f"a whole {kind.name} is not read: {answer}")
        total = 0
        while time.monotonic() < end and total < inputs:
            kind, total = rng.choice(every), total + 1
            if rng.random() < 0.002:  # which takes as long as a hundred files
                kind = None
                line = odd_line(rng)
                with contextlib.redirect_stderr(io.StringIO()):
                    answer, content = tried(lambda line=line: parse(line)), repr(line).encode()
            else:
                content = damaged(kind.whole, rng)
                if kind.whole.startswith(b"{") and rng.random() < 0.7:
                    content = damaged_json(kind.whole, rng)
                elif kind.name == "batch" and rng.random() < 0.7:
                    content = damaged_pickle(kind.whole, rng)
                path = folder / kind.name
                path.write_bytes(content)
                answer = tried(lambda kind=kind, path=path: kind.read(path))
            row = table.setdefault(kind.name if kind else "command line", Counter())
            row["tried"] += 1
            row[answer if answer in ("value", "refused") else "failed"] += 1
            if answer not in ("value", "refused"):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{total}-{'line' if kind is None else kind.name}").write_bytes(content)
                (keep / f"{total}.txt").write_text(answer, encoding="utf-8", errors="replace")
    return table


def main() -> int:
    """Print a table of what was tried; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--inputs", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=None, help="by default another each time")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    torch.set_num_threads(1)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    table = fuzz(seconds=arguments.seconds, inputs=arguments.inputs, seed=seed, keep=arguments.keep)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
    whole: Counter[str] = Counter()
    print("| file | tried | read | refused | failed |\n| --- | ---: | ---: | ---: | ---: |")
    for name, row in sorted(table.items()):
        whole += row
        numbers = (row[key] for key in ("tried", "value", "refused", "failed"))
        print(f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} |")
    print(
        f"{whole['tried']:,} inputs, {whole['failed']} failures; {peak / 1e6:,.0f} MB at the peak"
    )
    if whole["failed"]:
        print(f"the inputs that failed are in {arguments.keep}")
    return int(whole["failed"] > 0 or peak > MEMORY)


if __name__ == "__main__":
    sys.exit(main())
