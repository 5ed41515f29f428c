"""The documents are right: names resolve, tests exist, code runs, commands are understood."""

import importlib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import cascore
from cascore.cli.__main__ import parse
from cascore.experiment.presets import PRESETS

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/checkpoints.md",
    "docs/evaluation.md",
    "docs/fidelity.md",
    "docs/paper.md",
    "docs/results/README.md",
)


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", read(document), re.MULTILINE | re.DOTALL)


def quoted(document):
    """What stands between single backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(document), flags=re.DOTALL))


def resolve(name):
    """The module or attribute of a dotted name; ImportError or AttributeError if there is none."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ImportError(name)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_of_the_package_resolves(document):
    for text in quoted(document):
        if re.fullmatch(r"cascore(\.\w+)+", text):
            resolve(text)


PAPER = sorted({text for text in quoted("docs/paper.md") if re.match(r"cascore\.\w", text)})


@pytest.mark.parametrize("name", PAPER)
def test_a_name_in_the_papers_table_is_defined_in_the_module_named(name):
    """Imported there by accident is not enough; a package may offer what its own modules define."""
    module, _, attribute = name.rpartition(".")
    value = resolve(name)
    if isinstance(value, type(re)):
        return
    if (home := getattr(value, "__module__", None)) and not isinstance(value, Mapping):
        package = hasattr(importlib.import_module(module), "__path__")
        assert home == module or (package and home.startswith(f"{module}.")), home
    else:
        source = Path(importlib.import_module(module).__file__).read_text(encoding="utf-8")
        assert re.search(rf"^{attribute}\b.* = ", source, re.MULTILINE), name


def test_a_name_that_is_none_does_not_resolve():
    with pytest.raises(AttributeError):
        resolve("cascore.losses.no_such_loss")
    with pytest.raises(AttributeError):
        resolve("cascore.no_such_module.name")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_every_test_exists(document):
    for text in quoted(document):
        if re.match(r"(src|tests|examples|docs|tools)/", text):
            path, _, name = text.partition("::")
            assert (ROOT / path).exists(), text
            source = (ROOT / path).read_text(encoding="utf-8") if name else ""
            assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE), text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_inside_the_project_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", read(document)):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


def test_every_item_of_the_paper_has_a_row():
    items = [f"Eq. {i}" for i in range(1, 6)]
    items += ["Algorithm 1", "Algorithm 2"]
    items += [f"Proposition {i}" for i in range(1, 4)]
    items += [f"Technique {i}" for i in range(1, 6)]
    items += [f"Appendix {letter}" for letter in "BCDEFGHI"]
    items += [f"Figure {i}" for i in range(1, 4)]
    items += [f"Table {i}" for i in range(1, 5)]
    rows = read("docs/paper.md").splitlines()
    for item in items:
        row = next((row for row in rows if row.startswith(f"| {item} |")), None)
        assert row is not None, f"{item} has no row"
        assert "`" in row or "not yet" in row, f"{item} names neither code nor 'not yet'"


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """Both blocks, in order: the exact denoiser, then a network that comes with the package."""
    exact, trained = blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(exact, "README.md", "exec"), names)
    assert (tmp_path / "digits.png").is_file()
    # At sigma = 0.01 the exact denoiser answers with a datum: no two are nearer than 0.33.
    images = names["to_float"](names["digits"].images).flatten(1)
    found = names["samples"].denoised.flatten(1)
    gaps = torch.cdist(found, images, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(gaps.min(dim=1).values.max()) < 1e-3
    exec(compile(trained, "README.md", "exec"), names)
    assert names["samples"].denoised.shape == (16, 1, 28, 28)
    assert names["samples"].nfe == 12


def commands():
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            for line in block.splitlines():
                if (found := re.search(r"(?:^|-m )cascore (.*)", line)) is not None:
                    yield found[1]


@pytest.mark.parametrize("line", [*commands()])
def test_every_command_is_understood(line):
    """The command line accepts it; what the commands do has its own tests."""
    assert callable(parse(shlex.split(line, comments=True)).run)


def test_every_preset_of_the_readme_exists():
    section = read("README.md").partition("| preset |")[2].partition("\n\n")[0]
    named = {
        name
        for row in section.splitlines()[2:]
        for name in re.findall(r"`([\w-]+)`", row.split("|")[1])
    }
    assert {name for each in named for name in (each, f"{each}-adversarial")} == set(PRESETS)


def test_every_make_target_exists():
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        for block in blocks(document, "sh"):
            named = re.findall(r"(?:^|\s)make (\w[\w-]*)", block)
            assert set(named) <= targets, f"{document}: {named}"


def test_the_newest_version_of_the_changelog_is_this_one():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - ", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == cascore.__version__


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = read("CITATION.cff")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [cascore.__version__]
    authors = re.findall(r"family-names: (.+)$", citation, re.MULTILINE)
    assert [name.strip('"') for name in authors] == [
        "Jolicoeur-Martineau",
        "Piché-Taillefer",
        "Tachet des Combes",
        "Mitliagkas",
    ]
    assert "arXiv:2009.05475" in citation


def test_the_results_of_the_readme_are_those_of_the_page():
    """Every row of its table is a row of the page: there, each model has two extractors."""
    page = read("docs/results/beyond.md")
    section = read("README.md").partition("| sampler |")[2].partition("\n\n")[0]
    models, _, best, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()
    )
    for model, calls in zip(models, best[1:], strict=True):
        assert re.search(rf"^- {model}: the paper's best is .* at {calls} calls", page, re.M)
    assert len(rows) == 4
    for name, *calls in rows:
        line = next(each for each in page.splitlines() if each.startswith(f"| {name} |"))
        found = [cell.strip() for cell in line.strip("|").split("|")][1:]
        assert found[::2] == calls
