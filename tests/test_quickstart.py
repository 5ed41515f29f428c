"""The main job at a tiny scale: the same path, a page at its end."""

import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from cascore.evaluation.reference import load_reference
from cascore.experiment.generate import generate
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Data, Network, Sampler
from cascore.model.loading import load_model
from cascore.model.pretrained import shipped_names
from cascore.pixels import to_uint8
from cascore.progress import Display
from cascore.report.gallery import shipped_gallery
from cascore.report.quickstart import FULL, Scale, run_quickstart

CPU = torch.device("cpu")

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


def tiny():
    preset = PRESETS["digits"]
    return Scale(
        experiment=replace(
            preset,
            network=replace(Network(), width=8),
            train=replace(preset.train, steps=4, batch_size=16, save_every=2),
        ),
        samplers=(
            Sampler(method="als", steps=2, n_sigma=2),
            Sampler(method="cas", order=1, steps=4, kappa=1.5),
            Sampler(method="cas", order=2, steps=3),
        ),
        count=30,
    )


def test_quickstart_trains_samples_judges_and_writes_a_page(tmp_path):
    told = Console(quiet=True)
    page = run_quickstart(
        tmp_path / "run", scale=tiny(), device=torch.device("cpu"), display=Display(told)
    )
    text = page.read_text(encoding="utf-8")
    for word in ("ALS, n_sigma 2", "CAS, order 1, kappa 1.5", "CAS, order 2, kappa 2.5"):
        assert word in text
    assert "http" not in text
    assert "Models that come with cascore" in text
    assert re.search(r"digits \d+\.\d\d ± \d+\.\d\d: digits comes closer", text)  # than 4 steps
    written = page.stat().st_mtime_ns
    again = run_quickstart(
        tmp_path / "run", scale=tiny(), device=torch.device("cpu"), display=Display(told)
    )
    assert again.stat().st_mtime_ns == written  # a second run finds everything done


def test_the_full_scale_compares_equal_calls_and_a_tenth_of_them():
    langevin, consistent, second = FULL.samplers
    assert langevin.steps * langevin.n_sigma == consistent.steps == 10 * second.steps


def gallery_of(trained):
    """The gallery for a model and its samples, with 30 pictures judged."""
    digits = PRESETS["digits"].data.name
    judge = load_reference(Data(name=digits), count=30, device=CPU)
    sampler = Sampler(steps=3)
    samples = generate(
        trained.denoiser, shape=trained.shape, seeds=range(30), sampler=sampler,
        schedule=trained.experiment.schedule, device=CPU,
    )  # fmt: skip
    return shipped_gallery(
        trained, to_uint8(samples.denoised), sampler, judge,
        shown=4, device=CPU, display=Display(Console(quiet=True)),
    )  # fmt: skip


def test_a_shipped_model_ties_with_itself():
    found = gallery_of(load_model("digits"))
    assert ": a tie." in found.text
    assert [each.name for each in found.exhibits] == ["Trained here", *shipped_names()]
    assert all(len(each.images) == 4 for each in found.exhibits)


def test_without_shipped_models_there_is_no_gallery(monkeypatch):
    model = load_model("digits")
    monkeypatch.setattr("cascore.report.gallery.shipped_folders", dict)
    assert gallery_of(model) is None
