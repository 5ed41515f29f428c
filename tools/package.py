"""Build the packages of a release into dist/, from the files that git knows.

    python tools/package.py [--address https://HOST/USER/cascore]

An index shows the README, but follows none of its relative links and shows none of its pictures.
With the address of the repository they become absolute, at the tag of this version; without one
they stay.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cascore import __version__

ROOT = Path(__file__).resolve().parents[1]


def absolute(text: str, address: str, tag: str) -> str:
    """Markdown whose relative links and pictures lead to the repository's files at a tag."""

    def led(link: re.Match[str]) -> str:
        kind = "raw" if link["start"].startswith("!") else "blob"
        return f"{link['start']}{address}/{kind}/{tag}/{link['path']})"

    return re.sub(r"(?P<start>!?\[[^\]]*\]\()(?!\w+:|#)(?P<path>[^)]+)\)", led, text)


def main() -> int:
    """Copy what git knows, mend the README there, and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="of the repository; without, links stay relative")
    address = parser.parse_args().address
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in listed.stdout.decode().rstrip("\0").split("\0"):
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        if address:
            readme = Path(folder, "README.md")
            text = readme.read_text("utf-8")
            readme.write_text(absolute(text, address.rstrip("/"), f"v{__version__}"), "utf-8")
        else:
            print("no --address: the README's pictures will not show on an index", file=sys.stderr)
        command = [sys.executable, "-m", "build", "--outdir", str(ROOT / "dist"), folder]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
