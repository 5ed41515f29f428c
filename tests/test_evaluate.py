"""Evaluation: the same number twice, at any batch size, with records that say what is so."""

import hashlib
import json
import math
import shutil

import pytest
import torch
from evaluating import SAMPLER, ask, write_images
from running import CPU, run, tiny, trained_in

from cascore.data import load_images
from cascore.data.images import array_digest
from cascore.errors import InputError
from cascore.evaluation.metrics import usable_metrics
from cascore.evaluation.reference import Reference
from cascore.experiment.chain import generate
from cascore.experiment.settings import Data
from cascore.measurement import read_measurements
from cascore.metrics import (
    FeatureMoments,
    density_coverage,
    frechet_distance,
    kernel_distance,
    load_classifier,
    memorisation_ratio,
    precision_recall,
)
from cascore.model.convert import convert_run
from cascore.model.loading import load
from cascore.pixels import to_float, to_uint8
from cascore.preprocessing import FolderOptions
from cascore.sampling import Samples


def by_name(records, form="denoised"):
    """Value by metric and split of the reference."""
    return {
        (record.metric, record.references[0].split if record.references else None): record.value
        for record in records
        if record.images.form == form
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("runs") / "tiny", tiny())


def test_the_same_number_twice_and_to_1e_4_at_any_batch_size(trained):
    def numbers(batch_size):
        return by_name(ask(trained, count=100, batch_size=batch_size).measurements)

    whole = numbers(100)
    assert numbers(100) == whole
    assert len(whole) == 6
    for size in (1, 16):
        for name, value in numbers(size).items():
            assert value == pytest.approx(whole[name], rel=1e-4), name


def test_every_number_is_that_of_the_library(trained):
    """Samples drawn and judged here, by the functions that have oracles of their own."""
    model = load(trained, device=CPU)
    samples = generate(
        model.denoiser, shape=model.shape, seeds=range(7, 67), sampler=SAMPLER,
        schedule=model.experiment.schedule, device=CPU,
    )  # fmt: skip
    train, test = (load_images("digits", split) for split in ("train", "test"))
    eyes = load_classifier("digits")
    answer = ask(trained, count=60, seed=7)
    assert [notice.split()[0] for notice in answer.notices] == ["Fréchet", "precision-recall:"]
    assert "60 judged images are no more than the 64 dimensions" in answer.notices[0]
    for form, values in (("raw", samples.raw), ("denoised", samples.denoised)):
        images = to_uint8(values)
        seen = [eyes(part) for part in (images, train.images, test.images)]
        sums = [FeatureMoments.of(features, extractor=eyes.identity) for features in seen]
        rows = torch.randperm(1437, generator=torch.Generator().manual_seed(0))[:60].sort().values
        drawn = seen[1][rows]
        rows = torch.randperm(1437, generator=torch.Generator().manual_seed(0))[:360].sort().values
        pixels = [to_float(part) for part in (images, train.images[rows], test.images)]
        shares = precision_recall(seen[0], drawn)
        assert by_name(answer.measurements, form) == pytest.approx(
            {
                ("frechet", "train"): frechet_distance(sums[0], sums[1]),
                ("frechet", "test"): frechet_distance(sums[0], sums[2]),
                ("kernel", "train"): kernel_distance(seen[0], drawn).mean,
                ("precision", "train"): shares.precision.mean,
                ("recall", "train"): shares.recall.mean,
                ("memorisation", "train"): memorisation_ratio(*pixels, seed=0).mean,
            },
            rel=1e-6,  # features of other batches may differ by rounding in float32
        )
        kernel = next(number for number in answer.measurements if number.metric == "kernel")
        (reference,) = kernel.references  # compared with as many real images
        assert (reference.count, reference.available) == (60, 1437)
        record = next(number for number in answer.measurements if number.images.form == form)
        assert record.images.digest == array_digest(images.numpy())


def test_shares_are_of_their_own_numbers_of_neighbours(tmp_path):
    """3 of precision and recall, 5 of density and coverage; of real digits, so none is 0 or 1."""
    images = load_images("digits", "test").images[:60]
    write_images(images, tmp_path / "images")
    groups = ("precision-recall", "density-coverage")
    records = ask(tmp_path / "images", data="digits", metrics=groups).measurements
    eyes, train = load_classifier("digits"), load_images("digits", "train").images
    rows = torch.randperm(1437, generator=torch.Generator().manual_seed(0))[:60].sort().values
    seen = [eyes(part) for part in (images, train)]
    shares = precision_recall(seen[0], seen[1][rows], neighbours=3)._asdict()
    shares |= density_coverage(seen[0], seen[1][rows], neighbours=5)._asdict()
    assert {record.metric: record.value for record in records} == pytest.approx(
        {name: share.mean for name, share in shares.items()}, rel=1e-6
    )
    assert {record.metric: record.settings["neighbours"] for record in records} == {
        "precision": 3, "recall": 3, "density": 5, "coverage": 5,
    }  # fmt: skip


