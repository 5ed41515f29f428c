"""Our scheduler in pipelines of diffusers: our own sampler, and theirs where they agree."""

import diffusers
import pytest
import torch
from diffusers_models import CHANNELS, SIZE, autoencoder, pixels, told_by_text, transformer, unet

import cascore
from cascore.diffusers import CASScheduler
from cascore.ecosystem.parametrization import parametrization_of
from cascore.errors import InputError
from cascore.sampling import consistent_annealed

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers'
SCHEDULERS = {
    "epsilon": lambda: diffusers.DDPMScheduler(clip_sample=False),
    "sample": lambda: diffusers.DDIMScheduler(prediction_type="sample", clip_sample=False),
    "v": lambda: diffusers.EulerDiscreteScheduler(prediction_type="v_prediction"),
    "cosine": lambda: diffusers.PNDMScheduler(beta_schedule="squaredcos_cap_v2"),
    "zero SNR": lambda: diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False
    ),
    "flow": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "flow of DPM-Solver": lambda: diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=2.0
    ),
    "EDM": lambda: diffusers.EDMDPMSolverMultistepScheduler(sigma_data=0.4, sigma_max=50),
    "EDM, v": lambda: diffusers.EDMEulerScheduler(prediction_type="v_prediction"),
}


class Drawn:
    """The numbers that schedulers of diffusers draw from a generator, call by call."""

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        return torch.randn(tuple(shape), generator=self.generator)

    def __init__(self):
        self.generator = torch.Generator().manual_seed(5)


@torch.no_grad()
def chain(scheduler, network, x, **step):
    """A chain as pipelines write it, from the state x."""
    generator = torch.Generator().manual_seed(5)
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t).sample
        x = scheduler.step(output, t, x, generator=generator, **step).prev_sample
    return x


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(("order", "kappa"), [(1, 1.0), (2, 1.5), (2, 3.0)])
def test_it_is_our_sampler_for_every_kind_of_network(name, order, kappa):
    network, theirs = unet(), SCHEDULERS[name]()
    scheduler = CASScheduler.from_config(theirs.config, kappa=kappa, order=order)
    scheduler.set_timesteps(7)
    first, form = float(scheduler.levels[0]), scheduler.parametrization
    assert (first, float(scheduler.levels[-1])) == pytest.approx(
        (float(form.sigmas[0]), float(form.sigmas[-1]))
    )
    start = pixels() * scheduler.init_noise_sigma
    found = chain(scheduler, network, start)
    x = start.double() / form.state_scale(scheduler.levels[0])
    denoiser = cascore.from_diffusers(network, scheduler=theirs)
    ours = consistent_annealed(
        denoiser, ((x + 1) / 2).float(), scheduler.levels / 2,
        kappa=kappa, order=order, noise=Drawn(),
    )  # fmt: skip
    # x and x + 1 lose sigma_1 / 2^24 of a picture whose own size is near 1.
    assert (found - (2 * ours.denoised - 1)).abs().max() < 1e-5 * (10 + first)


@pytest.mark.parametrize(
    ("kind", "settings", "step", "order", "kappa"),
    [
        ("DDIM", {"clip_sample": False}, {"eta": 0.0}, 1, 1),
        ("DDIM", {"clip_sample": False}, {"eta": 1.0}, 1, 2),
        ("DPMSolverMultistep", {}, {}, 2, 1),
        ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"}, {}, 2, 2),
    ],
    ids=["DDIM", "ancestral", "2M", "2M SDE"],
)
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_it_is_theirs_at_the_settings_that_equal_them(
    kind, settings, step, order, kappa, prediction
):
    theirs = getattr(diffusers, f"{kind}Scheduler")(
        prediction_type=prediction, timestep_spacing="trailing", **settings
    )
    theirs.set_timesteps(10)
    ours = CASScheduler.from_config(theirs.config, kappa=kappa, order=order)
    ours.set_timesteps(timesteps=theirs.timesteps)
    assert torch.allclose(ours.timesteps, theirs.timesteps.float(), rtol=0, atol=1e-3)
    network = unet()
    expected, found = chain(theirs, network, pixels(), **step), chain(ours, network, pixels())
    # The states are of size 1, but epsilon at sigma = 150 has its rounding magnified by it.
    assert (found - expected).abs().max() < 2e-4 * expected.abs().max().clamp(min=1)


def test_clipping_is_that_of_their_configuration():
    theirs = diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample_range=0.5)
    theirs.set_timesteps(10)
    ours = CASScheduler.from_config(theirs.config, kappa=1, order=1)
    ours.set_timesteps(timesteps=theirs.timesteps)
    network = unet()
    # Theirs go on with the epsilon of what was not clipped, unless they are asked.
    expected = chain(theirs, network, pixels(), use_clipped_model_output=True)
    assert (chain(ours, network, pixels()) - expected).abs().max() < 1e-4
    assert float(expected.abs().max()) == 0.5


