"""The rules of the house: imports go down, nothing that is loaded can run, files are short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cascore

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cascore"
LONGEST = 500

ROOMS = (
    "stubs", "errors", "ranges", "files", "plain", "locks", "foreign", "fetching", "hub",
    "pixels", "preprocessing",
    "schedule", "spectrum", "denoiser", "noise", "sampling", "losses", "theory", "calibration",
    "guidance", "operators", "restoration", "flow",
    "stats", "measurement", "arithmetic", "networks", "training", "progress", "data", "metrics",
    "experiment", "model", "ecosystem", "diffusers", "evaluation", "report", "playground",
    "cli", "__main__",
)  # fmt: skip
"""From the ground up: a room imports itself and what stands before it."""

NARROW = {"networks": {"errors"}}
"""Rooms that see less than all below them: networks know neither schedules nor losses."""

ONLY_IN = {
    "argparse": {"cli"},
    "tyro": {"cli"},
    "rich": {"cli", "progress"},
    "diffusers": {"ecosystem", "diffusers"},
    "huggingface_hub": {"hub"},
    "onnx": {"ecosystem"},
    "onnxruntime": {"ecosystem"},
    "onnxscript": {"ecosystem"},
    "wandb": {"training"},
    "lmdb": {"data"},
    "pyarrow": {"data"},
    "urllib": {"fetching"},
    "pickle": {"data"},  # CIFAR-10's Python version has no other form; tests/test_unpickling.py
    "paper": set(),  # the studies are no part of the package
    **{name: set() for name in ("marshal", "shelve", "joblib", "dill", "cloudpickle")},
}


def modules(package):
    """The dotted name below `cascore` and the syntax tree of each file."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Every module or name that a file imports, at any depth of the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)


def import_problems(package):
    """Imports that go up, relative ones, and libraries outside of their room."""
    for name, tree in modules(package):
        room = name.split(".")[0]
        if not room:  # `cascore` itself hands out names of all rooms
            continue
        if room not in ROOMS:
            yield f"{name} is in no room: add it to ROOMS, at its height"
            continue
        below = NARROW.get(room, set(ROOMS[: ROOMS.index(room)])) | {room, "__version__"}
        for imported in imports(tree):
            top, _, rest = imported.partition(".")
            target = rest.split(".")[0]
            upward = top == "cascore" and target not in below
            misplaced = room not in ONLY_IN.get(top, {room})
            if top == "" or misplaced or upward:
                yield f"{name} imports {imported}"


def load_problems(package):
    """Calls that can execute what they read."""
    for name, tree in modules(package):
        for node in ast.walk(tree):
            call = ast.unparse(node) if isinstance(node, ast.Call) else ""
            plain_load = call.startswith("torch.load(") and "weights_only=True" not in call
            if plain_load or re.match(r"(eval|exec)\(", call) or "allow_pickle=True" in call:
                yield f"{name} can execute what it loads: {call}"
        if "torch.load" in imports(tree):
            yield f"{name} hides torch.load"


def test_imports_go_down_only():
    assert list(import_problems(PACKAGE)) == []


def test_nothing_that_is_loaded_can_run():
    assert list(load_problems(PACKAGE)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoiser.py", "from cascore.sampling import Samples"),
        ("denoiser.py", "import cascore.sampling"),
        ("denoiser.py", "from cascore import sampling, errors"),
        ("denoiser.py", "from .errors import InputError"),
        ("networks/mlp.py", "def f():\n    from cascore.schedule import stretch"),
        ("metrics/frechet.py", "from cascore.model import load"),
        ("newroom.py", "import torch"),
        ("sampling.py", "import pickle"),
        ("losses.py", "from tyro import cli"),
        ("losses.py", "torch.load('a')"),
        ("losses.py", "torch.load('a', weights_only=False)"),
        ("losses.py", "from torch import load"),
        ("losses.py", "np.load('a', allow_pickle=True)"),
        ("losses.py", "def f():\n    return eval('1')"),
    ],
)
def test_what_is_forbidden_is_found(tmp_path, path, source):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)
    assert len([*import_problems(tmp_path), *load_problems(tmp_path)]) == 1


def test_what_is_allowed_is_not_found(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "load.py").write_text(
        "from cascore import __version__, data\nfrom cascore.model import card\n"
        "torch.load('a', weights_only=True).eval()\n"
    )
    assert [*import_problems(tmp_path), *load_problems(tmp_path)] == []


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > LONGEST} == {}


def loaded_by(statement):
    """The modules of a fresh process after a statement, as the last line that it prints."""
    script = f"import sys; {statement}; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "from cascore.cli.__main__ import COMMANDS, class_of; [*map(class_of, COMMANDS)]",
        "import cascore.experiment.settings, cascore.measurement",
        "import cascore, cascore.errors; cascore.__all__, dir(cascore)",
    ],
)
def test_what_is_imported_at_the_start_loads_no_torch(statement):
    """Help and wrong arguments are answered at once."""
    loaded = loaded_by(statement)
    assert "cascore" in loaded
    assert loaded & {"torch", "numpy", "scipy", "diffusers", "PIL", "matplotlib"} == set()


def test_to_draw_a_picture_loads_only_what_draws_it(tmp_path):
    """No other command, no format of data, no metric, no library of theirs."""
    line = ["sample", "digits", "--count", "1", "--calls", "2", "--out", str(tmp_path / "out")]
    loaded = loaded_by(
        f"from cascore.cli.__main__ import parse; parse({line}).run('cascore'); print()"
    )
    assert {name for name in loaded if name.startswith("cascore.cli.")} == {
        f"cascore.cli.{name}" for name in ("__main__", "common", "options", "sample")
    }
    assert {name for name in loaded if re.match(r"cascore\.(data|metrics)\.", name)} == {
        "cascore.data.images", "cascore.data.points", "cascore.metrics.features"
    }  # fmt: skip
    beside = {"scipy", "matplotlib", "pyarrow", "lmdb", "jinja2", "diffusers", "huggingface_hub"}
    others = {"cascore.evaluation", "cascore.report", "cascore.experiment.run"}
    assert loaded & (beside | others) == set()


def test_every_public_name_is_there():
    assert set(dir(cascore)) == set(cascore.__all__) > {"__version__", "load", "train"}
    for name in cascore.__all__:
        assert getattr(cascore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cascore.nothing  # noqa: B018
