"""The studies by name, in the order of `python -m paper all`: each is a module of its name."""

from importlib import import_module

from paper import tables

_TABLES = tuple(tables.STUDIES)  # of one module
_NAMES = ("figure1", "figure2", "figure3", *_TABLES, "table4", "headline", "initialisation",
          "gan-losses", "conditional", "beyond", "few-calls", "never-tuning",
          "cifar-10")  # fmt: skip
STUDIES = {
    name: tables.STUDIES.get(name) or import_module(f"paper.{name.replace('-', '_')}").STUDY
    for name in _NAMES
}
