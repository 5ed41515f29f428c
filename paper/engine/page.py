"""A study, what its page is made of, and how it is written: Markdown, PNG pictures, CSV tables."""

import io
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from cascore.files import remove_leftovers, replaced_file, write_text
from cascore.plain import from_plain
from paper.engine.charts import Picture
from paper.engine.claims import Claim, claims_table, comparisons_table
from paper.engine.lab import Lab
from paper.engine.rows import Row, Table, csv_text, markdown_table, table

_ROOT = Path(__file__).parents[1]
_Kind = TypeVar("_Kind")
_DPI = 130
_COLOURS, _NEARLY_ALL = 256, 0.9  # of the palette of a picture, a third of the bytes; of its pixels


@dataclass(frozen=True)
class Page:
    """What goes into a template: words of any kind by name, pictures, and tables as CSV files."""

    words: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)

    def all_tables(self, claims: Sequence[Claim]) -> dict[str, Table]:
        """The tables, with the comparisons behind the claims."""
        return {**self.tables, **({"comparisons": comparisons_table(claims)} if claims else {})}


@dataclass(frozen=True)
class Study:
    """One figure or table.

    Attributes:
        title: in a few words.
        template: of the page, in paper/pages.
        scales: by name, the settings of each: `tiny`, `laptop`, and `paper`, which is never run.
        measure: from a lab and a scale, all that is measured.
        page: from that and the scale, the page.
        claims: from that and the scale, what the paper claims and these measurements say.
    """

    title: str
    template: str
    scales: Mapping[str, Any]
    measure: Callable[[Lab, Any], Any]
    page: Callable[[Any, Any], Page]
    claims: Callable[[Any, Any], Sequence[Claim]] = lambda results, scale: ()


class Plan:
    """What paper/plans/NAME.toml says of a study: its title, scales, pictures and tables."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = _ROOT / f"plans/{name}.toml"
        self.values: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))

    def look(self, picture: str) -> dict[str, Any]:
        """How rows are grouped and named in a picture, for `dots` or `curves`."""
        return dict(self.values["pictures"][picture])

    def tables(self, **rows: Iterable[Row]) -> dict[str, Table]:
        """Rows under the columns of CSV files, by name."""
        return {name: table(of, self.values["tables"][name]) for name, of in rows.items()}

    def objects(self, name: str, kind: type[_Kind]) -> dict[str, _Kind]:
        """The objects of a part of the file, by name."""
        return {key: from_plain(kind, of, key) for key, of in self.values[name].items()}

    def scales(self, kind: type[Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The scales `tiny`, `laptop` and `paper`: one object each, or a tuple of `each`."""

        def read(name: str, each: Sequence[Mapping[str, Any]] = (), **shared: Any) -> Any:
            subjects = tuple(from_plain(kind, {**shared, **subject}, name) for subject in each)
            return subjects or from_plain(kind, shared, name)

        scales = self.values if values is None else values
        return {name: read(name, **scales[name]) for name in ("tiny", "laptop", "paper")}

    def study(self, kind: type[Any], *of: Callable[[Any, Any], Any]) -> Study:
        """The study of measure, page and claims, whose template has its name."""
        return Study(self.values["title"], f"{self.name}.md", self.scales(kind), *of)


def write_page(name: str, study: Study, scale: str, lab: Lab, out: Path) -> list[Claim]:
    """Measure what is missing and write OUT/NAME.md, and pictures and tables in OUT/NAME; claims.

    The same measurements give the same text and tables: no date, no random ids.
    """
    settings = study.scales[scale]
    lab.used.clear()
    measured = study.measure(lab, settings)
    claims = [claim for claim in study.claims(measured, settings) if claim.comparisons]
    page, folder = study.page(measured, settings), out / name
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    remove_leftovers(out, of=f"{name}.md")
    for picture, draw in page.pictures.items():
        write_picture(folder / f"{picture}.png", draw())
    for name_of, content in page.all_tables(claims).items():
        write_text(folder / f"{name_of}.csv", csv_text(content))
    made = (
        f"`python -m paper {name} --scale {scale}` wrote this page from"
        f" [measurements.jsonl.gz](measurements.jsonl.gz). {lab.made} The seconds of a measurement"
        " include training where the network was not there yet."
    )
    words = {"name": name, "scale": settings, "results": measured, "made": made}
    words |= {**page.words, "claims": claims_table(claims)}
    write_template(study.template, words, out / f"{name}.md")
    return claims


def write_template(template: str, words: Mapping[str, Any], path: Path) -> None:
    """Fill a template of paper/pages in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOT / "pages"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["table"] = markdown_table
    environment.filters["thousands"] = "{:,}".format
    write_text(path, environment.get_template(template).render(words).rstrip() + "\n")


def write_picture(path: Path, figure: Figure) -> None:
    """As a PNG of few colours, unless it has photographs."""
    drawn = io.BytesIO()
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(drawn, format="png", dpi=_DPI)
    image = _with_palette(Image.open(drawn).convert("RGB"))
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        image.save(file, format="png", optimize=True)


def _with_palette(image: Image.Image) -> Image.Image:
    """In its most frequent colours, exact ones: the ink of a single mark stays what it is.

    A picture of which these are not nearly all keeps its own.
    """
    whole = np.asarray(image, dtype=np.int64) @ np.array([1 << 16, 1 << 8, 1])
    numbers, places, counts = np.unique(whole, return_inverse=True, return_counts=True)
    found = np.stack([numbers >> 16, numbers >> 8, numbers], axis=1) & 255
    frequent = np.argsort(-counts, kind="stable")[:_COLOURS]
    if counts[frequent].sum() < _NEARLY_ALL * counts.sum():
        return image
    inks = found[frequent]
    nearest = (np.square(inks).sum(1) - 2 * found @ inks.T).argmin(1)
    indices = nearest[places].astype(np.uint8).reshape(image.height, image.width)
    reduced = Image.fromarray(indices)
    reduced.putpalette(inks.astype(np.uint8).tobytes())
    return reduced
