"""The package as a user gets it: a wheel of this tree, installed elsewhere, draws pictures."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(*arguments, cwd, path=None):
    """What a fresh interpreter prints; without `path`, it has what is installed."""
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    answer = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy, for a build in place would take in what earlier builds left."""
    folder = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    python("-m", "pip", "wheel", *options, "--wheel-dir", "dist", ".", cwd=folder)
    (path,) = (folder / "dist").glob("cascore-*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {name for name in names if name.parts[0].endswith(".dist-info")}
    sources = {
        path.relative_to(ROOT / "src")
        for path in (ROOT / "src" / "cascore").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names - metadata == sources


def test_the_wheel_draws_in_another_folder(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--quiet", "--no-deps", "--no-index", "--target", site)
    python("-m", "pip", "install", *options, wheel, cwd=tmp_path)
    home = python("-c", "import cascore; print(cascore.__file__)", cwd=elsewhere, path=site)
    assert Path(home.strip()) == site / "cascore" / "__init__.py"
    command = ("-m", "cascore", "sample", "fashion-mnist", "--count", "4", "--device", "cpu")
    python(*command, "--out", "clothes", cwd=elsewhere, path=site)
    assert list((elsewhere / "clothes").glob("*.png"))
