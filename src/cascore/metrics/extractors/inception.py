"""The Inception features of the FID (Heusel et al., 2017) and logits of the Inception Score.

Images go through the steps that the published numbers went through: grey is repeated to RGB, the
image is resized to 299×299 by TensorFlow 1's bilinear rule, pixels become (x - 128) / 128.

The weights are not ours to ship. One file of 95,628,359 bytes is published under two names, by
torch-fidelity and by pytorch-fid: TensorFlow's graph of 2015-12-05 (Apache License 2.0), converted
to PyTorch. Nothing is downloaded unasked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from cascore.errors import InputError
from cascore.fetching import Download, download
from cascore.files import file_digest
from cascore.foreign import load_torch
from cascore.measurement import ExtractorIdentity
from cascore.metrics.extractors.common import Extractor, as_colour, usable_device
from cascore.metrics.extractors.inception_network import FEATURES, SIDE, InceptionNetwork

INCEPTION_FILES = tuple(
    Download(
        address, 95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    )
    for address in (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
    )
)
"""The one file, by its two names."""

_BATCH = 32  # 350 MB of activations
_EPSILON = 0.001  # of the batch normalisations
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, eq=False, kw_only=True)
class Inception(Extractor):
    """The network of the FID as an extractor of 2,048 features, and its logits.

    Its identity is "inception" and the SHA-256 of the weights file; the name is another if the file
    is not the one that the field uses.
    """

    network: InceptionNetwork

    def unbiased_logits(self, features: Tensor) -> Tensor:
        """Logits float32 [N, 1008] of features [N, 2048], for the Inception Score.

        By an old accident of the field, they are without the last layer's offset.
        """
        if features.ndim != 2 or features.shape[1] != FEATURES:
            raise InputError(
                f"features have shape {tuple(features.shape)}; logits are computed from the"
                f" [N, {FEATURES}] that {self.identity.name!r} makes of images"
            )
        return F.linear(features.float().cpu(), self.network.fc.weight.cpu())


def load_inception(
    path: Path | str | None = None, *, root: Path | str = "data", device: torch.device | str = "cpu"
) -> Inception:
    """The Inception extractor from the weights file that the field uses.

    The file is read without running anything that it might contain. Without a path it is looked for
    in ROOT/inception and must be the published one. A file with other numbers under the same names
    is taken if its path is given, and then bears another name in every record. A missing file, and
    one that does not hold exactly the network's tensors, raise InputError.
    """
    device = usable_device(device)
    file = _find_weights(Path(root) / "inception") if path is None else Path(path)
    digest, expected = _sha256_of(file), INCEPTION_FILES[0].sha256
    if path is None and digest != expected:
        raise InputError(
            f"{file} has SHA-256 {digest}, the published file {expected}; it is damaged or another"
            " file: get it anew, or give its path if you mean other weights"
        )
    with torch.device("meta"):  # draws no initial weights
        network = InceptionNetwork()
    state = _read_state(file)
    try:
        network.load_state_dict(_folded(state), assign=True)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file} does not hold the Inception network of the FID: {reason:.300}"
        ) from error
    network = network.eval().requires_grad_(False).to(device)
    if device.type == "cpu":  # a third faster there
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    name = "inception" if digest == expected else "inception with other weights"
    return Inception(
        identity=ExtractorIdentity(name=name, digest=digest),
        dimension=FEATURES,
        compute=lambda images: network(as_colour(prepared(images))),
        device=device,
        batch_size=_BATCH,
        network=network,
    )


def download_inception(
    root: Path | str = "data", *, progress: Callable[[int], None] = lambda more: None
) -> Path:
    """Download the weights file to ROOT/inception, unless it is there and whole; its path.

    `progress` is called with how many more of its bytes have come. No connection, or bytes that are
    not those of the published file, raise InputError.
    """
    folder = Path(root) / "inception"
    for file in INCEPTION_FILES:
        if (folder / file.name).is_file() and _sha256_of(folder / file.name) == file.sha256:
            return folder / file.name
    file, advice = INCEPTION_FILES[0], f"or fetch it by hand. {_advice(folder)}"
    download([file], folder, advice=advice, progress=progress)
    return folder / file.name


def _find_weights(folder: Path) -> Path:
    for file in INCEPTION_FILES:
        if (folder / file.name).is_file():
            return folder / file.name
    raise InputError(f"the weights of Inception are not in {folder}. {_advice(folder)}")


def _sha256_of(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _advice(folder: Path) -> str:
    addresses, file = " or ".join(file.url for file in INCEPTION_FILES), INCEPTION_FILES[0]
    return (
        f"It is one file of {file.size / 1e6:.1f} MB with SHA-256 {file.sha256}, published as"
        f" {addresses}: put it into {folder} under its name, or let"
        f" cascore.metrics.download_inception({str(folder.parent)!r}) fetch it"
    )


def prepared(images: Tensor) -> Tensor:
    """What the network is given: float32 [N, C, 299, 299] in [-1, 1) of uint8 [N, C, H, W]."""
    return resize_like_tensorflow(images.float(), side=SIDE).sub_(128).div_(128)


def resize_like_tensorflow(images: Tensor, *, side: int) -> Tensor:
    """TensorFlow 1's bilinear resize of float [N, C, H, W] to [N, C, side, side].

    Neither corners nor half-pixel centres are aligned. Pixel i of the output is the value at i ×
    input / output, between the two pixels around it; beyond the last there is the last again.
    Nothing is averaged when an image shrinks. Columns are interpolated first, in float32, as
    TensorFlow does: the same bits.
    """
    return _interpolated(_interpolated(images, side, dim=3), side, dim=2)


def _interpolated(images: Tensor, side: int, *, dim: int) -> Tensor:
    size = images.shape[dim]
    steps = torch.arange(side, dtype=torch.float32, device=images.device)
    position = steps * torch.tensor(size / side, dtype=torch.float32, device=images.device)
    lower = position.long()
    upper = (lower + 1).clamp(max=size - 1)
    weight = (position - lower).to(images.dtype)
    weight = weight if dim == 3 else weight[:, None]
    low, high = (
        # For single columns, gather does the same as index_select in a quarter of the time.
        images.gather(3, index.expand(*images.shape[:3], side))
        if dim == 3
        else images.index_select(2, index)
        for index in (lower, upper)
    )
    return high.sub_(low).mul_(weight).add_(low)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The floating-point tensors of a weights file; its step counters are left out."""
    state = load_torch(path)
    tensors = state if isinstance(state, dict) else {"": state}
    tensors = {k: v for k, v in tensors.items() if not str(k).endswith(".num_batches_tracked")}
    if not all(isinstance(v, Tensor) and v.is_floating_point() for v in tensors.values()):
        raise InputError(f"{path} does not hold a dictionary of floating-point tensors")
    return tensors


def _folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's parameters from a file's tensors: float64 inside, float32 out.

    Batch normalisation with fixed statistics is linear, so it goes into the convolution before it:
    w γ / √(v + ε) and β - m γ / √(v + ε). That saves a tenth of the time and moves rounding only.
    """
    parameters = {}
    for name, tensor in state.items():
        layer = name.removesuffix(".conv.weight")
        if layer != name:
            gamma, beta, mean, variance = (state[f"{layer}.bn.{part}"].double() for part in _NORM)
            gain = gamma / (variance + _EPSILON).sqrt()
            parameters[name] = (tensor.double() * gain[:, None, None, None]).float()
            parameters[f"{layer}.conv.bias"] = (beta - mean * gain).float()
        elif ".bn." not in name:
            parameters[name] = tensor.float()
    return parameters
