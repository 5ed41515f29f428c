"""Models to a folder, to the hub and from there; the hub's client is replaced at its functions."""

import shutil
import sys
from types import SimpleNamespace

import diffusers
import huggingface_hub
import pytest
import torch
from diffusers_models import unet
from evaluating import ask
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from running import CPU, run, tiny, trained_in

import cascore
from cascore.errors import InputError, MissingExtraError
from cascore.evaluation.verify import verify
from cascore.experiment.periodic import keep_best
from cascore.experiment.run_folder import HELD_OUT_LOSS
from cascore.measurement import Selection, read_measurements
from cascore.model.card import model_card
from cascore.model.convert import convert_run
from cascore.model.folder import read_model_record
from cascore.model.front_matter import Result, front_matter
from cascore.model.loading import load
from cascore.model.pretrained import shipped_folders
from cascore.training.checkpoint import checkpoints


class Hub:
    """Repositories as folders, and the cache of the client as it lays it out."""

    def __init__(self, root):
        self.root, self.private = root, {}

    def snapshot_download(self, name, *, revision, allow_patterns):
        source = self.root / "hub" / name
        if not source.is_dir():
            raise RepositoryNotFoundError("404: no such repository", response=SimpleNamespace(
                headers={}, request=None, status_code=404,
            ))  # fmt: skip
        cache = self.root / f"models--{name.replace('/', '--')}" / "snapshots" / "0123abcd"
        files = [str(x.relative_to(source)) for x in source.rglob("*") if x.is_file()]
        for file in filter_repo_objects(files, allow_patterns=allow_patterns):
            (cache / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, cache / file)
        return str(cache)

    def create_repo(self, name, *, private, exist_ok):
        assert exist_ok
        self.private[name] = private
        (self.root / "hub" / name).mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.root / "hub" / repo_id, dirs_exist_ok=True)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = Hub(tmp_path / "fake")
    for name in ("snapshot_download", "create_repo", "upload_folder"):
        monkeypatch.setattr(huggingface_hub, name, getattr(fake, name))
    return fake


def test_a_model_goes_to_the_hub_and_comes_back(hub, tmp_path, monkeypatch):
    model = load("digits")
    assert model.push_to_hub("someone/digits", private=True) == "hf://someone/digits"
    assert hub.private == {"someone/digits": True}
    (hub.root / "hub" / "someone" / "digits" / "evil.pkl").write_bytes(b"")
    again = cascore.load("hf://someone/digits")
    assert again.digest == model.digest
    assert not (again.folder / "evil.pkl").exists()
    drawn = {"calls": 3, "progress": False}
    assert torch.equal(
        again.sample(range(2), **drawn).denoised, model.sample(range(2), **drawn).denoised
    )
    assert repr(again).startswith("<Model hf://someone/digits:")
    # Pictures of it go below the working directory, and not into the client's cache.
    monkeypatch.chdir(tmp_path)
    before = sorted(hub.root.rglob("*"))
    assert run("sample", "hf://someone/digits", "--count", 2, "--calls", 3, "--device", "cpu") == 0
    assert list((tmp_path / "samples" / "digits").iterdir())
    judged = ("--count", 20, "--calls", 3, "--metrics", "frechet", "--device", "cpu")
    assert run("evaluate", "hf://someone/digits", *judged, "--out", "a.json") == 0
    record = read_measurements(tmp_path / "a.json")[0]
    assert (record.images.path, record.model.digest) == ("hf://someone/digits", model.digest)
    assert sorted(hub.root.rglob("*")) == before


def test_damage_to_the_variances_is_seen_after_the_hub(hub):
    """Their digest goes there and comes back with them."""
    load("digits-aware").push_to_hub("someone/aware")
    path = hub.root / "hub" / "someone" / "aware" / "variances.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"variances\.npy is not what was written"):
        load("hf://someone/aware")


def test_what_the_hub_refuses_is_one_line(hub):
    with pytest.raises(InputError, match=r"hf://a/b cannot be downloaded: 404"):
        load("hf://a/b")


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cascore\[hub\]'"):
        load("hf://a/b")


def test_a_model_of_diffusers_comes_from_the_hub(hub):
    folder = hub.root / "hub" / "someone" / "ddpm"
    pipeline = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler())
    pipeline.save_pretrained(folder)
    (folder / "unet" / "code.py").write_text("raise SystemExit")
    denoiser = cascore.from_diffusers("hf://someone/ddpm")
    x, sigma = torch.rand(2, *denoiser.shape), torch.tensor(1.0)
    with torch.no_grad():
        assert torch.equal(denoiser(x, sigma), cascore.from_diffusers(pipeline)(x, sigma))
    assert not list((hub.root / "models--someone--ddpm").rglob("*.py"))


