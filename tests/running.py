"""How tests run a command."""

import pytest

from cascore.cli.__main__ import main


def run(*arguments):
    """Exit code of a command in this process."""
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    return stopped.value.code
