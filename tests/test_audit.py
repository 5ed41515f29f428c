"""What tools/audit.py makes of pip-audit's answer."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "tools" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOUND = {"name": "a", "version": "1", "vulns": []}
FAULTY = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "word"),
    [
        ([SOUND, UNKNOWN], 0, "audited 1 of 2"),
        ([SOUND, FAULTY], 1, "PYSEC-1"),
        ([UNKNOWN, UNKNOWN], 0, "not audited"),
        ([], 0, "not audited"),
    ],
)
def test_only_a_known_vulnerability_is_a_failure_and_silence_is_no_audit(
    packages, code, word, audit
):
    found, lines = audit.outcome(packages)
    assert found == code
    assert any(word in line for line in lines)


def test_without_a_way_to_install_nothing_is_audited_and_nothing_fails(audit, monkeypatch, capsys):
    def absent():
        raise OSError("no network")

    monkeypatch.setattr(audit, "pip_audit", absent)
    assert audit.main() == 0
    assert "not audited" in capsys.readouterr().out
