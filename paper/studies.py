"""The studies by name, in the order of `python -m paper all`: each is a module of its name."""

from collections.abc import Mapping
from importlib import import_module

from paper import tables
from paper.engine.page import Study

_BEFORE = ("figure1", "figure2", "figure3")
_AFTER = ("table4", "headline", "initialisation", "gan-losses", "conditional", "beyond")


def _of(*names: str) -> dict[str, Study]:
    return {name: import_module(f"paper.{name.replace('-', '_')}").STUDY for name in names}


STUDIES: Mapping[str, Study] = {**_of(*_BEFORE), **tables.STUDIES, **_of(*_AFTER, "never-tuning")}
