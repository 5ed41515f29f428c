"""The arithmetic of networks: TF32 where it was asked for, bfloat16, compiled."""

import json
from dataclasses import replace

import pytest
import torch
from evaluating import ask
from running import CPU, POINTS, run, tiny, trained_in
from torch import nn

import cascore
from cascore.arithmetic import computed, tf32
from cascore.data import load
from cascore.denoiser import ConditionalDenoiser, evaluations, is_blind
from cascore.evaluation.verify import verify
from cascore.experiment import build
from cascore.experiment.run import training_run
from cascore.experiment.settings import Sampler
from cascore.metrics import load_extractor
from cascore.model.loading import load as load_model
from cascore.model.pretrained import find_model
from cascore.model.wide import draw_widely
from cascore.training import Workers

LEVEL = torch.tensor(0.5)


def switches():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def newer_switches():
    """What PyTorch recommends from 2.9 on; with some of these the older ones cannot be read."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    return [place.fp32_precision for place in places]


def set_newer(*words):
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    for place, word in zip(places, words, strict=True):
        place.fp32_precision = word


@pytest.fixture(params=[(False, True), (True, True), (False, False)])
def before(request):
    usual, words = switches(), newer_switches()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = usual
    set_newer(*words)


def test_tf32_is_allowed_or_not_within_and_as_it_was_afterwards(before):
    for allowed in (True, False):
        with tf32(allowed):
            assert switches() == (allowed, allowed)
        assert switches() == before


def test_an_error_leaves_no_switch_behind(before):
    with pytest.raises(ZeroDivisionError), tf32(not before[1]):
        _ = 1 / 0
    assert switches() == before


@pytest.mark.parametrize(
    "words", [("none", "ieee", "tf32"), ("tf32", "tf32", "tf32"), ("none", "ieee", "ieee")]
)
@pytest.mark.usefixtures("before")
def test_who_sets_the_newer_switches_can_sample_and_evaluate_and_finds_them_as_they_were(words):
    set_newer(*words)
    assert len(cascore.load("digits").sample(range(2), calls=2).denoised) == 2
    extractor = load_extractor("random-convolution", device=CPU)
    assert len(extractor(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))) == 2
    assert newer_switches() == list(words)


class Seen(nn.Module):
    """What a network saw: the switches in each pass, and the type of its products."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.forwards, self.backwards, self.types, self.rows = [], [], [], []

    def forward(self, x, *others):
        y = self.layer(x)
        self.forwards.append(switches())
        self.types.append((x.dtype, y.dtype))
        self.rows.append(len(x))
        if y.requires_grad:
            y.register_hook(lambda gradient: self.backwards.append(switches()))
        return y


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True)])
def test_both_passes_of_a_training_compute_as_the_settings_say_and_nothing_else(precision, allowed):
    usual = switches()
    experiment = replace(POINTS, train=replace(POINTS.train, precision=precision, steps=3))
    data, network = load("swiss-roll", "train"), Seen()
    state = cascore.TrainState(cascore.UnconditionalDenoiser(network))
    for _ in build.training_loop(experiment, state, data, device=CPU, workers=Workers()):
        assert switches() == usual
    assert network.forwards == network.backwards == [(allowed, allowed)] * 3


