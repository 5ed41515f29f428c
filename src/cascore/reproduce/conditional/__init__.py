"""Networks that see the noise level."""

from cascore.reproduce.conditional import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("networks that see the noise level", work.units, page.page, values.claims)
