"""`python -m cascore`: how torchrun starts the command line."""

from cascore.cli.__main__ import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
