"""The quickstart at a tiny scale, and its page: self-contained, true to its numbers, escaped."""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from example_records import RECORD
from PIL import Image
from rich.console import Console

from cascore import report
from cascore.data import load_images
from cascore.errors import MissingExtraError
from cascore.experiment.settings import Network, Sampler
from cascore.measurement import Floor, read_measurements
from cascore.model.folder import Score
from cascore.progress import Display
from cascore.report import EXPERIMENT, headline, render, run_quickstart

pytest.importorskip("jinja2")

VOID = {"meta", "link", "img", "br"}
CPU = torch.device("cpu")


class Page(HTMLParser):
    """Checks that tags are balanced; keeps ids, elements and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.elements, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):  # of SVG
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def distance(value, *, floor=0.2, error=0.01, **settings):
    known = replace(RECORD.sampler, settings={**RECORD.sampler.settings, **settings}, nfe=12)
    spread = Floor(mean=floor, spread=0.1 * floor, repeats=20, extrapolated=False)
    return replace(RECORD, value=value, error=error, floor=spread, sampler=known)


def row(name="CAS, order 2", nfe=12, raw=0.31, denoised=0.22):
    images = load_images("digits", "train").images[:64]
    values = {("raw", "train"): raw, ("denoised", "train"): denoised}
    values |= {("raw", "test"): 1.1 * raw, ("denoised", "test"): 1.1 * denoised}
    return {
        "name": name, "settings": "12 centred levels", "nfe": nfe, "count": 1800, "seconds": 1.7,
        "images": {"raw": images, "denoised": images}, "copying": 0.97,
        **{key: distance(value) for key, value in values.items()},
    }  # fmt: skip


def shipped(name="digits-aware"):
    score = Score(
        metric="frechet", value=1.23, error=0.07, floor=Floor(mean=0.3, spread=0.02, repeats=20,
        extrapolated=False), sampler="CAS", calls=12, count=1000, against="train", features="",
    )  # fmt: skip
    images = load_images("digits", "train").images[:16]
    return {"name": name, "images": images, "classes": ("zero", "one"), "nfe": 12, "score": score}


def parts():
    train = load_images("digits", "train").images
    noisy = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return {
        "rows": [row("CAS, order 2", 8), row("CAS, order 1", 50), row("ALS", 250, 6.2, 4.1)],
        "headline": ("The closest samples.", "What differs."),
        "facts": [("Data", "digits")],
        "real": train[:49],
        "shipped": [shipped()],
        "neighbours": [{"sample": train[0], "images": train[1:5], "distances": [1, 2, 3, 4]}],
        "copying": 0.97,
        "film": [{"sigma": sigma, "x": noisy, "denoised": noisy} for sigma in (9.0, 1.0, 0.02)],
        "losses": [(step, 20 - 0.03 * step) for step in range(600)],
        "extractor": "64 features",
        "folder": "runs/quickstart",
    }


@pytest.fixture(scope="module")
def page():
    return render(**parts())


def test_the_page_is_balanced_names_no_address_and_loads_nothing(page):
    parsed = Page(page)
    assert page.startswith("<!DOCTYPE html>")
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {a["aria-labelledby"] for _, a in parsed.elements if "aria-labelledby" in a} <= set(
        parsed.ids
    )
    assert "http" not in page.lower()
    assert "//" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert all(a["src"].startswith("data:image/png;base64,") for a in parsed.all("img"))
    assert [a["href"] for a in parsed.all("link")] == ["data:,"]
    assert not parsed.all("script")
    assert "@import" not in page


def test_every_image_has_alt_text_and_its_pixels(page):
    images = Page(page).all("img")
    assert len(images) == 1 + 1 + 2 * 3 + 2 * 3 + 5
    assert all(a["alt"].strip() for a in images)
    content = base64.b64decode(images[1]["src"].partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        # 7 x 7 images of 8 pixels, each pixel 11 wide, lines of 4: the centres of the pixels of
        # the image in row 2, column 3 lie at 4 + 92 * (2, 3) + 11 * (row, column) + 5.
        assert picture.size == (7 * 92 + 4, 7 * 92 + 4)
        seen = [
            [picture.getpixel((285 + 11 * c, 193 + 11 * r)) for c in range(8)] for r in range(8)
        ]
    assert seen == parts()["real"][17, 0].tolist()


def test_the_table_holds_every_distance_and_marks_the_floor(page):
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    plain = [" ".join(re.sub("<.*?>", " ", cell).split()) for cell in cells]
    assert plain[:3] == ["8", "0.310 ± 0.010", "0.220 ± 0.010 at the floor"]
    assert plain[10:13] == ["250", "6.20 ± 0.010", "4.10 ± 0.010"]
    below = render(**parts() | {"rows": [row(denoised=0.1)]})
    assert "below the floor</small>" in below
    assert "below the floor</small>" not in page


def test_marks_stand_where_the_distances_are():
    rows = [row("A", 10, raw=1.0, denoised=0.1), row("B", 1000, raw=10.0, denoised=1.0)]
    circles = Page(render(**parts() | {"rows": rows})).all("circle")
    (raw, denoised), (high, middle) = (
        [float(circle["cy"]) for circle in circles[i : i + 2]] for i in (0, 2)
    )
    assert denoised - raw == pytest.approx(middle - high, abs=0.2)  # a decade each, downwards
    assert raw == middle
    assert float(circles[0]["cx"]) < float(circles[2]["cx"])


def test_text_is_escaped():
    hostile = '<script>alert("1")</script> & <img src=x onerror=y> \' {{ 7 * 7 }}'
    said = {"headline": (hostile, hostile), "facts": [(hostile, hostile)], "extractor": hostile}
    names = {"rows": [row(hostile)], "shipped": [shipped(hostile)], "folder": hostile}
    text = render(**parts() | said | names)
    parsed = Page(text)
    assert not parsed.all("script")
    assert not any("onerror" in a for a in parsed.all("img"))
    # Headline (2), shipped (2), facts (2), name (3), extractor, commands (2).
    assert parsed.text.count(hostile) == 12


# --- what the headline claims ---------------------------------------------------------------------

LANGEVIN = {"method": "als", "order": None, "kappa": None, "spacing": "geometric"}
FIRST = {"order": 1, "kappa": 1.5, "spacing": "geometric"}
SECOND = {"order": 2, "kappa": 2.5, "spacing": "centred"}


@pytest.mark.parametrize(
    ("distances", "claims", "no_claims"),
    [
        # against Langevin, against order 1, and how far from the floor 0.2
        (
            (0.5, 0.45, 0.4),
            ("2.0 times", "comes closer than ALS", "comes closer than CAS, order 1"),
            ("ties",),
        ),
        ((0.5, 0.401, 0.4), ("ties with",), ()),
        ((0.5, 0.23, 0.15), ("score among themselves", "ties with"), ()),
        ((0.4, 0.6, 0.5), ("stays farther than",), ()),
        ((0.9, 0.8, 0.61), ("3.0 times", "none of them is called better"), ("closer",)),
    ],
)
def test_the_headline_claims_a_difference_only_where_there_is_one(distances, claims, no_claims):
    samplers = [distance(x, **y) for x, y in zip(distances, (LANGEVIN, FIRST, SECOND), strict=True)]
    said = " ".join(headline(samplers))
    assert [claim for claim in claims if claim not in said] == []
    assert [claim for claim in no_claims if claim in said] == []


# --- the whole job --------------------------------------------------------------------------------


def test_quickstart_trains_samples_measures_and_writes_a_page_and_its_records(tmp_path):
    settings = {
        "device": CPU,
        "display": Display(Console(quiet=True)),
        "experiment": replace(
            EXPERIMENT,
            network=replace(Network(), width=8),
            train=replace(EXPERIMENT.train, steps=4, batch_size=16, save_every=2),
        ),
        "samplers": (Sampler(method="als", calls=4, n_sigma=2), Sampler(calls=3)),
        "shipped": ("digits-aware",),
        "count": 30,
    }
    page = run_quickstart(tmp_path / "run", **settings)
    text = Page(page.read_text(encoding="utf-8")).text
    assert "so none of them is called better" in text  # after 4 updates
    assert "0.145 ± 0.016; real images 0.163" in " ".join(text.split())  # of a card
    written = page.stat().st_mtime_ns
    assert run_quickstart(tmp_path / "run", **settings).stat().st_mtime_ns == written
    files = sorted((tmp_path / "run" / "evaluations").iterdir())
    numbers = [number for file in files for number in read_measurements(file)]
    assert {number.sampler.nfe for number in numbers} == {3, 4}
    for number in numbers:
        if number.metric == "frechet":
            assert report._number(number.value) in text


def test_without_the_extra_the_module_imports_and_says_how_to_get_it(monkeypatch):
    code = "import sys; sys.modules['jinja2'] = None; import cascore.report"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for call in (report.require_jinja, lambda: render(**parts())):
        with pytest.raises(MissingExtraError, match=r"jinja2.*cascore\[report\]"):
            call()
