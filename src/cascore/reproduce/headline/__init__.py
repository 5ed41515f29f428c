"""The best of each objective, and what came since."""

from cascore.reproduce.headline import page, values
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study(
    "the best of each objective, and what came since", page.units, page.page, needs=values.NEEDS
)
