"""Networks of diffusers as denoisers, against diffusers' own schedulers on the same networks."""

import json
import sys

import diffusers
import pytest
import torch
from diffusers_models import CHANNELS, SIZE, autoencoder, pixels, told_by_text, transformer, unet

import cascore
from cascore.ecosystem.parametrization import flow_matching, parametrization_of
from cascore.errors import InputError, MissingExtraError
from cascore.sampling import consistent_annealed

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers'
STEPS = (0, 1, 17, 500, 998, 999)
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


class Watched(torch.nn.Module):
    """A network that keeps what it was told."""

    def __init__(self, network=None):
        super().__init__()
        self.inner, self.seen = network, []

    def forward(self, x, timestep, **given):
        self.seen.append((x, timestep, given))
        return torch.zeros_like(x) if self.inner is None else self.inner(x, timestep, **given)


def in_0_1(x):
    return (x + 1) / 2


def level_of(scheduler, t):
    """Sigma of a training timestep in pixels of [-1, 1], by the definition."""
    alpha_bar = scheduler.alphas_cumprod[t].double()
    return ((1 - alpha_bar) / alpha_bar).sqrt()


# --- H in closed form ----------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("settings", [{}, COSINE, LATENT], ids=["linear", "cosine", "latent"])
def test_variance_preserving_networks_give_the_clean_picture_of_ddim(prediction, settings):
    network = unet()
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction, clip_sample=False, **settings)
    scheduler.set_timesteps(1000)
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    for t in STEPS:
        sigma, seen = level_of(scheduler, t), pixels(seed=t)
        with torch.no_grad():
            output = network(seen, t).sample
            expected = scheduler.step(output, t, seen).pred_original_sample
            x = seen.double() * (1 + sigma**2).sqrt()
            found = denoiser(in_0_1(x), sigma / 2)
        # The input is rounded to float32, and the timestep to 1e-4 of one where sigma is large.
        scale = 1 + float(sigma)
        assert (found - in_0_1(expected.double())).abs().max() < 2e-6 * scale, t


