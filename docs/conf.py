"""The site: `make docs` builds it from the Markdown of the repository and from the docstrings.

The source folder is the root of the repository, so that a link between two pages is the same in a
view of its files and on the site. What else a page links to or names is the matter of
`project_files`. Nothing is fetched, neither by the build nor by the pages.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs" / "site"), str(ROOT / "src")]

import project_files  # noqa: E402

import cascore  # noqa: E402

project = "cascore"
author = "The cascore authors"
copyright = author
release = version = cascore.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "sphinx.ext.napoleon",
    "project_files",
]

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/results/*.md",
    "docs/api/*.rst",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "src/cascore/model/pretrained/*/README.md",
    "paper/models/*/README.md",
]
exclude_patterns = [".venv", "build"]

myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a card begins with the hub's own front matter

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    (r"py:obj", r"(?s).*"),  # single backticks are code, and a link where they name something
    (r"py:class", r"cascore\..*\.(Kappa|_Kind)"),  # type variables
    (r"py:class", r"tuple\[.*"),
    (
        r"py:.*",
        r"(contextlib|datetime|torch|numpy|np|collections|pathlib|typing|PIL|diffusers|os)\..*",
    ),
]

linkcode_resolve = project_files.source_of

html_theme = "furo"
html_title = f"cascore {release}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/index.html"]
html_show_sourcelink = False
html_copy_source = False
