"""The engine of the studies: the store, comparisons against other implementations, the lab."""

import csv
import gzip
import json
import math
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import stats as scipy_stats

from cascore.errors import InputError
from cascore.experiment.presets import PRESETS
from cascore.locks import one_writer
from paper.__main__ import main
from paper.engine.charts import COLOURS, new_figure
from paper.engine.claims import (
    Number,
    between_trainings,
    by_errors,
    contrasts,
    estimated,
    mean_of,
    pool_of,
    within_trainings,
)
from paper.engine.lab import Cost, Lab
from paper.engine.models import Models
from paper.engine.page import Page, Study, write_page, write_picture
from paper.engine.rows import Rows, markdown_table, pivot, table
from paper.engine.settings import als, cas, training_of
from paper.engine.store import Store
from paper.engine.verify import replay, rows_of
from paper.studies import STUDIES

RESULTS = Path(__file__).parents[1] / "docs/results"
SETTINGS = {"sampler": {"kappa": "inf"}, "count": 2}
MADE = {"seconds": 1.0, "machine": "one"}


@pytest.fixture(scope="module")
def committed() -> Store:
    return Store(RESULTS / "measurements.jsonl.gz")


# --- the store -----------------------------------------------------------------------------------


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "m.jsonl.gz")
    name = store.id_of(PRESETS["digits"])
    store.add("x", {"experiment": name, **SETTINGS}, {"a": [1.5, None]}, MADE)
    again = Store(store.path)
    assert again.id_of(PRESETS["digits"]) == name
    line = again.find("x", {**SETTINGS, "experiment": name})  # the order of settings is no matter
    assert line is not None
    assert line["result"] == {"a": [1.5, None]}
    assert again.find("y", {"experiment": name, **SETTINGS}) is None


def test_sorting_keeps_the_last_of_each_and_is_the_same_for_any_order(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "1.gz"), Store(tmp_path / "2.gz")
    for count in (1, 2, 3):
        first.add("x", {"count": count}, {"a": count}, MADE)
    for count in (3, 1, 2):
        second.add("x", {"count": count}, {"a": -1}, MADE)
        second.add("x", {"count": count}, {"a": count}, MADE)
    first.sort()
    second.sort()
    assert first.path.read_bytes() == second.path.read_bytes()
    lines = gzip.decompress(first.path.read_bytes()).splitlines()
    assert [json.loads(line)["result"]["a"] for line in lines] == [1, 2, 3]


def test_a_line_that_a_killed_process_left_unfinished_makes_room_for_the_next(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "m.jsonl.gz")
    ends = [0]
    for count in (1, 2):
        store.add("x", {"count": count}, {"a": count}, MADE)
        ends.append(store.path.stat().st_size)
    whole = store.path.read_bytes()
    for cut in range(ends[2]):
        store.path.write_bytes(whole[:cut])
        again = Store(store.path)
        assert len(list(again)) == sum(end <= cut for end in ends[1:])
        for count in (1, 2):
            if again.find("x", {"count": count}) is None:
                again.add("x", {"count": count}, {"a": count}, MADE)
        assert store.path.read_bytes() == whole