def test_sigmas_may_be_given_in_the_units_of_each_family():
    preserving = CASScheduler()
    preserving.set_timesteps(sigmas=[10.0, 1.0, 0.1])
    assert preserving.levels.tolist() == [10, 1, 0.1]
    flow = CASScheduler.from_config(diffusers.FlowMatchEulerDiscreteScheduler().config)
    flow.set_timesteps(sigmas=[0.9, 0.5, 0.1])
    assert flow.levels.tolist() == pytest.approx([9, 1, 1 / 9])
    assert flow.timesteps.tolist() == pytest.approx([900, 500, 100])
    with pytest.raises(InputError, match="outside of what the network was trained at"):
        preserving.set_timesteps(sigmas=[200.0, 1.0])
    with pytest.raises(InputError, match="give the number of steps"):
        preserving.set_timesteps()


@pytest.mark.parametrize("spacing", ["calibrated", "centred", "geometric", "karras"])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_levels_of_each_spacing_cover_the_training(spacing, count):
    scheduler = CASScheduler(spacing=spacing)
    scheduler.set_timesteps(count)
    assert len(scheduler.timesteps) == count
    assert scheduler.timesteps[0] == pytest.approx(999)
    assert count == 1 or scheduler.timesteps[-1] == 0


def test_noise_is_added_as_they_do():
    clean, z, t = pixels(3), pixels(3, seed=1), torch.tensor([0, 400, 999])
    theirs = diffusers.DDPMScheduler()
    expected = theirs.add_noise(clean, z, t)
    assert torch.allclose(CASScheduler().add_noise(clean, z, t), expected, atol=1e-5)
    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    ours = CASScheduler.from_config(flow.config)
    t = flow.timesteps[[100, 500, 990]]
    expected = flow.scale_noise(clean, t, z)
    assert torch.allclose(ours.scale_noise(clean, t, z), expected, atol=1e-5)


def test_noise_is_added_on_devices_without_float64():
    class OnMps(torch.Tensor):
        """Timesteps as they are there, until they are on the CPU."""

        def double(self):
            raise TypeError("Cannot convert a MPS Tensor to float64")

        def cpu(self):
            return self.as_subclass(torch.Tensor)

    clean, z, t = pixels(3), pixels(3, seed=1), torch.tensor([0, 400, 999])
    found = CASScheduler().add_noise(clean, z, t.as_subclass(OnMps))
    assert torch.equal(found, CASScheduler().add_noise(clean, z, t))


def test_a_chain_that_is_entered_late_begins_there():
    scheduler = CASScheduler(kappa=1.0)
    scheduler.set_timesteps(6)
    rest, x = scheduler.timesteps[3:].clone(), pixels()
    scheduler.set_begin_index(3)
    first = scheduler.step(pixels(seed=1), rest[0], x).prev_sample
    scheduler.set_timesteps(6)  # without being told, it looks the timestep up
    assert torch.equal(scheduler.step(pixels(seed=1), rest[0], x).prev_sample, first)
    scheduler.set_timesteps(6)
    other = scheduler.step(pixels(seed=1), scheduler.timesteps[0], x).prev_sample
    assert not torch.equal(other, first)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CASScheduler(family="other"), "family is 'other'"),
        (lambda: CASScheduler(prediction_type="other"), "expected one of epsilon"),
        (
            lambda: CASScheduler(spacing="trained"),
            "spacing is 'trained'; expected of family preserving one of calibrated, geometric",
        ),
        (
            lambda: CASScheduler.from_config(diffusers.DDIMScheduler(thresholding=True).config),
            "thresholding = True",
        ),
    ],
)
def test_configurations_that_are_not_known_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    "kind",
    [
        *("CMStochasticIterative", "KarrasVe", "IPNDM", "SCM", "UnCLIP", "DDPMWuerstchen"),
        *("CogVideoXDDIM", "LCM"),
    ],
)
def test_schedulers_of_unknown_processes_are_refused_by_name(tmp_path, kind):
    theirs = getattr(diffusers, f"{kind}Scheduler")
    theirs().save_pretrained(tmp_path)
    config = theirs.load_config(tmp_path)
    with pytest.raises(InputError, match=f"{kind}Scheduler is of no process that is known here"):
        CASScheduler.from_config(config)


@pytest.mark.parametrize(
    "kind", ["CMStochasticIterative", "KarrasVe", "IPNDM", "SCM", "UnCLIP", "DDPMWuerstchen"]
)
def test_configurations_without_a_name_are_told_by_their_keys(kind):
    """Diffusers writes the name when a scheduler is saved."""
    config = getattr(diffusers, f"{kind}Scheduler")().config
    with pytest.raises(InputError, match="the scheduler is of no process that is known here"):
        CASScheduler.from_config(config)
    with pytest.raises(InputError, match=r"the scheduler has snr_shift_scale = 3\.0"):
        CASScheduler.from_config(diffusers.CogVideoXDDIMScheduler().config)


# --- in their pipelines ---------------------------------------------------------------------------


