"""The studies by name, in the order of `python -m paper all`."""

from collections.abc import Mapping
from types import MappingProxyType

from paper import figure3, gan_losses, headline, tables
from paper.engine.page import Study

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure3": figure3.STUDY,
        **tables.STUDIES,
        "headline": headline.STUDY,
        "gan-losses": gan_losses.STUDY,
    }
)
