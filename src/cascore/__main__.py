"""`python -m cascore`: how torchrun starts the command line."""

from cascore.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
