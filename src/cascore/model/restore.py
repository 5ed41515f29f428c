"""The tasks of `cascore restore`: what is seen of a picture, and pictures that agree with it."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from cascore.calibration import natural_variances
from cascore.data.decoding import Target, decode_one, read_header
from cascore.data.listing import ListedImage
from cascore.denoiser import Denoiser
from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.model.loading import Model
from cascore.noise import KeyedNoise, Purpose
from cascore.operators import Operator, blurred, few_numbers, grey, seen_pixels, shrunk
from cascore.pixels import to_float
from cascore.progress import Display
from cascore.restoration import projected, restored
from cascore.sampling import Samples


@dataclass(frozen=True, eq=False)
class Observation:
    """What is seen of a picture.

    Attributes:
        operator: A, of pictures of the model's shape.
        seen: y, [1, ...].
        noise: the deviation of the noise in y.
        whole: the picture before it was degraded, [1, C, H, W]; None if there is none.
        remarks: what was done to the file, in words.
    """

    operator: Operator
    seen: Tensor
    noise: float
    whole: Tensor | None
    remarks: tuple[str, ...]

    def shown(self, shape: tuple[int, ...]) -> Tensor:
        """What is seen as a picture [1, C, H, W]: unknown pixels grey, small ones enlarged."""
        channels, height, width = shape
        if self.seen.ndim == 2:  # its picture of least norm, on grey where nothing is known
            probe = torch.zeros(1, *shape, requires_grad=True)
            flat = torch.full((1, *shape), 0.5)
            missing = self.seen - self.operator(flat)
            (back,) = torch.autograd.grad(self.operator(probe), probe, missing)
            return flat + back
        rows, columns = self.seen.shape[2:]
        large = self.seen.repeat_interleave(height // rows, dim=2)
        large = large.repeat_interleave(width // columns, dim=3)
        return large.expand(1, channels, height, width)


def operator_of(
    task: str,
    shape: tuple[int, ...],
    *,
    mask: Path | None = None,
    factor: int | None = None,
    blur: float | None = None,
    numbers: int | None = None,
) -> Operator:
    """The operator of a task for pictures of a shape.

    Of the rest each is for one task; by default 4, 1 and a tenth of the pixels, but a mask has to
    be given.

    Raises:
        InputError: a task that does not fit the pictures, that lacks its mask, or what is for
            another.
    """
    of_one_task = {
        "mask": (mask, "inpaint"),
        "factor": (factor, "super-resolve"),
        "blur": (blur, "deblur"),
        "numbers": (numbers, "compressed"),
    }
    for option, (value, own) in of_one_task.items():
        if value is not None and own != task:
            raise InputError(f"--{option} is for --task {own}, not for {task}")
    if task == "inpaint":
        if mask is None:
            raise InputError(
                "inpainting needs --mask FILE, a picture that is white where pixels are missing"
            )
        missing, _ = read_picture(mask, (1, *shape[1:]), smooth=False)
        return seen_pixels(missing[0, 0] < 0.5)
    if task == "colorize":
        operator = grey()
    elif task == "super-resolve":
        operator = shrunk(4 if factor is None else factor)
    elif task == "deblur":
        operator = blurred(1.0 if blur is None else blur)
    else:
        dimension = shape[0] * shape[1] * shape[2]
        operator = few_numbers(max(1, dimension // 10) if numbers is None else numbers, dimension)
    operator(torch.zeros(1, *shape))  # refuses pictures that it is not for
    return operator


def observe(
    picture: Path, operator: Operator, shape: tuple[int, ...], *, noise: float, degrade: bool
) -> Observation:
    """What is seen of the picture in a file: all of it, or, to try a task out, part of a whole one.

    Args:
        picture: an image file. As it is seen, of the size of A x; to be degraded, whole.
        operator: A.
        shape: of the model's pictures.
        noise: deviation of the noise in what is seen; to a whole picture it is added (seed 0).
        degrade: whether the picture is whole.

    Raises:
        InputError: no picture, or one that is larger or smaller than it has to be in one direction
            only.
    """
    form = operator(torch.zeros(1, *shape)).shape
    whole = degrade or len(form) == 2
    pixels, remarks = read_picture(picture, shape if whole else tuple(form[1:]))
    if not whole:
        return Observation(operator, pixels, noise, None, remarks)
    seen = operator(pixels)
    if not degrade:  # the pixels that a mask leaves
        return Observation(operator, seen, noise, None, remarks)
    z = KeyedNoise([0]).normal(seen.shape, purpose=Purpose.CORRUPTION)
    return Observation(operator, seen + noise * z, noise, pixels, remarks)


def read_picture(
    path: Path, shape: tuple[int, ...], *, smooth: bool = True
) -> tuple[Tensor, tuple[str, ...]]:
    """The picture of a file as float [1, C, H, W], its middle brought to the size, and remarks."""
    if not path.is_file():
        raise InputError(f"there is no picture {path}")
    header = read_header(path.parent, ListedImage(Path(path.name), PurePosixPath(path.name)))
    channels, height, width = shape
    fits = (header.width, header.height) == (width, height)
    target = Target(
        channels, height, width, None if fits else "center",
        None if fits else "lanczos" if smooth else "nearest",
    )  # fmt: skip
    pixels = torch.from_numpy(decode_one(path.parent, header, target=target).copy())
    remarks = () if fits else (
        f"{path} is {header.width} x {header.height}: its middle was brought to {width} x {height}",
    )  # fmt: skip
    return to_float(pixels)[None], remarks


def posterior(
    model: Model,
    observation: Observation,
    *,
    task: str,
    label: str | None = None,
    guidance: float = 1.0,
) -> Denoiser:
    """The denoiser of pictures that agree with what was seen, and are of a class if one is named.

    By moments, which says most of what is missing; a blur is undone by many conjugate gradients,
    which the derivative of a network does not bear, so there it is the projection
    (`benchmarks/restoration.py`).

    Raises:
        InputError: a class that the model does not know, or guidance without a class.
    """
    if label is None and guidance != 1:
        raise InputError(f"guidance {guidance:g} goes towards a class: give a label too")
    seen, operator = observation.seen.to(model.device), observation.operator
    prior = model.denoiser if label is None else model.of_class(label, guidance=guidance)
    if task != "deblur":
        return restored(prior, seen, operator, noise=observation.noise)
    variance = pixel_variance(model)
    return projected(prior, seen, operator, noise=observation.noise, variance=variance)


def pixel_variance(model: Model) -> float:
    """The variance of a pixel of the training data; where it is not known, of natural images."""
    variances = model.variances
    if variances is None:
        variances = natural_variances(model.shape, model.experiment.schedule.first)
    return float(variances.mean())


def restore(
    model: Model,
    observation: Observation,
    seeds: range,
    sampler: Sampler,
    *,
    task: str,
    batch_size: int,
    label: str | None = None,
    guidance: float = 1.0,
    display: Display | None = None,
) -> Samples:
    """Pictures of a model that agree with what was seen, and are of a class, one for each seed."""
    denoiser = posterior(model, observation, task=task, label=label, guidance=guidance)
    assert isinstance(denoiser, torch.nn.Module)
    given = replace(model, denoiser=denoiser)
    return given.draw(seeds, sampler, batch_size=batch_size, display=display)


def psnr(picture: Tensor, whole: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [0, 1], the mean over pictures [N, C, H, W]."""
    error = (picture.clamp(0, 1) - whole).square().flatten(1).mean(dim=1)
    return float(-10 * error.log10().mean())
