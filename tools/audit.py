"""Ask whether a pinned package has a known vulnerability, where the service can be asked.

    python tools/audit.py

pip-audit gets an environment of its own in build/audit. Ends with 1 if a vulnerability is known.
Without pip-audit, a connection, or an answer, nothing was audited: that is said, and is no failure,
since a machine without network can do no better. What the service does not know is counted.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "build" / "audit"
PINS = ROOT / "constraints.txt"
SECONDS = 300.0


def pip_audit() -> list[str]:
    """The command, installed if it is not there.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be.
    """
    python = PLACE / "bin" / "python"
    if not python.is_file():
        venv.create(PLACE, with_pip=True)
    wanted = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted += ["--retries", "1", "--timeout", "10", "pip-audit>=2.7,<3"]
    subprocess.run(wanted, check=True, capture_output=True, timeout=SECONDS)
    return [str(python), "-m", "pip_audit"]


def outcome(packages: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Exit code and lines for the packages of pip-audit's answer."""
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return 0, [f"not audited: the service knew none of {len(packages)} pinned packages"]
    lines = [
        f"{package['name']} {package['version']}: {fault['id']},"
        f" mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in known
        for fault in package["vulns"]
    ]
    last = f"audited {len(known)} of {len(packages)} pinned packages: {len(lines)} vulnerabilities"
    return int(bool(lines)), [*lines, last]


def main() -> int:
    """Audit the pins, and say what came of it."""
    asked = ["--requirement", str(PINS), "--no-deps", "--disable-pip", "--format", "json"]
    asked += ["--progress-spinner", "off", "--timeout", "10"]
    try:
        command = [*pip_audit(), *asked]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        print(f"not audited: pip-audit could not be installed, or had no answer ({error!r:.200})")
        return 0
    code, lines = outcome(packages)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