def pipeline(**settings):
    pipe = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler())
    pipe.scheduler = CASScheduler.from_config(pipe.scheduler.config, **settings)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_generator_for_each_picture_makes_it_independent_of_its_batch():
    pipe = pipeline()
    together = pipe(3, generators(1, 2, 3), num_inference_steps=5, output_type="pt").images
    alone = pipe(1, generators(2), num_inference_steps=5, output_type="pt").images
    assert together.shape == (3, CHANNELS, SIZE, SIZE)
    assert torch.allclose(together[1:2], alone, atol=1e-4)
    assert not torch.allclose(together[:1], alone, atol=1e-2)


def test_a_pipeline_is_saved_with_it_and_loaded_by_their_loader(tmp_path):
    pipe = pipeline(kappa=2.0, order=1, spacing="centred")
    pipe.save_pretrained(tmp_path / "saved")
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded, diffusers.DDPMPipeline)
    assert isinstance(loaded.scheduler, CASScheduler)
    config = loaded.scheduler.config
    assert (config.kappa, config.order, config.spacing) == (2.0, 1, "centred")
    loaded.set_progress_bar_config(disable=True)
    draw = {"batch_size": 2, "num_inference_steps": 4, "output_type": "pt"}
    one = pipe(generator=generators(1)[0], **draw).images
    assert torch.equal(loaded(generator=generators(1)[0], **draw).images, one)
    # And back: their schedulers take what they know of its configuration.
    back = diffusers.DDIMScheduler.from_config(loaded.scheduler.config)
    assert torch.equal(back.alphas_cumprod, diffusers.DDPMScheduler().alphas_cumprod)
    form = parametrization_of(loaded.scheduler)
    assert torch.equal(form.sigmas, parametrization_of(diffusers.DDPMScheduler()).sigmas)


def test_it_is_saved_and_loaded_alone(tmp_path):
    for name, theirs in SCHEDULERS.items():
        scheduler = CASScheduler.from_config(theirs().config, kappa=2.0)
        scheduler.save_pretrained(tmp_path / name)
        again = CASScheduler.from_pretrained(tmp_path / name)
        assert dict(again.config).items() >= {"kappa": 2.0, "order": 2}.items()
        assert torch.equal(again.parametrization.sigmas, scheduler.parametrization.sigmas)
        assert again.parametrization.prediction == parametrization_of(theirs()).prediction


def test_classes_are_guided_in_the_latents_of_a_transformer():
    """DiTPipeline: a learned variance, guidance in one doubled batch, an autoencoder."""
    pipe = diffusers.DiTPipeline(
        transformer(), autoencoder(), diffusers.DDIMScheduler(clip_sample=False)
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = CASScheduler.from_config(pipe.scheduler.config, kappa=1.0)
    draw = {"num_inference_steps": 5, "output_type": "pt"}
    found = pipe([1, 7], guidance_scale=1.0, generator=generators(4)[0], **draw).images
    denoiser = cascore.from_diffusers(pipe)
    one = cascore.labelled(denoiser, torch.tensor([1, 7]))
    sigmas = pipe.scheduler.levels
    start = torch.randn(2, 4, 4, 4, generator=generators(4)[0])
    x = start * float((1 + sigmas[0] ** 2).sqrt())
    latents = consistent_annealed(one, x, sigmas, kappa=1.0).denoised
    assert torch.allclose(found, denoiser.decode(latents), atol=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pictures_of_a_text_by_stable_diffusion(prediction):
    """Its pipeline draws what our sampler draws of its network; guided, it draws from each seed."""
    theirs = diffusers.DDIMScheduler(clip_sample=False, prediction_type=prediction, steps_offset=1)
    pipe = diffusers.StableDiffusionPipeline(
        autoencoder(), None, None, told_by_text(), theirs, None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = CASScheduler.from_config(pipe.scheduler.config, kappa=1.0)
    text, none = torch.randn(2, 2, 3, 8, generator=generators(4)[0])
    start = torch.randn(2, 4, 4, 4, generator=generators(4)[0])
    draw = {"num_inference_steps": 5, "prompt_embeds": text}
    found = pipe(latents=start, guidance_scale=1.0, output_type="latent", **draw).images
    denoiser = cascore.from_diffusers(pipe, conditioning={"encoder_hidden_states": text})
    sigmas = pipe.scheduler.levels
    x = start * float((1 + sigmas[0] ** 2).sqrt())
    latents = consistent_annealed(denoiser, x, sigmas, kappa=1.0).denoised
    assert (found - latents).abs().max() < 1e-4 * latents.abs().max()
    pipe.scheduler = CASScheduler.from_config(pipe.scheduler.config, kappa=2.0)
    draw |= {"negative_prompt_embeds": none, "guidance_scale": 3.0, "output_type": "pt"}
    both = pipe(generator=generators(4, 5), **draw).images
    alone = {"prompt_embeds": text[1:], "negative_prompt_embeds": none[1:]}
    one = pipe(generator=generators(5), **(draw | alone)).images
    assert torch.allclose(both[1:], one, atol=1e-4)
