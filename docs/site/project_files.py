"""A Sphinx extension: what the pages name of this repository is a link on the site.

The project has no public address that links could lead to, and needs none: a file that a page links
to or names, as `tests/test_stats.py::test_of_blocks` does, gets a page on the site with its lines
numbered; a name, as `cascore.stats.verdict`, leads to its entry in the reference. Tables and
pictures beside the pages are copied by Sphinx itself.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import cascore

NAME = re.compile(r"cascore(\.\w+)+")
FILE = re.compile(r"((?:src|tests|examples|tools|benchmarks|paper)/[\w./-]+|Makefile)(?:::(\w+))?")
BINARY = {".gz", ".png"}
DOWNLOADED = {*BINARY, ".csv"}
"""Kinds of files that a reader downloads when a page links to them; others become pages."""

ROOT = Path(__file__).resolve().parents[2]
SOURCES: set[Path] = set()
"""The files of the package that entries of the reference lead to."""


class Links(SphinxTransform):
    """Code that names something of the project, and links to its files, become references."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Replace what the page names; what becomes of a reference is decided when all is read."""
        root = Path(self.env.srcdir)
        for node in [*self.document.findall(nodes.literal)]:
            text = node.astext()
            if isinstance(node.parent, nodes.reference | addnodes.pending_xref):
                continue
            if NAME.fullmatch(text):
                node.replace_self(self._pending(node, "py", "obj", text))
            elif match := FILE.fullmatch(text):
                path, name = match.groups()
                if (root / path).is_file():
                    node.replace_self(self._pending(node, "", "file", path, defines=name))
        here = (root / self.env.docname).parent
        links = addnodes.download_reference | addnodes.pending_xref  # to a file, to a folder
        for node in [*self.document.findall(lambda node: isinstance(node, links))]:
            path = (here / node["reftarget"]).resolve()
            if node.get("reftype") == "myst" and path.exists() and path.suffix not in DOWNLOADED:
                content = nodes.inline("", "", *node.children)
                target = str(path.relative_to(root))
                node.replace_self(self._pending(content, "", "file", target, defines=None))

    def _pending(
        self, content: nodes.Element, domain: str, kind: str, target: str, **more: Any
    ) -> nodes.Element:
        return addnodes.pending_xref(
            "", content.deepcopy(), refdomain=domain, reftype=kind, reftarget=target,
            refdoc=self.env.docname, refexplicit=True, refwarn=False, **more,
        )  # fmt: skip


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """A file's page, or the entry of an object that has another name where it is described."""
    if node["reftype"] == "file":
        path, name = node["reftarget"], node["defines"]
        page = f"{path}/index" if (Path(env.srcdir) / path).is_dir() else path
        uri = app.builder.get_relative_uri(node["refdoc"], f"files/{page}")
        if name:
            lines = (Path(env.srcdir) / path).read_text("utf-8").splitlines()
            starts = [i for i, line in enumerate(lines, 1) if line.startswith(f"def {name}(")]
            uri += f"#L-{starts[0]}"
        return nodes.reference("", "", content, internal=True, refuri=uri)
    if node["refdomain"] != "py":
        return None
    target = node["reftarget"]
    entries = described(env)
    for name in (target, f"{node.get('py:module')}.{target}", f"cascore.{target}"):
        if NAME.fullmatch(name) and (home := entries.get(identity(name))):
            name, entry = home
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, [content], name
            )
    if (page := source_page(target)) is None:
        return None
    uri = app.builder.get_relative_uri(node["refdoc"], page[0]) + page[1]
    return nodes.reference("", "", content, internal=True, refuri=uri)


class PublicNames(SphinxDirective):
    """A table of what the package itself hands out: the name, and the first line on it."""

    def run(self) -> list[nodes.Node]:
        """One row for each name of `cascore.__all__`."""
        rows = [".. list-table::", "   :widths: 2 3", ""]
        for name in cascore.__all__:
            if not name.startswith("_"):
                line = inspect.getdoc(getattr(cascore, name)).splitlines()[0]
                rows += [f"   * - `cascore.{name}`", f"     - {line}"]
        return self.parse_text_to_nodes("\n".join(rows))


