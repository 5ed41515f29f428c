"""Figure 1: noise by recursion and by chains, its page, and how it goes on."""

import json
import math
import shutil

import pytest
import torch
from running import run

from cascore.reproduce.studies import reproduce
from cascore.reproduce.workshop import Workshop

CPU = torch.device("cpu")


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def figure1(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert run("reproduce", "figure1", "--scale", "tiny", "--out", out) == 0
    return out


def result(folder, unit):
    return json.loads((folder / f"{unit}.json").read_text())["result"]


@pytest.mark.parametrize("n_sigma", [1, 2, 5])
def test_recursion_and_sampled_noise_of_langevin_are_those_of_proposition_1(figure1, n_sigma):
    """The recursion to rounding; 200 sampled numbers within 4.5 standard errors of 1/sqrt(400).

    That is 7 in a million for one normal number, times 232 correlated levels: below 1 in 600.
    """
    variance, eta, expected = 50.0**2, 2e-6 / 0.01**2, []
    for i in range(232):
        sigma = 50.0 * (0.01 / 50.0) ** (i / 231)
        for _ in range(n_sigma):
            variance = variance * (1 - eta) ** 2 + 2 * eta * sigma**2
        expected.append(math.sqrt(variance))
    records = figure1 / "figure1" / "records-tiny"
    assert result(records, f"als-{n_sigma}.recursion")["std"] == pytest.approx(expected, rel=1e-9)
    sampled = result(records, f"als-{n_sigma}.chains")
    assert sampled["numbers"] == 200
    assert sampled["std"] == pytest.approx(expected, rel=4.5 / math.sqrt(400))


@pytest.mark.parametrize("name", ["cas-1", "cas-2"])
def test_noise_of_consistent_sampling_is_the_schedule(figure1, name):
    """Proposition 2: by recursion to rounding, sampled within 4.5 standard errors."""
    sigmas = [50.0 * (0.01 / 50.0) ** (i / 231) for i in range(232)]
    records = figure1 / "figure1" / "records-tiny"
    assert result(records, f"{name}.recursion")["std"] == pytest.approx(sigmas, rel=1e-9)
    sampled = result(records, f"{name}.chains")["std"]
    assert sampled == pytest.approx(sigmas, rel=4.5 / math.sqrt(400))


def test_the_page_has_pictures_numbers_and_provenance(figure1):
    page = (figure1 / "figure1.md").read_text()
    folder = figure1 / "figure1"
    for name in ("noise.png", "noise.svg", "noise.csv", "ratio.png", "ratio.svg"):
        assert f"figure1/{name}" in page
        assert (folder / name).stat().st_size > 1000
    assert (folder / "noise.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "noise.svg").read_text()
    assert "19.53 (i = 33)" in page
    assert "cascore reproduce figure1 --scale tiny" in page
    for word in ("cores", "thread", "torch", "standard error"):
        assert word in page
    assert "Did not hold" not in page


def test_the_same_command_goes_on_where_a_record_is_missing(figure1, tmp_path):
    """Only the missing unit is measured, with the same result, and all bytes are the same."""
    shutil.copytree(figure1, tmp_path / "results")
    out, records = tmp_path / "results", tmp_path / "results" / "figure1" / "records-tiny"
    before, lost = contents(out), records / "als-5.chains.json"
    kept = {path: path.stat().st_mtime_ns for path in records.iterdir()}
    lost.unlink()
    (out / "figure1.md").unlink()
    told = []
    workshop = Workshop(runs=tmp_path, device=CPU, notify=told.append)
    reproduce("figure1", scale="tiny", out=out, workshop=workshop)
    assert told == ["[6/10] als-5.chains"]
    old, new = (json.loads(each)["result"] for each in (before.pop(lost.relative_to(out)),
                                                       lost.read_bytes()))  # fmt: skip
    assert new == old
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path != lost)
    after = contents(out)
    # The page states the seconds, which a second measurement need not repeat.
    for path, content in before.items():
        if path.name != "figure1.md":
            assert after[path] == content, path
