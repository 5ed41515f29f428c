"""What a package hands out: the names of its `__init__.pyi`, loaded when they are first used.

The stub is where editors and type checkers look for them, so they stand there alone (PEP 562).
"""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def handed_out(package: str, file: str) -> tuple[list[str], Callable[[str], object]]:
    """The public names of a package and its `__getattr__`, of its `__name__` and `__file__`."""
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    home = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }

    def load(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home[name]), name)

    return sorted(home), load
