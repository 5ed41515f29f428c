"""`cascore reproduce all --scale tiny`, run once: what each study leaves behind."""

import base64
import csv
import io
import json
import re
import shutil
from dataclasses import replace

import pytest
from PIL import Image
from running import run, silent

from cascore.reproduce.beyond.claims import denoising_claims
from cascore.reproduce.beyond.methods import BEST, KAPPAS, METHODS, TWINS
from cascore.reproduce.beyond.methods import SCALES as BEYOND
from cascore.reproduce.beyond.schedulers import SCHEDULERS
from cascore.reproduce.beyond.work import cells
from cascore.reproduce.headline.values import NEEDS
from cascore.reproduce.never_tuning.work import SCALES as NEVER_TUNING
from cascore.reproduce.sampler import Sampler, resolved
from cascore.reproduce.studies import CLAIMS, STUDIES, reproduce, write_claims


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder whose `out` has the results of all studies and whose `runs` has their networks."""
    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where nobody has prepared MNIST
        assert run(*command(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def out(everything):
    return everything / "out"


def command(folder):
    where = ("--out", folder / "out", "--runs", folder / "runs", "--device", "cpu")
    return ("reproduce", "all", "--scale", "tiny", *where)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def record(out, study, unit):
    return read(out / study / "records-tiny" / f"{unit}.json")["result"]


def records(out, study):
    return {path.stem: read(path) for path in (out / study / "records-tiny").glob("*.json")}


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def page_of(out, study, *pictures):
    """The text of a page, which shows these pictures."""
    text = (out / f"{study}.md").read_text(encoding="utf-8")
    for name in pictures:
        assert f"{study}/{name}.png" in text
        assert (out / study / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / study / f"{name}.svg").read_text(encoding="utf-8")
    return text


def test_every_study_has_a_page_and_its_links_lead_somewhere(out):
    assert {path.stem for path in out.glob("*.md")} == {*STUDIES, CLAIMS}
    for path in out.glob("*.md"):
        targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
        missing = [each for each in targets if "://" not in each and not (out / each).exists()]
        assert not missing, f"{path.name} points at {missing}"


def test_a_second_time_nothing_is_measured(everything, monkeypatch, capsys):
    monkeypatch.chdir(everything)
    paths = list(everything.rglob("records-tiny/*.json"))
    assert {path.parts[-3] for path in paths} == {*STUDIES} - {"headline"}
    times = {path: path.stat().st_mtime_ns for path in paths}
    assert run(*command(everything)) == 0
    again = everything.rglob("records-tiny/*.json")
    assert {path: path.stat().st_mtime_ns for path in again} == times
    assert f"0 of {len(STUDIES)} studies left out" in capsys.readouterr().err


# --- figures -------------------------------------------------------------------------------------


def test_figure_2_has_networks_and_the_exact_score(out):
    assert "| 10 levels, adversarial |" in page_of(out, "figure2")
    rows = rows_of(out / "figure2" / "measurements.csv")
    assert len(rows) == 2 * 2 * 3 * 2 * 2  # data, levels, scores, draws, outcomes
    exact = record(out, "figure2", "25-gaussians.levels-1.exact-0.draw-1")
    # The exact score pulls points that start at 0.1 from a datum to their mode.
    assert exact["denoised"]["good"] > 0.5
    assert exact["nfe"] == 10


def test_figure_3_has_the_authors_curves_and_ours(out):
    own = ("kappa-1", "kappa-2", "eta-1", "eta-2")
    page = page_of(out, "figure3", "authors-epsilon", "authors-kappa", *own)
    assert "from κ = 1.35 to\n  1.60" in page
    found = record(out, "figure3", "digits.cas-2.1.5.seed-0")
    assert found["nfe"] == 2 * 27 + 1
    for extractor in ("digits", "pixels"):
        floor = record(out, "figure3", f"digits.real-12.{extractor}")["mean"]
        assert found["raw"][extractor]["value"] > floor  # after two steps of training


# --- tables --------------------------------------------------------------------------------------


def test_a_table_has_its_cells_and_its_samples(out):
    page = page_of(out, "table2", "distances", "samples")
    rows = rows_of(out / "table2" / "measurements.csv")
    # objectives, samplers, n_sigmas, seeds, outcomes, extractors
    assert len(rows) == 2 * 2 * 2 * 2 * 2 * 2
    for word in ("seeds 0, 1", "12 samples", "real images", "cores", "torch"):
        assert word in page
    found = record(out, "table2", "digits.training-0.als-2.seed-1")
    assert found["nfe"] == 2 * 28
    with Image.open(io.BytesIO(base64.b64decode(found["sheet"]))) as sheet:
        assert sheet.size == (8 * (8 + 1) + 1, 8 + 2)


@pytest.mark.parametrize("preset", ["digits", "digits-adversarial"])
@pytest.mark.parametrize(
    ("method", "knob", "grid"), [("cas", "kappa", [1.5, 4.0]), ("als", "eta", [0.4, 1.2])]
)
def test_every_cell_has_the_step_size_that_its_model_chose(out, preset, method, knob, grid):
    tuned = record(out, "table2", f"{preset}.training-0.tuning.{method}-1")
    assert [each["knob"] for each in tuned["tried"]] == grid
    assert tuned["chosen"] == min(tuned["tried"], key=lambda each: each["denoised"])["knob"]
    sampler = record(out, "table2", f"{preset}.training-0.{method}-1.seed-0")["sampler"]
    assert (sampler[knob], sampler["order"], sampler["steps"]) == (tuned["chosen"], 1, None)


def test_a_lost_record_is_measured_again_with_the_same_result(everything, tmp_path):
    shutil.copytree(everything / "out" / "table2", tmp_path / "table2")
    folder, told = tmp_path / "table2" / "records-tiny", []
    lost = folder / "digits.training-0.cas-1.seed-1.json"
    before = read(lost)["result"]
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path != lost}
    lost.unlink()
    workshop = replace(silent(everything / "runs" / "tiny"), notify=told.append)
    reproduce("table2", scale="tiny", out=tmp_path, workshop=workshop)
    assert [message for message in told if message.startswith("[")] == [
        "[8/23] digits.training-0.cas-1.seed-1"
    ]
    assert read(lost)["result"] == before
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_the_headline_measures_what_its_tables_lack(everything, tmp_path):
    told = []
    for table in NEEDS:
        shutil.copytree(
            everything / "out" / table / "records-tiny", tmp_path / table / "records-tiny"
        )
    (tmp_path / "table3" / "records-tiny" / "floor.json").unlink()
    workshop = replace(silent(everything / "runs" / "tiny"), notify=told.append)
    page = reproduce("headline", scale="tiny", out=tmp_path, workshop=workshop).read_text()
    assert [message for message in told if message.startswith("[")] == ["[1/23] floor"]
    assert (tmp_path / "headline" / "best.png").is_file()
    assert "3.65" in page
    assert "[table3](table3.md): `digits-ncsnv2`" in page
    claims = write_claims(NEEDS, scale="tiny", out=tmp_path, workshop=workshop).read_text()
    named = [name for name in NEEDS if f"| [{name}]({name}.md) | `digits` |" in claims]
    assert named == list(NEEDS)


def test_table_4_counts_modes_and_says_what_is_missing(out):
    page = page_of(out, "table4", "stacked-digits-kl", "stacked-digits-samples")
    assert "| CAS, all levels, adversarial, denoised |" in page
    assert "| *the paper, adversarial, raw* | 1,000 | *0.121* | 1.49 |" in page
    assert page.count("Not measured: the images are not here.") == 1
    # objectives, samplers, outcomes, blocks
    assert len(rows_of(out / "table4" / "stacked-digits.csv")) == 2 * 2 * 2 * 2
    assert not (out / "table4" / "stacked-mnist.csv").exists()
    assert "mnist" in record(out, "table4", "stacked-mnist.real")["missing"]


# --- the other studies ---------------------------------------------------------------------------


def test_initialisation_measures_starts_and_ends(out):
    assert "| CAS, κ = 1.5, uniform |" in page_of(out, "initialisation", "gap", "digits-starts")
    # networks, samplers, starts, draws, outcomes
    assert len(rows_of(out / "initialisation" / "measurements.csv")) == 2 * 3 * 3 * 2 * 2


def test_gan_losses_are_measured_side_by_side(out):
    assert "| `hinge` |" in page_of(out, "gan-losses", "distance", "samples")
    # trainings of plain, lsgan and hinge; draws, extractors, outcomes
    assert len(rows_of(out / "gan-losses" / "measurements.csv")) == (2 + 2 + 1) * 2 * 2 * 2


def test_conditional_networks_are_measured_by_level_and_by_sampling(out):
    page = page_of(out, "conditional", "loss", "distance")
    assert "| all levels, conditional, training 1 |" in page
    assert len(rows_of(out / "conditional" / "losses.csv")) == 28
    # kinds, trainings, samplers, draws, outcomes
    assert len(rows_of(out / "conditional" / "measurements.csv")) == 2 * 2 * 2 * 1 * 2


def test_the_search_for_order_and_kappa_is_judged_on_other_seeds(out):
    tiny, default = NEVER_TUNING["tiny"][0], resolved(Sampler(steps=4))
    page_of(out, "never-tuning", "digits")
    found = record(out, "never-tuning", tiny.unit(4))
    assert found["default"] == {"order": default.order, "kappa": default.kappa}
    curve = {(each["order"], each["kappa"]): each["values"] for each in found["curve"]}
    assert len(curve) == 2 * tiny.points + 1
    assert curve[found["best"]["order"], found["best"]["kappa"]] == min(curve.values(), key=sum)
    searched = [value for values in curve.values() for value in values]
    assert not set(found["fresh"]["default"]) & set(searched)
    rows = rows_of(out / "never-tuning" / "measurements.csv")
    assert len(rows) >= len(tiny.calls) * tiny.blocks * (2 * tiny.points + 1 + 1)


# --- beyond --------------------------------------------------------------------------------------

TINY = BEYOND["tiny"][0]


def test_beyond_has_every_method_at_every_number_of_calls(out):
    page = page_of(out, "beyond", "calls", "models", "raw", "kappa")
    planned = sum(subject.seeds * len(cells(subject)) for subject in BEYOND["tiny"])
    assert len(rows_of(out / "beyond" / "measurements.csv")) == planned * 2 * 2  # extractors, both
    for name in TINY.plan:
        assert f"| {METHODS[name].label} |" in page or METHODS[name].kind == "als"


def test_settings_of_ours_equal_schedulers_on_a_network(out):
    """To float32 of x at sigma_1 = 5, enlarged a little by the network."""
    largest = record(out, "beyond", "twins")["largest"]
    assert set(largest) == set(TWINS)
    assert max(largest.values()) < 1e-4


def test_network_calls_are_those_that_were_asked_for(out):
    asked = {name: found for name, found in records(out, "beyond").items() if ".calls-" in name}
    assert asked
    for name, found in asked.items():
        assert found["result"]["nfe"] == int(name.split("calls-")[1].split(".")[0]), name
    assert record(out, "beyond", f"digits.{BEST}.calls-140.seed-0")["nfe"] == 5 * 28


def test_the_chosen_kappa_is_that_of_the_lowest_validation_distance(out):
    found = {
        name: each["result"]["distances"]["digits"]["denoised"]["value"]
        for name, each in records(out, "beyond").items()
        if re.fullmatch(r"digits\.validation\.order-2-kappa-.*\.calls-5", name)
    }
    assert len(found) == len(KAPPAS)
    best = min(found, key=found.get).split(".calls")[0].removeprefix("digits.validation.")
    for seed in (0, 1):
        tuned = record(out, "beyond", f"digits.order-2-tuned.calls-5.seed-{seed}")
        assert tuned["choice"] == best


def test_a_setting_and_its_twin_score_the_same(out):
    """The chosen kappa was measured once more as a method of its own, on the same noise."""
    own = record(out, "beyond", "digits.order-2-kappa-2.calls-5.seed-0")["distances"]
    tuned = record(out, "beyond", "digits.order-2-tuned.calls-5.seed-0")
    default = record(out, "beyond", "digits.default.calls-5.seed-0")["distances"]
    assert (tuned["distances"] == own) == (tuned["choice"] == "order-2-kappa-2")
    assert own != default


def test_denoised_samples_are_compared_with_raw_ones_of_the_same_chains(out):
    """The network has learned nothing and denoises nothing, so its records are given a half."""
    found = records(out, "beyond")
    for each in found.values():
        for both in each["result"].get("distances", {}).values():
            both["denoised"]["value"] = both["raw"]["value"] / 2
    claims = denoising_claims([TINY], found)
    assert {claim.measure for claim in claims} == {f"`{name}`" for name in TINY.extractors}
    for claim in claims:
        assert claim.change == pytest.approx(0.5)


@pytest.mark.parametrize(("choice", "counted"), [("order-2-kappa-2", 0), ("order-2-kappa-10", 1)])
def test_chains_of_few_calls_count_once_and_those_that_end_in_denoising_not_at_all(
    out, choice, counted
):
    """What was tuned may be a method of its own; with eta = 1 both results of a chain are one."""
    found = records(out, "beyond")
    for name, each in found.items():
        if ".order-2-tuned." in name:
            each["result"]["choice"] = choice
    once = {
        f"digits, {METHODS[name].label}, {calls} calls"
        for name, planned in TINY.plan.items()
        for calls in planned
        if calls is not None and name not in SCHEDULERS
    } - {f"digits, {METHODS[name].label}, 5 calls" for name in ("order-1-eta-1", "order-2-tuned")}
    tuned = {f"digits, {METHODS['order-2-tuned'].label}, 5 calls"} if counted else set()
    for claim in denoising_claims([TINY], found):
        where = [each.where for each in claim.comparisons]
        assert len(where) == len(once) + counted
        assert set(where) - once == tuned
