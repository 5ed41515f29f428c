"""The rooms of the library and who may import whom, read from the syntax trees."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cascore

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "cascore"

FLOORS = (
    {"errors"},
    {"files"},
    {"fetching", "pixels", "noise", "schedule", "denoiser", "stats", "networks"},
    {"progress", "sampling", "losses"},
    {"theory", "training"},
    {"data", "metrics"},
    {"experiment"},
    {"model", "evaluation"},
    {"report"},
    {"reproduce"},
    {"arguments"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""The rooms from the ground up: imports go down only, and never along a floor."""
SIDEWAYS = {"progress": {"training"}, "model": {"evaluation"}, "evaluation": {"model"}}
SIDEWAYS["experiment"] = {"evaluation", "model"}  # measurements have no room below yet
BENEATH = {
    room: set().union(*FLOORS[:floor]) | SIDEWAYS.get(room, set())
    for floor, rooms in enumerate(FLOORS)
    for room in rooms
}
ALLOWED = BENEATH | {
    "experiment.settings": {"errors"},
    "experiment.presets": {"errors", "experiment.settings"},
    "networks": {"errors"},
    "arguments": {"experiment.settings", "experiment.presets"},
    "cli": {"errors", "arguments", "commands", "experiment.settings", "experiment.presets"}
    | {"model.pretrained"},
}
"""What each room may import beside itself. A longer name has the rule of its own file."""

WITHOUT_TORCH = (
    "cascore",
    "cascore.errors",
    "cascore.cli",
    "cascore.experiment.settings",
    "cascore.model.pretrained",
)
ONLY_IN = {
    "diffusers": {"reproduce.beyond.schedulers"},
    "argparse": {"cli"},
    "tyro": {"arguments", "cli"},
    "rich": {"progress", "commands"},
    "lmdb": {"data.lsun"},
    "pyarrow": {"data.cifar_images"},
    "urllib": {"fetching"},
}
EXECUTES_WHAT_IT_LOADS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MAY_UNPICKLE = {"data.unpickling"}
"""CIFAR-10's Python version has no other form; this module calls nothing that a pickle names, and
tests/test_unpickling.py holds it to that."""
TORCH_LOADS = {"torch.load", "torch.serialization.load"}
LONGEST = 500


def modules(root):
    """Name below `cascore` and syntax tree of each file; '' is the package itself."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, path, ast.parse(path.read_text(encoding="utf-8"))


def imports(name, path, tree):
    """Every module that a file imports, at any depth: 'cascore.x.y' or 'torch.nn.functional'."""
    package = ["cascore", *name.split(".")] if name else ["cascore"]
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def room(name):
    """The entry of the table that governs a module: its own, or that of its first part."""
    return name if name in ALLOWED else name.split(".")[0]


def import_problems(root):
    """Imports inside the package that the table does not allow."""
    names = {name for name, _, _ in modules(root)}
    for name, path, tree in modules(root):
        if not name:  # the package's own lazy names: all are below it
            continue
        if room(name) not in ALLOWED:
            yield f"{name} is in no room of the table"
            continue
        for imported in imports(name, path, tree):
            if not re.match(r"cascore(\.|$)", imported) or imported == "cascore.__version__":
                continue
            target = imported.removeprefix("cascore").removeprefix(".")
            while target and target not in names:  # a name inside a module
                target = target.rpartition(".")[0]
            own = target.split(".")[0] == name.split(".")[0] and name not in ALLOWED
            allowed = ALLOWED[room(name)] | {name}
            if not own and target not in allowed and target.split(".")[0] not in allowed:
                yield f"{name} imports {imported}"


def habit_problems(root):
    """Prints, reads of arguments or of the environment, and loads that can execute code."""
    for name, path, tree in modules(root):
        for imported in imports(name, path, tree):
            top = imported.split(".")[0]
            unpickles = top in EXECUTES_WHAT_IT_LOADS
            if unpickles and not (top == "pickle" and name in MAY_UNPICKLE):
                yield f"{name} imports {imported}"
            if imported in TORCH_LOADS:
                yield f"{name} imports {imported}"
            if top in ONLY_IN and not {name, name.split(".")[0]} & ONLY_IN[top]:
                yield f"{name} imports {top}"
            if imported in ("os.environ", "os.getenv", "sys.argv") and name != "cli":
                yield f"{name} imports {imported}"
        for text in load_problems(tree):
            yield f"{name} can execute what it loads: {text}"
        for node in ast.walk(tree):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Attribute) else ""
            if name != "cli" and (
                text.startswith("print(") or text in ("os.environ", "os.getenv", "sys.argv")
            ):
                yield f"{name} uses {text}"


def load_problems(tree):
    """What of a file can execute code that it loads; torch.load(..., weights_only=True) cannot."""
    safe = {id(node.func) for node in ast.walk(tree) if loads_data_only(node)}
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Attribute) else ""
        if re.match(r"(eval|exec)\(", text) or "allow_pickle=True" in text:
            yield text
        if text in TORCH_LOADS and id(node) not in safe:
            yield text


def loads_data_only(node):
    """Whether a node is a call torch.load(..., weights_only=True), literally."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"):
        return False
    options = {each.arg: ast.unparse(each.value) for each in node.keywords}
    plain = None not in options and "pickle_module" not in options  # None stands for **options
    return plain and options.get("weights_only") == "True"


def test_imports_go_down_only():
    assert list(import_problems(PACKAGE)) == []


def test_library_code_does_not_print_read_its_surroundings_or_run_what_it_loads():
    assert list(habit_problems(PACKAGE)) == []


