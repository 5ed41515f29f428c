"""Consistent annealed sampling and adversarial score matching for PyTorch.

The public names stand once, in `__init__.pyi`, where editors and type checkers look for them. They
are loaded when they are first used (PEP 562), so that `import cascore` loads no torch.
"""

import ast
from importlib import import_module
from pathlib import Path

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOME = {
    alias.name: node.module
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("cascore")
    if name not in _HOME:
        raise AttributeError(f"module 'cascore' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