def test_a_sorted_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "m.jsonl.gz")
    values = random.Random(0)
    for count in range(300):
        store.add("x", {"count": count}, {"a": values.random()}, MADE)
    store.sort()
    whole = store.path.read_bytes()
    for cut in (len(whole) - 1, len(whole) // 2):
        store.path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cut off"):
            Store(store.path)


def test_a_second_measuring_into_one_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with one_writer(tmp_path / "measurements.jsonl.gz", "measuring"):
        assert main(["figure1", "--scale", "tiny", "--out", str(tmp_path)]) == 2
    assert "is being written by measuring, process" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.md"))


def test_two_experiments_of_one_name_have_two_ids(tmp_path: Path) -> None:
    store = Store(tmp_path / "m.jsonl.gz")
    plain = training_of("digits", steps=8)
    other = training_of(PRESETS["digits-adversarial"], steps=8)
    ids = {store.id_of(plain), store.id_of(other), store.id_of(plain)}
    assert len(ids) == 2
    assert not store.path.exists()  # nothing was measured with them


@pytest.mark.parametrize(
    "content",
    [b"text", gzip.compress(b"text"), gzip.compress(b'{"a": 1}')],
    ids=["text", "packed text", "packed JSON"],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of measurements"):
        Store(path)


def test_every_committed_sampler_says_all_that_is_in_force(committed: Store) -> None:
    samplers = [line["settings"]["sampler"] for line in committed if "sampler" in line["settings"]]
    assert len(samplers) > 1000
    for sampler in samplers:
        if "scheduler" in sampler:
            assert {"levels", "spacing"} <= sampler.keys()
            continue
        assert {"method", "order", "levels", "n_sigma", "spacing"} <= sampler.keys()
        assert len(sampler.keys() & {"kappa", "eta", "epsilon"}) == 1


# --- numbers and comparisons ---------------------------------------------------------------------


def _rows(runs: list[list[float]], error: float = 0.0) -> Rows:
    return Rows(
        {"training": t, "seed": s, "distance": value, "standard_error": error}
        for t, run in enumerate(runs)
        for s, value in enumerate(run)
    )


A = [[1.0, 1.2, 0.9], [1.4, 1.1, 1.5]]
B = [[1.3, 1.6, 1.1], [1.2, 1.9, 2.0]]


def test_samplings_of_one_network_are_paired_by_seed() -> None:
    pairs = within_trainings("here", _rows(A), _rows(B))
    assert [pair.where for pair in pairs] == ["here, training 0", "here, training 1"]
    for pair, a, b in zip(pairs, A, B, strict=True):
        interval = scipy_stats.ttest_rel(b, a).confidence_interval(0.95)
        assert pair.difference.mean - pair.difference.margin == pytest.approx(interval.low)
        assert pair.verdict == ("held" if interval.low > 0 else "tie")


def test_trainings_are_compared_by_their_means() -> None:
    means = [[sum(run) / 3 for run in side] for side in (A, B)]
    expected = scipy_stats.ttest_ind(means[1], means[0], equal_var=False)
    (pair,) = between_trainings("here", _rows(A), _rows(B))
    assert pair.by == "trainings"
    assert pair.difference.mean + pair.difference.margin == pytest.approx(
        expected.confidence_interval(0.95).high
    )


def test_single_trainings_are_two_networks_paired_by_seed() -> None:
    (pair,) = between_trainings("here", _rows(A[:1]), _rows(B[:1]))
    assert (pair.where, pair.by) == ("here, one training each", "pairs")
    (pair,) = between_trainings("here", _rows(A[:1]), _rows(B))
    assert pair.verdict == "tie"


def test_contrasts_differ_in_nothing_but_their_sides() -> None:
    rows = Rows(
        {"sampler": s, "n": n, "outcome": o, "distance": d, "standard_error": 0.1}
        for s, n, o, d in [
            ("b", 10, "raw", 4.0),
            ("b", 10, "denoised", 3.0),
            ("b", 9, "raw", 6.0),
            ("b", 9, "denoised", 7.0),
            ("a", 10, "raw", 8.0),  # nothing to compare with
        ]
    )
    sides = "outcome: denoised < raw"
    pairs = contrasts(rows, "{sampler}, n = {n}", sides, by_errors)
    assert [(p.where, p.lower.mean, p.higher.mean, p.verdict) for p in pairs] == [
        ("b, n = 9", 7.0, 6.0, "did not hold"),  # numbers in their order
        ("b, n = 10", 3.0, 4.0, "held"),
    ]
    (pair,) = contrasts(rows.where(sampler="b", n=9), "", sides, by_errors)
    assert pair.difference.mean == -1.0
    (pair,) = contrasts(rows.where(outcome="raw"), "{sampler}", "n: 9 < 10", by_errors)
    assert (pair.lower.mean, pair.higher.mean) == (6.0, 4.0)


def test_a_pivot_has_a_cell_for_each_group() -> None:
    rows = Rows(
        {"m": m, "n": n, "distance": d}
        for m, n, d in [("x", 5, 1), ("x", 5, 2), ("y", 1, 4), ("y", 5, 8)]
    )
    cells = pivot(rows, {"method": "`{m}`"}, "n = {n}", lambda group: str(sum(group.values())))
    assert cells == [("method", "n = 1", "n = 5"), ("`x`", "", "3"), ("`y`", "4", "8")]
    assert markdown_table(cells).splitlines()[1:3] == ["| --- | ---: | ---: |", "| `x` |  | 3 |"]


def test_known_errors_tie_within_1_96_of_them() -> None:
    a = mean_of(_rows([[1.0, 3.0]], error=0.2))
    assert (a.mean, a.plus_minus) == (2.0, pytest.approx(0.2 / math.sqrt(2)))
    width = 1.96 * math.hypot(a.plus_minus, 0.1)
    assert a.ties(Number(2 + 0.99 * width, 0.1))
    assert not a.ties(Number(2 + 1.01 * width, 0.1))
    assert estimated("", a, Number(2 + 1.01 * width, 0.1)).verdict == "held"
    assert estimated("", Number(2 + 1.01 * width, 0.1), a).verdict == "did not hold"


def test_logarithms_borrow_the_deviation_of_those_trained_twice() -> None:
    pool = pool_of([_rows([[1.0], [math.e]]), _rows([[2.0, 1.0], [1.0, 2.0]])])
    assert (pool.deviation, pool.freedom) == (pytest.approx(0.5), 2)  # variances 1/2 and 0
    (pair,) = pool.compare("", _rows([[1.0]]), _rows([[math.e**3]]))
    assert pair.difference.mean == pytest.approx(3)
    assert pair.difference.margin == pytest.approx(4.302653 * 0.5 * math.sqrt(2))


# --- rows measured again --------------------------------------------------------------------------


def _measure(lab: Lab, scale: object) -> Rows:
    """Distances and pseudo-values of one small network, five calls."""
    experiment, chain = training_of("digits", steps=2, precision="float32"), cas(2.0, levels=5)
    rows = lab.distances(experiment, chain, extractors=["digits"], seeds=[0], count=6)
    more = lab.jackknifed(experiment, chain, extractor="pixels", seeds=[0], count=80)
    return Rows([*rows, *more])


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two rows and the network that they are of."""
    folder = tmp_path_factory.mktemp("verify")
    models = Models(folder / "runs", folder, torch.device("cpu"), lambda message: None)
    _measure(Lab(Store(folder / "m.jsonl.gz"), models), None)
    return folder


def _replayed(folder: Path, names: list[str] | None = None) -> dict[str, tuple[str, int]]:
    """Outcome and number of changes by kind."""
    models = Models(folder / "runs", folder, torch.device("cpu"), lambda message: None)
    studies = {"small": Study("", "", {"laptop": None}, _measure, lambda *of: Page())}
    again = replay(Store(folder / "m.jsonl.gz"), models, names or ["small"], studies, "laptop")
    return {one.line["kind"]: (one.outcome, len(one.changes)) for one in again}


def _falsified(folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the folder whose lines are changed."""
    copied = shutil.copytree(folder, tmp_path / "copy")
    path = copied / "m.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for line in lines:
        change(line)
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    return copied


def test_rows_that_are_measured_again_are_equal(measured_once: Path) -> None:
    assert _replayed(measured_once) == {"distances": ("equal", 0), "jackknife": ("equal", 0)}


def test_one_row_is_measured_again_by_its_id(measured_once: Path) -> None:
    store = Store(measured_once / "m.jsonl.gz")
    (row,) = (row for row, line in rows_of(store).items() if line["kind"] == "jackknife")
    assert _replayed(measured_once, [row]) == {"jackknife": ("equal", 0)}
    with pytest.raises(InputError, match="neither a study nor a row"):
        _replayed(measured_once, ["00000000"])


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [(0.5, "within uncertainty"), (-0.9, "within uncertainty"), (1.1, "different")],
)
def test_a_falsified_number_is_found_beyond_its_error(
    measured_once: Path, tmp_path: Path, errors: float, outcome: str
) -> None:
    def change(line: dict[str, Any]) -> None:
        if line["kind"] == "distances":
            number = line["result"]["distances"]["digits"]["denoised"]
            number[0] += errors * number[1]
        if line["kind"] == "jackknife":
            values = line["result"]["values"]
            error = scipy_stats.sem(values)
            line["result"]["values"] = [value + errors * error for value in values]

    found = _replayed(_falsified(measured_once, tmp_path, change))
    assert found == {"distances": (outcome, 1), "jackknife": (outcome, 1)}


@pytest.mark.parametrize("name", ["checkpoint", "reference", "extractors"])
def test_a_row_of_other_weights_or_images_is_different(
    measured_once: Path, tmp_path: Path, name: str
) -> None:
    def change(line: dict[str, Any]) -> None:
        if "made" in line:
            line["made"][name] = "another"

    found = _replayed(_falsified(measured_once, tmp_path, change))
    assert found == {"distances": ("different", 1), "jackknife": ("different", 1)}


def test_a_row_with_changed_settings_is_asked_for_by_nobody(
    measured_once: Path, tmp_path: Path
) -> None:
    def change(line: dict[str, Any]) -> None:
        if line["kind"] == "jackknife":
            line["settings"]["count"] = 90

    copied = _falsified(measured_once, tmp_path, change)
    with pytest.raises(InputError, match="no measurement jackknife"):
        _replayed(copied)


def test_a_false_row_is_found_though_its_study_stops_for_it(
    measured_once: Path, tmp_path: Path
) -> None:
    """As where a choice among measurements goes to a chain that was never measured."""

    def change(line: dict[str, Any]) -> None:
        if line["kind"] == "distances":
            line["result"]["distances"]["digits"]["denoised"][0] -= 100

    def measure(lab: Lab, scale: object) -> Rows:
        if min(_measure(lab, scale).where(outcome="denoised").values()) < 0:
            raise InputError("no measurement of the chosen one in the store")
        return Rows()

    folder = _falsified(measured_once, tmp_path, change)
    store = Store(folder / "m.jsonl.gz")
    (row,) = (row for row, line in rows_of(store).items() if line["kind"] == "distances")
    studies = {"small": Study("", "", {"laptop": None}, measure, lambda *of: Page())}
    models = Models(folder / "runs", folder, torch.device("cpu"), lambda message: None)
    (again,) = replay(store, models, [row], studies, "laptop")
    assert again.outcome == "different"
    with pytest.raises(InputError, match="small stopped"):
        list(replay(store, models, ["small"], studies, "laptop"))


def test_every_committed_row_is_asked_for_by_a_study(committed: Store) -> None:
    asked = {id(line) for name in STUDIES for line in _golden(name, committed)[0].used.values()}
    assert [row for row, line in rows_of(committed).items() if id(line) not in asked] == []


# --- golden tables -------------------------------------------------------------------------------


@cache
def _golden(name: str, committed: Store) -> tuple[Lab, Any]:
    """What a study reads of the committed measurements."""
    lab, study = Lab(committed), STUDIES[name]
    return lab, study.measure(lab, study.scales["laptop"])


@pytest.mark.parametrize("name", STUDIES)
def test_the_committed_tables_follow_from_the_measurements(name: str, committed: Store) -> None:
    study = STUDIES[name]
    scale = study.scales["laptop"]
    _, measured = _golden(name, committed)
    claims, page = study.claims(measured, scale), study.page(measured, scale)
    tables = page.all_tables(claims)
    assert set(tables) == {path.stem for path in (RESULTS / name).glob("*.csv")}
    for table_name, (columns, rows) in tables.items():
        with (RESULTS / name / f"{table_name}.csv").open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        assert header == list(columns)
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            for text, value in zip(line, row, strict=True):
                if isinstance(value, float):  # the last digits depend on the libraries
                    assert float(text) == pytest.approx(value, rel=1e-9, nan_ok=True)
                else:
                    assert text == ("" if value is None else str(value))


# --- the lab -------------------------------------------------------------------------------------


def test_a_lab_that_reads_says_what_is_missing(tmp_path: Path) -> None:
    lab = Lab(Store(tmp_path / "m.jsonl.gz"))
    with pytest.raises(InputError, match="no measurement distances"):
        lab.distances(PRESETS["digits"], cas(2.0), seeds=[0], count=2, extractors=["pixels"])


@pytest.mark.parametrize("name", STUDIES)
def test_the_papers_scale_is_told_by_its_cost(name: str, tmp_path: Path) -> None:
    cost = Cost()
    store = Store(tmp_path / "m.jsonl.gz")
    STUDIES[name].measure(Lab(store, cost=cost), STUDIES[name].scales["paper"])
    assert cost.calls
    assert not store.path.exists()


def test_calls_of_a_chain() -> None:
    schedule = PRESETS["digits"].schedule
    assert cas(1.5).calls(schedule) == schedule.levels
    assert cas(1.5, n_sigma=5).calls(schedule) == 5 * (schedule.levels - 1) + 1
    assert als(0.2, n_sigma=5, levels=4).calls(schedule) == 20


def test_a_study_is_measured_once_and_goes_on(tmp_path: Path) -> None:
    store, messages = Store(tmp_path / "m.jsonl.gz"), []
    models = Models(tmp_path / "runs", tmp_path, torch.device("cpu"), messages.append)
    lab, name = Lab(store, models), "gan-losses"
    claims = write_page(name, STUDIES[name], "tiny", lab, tmp_path)
    assert claims
    assert (tmp_path / "gan-losses/samples.png").is_file()
    page = (tmp_path / "gan-losses.md").read_text(encoding="utf-8")
    count = len(list(store))
    messages.clear()
    again = write_page(name, STUDIES[name], "tiny", Lab(Store(store.path)), tmp_path)
    assert [claim.cells for claim in again] == [claim.cells for claim in claims]
    assert (tmp_path / "gan-losses.md").read_text(encoding="utf-8") == page
    assert (len(list(store)), messages) == (count, [])
    # Another extractor measures again, and what was there stays.
    experiment = STUDIES[name].scales["tiny"]
    rows = lab.distances(
        training_of("digits", steps=2),
        experiment.chain,
        seeds=[0],
        count=12,
        extractors=["pixels", "digits"],
    )
    assert rows.levels("extractor") == ["pixels", "digits"]
    assert len(list(store)) == count
    assert table(rows, "draw=seed outcome")[1][0] == [0, "raw"]


def test_a_picture_keeps_every_ink(tmp_path: Path) -> None:
    """Of a single mark too, among many lines and their mixtures with a band."""
    figure, (panel,) = new_figure(1)
    panel.axhspan(2, 7, color=COLOURS[1], alpha=0.2)
    *lines, star = COLOURS
    for i, ink in enumerate(lines):
        panel.plot(range(20), [i + math.sin(i + x) for x in range(20)], "o-", color=ink)
    panel.plot(10, 14, "*", color=star, markersize=10)
    write_picture(tmp_path / "picture.png", figure)
    with Image.open(tmp_path / "picture.png") as image:
        inks = {ink for _, ink in image.convert("RGB").getcolors(image.width * image.height) or []}
    assert {tuple(round(255 * part) for part in to_rgb(ink)) for ink in COLOURS} <= inks


def test_a_picture_of_photographs_keeps_their_colours(tmp_path: Path) -> None:
    """64 x 64 colours, which no palette has; drawn without interpolation, so each is found."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    figure, (panel,) = new_figure(1)
    panel.imshow(pixels, interpolation="nearest", aspect="auto")
    write_picture(tmp_path / "picture.png", figure)
    with Image.open(tmp_path / "picture.png") as image:
        colours = {
            ink for _, ink in image.convert("RGB").getcolors(image.width * image.height) or []
        }
    assert {tuple(map(int, ink)) for ink in pixels.reshape(-1, 3)} <= colours