def test_no_file_is_too_long():
    long = {
        name: count
        for name, path, _ in modules(PACKAGE)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("denoiser.py", "from cascore.sampling import Samples"),
        ("denoiser.py", "from .sampling import Samples"),
        ("denoiser.py", "import cascore.sampling"),
        ("denoiser.py", "from cascore import sampling"),
        ("denoiser.py", "from cascore import Samples"),
        ("networks/mlp.py", "from cascore.schedule import stretch"),
        ("networks/mlp.py", "from .. import losses"),
        ("networks/mlp.py", "def f():\n    from cascore.losses import corrupt"),
        ("metrics/frechet.py", "from cascore.data import load"),
        ("training/step.py", "from cascore.experiment.settings import Training"),
        ("experiment/settings.py", "from cascore.noise import KeyedNoise"),
        ("experiment/settings.py", "from cascore.experiment.run import run"),
        ("cli.py", "from cascore.sampling import Samples"),
        ("cli.py", "from cascore.experiment.run import run"),
        ("commands.py", "from cascore.cli import main"),
        ("newroom.py", "import torch"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path, path, source):
    for name in ("__init__.py", "sampling.py", "losses.py", "cli.py", path):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source if name == path else "", encoding="utf-8")
    assert len(list(import_problems(tmp_path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("networks/__init__.py", "from cascore.networks import unet"),
        ("networks/unet.py", "from . import mlp"),
        ("experiment/run.py", "from cascore.experiment.settings import Training"),
        ("experiment/run.py", "from cascore import __version__"),
        ("cli.py", "from cascore.experiment.settings import Data\nprint(1)\nimport tyro"),
        ("networks/unet.py", "import torch\ntorch.load('a', weights_only=True).items()"),
        ("experiment/run.py", "import torch\ntorch.load('a', weights_only=True)"),
        ("experiment/run.py", "import torch\ntorch.load('a', 'cpu', weights_only=True)"),
    ],
)
def test_an_allowed_import_is_not_found(tmp_path, path, source):
    others = ("networks/mlp.py", "networks/unet.py", "experiment/settings.py", "experiment/run.py")
    for name in (*others, path):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source if name == path else "", encoding="utf-8")
    assert [*import_problems(tmp_path), *habit_problems(tmp_path)] == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "import argparse",
        "from tyro import cli",
        "import os\nos.environ['A']",
        "import os\nos.getenv('A')",
        "from os import environ",
        "import sys\nsys.argv",
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('a')",
        "import torch\ntorch.load('a', weights_only=False)",
        "import torch\ntorch.load(f('a', weights_only=True))",
        "import torch\ntorch.load('a', weights_only=safe)",
        "import torch\ntorch.load('a', weights_only=True, **options)",
        "import torch\ntorch.load('a', weights_only=True, pickle_module=other)",
        "import torch\nread = torch.load\nread('a')",
        "from torch import load\nload('a')",
        "from torch.serialization import load",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
        "def f():\n    return eval('1')",
        "from diffusers import UNet2DModel",
    ],
)
def test_a_forbidden_habit_is_found(tmp_path, source):
    (tmp_path / "sampling.py").write_text(source, encoding="utf-8")
    assert list(habit_problems(tmp_path))


EXISTING = [
    name
    for name in WITHOUT_TORCH
    if (PACKAGE.parent / name.replace(".", "/")).is_dir()
    or (PACKAGE.parent / (name.replace(".", "/") + ".py")).is_file()
]


def loaded_by(statement):
    """The names of all modules that a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", EXISTING)
def test_what_is_imported_at_the_start_loads_no_torch(name):
    loaded = loaded_by(f"import {name}")
    assert name in loaded
    assert loaded & {"torch", "numpy", "diffusers", "PIL", "matplotlib"} == set()


def test_no_network_or_sampler_loads_diffusers():
    loaded = loaded_by(
        "import cascore.networks, cascore.sampling, cascore.losses, cascore.theory, torch"
    )
    assert "torch" in loaded
    assert "diffusers" not in loaded


def test_every_public_name_is_there_and_known_to_type_checkers():
    for name in cascore.__all__:
        assert getattr(cascore, name) is not None
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    typed = {
        alias.asname: f"{statement.module}.{alias.name}"
        for statement in block.body
        for alias in statement.names
    }
    assert set(cascore.__all__) == {"__version__", *typed}
    for public, source in typed.items():
        module, _, name = source.rpartition(".")
        assert name == public
        assert getattr(cascore, public) is getattr(sys.modules[module], name)


def test_public_names_are_listed_and_others_are_refused():
    assert set(cascore.__all__) == set(dir(cascore))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cascore.nothing  # noqa: B018


def test_every_module_says_what_it_exports():
    """A docstring, and `__all__` wherever there is anything else."""
    for name, _, tree in modules(PACKAGE):
        assert ast.get_docstring(tree), f"{name} has no docstring"
        if len(tree.body) == 1:  # the __init__ of a package that exports nothing
            continue
        listed = [
            node
            for node in tree.body
            if ast.unparse(node).startswith(("__all__ =", "__all__: list[str] ="))
        ]
        assert len(listed) == 1, f"{name} has no __all__"


def test_the_changelog_starts_with_this_version():
    changelog = ROOT / "CHANGELOG.md"
    if not changelog.exists():
        pytest.skip("there is no CHANGELOG.md yet")
    versions = re.findall(r"^##\s+\[?v?(\d+\.\d+\.\d+)", changelog.read_text("utf-8"), re.MULTILINE)
    assert versions[0] == cascore.__version__
