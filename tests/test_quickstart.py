"""The main job at a tiny scale: the same path, a page at its end."""

from dataclasses import replace

import pytest
import torch
from rich.console import Console

from cascore.commands.quickstart import FULL, Scale, run_quickstart
from cascore.console import Display
from cascore.experiments.config import Network, Sampler
from cascore.experiments.presets import PRESETS

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
    written = page.stat().st_mtime_ns
    again = run_quickstart(
        tmp_path / "run", scale=tiny(), device=torch.device("cpu"), display=Display(told)
    )
    assert again.stat().st_mtime_ns == written  # a second run finds everything done


def test_the_full_scale_compares_equal_calls_and_a_tenth_of_them():
    langevin, consistent, second = FULL.samplers
    assert langevin.steps * langevin.n_sigma == consistent.steps == 10 * second.steps
