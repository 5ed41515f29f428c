"""Quality against network calls, and other samplers."""

from cascore.reproduce.beyond import claims, page, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study(
    "quality against network calls, and other samplers", work.units, page.page, claims.claims
)