# --- folders --------------------------------------------------------------------------------------


def test_a_saved_model_is_the_model_and_its_card_is_read_by_the_hub(tmp_path):
    model = load("fashion-mnist")
    model.save_pretrained(tmp_path / "saved")
    assert load(tmp_path / "saved").digest == model.digest
    source = shipped_folders()["fashion-mnist"]
    assert {x.name for x in (tmp_path / "saved").iterdir()} == {x.name for x in source.iterdir()}
    for file in (tmp_path / "saved").iterdir():
        assert file.name == "README.md" or file.read_bytes() == (source / file.name).read_bytes()
    card = huggingface_hub.ModelCard.load(tmp_path / "saved" / "README.md")
    assert (card.data.library_name, card.data.license) == ("cascore", "mit")
    assert card.data.datasets == ["zalando-datasets/fashion_mnist"]
    assert len(card.data.eval_results) == 6
    assert card.text.lstrip().startswith("# fashion-mnist")
    with pytest.raises(InputError, match="is there already"):
        model.save_pretrained(tmp_path / "saved")


def test_scores_of_records_are_in_the_front_matter_as_the_hub_reads_them(tmp_path):
    record = read_model_record(shipped_folders()["digits"])
    results = [
        Result("frechet", "Fréchet distance: train", 0.1607),
        Result("kernel", "kernel", 1e-5),
    ]
    (tmp_path / "card.md").write_text(front_matter(record, results) + "# digits")
    data = huggingface_hub.ModelCard.load(tmp_path / "card.md").data
    found = [(r.metric_type, r.metric_name, r.metric_value) for r in data.eval_results]
    assert found == [tuple(result) for result in results]
    assert {r.dataset_name for r in data.eval_results} == {"digits"}
    assert model_card(record, parameters=1).startswith("---\nlibrary_name: cascore\n")


def test_a_run_is_saved_at_the_step_that_was_loaded(tmp_path):
    trained_in(tmp_path / "run", tiny("digits", save_every=2))
    model = load(tmp_path / "run", device=CPU, checkpoint="2")
    model.save_pretrained(tmp_path / "saved")
    saved = load(tmp_path / "saved")
    assert (saved.step, model.step) == (2, 2)
    ours, theirs = model.denoiser.state_dict(), saved.denoiser.state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())


@pytest.mark.parametrize("pruned", [False, True])
def test_the_best_checkpoint_is_saved_and_found_again_with_how_it_was_selected(tmp_path, pruned):
    """A training by the clock keeps it in best/, and after a while there alone."""
    folder = trained_in(tmp_path / "run", tiny("digits", save_every=2))
    earlier, _ = checkpoints(folder / "checkpoints")
    selection = Selection(metric=HELD_OUT_LOSS, value=0.1, step=2, candidates=3)
    keep_best(folder, selection, earlier.folder)
    if pruned:
        shutil.rmtree(earlier.folder)
    model = load(folder, device=CPU)
    records = ask(folder, count=20, metrics=("frechet",)).measurements
    assert {(x.model.step, x.selection) for x in records} == {(2, selection)}
    assert {x.outcome for x in verify(records, root=None, device=CPU)} == {"equal"}
    model.save_pretrained(tmp_path / "saved")
    convert_run(folder, tmp_path / "converted", weights="ema")
    for made in (tmp_path / "saved", tmp_path / "converted"):
        found = load(made)
        assert (found.step, found.selection) == (2, selection)


def test_other_weights_than_those_that_were_loaded_are_not_saved(tmp_path):
    load("digits").save_pretrained(tmp_path / "one")
    model = load(tmp_path / "one")
    shutil.copyfile(
        shipped_folders()["fashion-mnist"] / "model.safetensors",
        tmp_path / "one" / "model.safetensors",
    )
    with pytest.raises(InputError, match="other weights than when it was loaded"):
        model.save_pretrained(tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_a_step_that_was_trained_anew_is_not_saved_for_the_old_one(tmp_path):
    trained_in(tmp_path / "run", tiny("digits", steps=2))
    model = load(tmp_path / "run", device=CPU)
    shutil.rmtree(tmp_path / "run")
    trained_in(tmp_path / "run", tiny("digits", steps=2, seed=1))
    with pytest.raises(InputError, match="other weights than when it was loaded"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
