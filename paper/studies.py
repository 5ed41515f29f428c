"""The studies by name, in the order of `python -m paper all`."""

from collections.abc import Mapping
from types import MappingProxyType

from paper import beyond, figure3, gan_losses, headline, never_tuning, table4, tables
from paper.engine.page import Study

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure3": figure3.STUDY,
        **tables.STUDIES,
        "table4": table4.STUDY,
        "headline": headline.STUDY,
        "gan-losses": gan_losses.STUDY,
        "beyond": beyond.STUDY,
        "never-tuning": never_tuning.STUDY,
    }
)
