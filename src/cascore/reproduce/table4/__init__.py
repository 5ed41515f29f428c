"""Table 4: modes of 3-stacked digits."""

from cascore.reproduce.study import Study
from cascore.reproduce.table4 import page, values, work

__all__ = ["STUDY"]

STUDY = Study("modes of 3-stacked digits", work.units, page.page, values.claims)
