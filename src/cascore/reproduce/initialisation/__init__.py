"""How chains start and how they end."""

from cascore.reproduce.initialisation import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("how chains start and how they end", work.units, page.page, values.claims)
