"""The documents are right: their commands and their Python run, their names and files exist."""

import ast
import contextlib
import io
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers_models import unet
from running import run

import cascore
from cascore.experiment.run_folder import is_run
from cascore.model.folder import is_model_folder
from cascore.pixels import save_png
from paper import __main__ as paper
from tools.package import absolute

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "docs/results/README.md"]
    if path.name != "CHANGELOG.md"  # it may name what is gone
)

SMALL = {
    "train": {"--train.steps": 3, "--train.batch-size": 8, "--network.width": 8},
    "sample": {"--count": 4},
    "restore": {"--count": 2, "--calls": 2},
    "evaluate": {"--count": 12},
    "tune": {"--count": 8, "--blocks": 2},
}
"""The settings at which commands run here, in place of printed ones or of defaults; of images that
are there already all are judged."""

SMALLER = {"--train.evaluate-every": 3, "--train.evaluate-count": 8, "--minutes": 0.01}
"""The same, where they are printed."""

NOT_RUN = {
    "cascore convert checkpoint": "a published checkpoint; tests/test_convert.py makes small ones",
    **{
        f"cascore data prepare {name}": "a named download"
        for name in ("cifar-10", "lsun-church", "celeba", "mnist", "fashion-mnist", "stacked-mnist")
    },
    "cascore data show cifar-10": "a named download",
    "cascore info models/cifar10": "a published checkpoint",
    "cascore sample models/cifar10": "a published checkpoint",
    "cascore evaluate others --data fid_stats.npz": "Inception's weights",
    "cascore play": "a server; tests/test_play.py",
    "torchrun": "tests/test_parallel.py",
    "python tools/train_classifier.py cifar-10-jpeg": "ten minutes",
    "python -m benchmarks.guidance": "tests/test_guidance_benchmark.py",
}
"""How lines begin that are read and not run, and why."""


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document):
    """Language and text of every code block, in order."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", read(document), re.MULTILINE | re.DOTALL)


def quoted(document):
    """What stands between single backticks, outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(document), flags=re.DOTALL))


# --- commands and Python


def make_belongings(folder):
    """What a reader has at hand: photographs, their archive, other pictures, a pipeline."""
    pixels = torch.randint(0, 256, (24, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    for name in ("photos", "others", "Pictures"):
        (folder / name).mkdir()
        for i, image in enumerate(pixels.to(torch.uint8)):
            save_png(image, folder / name / f"{i}.png")
    shutil.make_archive(str(folder / "pictures"), "zip", folder / "photos")
    grey = pixels[:2, :1, :28, :28].to(torch.uint8)
    save_png(grey[0].contiguous(), folder / "shoe.png")
    save_png(pixels[0, :, :32, :32].to(torch.uint8).contiguous(), folder / "horse.png")
    save_png((grey[1] > 127).to(torch.uint8) * 255, folder / "hole.png")
    diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler()).save_pretrained(folder / "ddpm")


def small(words):
    """The words of a command at small settings."""
    given = {option: value for option, value in SMALLER.items() if option in words}
    place = Path(words[1]) if len(words) > 1 else Path()
    of_images = place.is_dir() and not (is_run(place) or is_model_folder(place))
    usual = {} if words[0] == "evaluate" and of_images else SMALL.get(words[0], {})
    for option, value in (usual | given).items():
        if option in words:
            words[words.index(option) + 1] = str(value)
        else:
            words += [option, str(value)]
    return words


def problem(line):
    """What is wrong with a line of a shell block, or None."""
    words = shlex.split(line, comments=True)
    if not words or line.startswith(tuple(NOT_RUN)):
        return None
    if "make" in words:
        targets = re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE)
        return None if set(words[words.index("make") + 1 :]) <= set(targets) else "no such target"
    if words[:2] == ["pip", "install"]:
        extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
        named = {name for group in re.findall(r"\[(.+)\]", words[2]) for name in group.split(",")}
        return None if named <= set(extras) else "no such extra"
    if words[:3] == ["python", "-m", "paper"]:  # it only tells what it would measure
        code = paper.main([*words[3:], "--cost"])
    elif words[0] == "cascore":
        code = run(*small(words[1:]))
    else:
        return "neither run nor excepted"
    return None if code == 0 else f"exit code {code}"


