"""Work in named units: each leaves one JSON record, so that an interrupted command goes on."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cascore.errors import InputError
from cascore.experiment.outputs import write_record
from cascore.experiment.settings import Experiment
from cascore.plain import from_plain

__all__ = ["Record", "Records", "Unit", "of_study", "run_units"]

Record = Mapping[str, Any]
"""What a unit left: unit, settings, result, seconds, machine, software."""
Records = Mapping[str, Record]
"""Records by the names of their units."""


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        name: also that of its file; letters, digits, dots and hyphens.
        settings: everything that decides the result, in JSON's own types; a record with other
            settings is refused.
        measure: from the records of the units before it, its result in JSON's own types.
    """

    name: str
    settings: Mapping[str, Any]
    measure: Callable[[Records], Mapping[str, Any]]


def of_study(records: Records, study: str) -> Records:
    """The records of a study that another one needs, by the names of their units."""
    prefix = f"{study}/"
    return {
        name.removeprefix(prefix): record
        for name, record in records.items()
        if name.startswith(prefix)
    }


def run_units(
    units: Sequence[Unit],
    folder: Path,
    *,
    notify: Callable[[str], None] = lambda message: None,
) -> dict[str, Record]:
    """Measure what has no record yet, in order, and return the records of all.

    Args:
        units: in an order in which each finds the records that it needs.
        folder: of the records, NAME.json; made when there is something to measure.
        notify: told in words which unit is measured.

    Raises:
        InputError: a record that cannot be read, or one that was made with other settings.
    """
    done: dict[str, Record] = {}
    for number, unit in enumerate(units, start=1):
        path = folder / f"{unit.name}.json"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            notify(f"[{number}/{len(units)}] {unit.name}")
            started = time.perf_counter()
            result = unit.measure(done)
            record = {
                "unit": unit.name,
                "settings": unit.settings,
                "result": result,
                "seconds": round(time.perf_counter() - started, 2),
                "machine": _machine(),
            }
            write_record(path, record)
        done[unit.name] = _read(path, unit)
    return done


def _read(path: Path, unit: Unit) -> Record:
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        settings = record["settings"]
        record["result"], record["software"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a record ({error}): delete it to measure anew") from None
    wanted = json.loads(json.dumps(unit.settings))
    changed = sorted(
        name
        for name in settings.keys() | wanted.keys()
        if _comparable(name, settings.get(name)) != _comparable(name, wanted.get(name))
    )
    if changed:
        raise InputError(
            f"{path} was measured with other settings ({', '.join(changed)}): choose another --out,"
            " or delete it to measure anew"
        )
    return record


def _comparable(name: str, value: Any) -> Any:
    """A setting; an experiment without what it lacks, as one of an older version may."""
    if name == "experiment" and isinstance(value, dict):
        return from_plain(Experiment, value, "experiment")
    return value


def _machine() -> dict[str, object]:
    """What the seconds of a record depend on."""
    return {
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
