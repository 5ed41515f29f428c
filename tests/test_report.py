"""The page of the quickstart: complete, self-contained, safe to fill with anything."""

import base64
import dataclasses
import io
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from cascore.data import load_images
from cascore.errors import InputError, MissingExtraError
from cascore.metrics import nearest_neighbours
from cascore.pixels import to_float, to_uint8
from cascore.report import charts
from cascore.report import page as report
from cascore.report.page import (
    Distance,
    Film,
    LossCurve,
    NeighbourRow,
    Report,
    SamplerRow,
    render,
    write_report,
)

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are balanced; keeps ids, tags and attributes."""

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

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def distance(value, *, floor=0.2, spread=0.02, extrapolated=False):
    return Distance(
        value=value,
        floor_mean=floor,
        floor_spread=spread,
        at_floor=value <= floor + 2 * spread,
        extrapolated=extrapolated,
    )


def sampler(images, noise, *, name, nfe, settings="σ from 9 to 0.02", raw, denoised):
    generator = torch.Generator().manual_seed(nfe)
    drawn = to_float(images[torch.randperm(len(images), generator=generator)[:64]])
    z = torch.randn(drawn.shape, generator=generator)
    return SamplerRow(
        name=name,
        settings=settings,
        nfe=nfe,
        images_raw=to_uint8(drawn + (noise + 0.05) * z),
        images_denoised=to_uint8(drawn + noise * z),
        to_train_raw=distance(raw),
        to_train_denoised=distance(denoised),
        to_held_out_raw=distance(raw * 1.1 + 0.2, floor=0.45, spread=0.05, extrapolated=True),
        to_held_out_denoised=distance(
            denoised * 1.1 + 0.2, floor=0.45, spread=0.05, extrapolated=True
        ),
        seconds=nfe / 7,
        count=1800,
    )


def example():
    train = load_images("digits", "train").images
    generator = torch.Generator().manual_seed(0)
    rows = (
        sampler(train, 0.02, name="CAS, order 2, kappa 2", nfe=8, raw=0.31, denoised=0.22),
        sampler(train, 0.01, name="CAS, order 2, kappa 2", nfe=12, raw=0.26, denoised=0.17),
        sampler(train, 0.06, name="CAS, order 1, kappa 1.5", nfe=50, raw=0.61, denoised=0.34),
        sampler(train, 0.2, name="ALS, 1 step a level", nfe=50, raw=6.2, denoised=4.1),
        sampler(train, 0.02, name="ALS, 5 steps a level", nfe=250, raw=0.33, denoised=0.19),
    )
    samples = rows[1].images_denoised[:6]
    near = nearest_neighbours(to_float(samples), to_float(train), k=4)
    sigmas = [9 * (0.02 / 9) ** (i / 11) for i in range(12)]
    z = torch.randn(1, 8, 8, generator=generator)
    clean = to_float(train[5])
    steps = tuple(range(0, 6000, 5))
    wobble = torch.randn(len(steps), generator=generator).tolist()
    losses = tuple(
        (4 + 28 * math.exp(-step / 400)) * math.exp(0.12 * w)
        for step, w in zip(steps, wobble, strict=True)
    )
    return Report(
        title="cascore quickstart",
        headline="Twelve network calls make digits that cannot be told from real ones,"
        " where Langevin sampling takes 250.",
        facts=(
            ("Data set", "digits, 8 × 8 pixels, 1,437 training and 360 held-out images"),
            ("Network", "U-Net, 571,265 parameters"),
            ("Training", "6,000 steps of 128 images in 2 min 41 s"),
            ("Noise levels", "32 from σ = 9 to 0.02, geometric"),
            ("Machine", "CPU, 2 threads"),
            ("Versions", "cascore 0.1.0, PyTorch 2.13.0"),
            ("Seeds", "training 0, sampling 1, floor 2"),
        ),
        real=train[torch.randperm(len(train), generator=generator)[:64]],
        rows=rows,
        neighbours=tuple(
            NeighbourRow(sample=image, neighbours=train[index], distances=distances.tolist())
            for image, index, distances in zip(samples, near.index, near.distance, strict=True)
        ),
        memorisation_ratio=0.97,
        film=Film(
            sigmas=sigmas,
            x=torch.stack([to_uint8(((clean + s * z) - 0.5) / (1 + s) + 0.5) for s in sigmas]),
            denoised=torch.stack(
                [to_uint8(clean + 0.3 * min(s, 1) * (0.3 - clean)) for s in sigmas]
            ),
        ),
        losses=LossCurve(
            steps=steps, values=losses, note="Levels are drawn uniformly; it does not reach 0."
        ),
        extractor="64 features of the digit classifier that comes with cascore",
        next_steps=(
            (
                "cascore sample runs/quickstart --steps 25",
                "Samples of the same network, more calls.",
            ),
            ("cascore train --data folder:my-images", "The same on your own images."),
        ),
    )


@pytest.fixture(scope="module")
def full():
    return example()


@pytest.fixture(scope="module")
def page(full):
    return render(full)


def test_is_balanced_html_without_repeated_ids(page):
    parsed = Page(page)
    assert page.startswith("<!DOCTYPE html>")
    assert len(parsed.ids) == len(set(parsed.ids))
    named = {a["aria-labelledby"] for _, a in parsed.elements if "aria-labelledby" in a}
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | {
        a["href"][1:] for tag, a in parsed.elements if tag == "use"
    }
    assert used, "the charts use clip paths and markers"
    assert named | used <= set(parsed.ids)


def test_names_no_address_and_loads_nothing(page):
    assert "http" not in page.lower()
    assert "//" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    parsed = Page(page)
    assert all(a["src"].startswith("data:image/png;base64,") for a in parsed.all("img"))
    assert [a["href"] for a in parsed.all("link")] == ["data:,"]
    assert not parsed.all("script")
    assert "@import" not in page


def test_every_image_has_alt_text_and_its_pixels(full, page):
    images = Page(page).all("img")
    shown = 1 + 2 * len(full.rows) + 2 * len(full.film.sigmas) + 5 * len(full.neighbours)
    assert len(images) == shown
    assert all(a["alt"].strip() for a in images)
    content = base64.b64decode(images[0]["src"].partition(",")[2])
    with Image.open(io.BytesIO(content)) as picture:
        # 8 x 8 images of 8 pixels, each pixel 10 wide, lines of 4: the centres of the pixels of
        # the image in row 2, column 3 lie at 4 + 84 * (2, 3) + 10 * (row, column) + 5.
        assert picture.size == (8 * 84 + 4, 8 * 84 + 4)
        seen = [
            [picture.getpixel((261 + 10 * c, 177 + 10 * r)) for c in range(8)] for r in range(8)
        ]
    assert seen == full.real[19, 0].tolist()


def test_the_table_holds_every_distance_and_marks_the_floor(full, page):
    cells = re.findall(r'data-label="To training, (?:raw|denoised)">(.*?)</td>', page, re.DOTALL)
    plain = [" ".join(re.sub("<.*?>", " ", cell).split()) for cell in cells]
    assert plain == [
        "0.310", "0.220 at the floor", "0.260", "0.170 at the floor", "0.610", "0.340",
        "6.20", "4.10", "0.330", "0.190 at the floor",
    ]  # fmt: skip
    far_below = dataclasses.replace(full.rows[0], to_train_raw=distance(0.1))
    assert "below the floor</small>" in render(dataclasses.replace(full, rows=(far_below,)))
    assert "below the floor</small>" not in page


def test_text_is_escaped(full):
    hostile = '<script>alert("1")</script> & <img src=x onerror=y> \' {{ 7 * 7 }}'
    row = dataclasses.replace(full.rows[0], name=hostile, settings=hostile)
    text = render(
        dataclasses.replace(
            full,
            title=hostile,
            headline=hostile,
            facts=((hostile, hostile),),
            rows=(row,),
            losses=dataclasses.replace(full.losses, note=hostile),
            extractor=hostile,
            next_steps=((hostile, hostile),),
        )
    )
    parsed = Page(text)
    assert not parsed.all("script")
    assert not any("onerror" in a for a in parsed.all("img"))
    # Title (2), headline, fact (2), name (3), settings, note, extractor, next step (2).
    assert parsed.text.count(hostile) == 13


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"), (0.0123, "0.012"), (0.17, "0.170"), (1.0, "1.00"), (4.126, "4.13"),
        (31.74, "31.7"), (1234.4, "1,234"), (math.nan, "not finite"), (math.inf, "not finite"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert report._number(value) == text


def test_diverged_and_zero_distances_still_make_a_page(full):
    rows = [
        dataclasses.replace(full.rows[0], to_train_raw=distance(value), to_train_denoised=other)
        for value, other in ((math.nan, distance(math.inf)), (0.0, distance(0.0)))
    ]
    assert "not finite" in render(dataclasses.replace(full, rows=rows))


def test_one_row_colour_images_no_neighbours(full):
    colour = torch.arange(5 * 3 * 4 * 6).remainder(256).to(torch.uint8).view(5, 3, 4, 6)
    row = dataclasses.replace(full.rows[0], images_raw=colour, images_denoised=colour)
    text = render(dataclasses.replace(full, rows=(row,), real=colour, neighbours=(), next_steps=()))
    Page(text)
    assert 'class="neighbours"' not in text
    assert "What to try next" not in text


def test_the_same_report_makes_the_same_page(full, page):
    assert render(full) == page


def test_charts_leave_the_settings_of_matplotlib_alone(full):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    render(full)
    assert dict(mpl.rcParams) == before


def test_marks_stand_where_the_distances_are():
    marks = [
        charts.Mark(key="A", series=1, nfe=10, raw=1.0, denoised=0.1),
        charts.Mark(key="B", series=2, nfe=1000, raw=10.0, denoised=1.0),
    ]
    svg = charts.quality_chart(marks, [])
    dots = {
        float(y) for y in re.findall(r'<use href="#quality-[^"]+" x="[\d.]+" y="([\d.]+)"', svg)
    }
    low, middle, high = sorted(dots, reverse=True)  # y grows downwards; 1.0 occurs twice
    assert low - middle == pytest.approx(middle - high, abs=1e-3)  # a decade each
    assert "#0" not in re.sub(r"#quality-", "", svg), "a stand-in colour was left"


def test_smoothing_keeps_a_line_and_means_keep_the_mean():
    line = [float(value) for value in range(1001)]
    means = charts._means(line, 400)
    assert means[:2] == [1.0, 4.0]
    assert len(means) == 334
    smoothed = charts._smoothed(line, reach=7)
    assert smoothed[:-7] == pytest.approx(line[:-7])
    assert smoothed[-1] == pytest.approx(sum(line[-8:]) / 8)


def test_writes_whole_or_not_at_all(full, page, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    assert write_report(full, path) == path
    assert path.read_text(encoding="utf-8") == page
    path.write_text("before")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(full, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(full, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        write_report(full, tmp_path / "absent" / "report.html")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_says_how_to_get_it(full, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for call in (report.require_report_packages, lambda: render(full)):
        with pytest.raises(MissingExtraError, match=rf"{package}.*cascore\[report\]"):
            call()


def test_the_module_imports_without_the_extra():
    code = (
        "import sys; sys.modules['jinja2'] = sys.modules['matplotlib'] = None;"
        " import cascore.report.page"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_parts_that_do_not_fit_are_refused(full):
    with pytest.raises(InputError, match="2 of sigmas, 12 of x"):
        dataclasses.replace(full.film, sigmas=(1.0, 0.5))
    with pytest.raises(InputError, match="expected as many"):
        dataclasses.replace(full.neighbours[0], distances=(1.0,))
    with pytest.raises(InputError, match="one step for each"):
        render(dataclasses.replace(full, losses=LossCurve(steps=(), values=(), note="")))
    with pytest.raises(InputError, match="at least one row"):
        dataclasses.replace(full, rows=())
    with pytest.raises(InputError, match="uint8"):
        render(dataclasses.replace(full, real=to_float(full.real)))
