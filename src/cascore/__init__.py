"""Consistent annealed sampling and adversarial score matching for PyTorch.

The public names stand once, in `__init__.pyi`. They are loaded when they are first used, so that
`import cascore` loads no torch.
"""

from importlib import import_module

from cascore.stubs import handed_out

_names, _load = handed_out(__name__, __file__)

__all__ = ["__version__", *_names]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("cascore")
    return _load(name)


def __dir__() -> list[str]:
    return __all__
