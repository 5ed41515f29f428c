"""Kill, damage and race the commands at random, and see that nothing is lost, stuck or silent.

    python tools/torture.py --seconds 600 --seed 7

prints a row for each attack and ends with 1 if anything failed; docs/reliability.md has the sums of
such rows. Every command runs in a process that is forked from this one, at settings that take
seconds, in a folder of its own:

- killed: SIGKILL at a random moment, or before a random one of its changes to the file system,
  again and again; then it runs to its end. Its files must be those of a run that nobody killed.
- two at once: the command twice, one a random moment later. The files are the same again, and who
  came too late says so and ends with 2.
- damaged: bits flipped in, or bytes cut off, a file of the newest checkpoint, or of a prepared set.
  What is read is what was written, an older checkpoint (said), or nothing (said).
"""

import argparse
import contextlib
import gzip
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # of all that is forked from here

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # where `paper` is

import cascore.data.kept
import cascore.evaluation.evaluate
import cascore.evaluation.tune
import cascore.experiment.run
import cascore.model.convert  # (what the commands import is here before they fork)
from cascore.cli.__main__ import main as cascore_main
from cascore.data import load_images
from cascore.errors import InputError
from cascore.model.loading import load
from paper.__main__ import main as paper_main
from paper.studies import STUDIES

TINY = ["--network.width", "8", "--adversarial.width", "4", "--train.batch-size", "4"]
TINY += ["--train.steps", "6", "--train.save-every", "2", "--train.keep-last", "2"]
MEASURED = ["--train.evaluate-every", "3", "--train.evaluate-count", "4"]
FOLDER = ["--data.size", "8", "--data.root", "out", "--schedule.first", "9", "--network.labels"]
FOLDER += ["--train.no-channels-last", "--train.precision", "float32"]  # else what is faster now
PREPARE = ["--source", "photos", "--size", "8", "--root", "out"]
JUDGED = ["--count", "8", "--calls", "2"]
PARTS_OF_2 = ["--batch-size", "2"]
STUDY = ["--scale", "tiny", "--out", "out/results", "--runs", "out/runs"]
COMMANDS = {
    "train, points": ["train", "swiss-roll-adversarial", "--out", "out/run", *TINY],
    "train, adversarial": ["train", "digits-adversarial", "--out", "out/run", *TINY],
    "train, evaluated": ["train", "digits", "--out", "out/run", *TINY, *MEASURED],
    "train folder:": ["train", "folder:photos", "--out", "out/run", *TINY, *FOLDER],
    "data prepare": ["data", "prepare", "mine", *PREPARE],
    "data unpack": ["data", "unpack", "pictures.npy", "out/unpacked"],
    "sample": ["sample", "run", "--out", "out/pictures", *JUDGED, *PARTS_OF_2],
    "evaluate": [
        *("evaluate", "run", "--out", "out/record.json", "--metrics", "frechet"),
        *(*JUDGED, *PARTS_OF_2),
    ],
    "tune": ["tune", "run", "--out", "out/tuning", "--orders", "2", "--blocks", "2", *JUDGED],
    "reference": ["reference", "digits", "out/real.npz", "--split", "test"],
    "convert": ["convert", "run", "out/model"],
    "python -m paper figure1": ["figure1", *STUDY],
    "python -m paper figure2": ["figure2", *STUDY],
}
"""By the words of the table; run where `photos` and `run` are, and writing below `out`."""
SLOW = "python -m paper figure2"  # a study with trainings, for who asks for it by name

KILLS = 5  # of one command at most, then it is left alone
PATIENCE = 1800.0  # seconds by the clock of a busy machine; what takes longer is stuck
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
"""Audit events of Python before the file system changes."""