def test_edm_networks_are_preconditioned_as_diffusers_does():
    for prediction in ("epsilon", "v_prediction"):
        scheduler = diffusers.EDMEulerScheduler(
            prediction_type=prediction, sigma_data=0.4, sigma_max=50
        )
        network = unet()
        denoiser = cascore.from_diffusers(network, scheduler=scheduler)
        for sigma in (0.002, 0.3, 50.0):
            x = pixels() * (1 + sigma)
            with torch.no_grad():
                c_noise = scheduler.precondition_noise(sigma)
                output = network(scheduler.precondition_inputs(x, sigma), c_noise).sample
                expected = scheduler.precondition_outputs(x, output, sigma)
                found = denoiser(in_0_1(x), sigma / 2)
            assert (found - in_0_1(expected)).abs().max() < 1e-5 * (1 + sigma)
        assert denoiser.sigmas.tolist() == [25, 0.001]


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_networks_go_straight_to_the_clean_picture(shift):
    """Their own step from u to 0 is H, u being the time at which the network is asked."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    network = unet()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    for i in (1, 400, 998):
        timestep, u = scheduler.timesteps[i], scheduler.sigmas[i].double()
        seen = pixels(seed=i)
        with torch.no_grad():
            expected = seen - u * network(seen, timestep).sample
            sigma = u / (1 - u)
            found = denoiser(in_0_1(seen.double() / (1 - u)), sigma / 2)
        # u near 1 has its rounding magnified by 1 / (1 - u).
        assert (found - in_0_1(expected)).abs().max() < 2e-6 / float(1 - u)


def test_the_shift_of_flow_matching_is_a_factor_of_sigma():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    u = scheduler.sigmas[1:].double()  # the first is 1, all noise
    assert torch.allclose(flow_matching(1000, 3.0).sigmas, u / (1 - u), rtol=1e-3)
    later = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    same = parametrization_of(later)
    assert torch.equal(same.sigmas, flow_matching(1000, 3.0).sigmas)


def test_score_networks_of_exploding_variance():
    """Song et al.: the network returns the score at its sigma, of pixels in [0, 1]."""
    network = unet(time_embedding_type="fourier")
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    for sigma in (0.01, 1.0, 50.0):
        x = pixels() * sigma
        with torch.no_grad():
            expected = x + sigma**2 * network(x, torch.tensor(sigma)).sample
            found = denoiser(x, torch.full((len(x),), sigma))
        assert (found - expected).abs().max() < 1e-5 * (1 + sigma)


@pytest.mark.parametrize("family", ["preserving", "exploding", "latents"])
def test_a_chain_starts_around_0_of_the_networks_own_units(family):
    """As the pipelines of diffusers do: noise times the first sigma."""
    if family == "latents":
        scheduler = diffusers.DDIMScheduler(clip_sample=False)
        denoiser = cascore.from_diffusers(
            diffusers.DiTPipeline(transformer(), autoencoder(), scheduler)
        )
    elif family == "exploding":
        scheduler, network = diffusers.ScoreSdeVeScheduler(), unet(time_embedding_type="fourier")
        denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    else:
        denoiser = cascore.from_diffusers(unet(), scheduler=diffusers.DDPMScheduler())
    shape, first = (2, *denoiser.shape), float(denoiser.sigmas[0])
    x = cascore.initial_noise(shape, first, mean=cascore.own_mean(denoiser))
    noise = cascore.initial_noise(shape, first)
    theirs, start = (2 * x - 1, 2 * noise) if family == "preserving" else (x, noise)
    assert torch.allclose(theirs, start, atol=1e-5 * first)


def test_the_optimum_for_gaussian_data_is_found_by_each_prediction():
    """Data N(m, s^2) in [-1, 1]: H = (s^2 x + sigma^2 m) / (s^2 + sigma^2), at any level."""
    mean, variance = 0.3, 0.2

    class Exact(torch.nn.Module):
        def __init__(self, prediction, form):
            super().__init__()
            self.prediction, self.form = prediction, form

        def forward(self, x, timestep):
            sigma = self.form.sigma_of(timestep)[:, None, None, None]
            x = x / self.form.input_scale(sigma)
            clean = (variance * x + sigma**2 * mean) / (variance + sigma**2)
            z, s = (x - clean) / sigma, 1 / (1 + sigma**2).sqrt()
            return {
                "epsilon": z, "sample": clean, "v_prediction": s * z - sigma * s * clean,
                "flow_prediction": z - clean,
            }[self.prediction]  # fmt: skip

    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    discrete = [
        diffusers.DDPMScheduler(prediction_type=name)
        for name in ("epsilon", "sample", "v_prediction")
    ]
    for scheduler in [*discrete, flow]:
        form = parametrization_of(scheduler)
        network = Exact(form.prediction, form)
        denoiser = cascore.from_diffusers(network, scheduler=scheduler)
        for sigma in (0.011, 0.4, 3.3, 100.0):
            x = pixels().double() * sigma
            exact = (variance * x + sigma**2 * mean) / (variance + sigma**2)
            found = denoiser(in_0_1(x), torch.tensor(sigma / 2, dtype=torch.float64))
            assert torch.allclose(found, in_0_1(exact), rtol=1e-9, atol=1e-9), form.prediction


# --- what the network is told ---------------------------------------------------------------------


def test_between_two_timesteps_the_network_is_told_a_real_number_linear_in_log_sigma():
    scheduler, network = diffusers.DDPMScheduler(), Watched()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    low, high = (level_of(scheduler, t) for t in (400, 401))
    x = pixels(3).double()
    for share in (0, 0.25, 1):
        denoiser(x, (low ** (1 - share) * high**share / 2).expand(3))
        told = network.seen[-1][1]
        assert told == pytest.approx(torch.full((3,), 400 + share), abs=1e-6)
    denoiser(x.float(), float(low) / 2)  # as samplers ask
    assert network.seen[-1][1] == pytest.approx(torch.full((3,), 400), abs=1e-3)
    assert network.seen[-1][0].dtype == torch.float32


def test_a_network_with_a_table_of_timesteps_is_told_the_nearest():
    network = unet(time_embedding_type="learned", num_train_timesteps=1000)
    scheduler = diffusers.DDPMScheduler()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    low, high = (level_of(scheduler, t) for t in (400, 401))
    sigma, x = low**0.4 * high**0.6, pixels().double()
    with torch.no_grad():
        output = network((x / (1 + sigma**2).sqrt()).float(), torch.tensor(401)).sample
        found = denoiser(in_0_1(x), sigma / 2)
    assert torch.allclose(found, in_0_1(x - sigma * output), atol=1e-5)


def test_a_sigma_beyond_the_training_is_refused_with_the_range():
    denoiser = cascore.from_diffusers(Watched(), scheduler=diffusers.DDPMScheduler())
    high, low = denoiser.sigmas[0], denoiser.sigmas[-1]
    assert (float(high), float(low)) == pytest.approx((78.69, 0.005), rel=1e-3)
    for sigma in (float(high) * 1.001, float(low) / 1.001, float("nan")):
        with pytest.raises(InputError, match=r"0\.0050\d+ to 78\.\d+"):
            denoiser(pixels(), sigma)
    for sigma in denoiser.sigmas[[0, -1]].float():  # rounded
        denoiser(pixels(), sigma)


def test_timesteps_without_signal_are_left_out():
    scheduler = diffusers.DDIMScheduler(rescale_betas_zero_snr=True, **LATENT)
    form = parametrization_of(scheduler)
    assert len(form.sigmas) == 999
    assert form.timestep(form.sigmas[:1]) == pytest.approx(998)


def test_a_learned_variance_is_left_out():
    network, scheduler = unet(out_channels=2 * CHANNELS), diffusers.DDPMScheduler()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    sigma, x = level_of(scheduler, 300).float(), pixels()
    with torch.no_grad():
        output = network(x / (1 + sigma**2).sqrt(), 300).sample[:, :CHANNELS]
        found = denoiser(in_0_1(x), sigma / 2)
    assert torch.allclose(found, in_0_1(x - sigma * output), atol=1e-5)


def test_labels_and_conditioning_reach_the_network():
    network, scheduler = Watched(), diffusers.DDPMScheduler()
    text = torch.ones(1, 2, 4)
    denoiser = cascore.from_diffusers(
        network, scheduler=scheduler, conditioning={"encoder_hidden_states": text}
    )
    label = torch.arange(5)
    cascore.labelled(denoiser, label)(pixels(), torch.tensor(1.0))
    given = network.seen[-1][2]
    assert torch.equal(given["encoder_hidden_states"], text.repeat(5, 1, 1))
    assert torch.equal(given["class_labels"], label)


def test_a_text_of_one_row_is_that_of_every_picture():
    text, scheduler = torch.randn(1, 3, 8), diffusers.DDPMScheduler()
    network, x = told_by_text(), torch.randn(4, 4, 4, 4)
    one, each = (
        cascore.from_diffusers(
            network,
            scheduler=scheduler,
            autoencoder=autoencoder(),
            conditioning={"encoder_hidden_states": rows},
        )
        for rows in (text, text.repeat(4, 1, 1))
    )
    with torch.no_grad():
        assert torch.equal(one(x, torch.tensor(2.0)), each(x, torch.tensor(2.0)))


def test_classes_are_guided():
    network, scheduler = unet(num_class_embeds=4), diffusers.DDPMScheduler()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    one, none = (cascore.labelled(denoiser, torch.full((5,), k)) for k in (1, 3))
    guided, sigma, x = cascore.guided(one, none, 3.0), torch.tensor(2.0), pixels()
    with torch.no_grad():
        expected = none(x, sigma) + 3 * (one(x, sigma) - none(x, sigma))
        assert torch.equal(guided(x, sigma), expected)
        assert not torch.equal(one(x, sigma), none(x, sigma))


def test_text_conditions_a_network_of_latents():
    network, text = told_by_text(), torch.randn(2, 3, 8)
    scheduler = diffusers.PNDMScheduler(**LATENT)
    denoiser = cascore.from_diffusers(
        network,
        scheduler=scheduler,
        autoencoder=autoencoder(),
        conditioning={"encoder_hidden_states": text},
    )
    sigma, x = level_of(scheduler, 600).float(), torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        output = network(x / (1 + sigma**2).sqrt(), 600, text).sample
        found = denoiser(x, sigma)  # latents are taken as they are
    assert torch.allclose(found, x - sigma * output, atol=1e-5)
    assert denoiser.shape == (4, 4, 4)


# --- pipelines and folders ------------------------------------------------------------------------


def test_a_pipeline_of_latents_is_sampled_and_decoded():
    pipeline = diffusers.DiTPipeline(
        transformer(), autoencoder(), diffusers.DDIMScheduler(clip_sample=False)
    )
    denoiser = cascore.from_diffusers(pipeline)
    one = cascore.labelled(denoiser, torch.tensor([1, 7]))
    sigmas = denoiser.levels(4)
    x = cascore.initial_noise((2, *denoiser.shape), sigmas[0])
    latents = consistent_annealed(one, x, sigmas).denoised
    pictures = denoiser.decode(latents)
    assert pictures.shape == (2, 3, SIZE, SIZE)
    with torch.no_grad():
        factor = pipeline.vae.config.scaling_factor
        expected = pipeline.vae.decode(latents / factor).sample
    assert torch.equal(pictures, (expected / 2 + 0.5).clamp(0, 1))


def saved(folder, **settings):
    """A pipeline of pixels, saved."""
    pipeline = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler(**COSINE))
    pipeline.save_pretrained(folder, **settings)
    return pipeline


def test_a_saved_pipeline_is_the_pipeline(tmp_path):
    pipeline = saved(tmp_path / "saved")
    x, sigma = pixels(), torch.tensor(3.0)
    with torch.no_grad():
        expected = cascore.from_diffusers(pipeline)(x, sigma)
        assert torch.equal(cascore.from_diffusers(tmp_path / "saved")(x, sigma), expected)
        part = cascore.from_diffusers(str(tmp_path / "saved/unet"), scheduler=pipeline.scheduler)
        assert torch.equal(part(x, sigma), expected)


def test_a_network_saved_beside_its_scheduler_is_the_pipeline(tmp_path):
    pipeline = saved(tmp_path / "saved")
    for part in (pipeline.unet, pipeline.scheduler):
        part.save_pretrained(tmp_path / "flat")
    x, sigma = pixels(), torch.tensor(3.0)
    with torch.no_grad():
        expected = cascore.from_diffusers(pipeline)(x, sigma)
        assert torch.equal(cascore.from_diffusers(tmp_path / "flat")(x, sigma), expected)


def test_weights_that_could_run_code_are_refused(tmp_path):
    saved(tmp_path / "saved", safe_serialization=False)
    with pytest.raises(InputError, match=r"unet holds no weights in safetensors.*run code"):
        cascore.from_diffusers(tmp_path / "saved")


def test_code_that_comes_with_a_folder_is_never_run(tmp_path):
    saved(tmp_path / "saved")
    index = tmp_path / "saved" / "model_index.json"
    (tmp_path / "saved" / "unet" / "mine.py").write_text("raise SystemExit")
    config = json.loads(index.read_text()) | {"unet": ["mine", "UNet2DModel"]}
    index.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"names mine\.UNet2DModel.*never run"):
        cascore.from_diffusers(tmp_path / "saved")
    path = tmp_path / "saved" / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "Mine"}))
    with pytest.raises(InputError, match=r"names diffusers\.Mine"):
        cascore.from_diffusers(tmp_path / "saved" / "unet")


@pytest.mark.parametrize(
    ("file", "kind", "words"),
    [
        ("unet/config.json", "DiffusionPipeline", "no network"),
        ("unet/config.json", "DDPMScheduler", "no network"),
        ("scheduler/scheduler_config.json", "DDPMPipeline", "no scheduler"),
    ],
)
def test_what_is_no_network_and_no_scheduler_is_not_even_loaded(
    tmp_path, monkeypatch, file, kind, words
):
    """The loader of a pipeline can run code of the folder, in some versions unasked."""
    saved(tmp_path / "saved")
    (tmp_path / "saved" / file).write_text(json.dumps({"_class_name": kind}))
    loaded = []
    named = getattr(diffusers, kind)
    monkeypatch.setattr(named, "from_pretrained", lambda *_, **__: loaded.append(kind))
    with pytest.raises(InputError, match=rf"names diffusers\.{kind}, which is {words}.*never run"):
        cascore.from_diffusers(tmp_path / "saved")
    assert not loaded


def test_folders_that_are_not_whole_are_told(tmp_path):
    with pytest.raises(InputError, match="neither model_index"):
        cascore.from_diffusers(tmp_path)
    saved(tmp_path / "saved")
    weights = next((tmp_path / "saved" / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="unet cannot be read as a UNet2DModel"):
        cascore.from_diffusers(tmp_path / "saved")
    (tmp_path / "saved" / "unet" / "config.json").unlink()
    with pytest.raises(InputError, match="is not whole"):
        cascore.from_diffusers(tmp_path / "saved")


@pytest.mark.parametrize(
    ("source", "scheduler", "words"),
    [
        (lambda: Watched(), lambda: None, "give scheduler="),
        (lambda: 3, lambda: None, "int is neither a network nor a pipeline"),
        (lambda: autoencoder(), lambda: diffusers.DDPMScheduler(), "in a way of its own"),
        (lambda: Watched(), lambda: diffusers.LCMScheduler(), "LCMScheduler is of no process"),
        (
            lambda: Watched(),
            lambda: diffusers.EulerDiscreteScheduler(timestep_type="continuous"),
            "timestep_type = 'continuous'",
        ),
        (
            lambda: Watched(),
            lambda: diffusers.DDPMScheduler(prediction_type="other"),
            "expected one of epsilon, sample, v_prediction",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(source, scheduler, words):
    with pytest.raises(InputError, match=words):
        cascore.from_diffusers(source(), scheduler=scheduler())


def test_without_diffusers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cascore\[diffusers\]'"):
        cascore.from_diffusers(tmp_path)


# --- our sampler beside theirs, on the same network and noise -------------------------------------


class Drawn:
    """The numbers that schedulers of diffusers draw from a generator, call by call."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(5)

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        return torch.randn(tuple(shape), generator=self.generator)


