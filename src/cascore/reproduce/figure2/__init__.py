"""Figure 2: points in the plane."""

from cascore.reproduce.figure2 import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("points in the plane", work.units, page.page, values.claims)
