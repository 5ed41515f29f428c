"""Every measurement in one file of compressed JSON lines: append to it, and sort it at the end.

A line is appended as a gzip member of its own; one that a killed process left unfinished does not
count, and makes room for the next.

A line is an experiment (`kind: experiment`, once, under a readable id) or a measurement: its
`kind`, the `settings` that decide the result and are its key, the `result`, and how it was `made`.
"""

import gzip
import hashlib
import json
import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import cascore
from cascore.errors import InputError
from cascore.experiment.settings import Experiment
from cascore.files import replaced_file
from cascore.plain import from_plain, parse_json, to_plain

Line = Mapping[str, Any]


class Store:
    """The measurements of a file, which need not exist yet, by their settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._experiments: dict[str, Experiment] = {}
        self._unwritten: set[str] = set()
        self._lines: dict[str, Line] = {}
        self._whole = 0  # bytes
        try:
            if path.is_file():
                self._whole, lines = _read(path.read_bytes())
                for number, line in enumerate(lines, start=1):
                    self._keep(parse_json(line, f"line {number}"))
        except (OSError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a file of measurements: {error}") from None

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def id_of(self, experiment: Experiment) -> str:
        """The id of an experiment, which is written down with its first measurement."""
        for name, known in self._experiments.items():
            if known == experiment:
                return name
        train = experiment.train
        name = f"{experiment.name}/{train.steps}/{train.precision}/{train.seed}"
        while name in self._experiments:
            name += "+"
        self._experiments[name] = experiment
        self._unwritten.add(name)
        return name

    def find(self, kind: str, settings: Line) -> Line | None:
        """The measurement of these settings, or None."""
        return self._lines.get(_key(kind, settings))

    def add(self, kind: str, settings: Line, result: Line, made: Line) -> Line:
        """Append a measurement; of two with the same settings the last one counts."""
        name = settings.get("experiment")
        if name in self._unwritten:
            self._unwritten.remove(name)
            self._append(self._line_of(name))
        self._append({"kind": kind, "settings": settings, "result": result, "made": made})
        return self._lines[_key(kind, settings)]

    def sort(self) -> None:
        """Write the file again in order, the same bytes for the same lines."""
        names = sorted(self._experiments.keys() - self._unwritten)
        experiments = [_text(self._line_of(name)) for name in names]
        text = "".join([*experiments, *sorted(map(_text, self._lines.values()))])
        content = gzip.compress(text.encode(), 9, mtime=0)
        with replaced_file(self.path) as path:
            path.write_bytes(content)
        self._whole = len(content)

    def _line_of(self, name: str) -> Line:
        return {"kind": "experiment", "id": name, "settings": self._experiments[name]}

    def _append(self, line: Line) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(self._whole)
            self._whole += file.write(gzip.compress(_text(line).encode(), mtime=0))
        self._keep(parse_json(_text(line), "a measurement"))

    def _keep(self, line: Line) -> None:
        if line["kind"] == "experiment":
            name = line["id"]
            self._experiments[name] = from_plain(Experiment, line["settings"], name)
        else:
            line["result"], line["made"]
            self._lines[_key(line["kind"], line["settings"])] = line


def row_id(kind: str, settings: Line) -> str:
    """What `python -m paper verify` calls a measurement: eight digits of its settings' digest."""
    return hashlib.sha256(_key(kind, settings).encode()).hexdigest()[:8]


def _read(content: bytes) -> tuple[int, list[bytes]]:
    """How many bytes of a file are whole members, and their lines; damage raises ValueError."""
    lines, rest = list[bytes](), content
    while rest:
        member = zlib.decompressobj(wbits=31)  # gzip
        text = member.decompress(rest)
        if not member.eof:
            if b"\n" in text[:-1]:  # an append has one line
                raise ValueError("it is cut off; restore it from a backup")
            break
        lines += text.splitlines()
        rest = member.unused_data
    return len(content) - len(rest), lines


def _key(kind: str, settings: Line) -> str:
    return f"{kind} {json.dumps(to_plain(settings), sort_keys=True)}"


def _text(line: Line) -> str:
    return json.dumps(to_plain(line), ensure_ascii=False) + "\n"


def machine() -> str:
    """What the seconds of a measurement depend on, in one line."""
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} cores, {torch.get_num_threads()} thread(s) {platform.machine()}"
        f"{accelerator}, torch {torch.__version__}, Python {platform.python_version()},"
        f" cascore {cascore.__version__}"
    )
