"""Published checkpoints become model folders; whatever else is refused, and runs nothing."""

import copy
import json
import math
import os
import pickle
import shlex
from collections import OrderedDict
from dataclasses import replace
from functools import cache

import pytest
import safetensors.torch
import torch
from running import CPU, tiny, trained_in
from running import run as command
from safetensors.torch import load_file

from cascore.errors import InputError
from cascore.experiment.presets import PUBLISHED
from cascore.experiment.settings import Adversarial, Data, Network, Schedule
from cascore.files import file_digest
from cascore.model.convert import convert_checkpoint, convert_run, published_pixels
from cascore.model.loading import load
from cascore.networks import BigGANDiscriminator, NCSNv2, UNet
from cascore.networks.published import published_names

UNIT = (0.0, 1.0)
SHAPE = (3, 8, 8)
NARROW = replace(
    PUBLISHED["cifar10-ncsnv2-adversarial"][0],
    network=Network(kind="ncsnv2", width=2, multipliers=(1, 1, 1, 1)),
    adversarial=Adversarial(width=2),
)
NARROW_UNET = replace(
    NARROW, network=Network(width=4, multipliers=(1, 1), blocks=1, attention=(False, True))
)


def network(seed=0):
    torch.manual_seed(seed)
    return NCSNv2(width=2, multipliers=(1, 1, 1, 1)).eval()


def unet(seed=0):
    torch.manual_seed(seed)
    net = UNet(width=4, multipliers=(1, 1), blocks=1, attention=(False, True)).eval()
    with torch.no_grad():  # its last layers start at zero
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return net


@cache
def discriminator(seed=0):
    """One whose estimates of singular values have settled, so that a step more changes nothing."""
    torch.manual_seed(seed)
    judge = BigGANDiscriminator(channels=3, size=8, width=2)
    with torch.no_grad():
        for _ in range(300):
            judge(torch.zeros(1, *SHAPE))
    return judge.eval()


def published(module, *, parallel):
    """A state dictionary as the original classes save it."""
    ours = module.state_dict()
    names = published_names(module)
    state = OrderedDict()
    for name, theirs in names.items():
        value = ours[name].clone()
        state[theirs] = value.flatten(1) if theirs.endswith(".weights") else value
    if isinstance(module, BigGANDiscriminator):
        state |= {name.replace("u0", "sv0"): torch.ones(1) for name in state if "u0" in name}
    return OrderedDict((f"module.{name}" * parallel or name, v) for name, v in state.items())


def optimizer_of(module):
    """The state of an Adam that took one step."""
    module = copy.deepcopy(module)
    adam = torch.optim.Adam(module.parameters(), lr=1e-4)
    sum(parameter.sum() for parameter in module.parameters()).backward()
    adam.step()
    return adam.state_dict()


def states(*rest, score=None, step=7):
    score = score or published(network(0), parallel=True)
    return [score, optimizer_of(network(9)), 2, step, *rest]


def save(path, values, *, old=False):
    torch.save(values, path, _use_new_zipfile_serialization=not old)
    return path


def convert(path, out, **settings):
    whole = {"experiment": NARROW, "shape": SHAPE, "pixel_range": UNIT, "weights": "ema"}
    return convert_checkpoint(path, out, **whole | settings)


def assert_denoises_like(folder, net):
    """H(x, sigma) = x + sigma f(x), with f the network whose weights were saved."""
    model = load(folder, device=CPU)
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.3, 2.0])
    with torch.no_grad():
        expected = x + sigma.view(2, 1, 1, 1) * net(x)
        # Rounding only: attention may take another kernel where no gradient can be asked for.
        torch.testing.assert_close(model.denoiser(x, sigma), expected)


def ema():
    return published(network(1), parallel=False)


def opponent():
    return published(discriminator(), parallel=True)


