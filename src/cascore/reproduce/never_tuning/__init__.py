"""What never tuning costs."""

from cascore.reproduce.never_tuning import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("what never tuning costs", work.units, page.page, values.claims)