@dataclass
class Row:
    """A line of the table: how often it was tried, what else is to be counted, what failed."""

    tried: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def forked(arguments: list[str], folder: Path, *, die_before: int | None = None) -> int:
    """Start a command in a process that may kill itself before its n-th change; its number."""
    process = os.fork()
    if process:
        return process
    os.chdir(folder)
    log = os.open(folder.parent / "printed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    seen = 0

    def watch(event: str, details: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in CHANGES:
            return
        if event == "open" and not (isinstance(details[2], int) and details[2] & 3):
            return  # only read
        seen += 1
        if seen == die_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    code = 1
    device = [] if arguments[0] in ("data", "convert") else ["--device", "cpu"]
    try:
        if arguments[0] in STUDIES:
            code = paper_main([*arguments, *device])
        else:
            cascore_main([*arguments, *device])
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    finally:
        sys.stdout.flush()
        if die_before is None:
            (folder.parent / "changes").write_text(str(seen))
        os._exit(code)


def ended(process: int) -> int:
    """The exit code of a process, negative for a signal; one that never ends is killed."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -signal.SIGALRM


SECONDS = re.compile(rb'"seconds": [^,\n}]*|measurements, [^.]* s\. The seconds')


def contents(place: Path) -> Mapping[str, bytes]:
    """All files below `out` and `run`, without what says how long something took, or where.

    The lock of who was killed when all was written may lie there, free, until the next writer.
    """
    files = {}
    for path in sorted([*place.glob("out/**/*"), *place.glob("run/**/*")]):
        if path.is_file() and not re.fullmatch(r"\..+\.lock", path.name):
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            if path.suffix in (".json", ".gz", ".md"):
                content = SECONDS.sub(b"", content)
            # What is kept of a folder of images has its path in its name.
            name = re.sub(r"folder-[0-9a-f]{16}-", "folder-", str(path.relative_to(place)))
            files[name] = content
    return files


def difference(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> str:
    """In which files two folders differ, in words; nothing if in none."""
    names = found.keys() | expected.keys()
    return ", ".join(sorted(name for name in names if found.get(name) != expected.get(name)))


class Torture:
    """The commands, what they should give, and the table of what was tried."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.rows: dict[str, Row] = {}
        self.expected: dict[str, Mapping[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        self.changes: dict[str, int] = {}
        start = folder / "start"
        (start / "photos").mkdir(parents=True)
        generator = np.random.default_rng(seed)
        for number in range(40):
            pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            path = start / "photos" / f"{number % 2}" / f"{number:02d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
        np.save(start / "pictures.npy", generator.integers(0, 256, (9, 8, 8), dtype=np.uint8))
        assert ended(forked(["train", "digits", "--out", "run", *TINY], start)) == 0

    def know(self, name: str) -> None:
        """Run a command that nobody kills, once: what it gives, in how many changes and seconds."""
        if name in self.expected:
            return
        place, began = self.place(), time.monotonic()
        code = ended(forked(COMMANDS[name], place))
        assert code == 0, (place.parent / "printed").read_text()
        self.seconds[name] = time.monotonic() - began
        self.changes[name] = int((place.parent / "changes").read_text())
        self.expected[name] = contents(place)
        shutil.rmtree(place.parent)

    def place(self) -> Path:
        """A new folder with all that the commands need."""
        place = Path(tempfile.mkdtemp(dir=self.folder)) / "here"
        shutil.copytree(self.folder / "start", place)
        return place

    @contextlib.contextmanager
    def trial(self, title: str) -> Iterator[tuple[Path, Row]]:
        """One more of a row; what goes wrong in it is a failure."""
        row, place = self.rows.setdefault(title, Row()), self.place()
        row.tried += 1
        try:
            yield place, row
        except AssertionError as error:
            printed = place.parent / "printed"
            row.failures.append(f"{error}\n{printed.read_text() if printed.is_file() else ''}")
        shutil.rmtree(place.parent)

    def kill(self, name: str) -> None:
        """Kill a command until it is let through, and compare."""
        self.know(name)
        with self.trial(f"`{name}` killed") as (place, row):
            arguments, steps = COMMANDS[name], [0]
            for _ in range(self.random.randint(1, KILLS)):
                if self.random.random() < 0.5:
                    at = self.random.randint(1, self.changes[name])
                    process = forked(arguments, place, die_before=at)
                else:
                    process = forked(arguments, place, die_before=0)
                    time.sleep(self.random.uniform(0.0, self.seconds[name]))
                    os.kill(process, signal.SIGKILL)
                code = ended(process)
                row.counts["kills"] += code == -signal.SIGKILL
                whole = not difference(contents(place), self.expected[name])
                if code == 0 or (code == 2 and whole):  # killed when all was written: there already
                    break
                assert code == -signal.SIGKILL, f"ended with {code} after a kill"
                kept = [int(path.name[5:]) for path in place.glob("out/run/checkpoints/step-*")]
                assert max(kept, default=0) >= steps[-1], f"lost step {steps[-1]}"
                steps.append(max(kept, default=0))
            else:
                code = ended(forked(arguments, place))
                whole = not difference(contents(place), self.expected[name])
                assert code == 0 or (code == 2 and whole), f"stuck: ended with {code}"
            wrong = difference(contents(place), self.expected[name])
            assert not wrong, f"other files than without a kill: {wrong}"

    def race(self, name: str) -> None:
        """The command twice."""
        self.know(name)
        with self.trial(f"`{name}` twice at once") as (place, row):
            first = forked(COMMANDS[name], place)
            time.sleep(self.random.random() ** 2 * self.seconds[name])
            second = forked(COMMANDS[name], place, die_before=0)
            codes = sorted((ended(first), ended(second)))
            assert codes in ([0, 0], [0, 2]), f"ended with {codes}"
            row.counts["refused"] += codes == [0, 2]
            wrong = difference(contents(place), self.expected[name])
            assert not wrong, f"other files than of one: {wrong}"

    def damage(self) -> None:
        """Break a file of the newest checkpoint; another step, or the very weights, and said."""
        with self.trial("newest checkpoint damaged") as (place, row):
            run, told = place / "run", []
            whole = load(run).denoiser.state_dict()
            self._break(self.random.choice(list((run / "checkpoints" / "step-00000006").iterdir())))
            model = load(run, notify=told.append)
            row.counts["passed over"] += model.step == 4
            if model.step == 4:
                assert any("passed over" in line for line in told), "an older step in silence"
            else:
                weights = model.denoiser.state_dict()
                same = all(torch.equal(value, whole[key]) for key, value in weights.items())
                assert same, "other weights in silence"

    def damage_set(self) -> None:
        """Break a file of a prepared set; the same pixels and labels, or an error."""
        self.know("data prepare")
        with self.trial("prepared set damaged") as (place, row):
            for name, content in self.expected["data prepare"].items():
                path = place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            before = [load_images("mine", part, root=place / "out").digest for part in PARTS]
            self._break(self.random.choice(list((place / "out" / "mine").iterdir())))
            try:
                now = [load_images("mine", part, root=place / "out").digest for part in PARTS]
            except InputError:
                row.counts["refused"] += 1
            else:
                assert now == before, "other images in silence"

    def _break(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        if self.random.random() < 0.8:
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        else:
            del content[self.random.randrange(len(content)) :]
        path.unlink()  # what is mapped stays what it is
        path.write_bytes(content)

    def table(self) -> str:
        """A row for each attack and command; docs/reliability.md has their sums."""
        lines = ["| attack | tried | survived | |", "| --- | ---: | ---: | --- |"]
        for title, row in sorted(self.rows.items()):
            counts = ", ".join(f"{count:,} {what}" for what, count in row.counts.items() if count)
            survived = row.tried - len(row.failures)
            lines.append(f"| {title} | {row.tried:,} | {survived:,} | {counts} |")
        return "\n".join(lines)


PARTS = ("train", "test")


def main() -> None:
    """Torture for a while, print the table, and end with 1 if something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long, about")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments (default: a new one)"
    )
    parser.add_argument("--only", default="", help="attacks whose row has this word: damaged")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}", file=sys.stderr, flush=True)
    torch.set_num_threads(1)
    cascore.data.kept._SECOND = 0  # of folders as small as these, too
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder), seed=seed)
        every: dict[str, Callable[[], None]] = {
            "newest checkpoint damaged": torture.damage,
            "prepared set damaged": torture.damage_set,
            **{f"`{name}` killed": partial(torture.kill, name) for name in COMMANDS},
            **{f"`{name}` twice at once": partial(torture.race, name) for name in COMMANDS},
        }
        attacks = [
            attack
            for title, attack in every.items()
            if given.only in title and (SLOW not in title or given.only == SLOW)
        ]
        limit = time.monotonic() + given.seconds
        while time.monotonic() < limit:
            torture.random.shuffle(attacks)
            for attack in attacks:
                attack()
                if time.monotonic() > limit:
                    break
        print(torture.table())
    failures = {title: row.failures for title, row in torture.rows.items() if row.failures}
    if failures:
        print(f"seed {seed}", json.dumps(failures, indent=2), sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
