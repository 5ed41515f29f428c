"""Figure 3: distance against step size."""

from cascore.reproduce.figure3 import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("distance against step size", work.units, page.page, values.claims)