LAYOUTS = {
    # what follows the step, the weights to take, the seed of the network they are of, D or not
    "four elements": (list, "raw", 0, False),
    "None for the average": (lambda: [None], "raw", 0, False),
    "an average": (lambda: [ema()], "ema", 1, False),
    "an average, not taken": (lambda: [ema()], "raw", 0, False),
    "an average of a parallel network": (
        lambda: [published(network(1), parallel=True)], "ema", 1, False,
    ),
    "an average and a discriminator": (lambda: [ema(), opponent()], "ema", 1, True),
    "a discriminator before the average": (lambda: [opponent(), ema()], "ema", 1, True),
    "a discriminator and its optimizer": (
        lambda: [None, opponent(), optimizer_of(discriminator())], "raw", 0, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["zip", "pickle"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_in_both_formats(tmp_path, layout, old):
    rest, weights, seed, has_discriminator = LAYOUTS[layout]
    path = save(tmp_path / "checkpoint_7.pth", states(*rest()), old=old)
    out = tmp_path / "models" / "out"
    done = convert(path, out, weights=weights)
    assert_denoises_like(out, network(seed))
    record = json.loads((out / "model.json").read_text())
    assert (record["step"], record["weights"], record["shape"]) == (7, weights, [3, 8, 8])
    assert record["digest"] == file_digest(out / "model.safetensors")
    assert record["source"]["name"] == "checkpoint_7.pth"
    assert record["source"]["sha256"] == file_digest(path)
    assert done.notices == ()
    names = {"README.md", "model.json", "model.safetensors"}
    names |= {"discriminator.safetensors"} if has_discriminator else set()
    assert {file.name for file in out.iterdir()} == names
    if has_discriminator:
        assert record["discriminator"] == file_digest(out / "discriminator.safetensors")
        judge, images = BigGANDiscriminator(channels=3, size=8, width=2), torch.rand(2, *SHAPE)
        judge.load_state_dict(load_file(out / "discriminator.safetensors"))
        with torch.no_grad():
            torch.testing.assert_close(judge.eval()(images), discriminator()(images))


def test_a_unet_comes_with_matrices_and_an_embedding_that_it_never_uses(tmp_path):
    state = published(unet(), parallel=False)
    assert sum(value.ndim == 2 for value in state.values()) >= 4
    state |= {"temb_dense.0.weight": torch.zeros(16, 4), "temb_dense.0.bias": torch.zeros(16)}
    score = {f"module.{name}": value for name, value in state.items()}
    path = save(tmp_path / "a.pth", states(state, score=score))
    convert(path, tmp_path / "out", experiment=NARROW_UNET)
    assert_denoises_like(tmp_path / "out", unet())


def test_half_precision_is_widened(tmp_path):
    half = {name: value.half() for name, value in ema().items()}
    convert(save(tmp_path / "a.pth", states(half)), tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    names = published_names(network())
    assert all(torch.equal(saved[name], half[names[name]].float()) for name in saved)


def with_sigmas(sigmas):
    score = published(network(0), parallel=True)
    return states(ema(), score=score | {"module.sigmas": sigmas.float()})


def line(first, last, count):
    """The levels as Song and Ermon's code computes them."""
    ends = torch.tensor([first, last], dtype=torch.float64).log()
    return torch.linspace(ends[0], ends[1], count, dtype=torch.float64).exp()


@pytest.mark.parametrize(
    ("first", "last", "count", "notices"),
    [
        (50, 0.01, 232, 0),  # those expected
        (90, 0.01, 500, 1),
        (50, 0.01, 231, 1),
        (50.005, 0.01, 232, 1),
        (50, 0.02, 232, 1),
        (50, 50, 1, 1),
    ],
)
def test_levels_of_the_checkpoint_win_with_a_word(tmp_path, first, last, count, notices):
    path = save(tmp_path / "a.pth", with_sigmas(line(first, last, count)))
    done = convert(path, tmp_path / "out")
    assert done.record.experiment.schedule == Schedule(first=first, last=last, levels=count)
    assert done.record.source["kind"] == "checkpoint of ermongroup/ncsnv2"
    assert len(done.notices) == notices
    assert all(f"{count} from {first:g} to {last:g}" in notice for notice in done.notices)
    assert load(tmp_path / "out", device=CPU).experiment == done.record.experiment


@pytest.mark.parametrize(
    ("sigmas", "text"),
    [
        (torch.linspace(50, 0.01, 232), "not a decreasing geometric sequence"),
        # float32 rounds to 6e-8; a tenth of a thousandth is no rounding
        (line(50, 0.01, 232) * (1 + 1e-4 * (-1.0) ** torch.arange(232)), "not a decreasing"),
        (line(0.01, 50, 232), "not a decreasing geometric sequence"),
        (torch.tensor([50.0, 0.0]), "not positive"),
        (torch.tensor([50.0, math.nan]), "not positive"),
        (torch.zeros(0), "not positive"),
    ],
)
def test_levels_that_are_not_geometric_are_refused(tmp_path, sigmas, text):
    path = save(tmp_path / "a.pth", with_sigmas(sigmas))
    with pytest.raises(InputError, match=text):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_of_other_pixels_is_seen_in_0_to_1(tmp_path):
    """The authors trained on Stacked-MNIST in [-1, 1]: what the file's network does there to
    2x - 1 with noise 2 sigma, the model does here to x with noise sigma."""
    assert published_pixels("stacked-mnist") == (-1.0, 1.0)
    assert published_pixels("cifar-10") == UNIT
    name = "stacked-mnist-ncsnv2"
    experiment = replace(PUBLISHED[name][0], network=NARROW.network)
    path = save(tmp_path / "a.pth", states(ema()))
    convert(path, tmp_path / "out", experiment=experiment, pixel_range=(-1.0, 1.0))
    model = load(tmp_path / "out", device=CPU)
    assert model.experiment.schedule == Schedule(first=25, last=0.005, levels=200)
    theirs = 2 * torch.rand(2, *SHAPE, dtype=torch.float64) - 1
    sigma, net = torch.tensor([0.5, 8.0], dtype=torch.float64), network(1).double()
    with torch.no_grad():
        expected = theirs + sigma.view(2, 1, 1, 1) * net(theirs)
        actual = model.denoiser.double()((theirs + 1) / 2, sigma / 2) * 2 - 1
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)  # rounding of 2^-53
    assert "pixels in [-1, 1]" in (tmp_path / "out" / "README.md").read_text()


def test_the_papers_settings_go_with_the_papers_models_in_their_units(tmp_path):
    state = published(NCSNv2(), parallel=False)
    path = save(tmp_path / "a.pth", [state, optimizer_of(network()), 0, 1, state])

    def converted(name, *, data=None, levels=None, size=None, pixels=UNIT):
        experiment, shape = PUBLISHED[name]
        out = tmp_path / f"{name}-{data}-{levels}-{size}"
        experiment = replace(
            experiment,
            data=replace(experiment.data, name=data or experiment.data.name),
            schedule=replace(experiment.schedule, levels=levels or experiment.schedule.levels),
        )
        shape = (3, size, size) if size else shape
        done = convert(path, out, experiment=experiment, shape=shape, pixel_range=pixels)
        return done.record, (out / "README.md").read_text()

    cifar10, card = converted("cifar10-ncsnv2")
    stacked, _ = converted("stacked-mnist-ncsnv2", pixels=(-1.0, 1.0))
    for other in ({"data": "mine"}, {"levels": 231}, {"size": 64}):
        assert converted("cifar10-ncsnv2", **other)[0].samplers == {}
    assert cifar10.samplers["cifar10-ncsnv2-cas-5"].epsilon == 1.1e-6  # Table 1
    assert len(cifar10.samplers) == 4
    # eta = epsilon / sigma_L^2 has no units and is the paper's 5e-6 / 0.01^2.
    (only,) = stacked.samplers.values()
    assert (only.eta, only.epsilon) == (0.05, None)
    (text,) = (x for x in card.splitlines() if x.endswith("# cifar10-ncsnv2-als-5"))
    flags = "--method als --levels all --n-sigma 5 --epsilon 3.6e-06"
    assert text.startswith(f"cascore sample FOLDER {flags}  #")
    assert "29,694,083 parameters" in card


def unet_settings(width, **others):
    given = {"multipliers": (1, 2, 2, 2), "attention": (False, True, False, False)} | others
    return {"width": width, "blocks": 2, **given}


@pytest.mark.parametrize(
    ("name", "make", "shape", "fields"),
    [
        ("cifar10-ncsnv2", lambda: NCSNv2(width=12), (3, 8, 8), {"width": 12}),
        (
            "song-ermon-ffhq",
            lambda: NCSNv2(width=4, multipliers=(1, 2, 2, 2, 4, 4)), (3, 8, 8), {"width": 4},
        ),
        (
            "cifar10-ncsnv2",  # no published network has five stages of one width
            lambda: NCSNv2(width=4, multipliers=(1, 1, 1, 1, 1)), (3, 8, 8),
            {"width": 4, "multipliers": (1, 1, 1, 1, 1)},
        ),
        ("cifar10-unet", lambda: UNet(**unet_settings(8)), (3, 8, 8), {"width": 8}),
        (
            "cifar10-unet",
            lambda: UNet(**unet_settings(8, multipliers=(1, 3), attention=(True, False))),
            (3, 8, 8), {"width": 8, "multipliers": (1, 3), "attention": (True, False)},
        ),
    ],
)  # fmt: skip
def test_width_and_multipliers_are_read_off_the_weights(tmp_path, name, make, shape, fields):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = make().eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(7))
    state = published(net, parallel=True)
    path = save(tmp_path / "a.pth", [state, optimizer_of(network(9)), 0, 1, state])
    experiment, _ = PUBLISHED[name]
    done = convert(path, tmp_path / "out", experiment=experiment, shape=shape)
    assert done.record.experiment.network == replace(experiment.network, **fields)
    assert f"of width {fields['width']}" in done.notices[0]
    assert_denoises_like(tmp_path / "out", net)


def test_the_wrong_name_is_told_the_right_ones(tmp_path):
    cases = [
        (lambda: NCSNv2(width=4), "church-unet", "cifar10-ncsnv2 or "),
        (lambda: NCSNv2(width=4), "church-ncsnv2", "song-ermon-celeba"),
        (lambda: UNet(**unet_settings(8)), "cifar10-ncsnv2", "cifar10-unet or"),
        (
            lambda: UNet(**unet_settings(8, multipliers=(1, 3), attention=(True, False))),
            "cifar10-ncsnv2", "none is like it",
        ),
    ]  # fmt: skip
    for i, (make, name, words) in enumerate(cases):
        state = published(make(), parallel=True)
        path = save(tmp_path / f"{i}.pth", [state, optimizer_of(network(9)), 0, 1, state])
        text = refused(tmp_path, path, experiment=PUBLISHED[name][0])
        assert f"not the network of {name}" in text
        assert words in text
        assert "tensors differ" not in text


def refused(tmp_path, path, **settings):
    """The message; nothing is left on the disk."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        convert(path, tmp_path / "models" / "out", **settings)
    assert sorted(tmp_path.iterdir()) == before
    message = str(caught.value)
    assert str(path) in message
    assert "weights_only" not in message  # PyTorch's advice to load it unsafely
    return message


def test_whatever_does_not_fit_is_listed_in_full(tmp_path):
    state = ema()
    names = sorted(state)[:12]
    for name in names:
        state[f"other.{name}"] = state.pop(name)
    state["end_conv.weight"] = torch.zeros(3, 2, 5, 5)
    text = refused(tmp_path, save(tmp_path / "a.pth", states(state)))
    # Element 5 is an average as long as it has any name of the score network.
    lines = [line.strip() for line in text.splitlines()[1:]]
    expected = {f"missing {name}" for name in names} | {f"surplus other.{name}" for name in names}
    expected -= {"missing end_conv.weight"}
    assert set(lines) == expected | {"end_conv.weight is [3, 2, 5, 5], not [3, 2, 3, 3]"}
    assert f"{len(lines)} tensors differ" in text


def test_weights_that_are_not_finite_are_listed_and_others_do_not_matter(tmp_path):
    broken = ema()
    broken["begin_conv.weight"][0, 0, 0, 0] = math.nan
    broken["end_conv.bias"][1] = math.inf
    text = refused(tmp_path, save(tmp_path / "a.pth", states(broken)))
    assert "2 tensors hold NaN or infinity" in text
    assert "begin_conv.weight" in text
    assert "end_conv.bias" in text
    convert(save(tmp_path / "b.pth", states(broken)), tmp_path / "raw", weights="raw")
    assert_denoises_like(tmp_path / "raw", network(0))


# --- files that would execute code ---------------------------------------------------------------


class Hostile:
    """What a hostile author puts into a file: a command that the unpickler is to run."""

    def __init__(self, folder):
        self.command = f"touch {folder / 'ran'}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["zip", "pickle", "bare"])
def test_a_file_that_would_run_code_is_refused_by_name(tmp_path, kind, protocol):
    path = tmp_path / "a.pth"
    for place in (0, 1, 3):
        values = states(ema())
        values[place] = Hostile(tmp_path)
        if kind == "bare":
            path.write_bytes(pickle.dumps(values[place], protocol=protocol))
        else:
            new = kind == "zip"
            torch.save(values, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        message = refused(tmp_path, path)
        if protocol == 2:  # the others are refused as none that PyTorch writes
            assert "os.system" in message
            assert "is refused: loading it would run code" in message
        assert not (tmp_path / "ran").exists()


def test_the_hostile_file_of_these_tests_does_run_code_when_loaded_carelessly(tmp_path):
    torch.load(save(tmp_path / "a.pth", [Hostile(tmp_path)]), weights_only=False)
    assert (tmp_path / "ran").exists()


# --- files that are something else ---------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True], ids=["zip", "pickle"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, old):
    path = save(tmp_path / "a.pth", states(ema()), old=old)
    whole = path.read_bytes()
    for length in [*range(2, 40), *range(40, len(whole), len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        text = refused(tmp_path, path)
        assert "cannot be read as a checkpoint" in text or "no checkpoint of" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is a text about checkpoints", "no checkpoint of torch.save"),
        (b"<!DOCTYPE html><html>Virus scan warning</html>", "is a web page"),
        (b"\x89PNG\r\n\x1a\n", "no checkpoint of torch.save"),
        (b"\x80\x02" + bytes(range(256)), "cannot be read as a checkpoint"),
        (b"PK\x03\x04" + bytes(200), "cannot be read as a checkpoint"),
        (safetensors.torch.save({"a": torch.zeros(1)}), "is a safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path, content, message):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert message in refused(tmp_path, path)
    assert "there is no file" in refused(tmp_path, tmp_path / "absent.pth")


OTHERS = {
    "a whole module": (
        lambda: [torch.nn.Linear(1, 1), {}, 0, 1], "run code, it asks for torch.nn.modules.linear",
    ),
    "a discriminator that does not fit": (
        lambda: states(ema(), opponent() | {"module.linear.weight": torch.zeros(1, 99)}),
        "linear.weight is [1, 99]",
    ),
    "no average": (states, "--weights raw"),
    "a dictionary": (ema, "found a OrderedDict of begin_conv.weight, "),
    "a tensor": (lambda: torch.zeros(3), "found a Tensor"),
    "of score_sde": (
        lambda: {"optimizer": {}, "model": ema(), "ema": {"shadow_params": []}, "step": 3},
        "NCSN++ or DDPM++",
    ),
    "a short list": (lambda: [ema(), {}, 1], "found a list of 3"),
    "no optimizer": (lambda: [ema(), {"lr": 1}, 0, 1], "element 2 a dict of lr"),
    "a step of text": (lambda: states(ema(), step="7"), "element 4 '7'"),
    "a step below 0": (lambda: states(ema(), step=-1), "element 4 -1"),
    "a score that is none": (lambda: states(score=[1]), "element 1 a list"),
    "a number among weights": (
        lambda: states(ema() | {"a": 3}), "element 5 is not a dictionary of weights:\n  a is a int",
    ),
    "whole numbers": (lambda: states(ema() | {"a": torch.arange(3)}), "a is of torch.int64"),
    "sparse weights": (
        lambda: states(ema() | {"a": torch.eye(3).to_sparse()}), "a is a tensor of layout",
    ),
    "a name that is a number": (lambda: states(ema() | {3: torch.zeros(1)}), "the name 3"),
    "a name twice": (
        lambda: states({"a": torch.zeros(1), "module.a": torch.ones(1)}), "a is there with and",
    ),
    "two averages": (lambda: states(ema(), ema()), "element 6 is the second"),
    "another network": (
        lambda: states(ema(), {"main.0.weight": torch.zeros(3)}),
        "element 6 is neither an average of the score network (element 1) nor a BigGAN",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_layout_is_told(tmp_path, name):
    values, text = OTHERS[name]
    assert text in refused(tmp_path, save(tmp_path / "a.pth", values()))


# --- runs of ours, and the command ---------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three steps of hybrid training on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return trained_in(folder, tiny("digits-adversarial", save_every=2))


@pytest.mark.parametrize(("weights", "prefix"), [("ema", "ema."), ("raw", "denoiser.")])
def test_a_run_becomes_a_model_directory(run, tmp_path, weights, prefix):
    convert_run(run, tmp_path / "out", weights=weights)
    model = load(tmp_path / "out", device=CPU)
    saved = load_file(run / "checkpoints" / "step-00000003" / "state.safetensors")
    tensors = model.denoiser.state_dict()
    assert all(torch.equal(value, saved[prefix + name]) for name, value in tensors.items())
    assert not torch.equal(saved["ema.network.out.bias"], saved["denoiser.network.out.bias"])
    original = load(run, device=CPU)
    assert (model.shape, model.step) == (original.shape, original.step) == ((1, 8, 8), 3)
    assert model.experiment == original.experiment
    assert model.data == original.data == json.loads((run / "data.json").read_text())
    opponent = load_file(tmp_path / "out" / "discriminator.safetensors")
    assert all(torch.equal(v, saved[f"discriminator.{name}"]) for name, v in opponent.items())
    assert "CC BY 4.0" in (tmp_path / "out" / "README.md").read_text()


def test_the_command_converts_and_the_model_is_sampled_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cascore.cli.convert.PUBLISHED", {"cifar10-ncsnv2": (NARROW, SHAPE)})
    path = save(tmp_path / "a.pth", states(ema(), opponent()), old=True)
    out, names = tmp_path / "my model", ("--network", "cifar10-ncsnv2")
    overrides = ("--first", 20, "--last", 0.02, "--levels", 40, "--data", "mine")
    assert command("convert", path, *names, *overrides, out) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    path.unlink()
    model = load(out, device=CPU)
    assert model.experiment.schedule == Schedule(first=20, last=0.02, levels=40)
    _, *then = shlex.split(printed.err.rpartition("next: ")[2])  # as a shell would take it
    assert command(*then, "--count", 2, "--calls", 3, "--device", "cpu") == 0
    (pictures,) = (out / "samples").iterdir()
    record = json.loads((pictures / "record.json").read_text())
    assert record["checkpoint"] == file_digest(out / "model.safetensors")
    assert (record["step"], record["data"]) == (7, {"name": "mine"})
    assert command("info", out) == 0
    assert record["checkpoint"] in capsys.readouterr().out
    # Other sizes: all but the discriminator, which is of one size, takes them.
    path = save(tmp_path / "b.pth", states(ema()))
    assert command("convert", path, *names, "--size", 12, tmp_path / "larger") == 0
    assert load(tmp_path / "larger", device=CPU).shape == (3, 12, 12)


def test_data_of_ones_own_have_pixels_in_0_to_1(tmp_path, monkeypatch):
    """Only the authors' loader of Stacked-MNIST has others, not whoever uses its network."""
    experiment = replace(NARROW, data=Data(name="stacked-mnist"))
    monkeypatch.setattr(
        "cascore.cli.convert.PUBLISHED", {"stacked-mnist-ncsnv2": (experiment, SHAPE)}
    )
    path = save(tmp_path / "a.pth", states(ema()))
    for name, more, first in (("a", (), 25), ("b", ("--data", "mine"), 50)):
        arguments = ("--network", "stacked-mnist-ncsnv2", *more)
        assert command("convert", path, tmp_path / name, *arguments) == 0
        assert load(tmp_path / name, device=CPU).experiment.schedule.first == first
