"""Tables 1 to 3: sampling, n_sigma, denoising and the objective."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from cascore.reproduce.study import Study
from cascore.reproduce.tables import page, values, work

__all__ = ["STUDIES"]

_TITLES = {
    "table1": "sampling, n_sigma, denoising and the objective",
    "table2": "the same on a second data set",
    "table3": "the same with a second network",
}
STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        name: Study(
            title,
            partial(work.units, name),
            partial(page.page, name),
            partial(values.claims, name),
        )
        for name, title in _TITLES.items()
    }
)
