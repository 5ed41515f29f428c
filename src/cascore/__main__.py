"""The command `cascore`, and `python -m cascore`, which is how torchrun starts it."""

import sys

__all__: list[str] = []


def main() -> None:
    """Load the command line and run it; an interrupt meanwhile ends it without a traceback."""
    try:
        from cascore.cli.__main__ import main as run
    except KeyboardInterrupt:
        sys.stderr.write("cascore: stopped\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
