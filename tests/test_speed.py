"""The benchmark beside others: what it makes of times, and that the page has its table."""

from pathlib import Path

import pytest
import torch

from benchmarks.devices import counted
from benchmarks.speed import paired as timing
from benchmarks.speed.__main__ import (
    FILE,
    PAGE,
    Group,
    in_words,
    machines,
    read,
    table,
    time_text,
    with_table,
)
from benchmarks.speed.paired import paired
from benchmarks.speed.rows import NETWORKS, _state
from cascore.experiment.cost import step_cost
from cascore.experiment.presets import PRESETS, SHAPES

ROOT = Path(__file__).parent.parent


class Clock:
    """A processor whose work takes so many seconds, and twice that in every other round."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.slow = 0.0, False
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def work(self, seconds: float):
        def done() -> None:
            self.now += seconds

        return done


def test_a_ratio_is_that_of_the_times_of_calls(monkeypatch):
    clock = Clock(monkeypatch)
    row = paired("a", clock.work(0.003), "b", clock.work(0.5), seconds=10)
    assert row.ours == pytest.approx(0.003)
    assert row.theirs == pytest.approx(0.5)
    assert (row.low, row.ratio, row.high) == pytest.approx([0.006] * 3)
    assert row.rounds == 19  # a round is 0.5 s of theirs and 17 calls of ours, 10 s in all


def test_slow_work_has_fewer_rounds(monkeypatch):
    clock = Clock(monkeypatch)
    assert paired("a", clock.work(1), "b", clock.work(2), seconds=1).rounds == 7
    assert paired("a", clock.work(1), "b", clock.work(20), seconds=1).rounds == 3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_timed_can_be_called_and_counted(name):
    experiment = PRESETS[name]
    shape = SHAPES[experiment.data.name]
    denoised = _state(experiment).denoiser(torch.zeros(1, *shape), torch.ones(1))
    assert denoised.shape == (1, *shape)
    assert counted(experiment, shape, 1).flops == pytest.approx(
        step_cost(experiment, shape).flops / experiment.train.batch_size, rel=0.02
    )


def test_what_is_above_its_aim_is_behind(monkeypatch):
    clock = Clock(monkeypatch)
    times = clock.work(3), "b", clock.work(2)
    assert paired("a", *times, aim=1.4).behind
    assert not paired("a", *times, aim=1.6).behind
    assert not paired("a", *times).behind
    assert "behind" in in_words(paired("a", *times, aim=1.4))


def test_the_page_has_the_table_of_the_file():
    groups, page = read(ROOT / FILE), (ROOT / PAGE).read_text(encoding="utf-8")
    assert with_table(page, groups) == page
    rows = [row for group in groups.values() for row in group.rows]
    assert table(groups).count("\n") == len(rows) + 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.34, "12.3 s"), (0.01234, "12.3 ms"), (5e-6, "5 µs"), (1.0, "1 s")]
)
def test_times_are_told_in_a_unit_that_suits_them(seconds, text):
    assert time_text(seconds) == text


def test_each_machine_is_told_with_what_was_timed_on_it():
    groups = {"noise": Group("one", []), "steps": Group("another", []), "order": Group("one", [])}
    assert machines(groups) == "- noise, order: one\n- steps: another"
