"""The benchmark of time to quality: what its numbers are of, against closed forms."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("diffusers")

from benchmarks.time_to_quality import __main__ as bench
from benchmarks.time_to_quality import rows as table
from benchmarks.time_to_quality import ways
from cascore.evaluation.reference import load_reference
from cascore.experiment import build
from cascore.experiment.settings import Data


class _OneDatum(nn.Module):
    """Epsilon of the perfect network of one datum x0 in [-1, 1]."""

    def __init__(self, datum: Tensor, alphas: Tensor) -> None:
        super().__init__()
        self.datum, self.alphas = datum, alphas

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        alpha = self.alphas[step].reshape(-1, 1, 1, 1)
        return (x - alpha.sqrt() * self.datum) / (1 - alpha).sqrt()


@pytest.mark.parametrize("name", ["DDPM, 50 calls", "DPM-Solver++, 20 calls"])
def test_their_samplers_find_the_one_datum_in_our_pixels(name: str) -> None:
    """DDPM's and DPM-Solver++'s last step returns x0 itself, whatever noise went before."""
    from diffusers import DDPMScheduler

    datum = torch.tensor([-0.5, 0.0, 0.25, 0.75]).reshape(1, 1, 2, 2)
    network = _OneDatum(datum, DDPMScheduler().alphas_cumprod)
    drawn = ways.their_samplers((1, 2, 2))[name].draw(network, range(3))
    assert drawn.shape == (3, 1, 2, 2)
    expected = torch.tensor([0.25, 0.5, 0.625, 0.875]).expand(3, 4)
    # The last step of DPM-Solver++ ends at sigma_min: alpha_bar_0 = 0.9999 leaves 1 % of noise.
    torch.testing.assert_close(drawn.flatten(1), expected, atol=0.03, rtol=0)


def test_our_network_in_their_loop_is_told_a_quarter_of_log_sigma() -> None:
    alphas = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64)
    told = ways.Told((1, 8, 8), alphas)
    sigma = [math.sqrt(1 / a - 1) for a in (0.9, 0.5, 0.01)]
    assert told.levels.tolist() == pytest.approx([math.log(s) / 4 for s in sigma])  # type: ignore[operator]


def test_networks_have_as_many_weights() -> None:
    """Ours and theirs, for grey clothes and coloured photographs, to 5 %."""
    for shape in ((1, 28, 28), (3, 32, 32)):
        ours = sum(w.numel() for w in ways.Told(shape, torch.tensor([0.5])).parameters())
        theirs = sum(w.numel() for w in ways.Epsilon(shape).parameters())
        assert theirs == pytest.approx(ours, rel=0.05)


def test_an_average_is_kept_after_each_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of which an update takes 7 seconds, and 100 seconds in all."""
    now = [1000.0]

    def updates() -> ways.Updates:
        for step in range(1, 100):
            now[0] += 7
            yield step, lambda step=step: nn.Linear(step, 1)  # type: ignore[misc]

    monkeypatch.setattr(bench.time, "monotonic", lambda: now[0])
    found = bench.kept(updates(), 100.0)
    assert [(seconds, step) for seconds, step, _ in found] == [(28, 4), (56, 8), (105, 15)]
    assert [average.in_features for *_, average in found] == [4, 8, 15]


def test_seconds_until_a_distance_of_a_power_law() -> None:
    course = [(t, 90 * t**-0.5) for t in (10.0, 30.0, 200.0)]
    assert table.seconds_until(9.0, course) == pytest.approx(100.0)
    assert table.seconds_until(50.0, course) == 10.0
    assert table.seconds_until(1.0, course) == math.inf


@pytest.mark.parametrize("way", ["cascore", "cascore 0.3", "diffusers' loop", "diffusers"])
def test_every_way_is_trained_and_measured(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "COUNT", 80)
    monkeypatch.setattr(bench, "SHARES", (0.5, 1.0))
    data = Data(name="digits")
    splits, reference = (
        build.load_data_splits(data),
        load_reference(data, count=80, device=ways.CPU),
    )
    rows = [row for row, _ in bench.rows_of(way, 1, data, splits, reference, 0.01)]
    distances = [row for row in rows if row.kind == table.DISTANCE]
    assert len(distances) == 3  # one sampler after both shares, one more at the end
    assert all(math.isfinite(row.value) and row.seconds_for_64 > 0 for row in distances)
    assert rows[-1].updates > rows[0].updates >= 1
    errors = {row.of: row.value for row in rows if row.kind == table.ERROR}
    assert ("0.5" in errors) == way.startswith("cascore")
    table.write(tmp_path / "rows.csv", rows)
    # NaN, of what has no error, is not equal to itself.
    assert list(map(repr, table.read(tmp_path / "rows.csv"))) == list(map(repr, rows))


def test_an_interruption_leaves_the_rows_that_there_were(tmp_path: Path) -> None:
    row = table.Row(
        "digits", 1.0, "cascore", 0, 60.0, 7, 9, table.DISTANCE, "a", 500, 1.5, 0.1, 0.5
    )

    def interrupted() -> Iterator[table.Row]:
        yield row
        raise KeyboardInterrupt

    table.write(tmp_path / "rows.csv", [row, row])
    with pytest.raises(KeyboardInterrupt):
        table.write(tmp_path / "rows.csv", interrupted())
    assert table.read(tmp_path / "rows.csv") == [row, row]


def test_the_table_says_when_each_was_as_good_as_diffusers_ends(tmp_path: Path) -> None:
    """Two seeds whose distances fall as 60 / t and 30 / t; theirs end at 1 or worse, at 60 s."""
    rows = []
    for way, sampler, scale in (
        ("cascore", "a", 30.0),
        ("diffusers' loop", "b", 60.0),
        ("diffusers", "b", 120.0),
    ):
        for seed in (0, 1):
            for share in table.SHARES:
                seconds, value = 60 * share, scale * (1 + 0.1 * (-1) ** seed) / (60 * share)
                at = ("digits", 1.0, way, seed, seconds, 7, 9, table.DISTANCE, sampler, 500)
                rows.append(table.Row(*at, value, 0.1, 0.5))
    ours, theirs, slower = table.distances_table(rows).splitlines()[2:]
    assert [text.strip() for text in ours.split("|")][4:9] == ["2", "7", "0.5 ± 0.05", "30", "0.5"]
    assert [text.strip() for text in theirs.split("|")][6:8] == ["1 ± 0.1", "60"]
    assert [text.strip() for text in slower.split("|")][6:8] == ["2 ± 0.2", "never"]
    table.draw_picture(rows, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_longer_trainings_on_the_same_pictures_are_another_task() -> None:
    rows = [
        table.Row(
            "digits", m, "cascore", 0, 60 * m, 7, 9, table.DISTANCE, "a", 500, 1 / m, 0.1, 0.5
        )
        for m in (10.0, 30.0)
    ]
    assert [course[0][0].value for course in table.courses(rows).values()] == [1 / 10, 1 / 30]
    assert len(table.distances_table(rows).splitlines()) == 2 + 2