def test_raw_and_denoised_are_not_mixed_up(trained, monkeypatch):
    """The network of three steps hardly denoises, so here are pixels that say which is which."""
    values = Samples(raw=torch.zeros(20, 1, 8, 8), denoised=torch.ones(20, 1, 8, 8), nfe=1)
    monkeypatch.setattr("cascore.model.loading.generate", lambda *a, **k: values)
    facts = {number.images.form: number.images for number in ask(trained, count=20).measurements}
    for form, level in (("raw", 0), ("denoised", 255)):
        pixels = torch.full((20, 1, 8, 8), level, dtype=torch.uint8)
        assert facts[form].digest == array_digest(pixels.numpy())


def test_a_record_says_everything(trained):
    record = ask(trained, count=60, seed=7, batch_size=50).measurements[0]
    weights = trained / "checkpoints" / "step-00000003" / "state.safetensors"
    train = load_images("digits", "train")
    assert record.metric == "frechet"
    assert record.error > 0
    assert (record.images.source, record.images.form, record.images.count) == ("run", "raw", 60)
    assert (record.images.first_seed, record.images.path) == (7, str(trained))
    assert record.model.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (record.model.step, record.model.checkpoint) == (3, "auto")
    assert record.model.experiment["network"]["width"] == 8
    assert record.sampler.nfe == 4
    assert record.sampler.settings == {
        "method": "cas", "order": 2, "calls": 4, "levels": 4, "n_sigma": 1, "kappa": 2.5,
        "eta": None, "epsilon": None, "spacing": "centred",
    }  # fmt: skip
    assert record.extractor == load_classifier("digits").identity
    (reference,) = record.references
    assert (reference.name, reference.split, reference.count) == ("digits", "train", 1437)
    assert reference.digest == train.digest
    assert reference.provenance == "known"
    assert record.selection is None
    assert record.computation.batch_size == 50
    assert record.software["torch"] == torch.__version__
    assert record.command == "cascore evaluate it"
    assert record.floor.mean > 0
    assert not record.floor.extrapolated


def test_two_folders_are_compared_whole(tmp_path):
    images = load_images("digits", "test").images
    a = write_images(images[:100], tmp_path / "a")
    b = write_images(images[100:300], tmp_path / "b")
    answer = ask(a, data=f"folder:{b}")
    few = ["memorisation", "Fréchet", "no", "precision-recall:"]
    assert [notice.split()[0] for notice in answer.notices] == few
    record = answer.measurements[0]
    (reference,) = record.references
    assert (reference.split, reference.count) == ("all", 200)
    assert (record.images.form, record.images.count, record.model) == ("images", 100, None)
    assert record.extractor.name == "random-convolution"
    assert record.floor is None  # 200 images cannot be halved in 256 dimensions
    seen = ask(a, data=f"folder:{b}", extractor="digits").measurements[0]
    assert seen.floor.extrapolated
    assert seen.value <= seen.floor.mean + 3 * seen.floor.spread  # both are real
    assert ask(a, data=f"folder:{a}", metrics=("frechet",)).measurements[0].value < 1e-6


def test_images_are_named_by_their_folder_as_data_are(tmp_path):
    folder = f"folder:{write_images(load_images('digits', 'test').images[:20], tmp_path / 'a')}"
    records = tmp_path / "records.json"
    judged = ("evaluate", folder, "--data", folder, "--metrics", "frechet", "--out", records)
    assert run(*judged) == 0
    assert read_measurements(records)[0].value < 1e-6


def test_another_size_is_refused_or_resized_and_said(tmp_path):
    images = load_images("digits", "test").images[:30]
    small = write_images(images, tmp_path / "small")
    large = write_images(images.repeat_interleave(2, 2).repeat_interleave(2, 3), tmp_path / "large")
    with pytest.raises(InputError, match=r"have shape \[1, 16, 16\], those of digits \[1, 8, 8\]"):
        ask(large, data="digits")
    box = FolderOptions(size=8, filter="box")
    resized, plain = (
        ask(path, data="digits", folder=options, metrics=("frechet",)).measurements[0]
        for path, options in ((large, box), (small, FolderOptions()))
    )
    assert resized.value == plain.value  # the mean of four equal pixels is the pixel
    assert resized.images.digest == plain.images.digest
    steps = {"size": 8, "crop": "center", "filter": "box", "mode": "auto"}
    assert (resized.images.preprocessing, plain.images.preprocessing) == (steps, {})
    both = ask(large, data=f"folder:{large}", folder=box, extractor="digits").measurements[0]
    assert both.references[0].settings == {"size": 8, "filter": "box"}