def problems(document, folder):
    """Run a document's blocks in a folder; what went wrong, by line."""
    make_belongings(folder)
    names, wrong = {}, {}
    with contextlib.chdir(folder):
        for language, text in blocks(document):
            if language == "python":
                try:
                    exec(compile(text, document, "exec"), names)
                except Exception as error:
                    wrong[text] = repr(error)
            for line in text.splitlines() if language == "sh" else ():
                with contextlib.redirect_stderr(io.StringIO()) as told:
                    answer = problem(line)
                if answer is not None:
                    wrong[line] = f"{answer}: {told.getvalue()[-500:]}"
    return wrong


def test_what_is_not_run_is_printed_somewhere():
    text = "\n".join(text for name in DOCUMENTS for _, text in blocks(name))
    assert [start for start in NOT_RUN if f"\n{start}" not in f"\n{text}"] == []


@pytest.fixture(scope="module")
def readme(tmp_path_factory):
    """The folder that the README leaves to the other documents, and what went wrong there."""
    folder = tmp_path_factory.mktemp("README")
    return folder, problems("README.md", folder)


def test_the_readme_runs_as_printed(readme):
    assert readme[1] == {}


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "README.md"])
def test_commands_and_python_run_as_printed(document, readme, tmp_path):
    shutil.copytree(readme[0] / "runs", tmp_path / "runs")
    assert problems(document, tmp_path) == {}


# --- names, files, links


def definitions(body):
    """What statements define: the name, and the statements inside of a class."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.body
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield ast.unparse(target), []


def exports(body):
    """What the `__init__` of a package hands out, names for type checkers included."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, []) for alias in node.names)
        elif isinstance(node, ast.If):
            yield from exports(node.body)


def is_there(name):
    """Whether a dotted name is a module or is defined in the one it names, or a package's export.

    What a module imports for itself is not there: it could be found by accident only.
    """
    path, parts = ROOT / "src", name.split(".")
    while parts and (path / parts[0]).is_dir():
        path /= parts.pop(0)
    if parts and (path / f"{parts[0]}.py").is_file():
        path /= f"{parts.pop(0)}.py"
    stub = path / "__init__.pyi"  # where the package's own names stand
    source = path if path.is_file() else stub if stub.is_file() else path / "__init__.py"
    body = ast.parse(source.read_text(encoding="utf-8")).body
    known = dict(definitions(body)) | (dict(exports(body)) if source != path else {})
    for part in parts:
        if part not in known:
            return False
        known = dict(definitions(known[part]))
    return True


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_is_where_it_says(document):
    names = [text for text in quoted(document) if re.fullmatch(r"cascore(\.\w+)+", text)]
    assert [name for name in names if not is_there(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_every_test_exists(document):
    for text in quoted(document):
        if re.match(r"(src|tests|examples|docs|tools|benchmarks|paper)/", text):
            path, _, name = text.partition("::")
            assert (ROOT / path).exists(), text
            source = (ROOT / path).read_text(encoding="utf-8") if name else ""
            assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE), text


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_every_link_inside_the_project_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)", read(document)):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


def test_links_of_a_released_readme_lead_to_its_tag():
    text = absolute(read("README.md"), "https://forge.example/user/cascore", "v1.2.3")
    targets = re.findall(r"\]\(([^)]+)", text)
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "https://forge.example/user/cascore/blob/v1.2.3/CONTRIBUTING.md" in targets
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)", text)
    assert {"/raw/v1.2.3/docs/" in picture for picture in pictures} == {True}


def test_every_public_name_is_in_the_reference():
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/api/*.rst"))
    described = tuple(f"{name}." for name in re.findall(r"automodule:: (\S+)", text))
    homes = {name: getattr(cascore, name).__module__ for name in set(cascore.__all__[1:])}
    assert [name for name in homes if not f"{homes[name]}.".startswith(described)] == []


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


def test_changelog_and_citation_are_of_this_version_and_of_the_paper():
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - ", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == cascore.__version__
    citation = read("CITATION.cff")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [cascore.__version__]
    authors = re.findall(r"family-names: (.+)$", citation, re.MULTILINE)
    assert [name.strip('"') for name in authors] == [
        "Jolicoeur-Martineau", "Piché-Taillefer", "Tachet des Combes", "Mitliagkas",
    ]  # fmt: skip
    assert "arXiv:2009.05475" in citation
