"""Figure 1: the noise of ideal chains."""

from cascore.reproduce.figure1 import page, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("the noise of ideal chains", work.units, page.page)