def test_stacked_digits_have_modes_and_the_published_kl(tmp_path):
    folder = write_images(load_images("stacked-digits", "test").images[:50], tmp_path / "a")
    out = tmp_path / "records.json"
    asked = ("--data", "stacked-digits", "--as-published", "--metrics", "modes", "--device", "cpu")
    assert run("evaluate", folder, *asked, "--out", out) == 0
    numbers = {number.metric: number for number in read_measurements(out)}
    # The classifier is right on nearly all digits, and 50 of 1,000 classes hardly repeat.
    assert 45 <= numbers["modes"].value <= 50
    kl = numbers["modes-kl"].value
    assert kl == pytest.approx(math.log(1000 / 50), abs=0.3)
    # Of even draws 50 · 49 / 2 pairs meet in a class with probability 1 / 1,000.
    even = math.log(1000 / 50) + 1.225 * 2 * math.log(2) / 50
    assert numbers["modes-kl"].settings["perfect"] == pytest.approx(even, abs=2e-3)
    a = 50 / 26
    published = numbers["modes-kl-as-published"].value
    assert published == pytest.approx(a * (math.log(a) + kl), rel=1e-12)
    with pytest.raises(InputError, match="divergence of modes"):
        ask(folder, data="stacked-digits", metrics=("frechet",), as_published=True)


@pytest.mark.parametrize(
    ("data", "usual"), [("stacked-digits", True), ("cifar-10-jpeg", False), ("digits", False)]
)
def test_modes_are_measured_of_stacked_digits_unless_asked_for(data, usual):
    """The classes of colour photographs are ten, and no modes of the paper."""
    images = load_images("digits" if data == "digits" else "stacked-digits", "test")  # or as many
    known, sets = load_classifier("digits"), dict.fromkeys(("train", "test"), images)
    real = Reference(Data(name=data), known, 100, {}, sets, None, known)
    usable, _ = usable_metrics(None, real, as_published=False, by_class=False)
    assert ("modes" in usable) == usual
    assert usable_metrics(("modes",), real, as_published=True, by_class=False)[0] == ["modes"]


def test_a_model_directory_is_judged_and_has_no_checkpoints(trained, tmp_path):
    convert_run(trained, tmp_path / "model", weights="ema")
    record = ask(tmp_path / "model", count=60, metrics=("frechet",)).measurements[0]
    of_run = ask(trained, count=60, metrics=("frechet",)).measurements[0]
    assert record.value == of_run.value
    assert (record.images.source, of_run.images.source) == ("model", "run")
    assert record.model.step == of_run.model.step
    with pytest.raises(InputError, match="no checkpoints to choose from"):
        ask(tmp_path / "model", checkpoint="best")


def test_other_training_data_than_the_models_are_told(trained, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(trained, other)
    data = json.loads((other / "data.json").read_text())
    (other / "data.json").write_text(json.dumps(data | {"digest": "0" * 64}))
    (notice,) = ask(other, count=80, metrics=("frechet",)).notices
    assert "not what the model was trained on" in notice


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "25-gaussians"}, "set of points"),
        ({"data": "swiss"}, "no data set"),
        ({"extractor": "eyes"}, "no extractor 'eyes'"),
        ({"extractor": "mnist"}, r"are torch.uint8 of shape \[N, 1, 8, 8\]; 'mnist' takes"),
        ({"metrics": ("fid",)}, "no metric 'fid'"),
        ({"metrics": ("inception-score",)}, "nothing can be measured: inception-score left out"),
        ({"count": 1}, "at least 2"),
        ({"checkpoint": "7"}, "no checkpoint '7'; expected newest, best, or one of the steps 3"),
        ({"checkpoint": "best"}, "none was evaluated during training"),
        ({"data": "stacked-digits"}, "cannot be compared"),
    ],
)
def test_what_cannot_be_is_refused_before_sampling(trained, monkeypatch, settings, message):
    monkeypatch.setattr("cascore.model.loading.generate", None)
    with pytest.raises(InputError, match=message):
        ask(trained, **settings)


def test_the_table_fits_and_shows_both_forms(trained, capsys, tmp_path):
    out = tmp_path / "a.json"
    assert run("evaluate", trained, "--calls", 4, "--count", 50, "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    first = read_measurements(out)[0]
    row = next(line for line in lines if line.startswith("Fréchet distance, 1,437"))
    assert f"{first.value:.3f} ± {first.error:.3f}" in row
    assert f"{first.floor.mean:.3f} ± {first.floor.spread:.3f}" in row
