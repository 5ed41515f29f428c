"""What a study is: work in units, a page made of their records, and claims put to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascore.reproduce.claims import Claim
from cascore.reproduce.pages import Page
from cascore.reproduce.units import Records, Unit
from cascore.reproduce.workshop import Workshop

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """One figure or table.

    Attributes:
        title: in a few words.
        units: by the name of a scale, the work in order.
        page: by the name of a scale, the page from the records of all units.
        claims: by the name of a scale, what the paper claims and these records say; None if it
            claims nothing that a comparison decides.
        needs: other studies whose records the page is made of, each under STUDY/UNIT; they are
            measured first.
    """

    title: str
    units: Callable[[str, Workshop], Sequence[Unit]]
    page: Callable[[str, Records], Page]
    claims: Callable[[str, Records], Sequence[Claim]] | None = None
    needs: tuple[str, ...] = ()