@pytest.mark.parametrize(
    ("precision", "allowed", "products"),
    [
        ("float32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_a_denoiser_gives_float32_whatever_its_products_are(precision, allowed, products):
    network = Seen().requires_grad_(False)
    x = torch.rand(3, 2)
    h = computed(network, precision=precision)(x, LEVEL)
    assert network.forwards == [(allowed, allowed)]
    assert network.types == [(torch.float32, products)]
    assert h.dtype == torch.float32
    exact = network.layer(x)
    # Products of numbers of 8 bits, two a sum, and the sum rounded.
    bound = 0.0 if products == torch.float32 else 4 * 2**-8 * float(exact.abs().max() + 2)
    assert float((h - exact).abs().max()) <= bound


def test_what_samplers_ask_of_a_denoiser_is_asked_of_the_one_within():
    blind = cascore.UnconditionalDenoiser(nn.Identity())
    told = ConditionalDenoiser(Seen())
    of_class = cascore.guided(cascore.labelled(told, torch.tensor(1)), told, 2.0)
    for denoiser in (blind, told, of_class):
        within = computed(denoiser, precision="bfloat16")
        assert is_blind(within) == is_blind(denoiser)
        assert evaluations(within) == evaluations(denoiser)
    assert list(computed(told, precision="tf32").parameters()) == list(told.parameters())


def test_a_model_in_bfloat16_draws_nearly_the_same_pictures():
    exact = cascore.load("digits").sample(range(16)).denoised
    near = cascore.load("digits", precision="bfloat16", notify=str).sample(range(16)).denoised
    assert near.dtype == torch.float32
    # A product is right to 2^-8 of its size, and a chain averages over what is wrong.
    assert 0 < float((near - exact).square().mean().sqrt()) < 2**-6


class Scaled(nn.Module):
    def forward(self, x, sigma):
        return sigma * x


def compile_like_a_graph(denoiser, *, mode):
    """As CUDA graphs do: every answer in the same place."""
    assert mode == "reduce-overhead"
    place = torch.empty(0)

    def call(x, *others):
        answer = denoiser(x, *others)
        return place.resize_as_(answer).copy_(answer)

    return call


def test_an_answer_of_a_compiled_denoiser_outlives_the_next(monkeypatch):
    monkeypatch.setattr(torch, "compile", compile_like_a_graph)
    compiled = computed(Scaled(), precision="float32", compiled=True)
    x = torch.rand(3, 2)
    first, second = compiled(x, LEVEL), compiled(x, 2 * LEVEL)
    assert torch.equal(first, LEVEL * x)
    assert torch.equal(second, 2 * LEVEL * x)


def test_a_compiled_model_sees_batches_of_one_size(monkeypatch):
    sizes = []

    def compile_once(denoiser, *, mode):
        assert not sizes

        def call(x, *others):
            sizes.append(len(x))
            return denoiser(x, *others)

        return compile_like_a_graph(call, mode=mode)

    monkeypatch.setattr(torch, "compile", compile_once)
    plain, compiled = (cascore.load("digits-aware", compiled=flag) for flag in (False, True))
    for count in (5, 3):
        expected = plain.sample(range(count), calls=4, batch_size=4)
        found = compiled.sample(range(count), calls=4, batch_size=4)
        # Other numbers of rows may be computed by other kernels.
        torch.testing.assert_close(found.denoised, expected.denoised, rtol=0, atol=1e-4)
        torch.testing.assert_close(found.raw, expected.raw, rtol=0, atol=1e-4)
    assert set(sizes) == {4}


def test_a_level_and_a_label_for_each_row_are_filled_up_with_the_rows(monkeypatch):
    shapes = []

    class Told(nn.Module):
        def forward(self, x, sigma, label):
            shapes.append((x.shape, sigma.shape, label.shape))
            return x * sigma[:, None] + label[:, None]

    monkeypatch.setattr(torch, "compile", lambda denoiser, *, mode: denoiser)
    compiled = computed(Told(), precision="float32", compiled=True)
    for rows in (4, 1, 3):
        x, sigma, label = torch.rand(rows, 2), torch.rand(rows), torch.arange(rows)
        torch.testing.assert_close(
            compiled(x, sigma, label), x * sigma[:, None] + label[:, None], rtol=0, atol=0
        )
    assert set(shapes) == {((4, 2), (4,), (4,))}


def test_a_precision_that_there_is_not_is_told():
    with pytest.raises(cascore.InputError, match="bfloat16"):
        cascore.load("digits", precision="bf16")


def test_records_hold_the_precision_and_verify_computes_in_it(tmp_path):
    trained = trained_in(tmp_path / "run", tiny(steps=2))
    exact, low = (
        ask(trained, count=30, metrics=("frechet",), precision=name).measurements
        for name in ("float32", "bfloat16")
    )
    assert [number.computation.precision for number in low] == ["bfloat16"] * len(low)
    assert all(a.value != b.value for a, b in zip(exact, low, strict=True))
    found = verify([*exact, *low], root=None, device=CPU)
    assert [number.outcome for number in found] == ["equal"] * len(found)


def test_pictures_of_another_precision_stand_elsewhere(tmp_path):
    trained = trained_in(tmp_path / "run", tiny(steps=2))
    asked = ("sample", trained, "--count", 4, "--calls", 3, "--device", "cpu")
    assert run(*asked) == run(*asked, "--precision", "bfloat16") == 0
    records = (trained / "samples").glob("*/record.json")
    found = sorted(json.loads(path.read_text())["precision"] for path in records)
    assert found == ["bfloat16", "float32"]
    assert run("evaluate", trained, *asked[2:]) == 0
    assert run("evaluate", trained, *asked[2:], "--precision", "bfloat16") == 0
    assert len(list((trained / "evaluations").glob("*.json"))) == 2
    low = load_model(trained, precision="bfloat16", notify=str)
    parts = [
        draw_widely(model, range(4), Sampler(calls=3), tmp_path / "parts").folder
        for model in (low, replace(low, precision="float32"))
    ]
    assert parts[0] != parts[1]


def test_a_folder_of_images_has_no_precision(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    asked = ("evaluate", tmp_path / "pictures", "--data", "digits")
    assert run(*asked, "--precision", "bfloat16") == 2
    assert "--precision" in capsys.readouterr().err


def test_a_precision_that_is_slow_or_without_effect_is_told(monkeypatch):
    cuda, told = torch.device("cuda"), []
    assert build.remarks_of_precision("tf32", cuda) == []
    assert build.remarks_of_precision("float32", CPU) == []
    for can in (False, True):
        monkeypatch.setattr(build, "computes_in_bfloat16", lambda device, can=can: can)
        load_model(find_model("digits"), precision="bfloat16", notify=told.append)
        assert len(told) == 1
    load_model(find_model("digits"), precision="tf32", notify=told.append)
    assert "GPU" in told[1]


def test_a_training_says_what_would_be_faster(tmp_path, monkeypatch):
    cuda, settings = torch.device("cuda"), POINTS.train
    assert "tf32" in build.remarks_of_training(settings, cuda)[0]
    assert build.remarks_of_training(replace(settings, precision="tf32"), cuda) == []
    assert build.remarks_of_training(settings, CPU) == []
    monkeypatch.setattr(build, "computes_in_bfloat16", lambda device: False)
    told, low = [], replace(POINTS, train=replace(settings, precision="bfloat16", steps=1))
    list(training_run(low, tmp_path / "run", device=CPU, notify=told.append))
    assert any("bfloat16" in remark for remark in told)