@cache
def described(env: BuildEnvironment) -> dict[Any, Any]:
    """The reference by what an object is, whatever it is called; asked when all is read."""
    entries = env.domaindata["py"]["objects"]
    found = {identity(name): (name, entry) for name, entry in entries.items() if not entry.aliased}
    found.pop(None, None)  # attributes of instances
    return found


def identity(name: str) -> Any:
    """The module and the name of an object's definition; None of what cannot be imported."""
    thing = find(name)
    if inspect.ismodule(thing):
        return thing.__name__
    if hasattr(thing, "__qualname__"):
        return thing.__module__, thing.__qualname__
    return name if thing is not None else None


def find(name: str) -> Any:
    """The object of a dotted name, or None."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing: Any = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            thing = getattr(thing, part, None)
        return thing
    return None


def source_page(name: str) -> tuple[str, str] | None:
    """The page of the file of the package that defines an object, and the line on it."""
    thing = inspect.unwrap(find(name)) if NAME.fullmatch(name) else None
    try:
        path = Path(inspect.getsourcefile(thing) or "").resolve()
        line = 0 if inspect.ismodule(thing) else inspect.getsourcelines(thing)[1]
    except TypeError:  # a constant
        return None
    if not path.is_relative_to(ROOT / "src"):
        return None
    SOURCES.add(path)
    return f"files/{path.relative_to(ROOT)}", f"#L-{line}" if line else ""


def source_of(domain: str, info: dict[str, str]) -> str | None:
    """Where `[source]` of an entry leads, seen from a page of docs/api."""
    page = source_page(f"{info['module']}.{info['fullname']}")
    return f"../../{page[0]}.html{page[1]}" if page else None


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages of the package's files, and of all others that a page names; of folders, lists."""
    root = Path(app.srcdir)
    trees = [app.env.get_doctree(name) for name in app.env.found_docs]
    references = chain(*(tree.findall(addnodes.pending_xref) for tree in trees))
    named = {root / node["reftarget"] for node in references if node["reftype"] == "file"}
    folders = {path for path in named if path.is_dir()}
    listed = {
        folder: [path for path in sorted(folder.iterdir()) if shown(path)] for folder in folders
    }
    files = {*(named - folders), *chain(*listed.values()), *SOURCES}
    for folder, inside in listed.items():
        items = "".join(f'<li><a href="{path.name}.html">{path.name}</a></li>' for path in inside)
        yield page(f"{folder.relative_to(root)}/index", f"<ul>{items}</ul>")
    for path in sorted(files):
        body = app.builder.highlighter.highlight_block(  # type: ignore[attr-defined]
            path.read_text("utf-8"), "python" if path.suffix == ".py" else "text",
            linenos="inline", lineanchors="L", anchorlinenos=True,
        )  # fmt: skip
        yield page(str(path.relative_to(root)), body)


def shown(path: Path) -> bool:
    """Whether there is a page of a file, once its folder is named."""
    return path.is_file() and path.suffix not in BINARY


def page(name: str, body: str) -> tuple[str, dict[str, Any], str]:
    """What Sphinx makes a page of: its address, its title and text, its template."""
    title = name.removesuffix("/index")
    return f"files/{name}", {"title": title, "body": f"<h1>{title}</h1>{body}"}, "page.html"


def plain_attribute(app: Sphinx, what: str, *given: Any) -> None:
    """Keep napoleon from taking what stands before a colon for the type of an attribute."""
    lines = given[-1]
    if what in ("attribute", "data", "property") and lines:
        lines[:0] = ["..", ""]


def unexplained(app: Sphinx, what: str, name: str, thing: object, skip: bool, _: Any) -> bool:
    """Leave out the fields of named tuples, which the docstring of the tuple explains."""
    return skip or (inspect.getdoc(thing) or "").startswith("Alias for field number")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(Links)
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", plain_attribute, priority=400)
    app.connect("autodoc-skip-member", unexplained)
    app.connect("missing-reference", resolve)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
