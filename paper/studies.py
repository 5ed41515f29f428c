"""The studies by name, in the order of `python -m paper all`."""

from collections.abc import Mapping
from types import MappingProxyType

from paper import (
    beyond,
    conditional,
    figure1,
    figure2,
    figure3,
    gan_losses,
    headline,
    initialisation,
    never_tuning,
    table4,
    tables,
)
from paper.engine.page import Study

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "figure1": figure1.STUDY,
        "figure2": figure2.STUDY,
        "figure3": figure3.STUDY,
        **tables.STUDIES,
        "table4": table4.STUDY,
        "headline": headline.STUDY,
        "initialisation": initialisation.STUDY,
        "gan-losses": gan_losses.STUDY,
        "conditional": conditional.STUDY,
        "beyond": beyond.STUDY,
        "never-tuning": never_tuning.STUDY,
    }
)
