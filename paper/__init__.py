"""The studies of the paper, run from a clone: `python -m paper --help`."""

import sys
from importlib.util import find_spec

for package in ("matplotlib", "jinja2"):
    if find_spec(package) is None:
        sys.stderr.write(f"error: the studies draw with {package}: pip install 'cascore[report]'\n")
        sys.exit(2)