def theirs(scheduler, network, x, **step):
    """A chain as their pipelines write it, from the state x; and the timesteps that it asked."""
    generator = torch.Generator().manual_seed(5)
    for t in scheduler.timesteps:
        with torch.no_grad():
            output = network(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(output, t, x, generator=generator, **step).prev_sample
    return x


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("kind", "settings", "step", "order", "kappa"),
    [
        ("DDIM", {"clip_sample": False}, {"eta": 0.0}, 1, 1),
        ("DDIM", {"clip_sample": False}, {"eta": 1.0}, 1, 2),
        ("DPMSolverMultistep", {"solver_order": 2}, {}, 2, 1),
        ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}, {}, 2, 2),
    ],
    ids=["DDIM", "ancestral", "2M", "2M SDE"],
)
def test_our_sampler_equals_theirs(kind, settings, step, order, kappa, prediction):
    scheduler = getattr(diffusers, f"{kind}Scheduler")(
        prediction_type=prediction, timestep_spacing="trailing", **settings
    )
    scheduler.set_timesteps(10)
    network = unet()
    denoiser = cascore.from_diffusers(network, scheduler=scheduler)
    sigmas = torch.stack([level_of(scheduler, int(t)) for t in scheduler.timesteps])
    start = pixels()
    expected = in_0_1(theirs(scheduler, network, start, **step))
    x = in_0_1(start.double() * (1 + sigmas[0] ** 2).sqrt()).float()
    ours = consistent_annealed(
        denoiser, x, sigmas / 2, kappa=kappa, order=order, noise=Drawn()
    ).denoised
    # A state of 160 has spacing 1e-5, which epsilon carries into the picture.
    assert (ours - expected).abs().max() < 2e-4 * expected.abs().max().clamp(min=1)


def test_the_three_lines_draw_pictures(tmp_path):
    saved(tmp_path / "saved")
    denoiser = cascore.from_diffusers(tmp_path / "saved")
    sigmas = denoiser.levels(6)
    x = cascore.initial_noise((2, *denoiser.shape), sigmas[0])
    samples = consistent_annealed(denoiser, x, sigmas)
    assert samples.denoised.shape == (2, CHANNELS, SIZE, SIZE)
    assert bool(samples.denoised.isfinite().all())
