"""Activations of torch-fidelity's Inception for random weights: tests/data/inception_reference.npz.

python tools/inception_reference.py

Runs in an environment of its own that holds torch-fidelity 0.4.0; tests/data/README.md says how to
make it. The weights are a function of each tensor's name
and shape, so the test can give our network the same ones without storing them.
"""

import hashlib
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

TARGET = Path(__file__).parents[1] / "tests" / "data" / "inception_reference.npz"
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48))
SAMPLES = 16


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor for every name and shape: uniform numbers from Philox, whose stream NumPy keeps.

    Kernels are scaled to keep the size of activations through a ReLU, the statistics of batch
    normalisation stay near their usual values.
    """
    return {
        name: _scaled(name, torch.from_numpy(_uniform(name, shape)))
        for name, shape in shapes.items()
    }


def images() -> list[npt.NDArray[np.uint8]]:
    """One image [C, H, W] of each shape: waves, half of them under noise."""
    made = []
    for shape in SHAPES:
        c, y, x = np.indices(shape)
        wave = np.sin(0.31 * x + 0.7 * c) * np.cos(0.17 * y - c) + 0.01 * (x - y)
        noise = _uniform(f"noise {shape}", shape) * (y % 16 < 8)
        made.append(np.clip(128 + 100 * wave + 60 * noise, 0, 255).astype(np.uint8))
    return made


def as_colour(image: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [1, 3, H, W] of [C, H, W]; a grey image is repeated."""
    return torch.from_numpy(image).expand(3, -1, -1)[None].contiguous()


def sampled(activation: Tensor) -> npt.NDArray[np.float32]:
    """Mean, deviation and 16 evenly spaced values of one activation [1, ...]: float32 [18]."""
    flat = activation.detach().double().flatten()
    picked = flat[torch.linspace(0, len(flat) - 1, SAMPLES).long()]
    return torch.cat([flat.mean()[None], flat.std()[None], picked]).float().numpy()


def layers(network: nn.Module, call: object, inputs: Tensor) -> dict[str, npt.NDArray[np.float32]]:
    """What `sampled` gives for every convolution (after its ReLU) and block, by its name."""
    activations: dict[str, npt.NDArray[np.float32]] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            activations[name] = sampled(output)

        return module.register_forward_hook(keep)

    handles = [
        watch(name, module)
        for name, module in network.named_modules()
        if hasattr(module, "conv") or (name.startswith("Mixed") and "." not in name)
    ]
    assert callable(call)
    call(inputs)
    for handle in handles:
        handle.remove()
    return activations


def _uniform(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Numbers in (-1, 1), the same on every machine."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(math.prod(shape)) >> np.uint64(41)
    return ((words.astype(np.float32) + 0.5) / 2.0**22 - 1).reshape(shape)


def _scaled(name: str, uniform: Tensor) -> Tensor:
    if name.endswith(("running_var", "bn.weight")):
        return 1 + 0.5 * uniform
    if uniform.ndim == 1:  # offsets and running means
        return 0.2 * uniform
    fan_in = uniform[0].numel()
    return uniform * math.sqrt(6 / fan_in)


def stand_in_for_torchvision() -> None:
    """Modules of that name with nothing in them: torch-fidelity imports them and we use none."""
    for name in ("", ".datasets", ".models", ".transforms", ".transforms.functional"):
        sys.modules[f"torchvision{name}"] = ModuleType(f"torchvision{name}")
    datasets = sys.modules["torchvision.datasets"]
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        setattr(datasets, name, object)


def main() -> None:
    """Run the reference network and write the file."""
    stand_in_for_torchvision()
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Filled(FeatureExtractorInceptionV3):
        """The extractor with our numbers in place of a file's."""

        def load_state_dict(self, *_args: object, **_kwargs: object) -> None:
            shapes = {
                name: tuple(tensor.shape)
                for name, tensor in self.state_dict().items()
                if tensor.is_floating_point()
            }
            super().load_state_dict(filled(shapes), strict=False)  # without the step counters

    torch.set_num_threads(1)
    nowhere = Path("weights.pt").resolve()
    torch.save({}, nowhere)  # it insists on reading a file
    outputs = ["2048", "logits_unbiased", "logits"]
    network = Filled("reference", outputs, feature_extractor_weights_path=str(nowhere))
    nowhere.unlink()
    state = network.state_dict()
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "names": np.array(list(state)),
        "shapes": np.array([" ".join(map(str, tensor.shape)) for tensor in state.values()]),
    }
    for index, image in enumerate(images()):
        arrays[f"image_{index}"] = image
        colour = as_colour(image)
        for name, values in layers(network, network, colour).items():
            arrays[f"layer_{index}/{name}"] = values
        first: list[Tensor] = []
        handle = network.Conv2d_1a_3x3.register_forward_pre_hook(
            lambda _module, inputs, first=first: first.append(inputs[0])
        )
        features, unbiased, logits = network(colour)
        handle.remove()
        arrays[f"layer_{index}/pixels"] = sampled(first[0])
        arrays[f"features_{index}"] = features[0].numpy()
        arrays[f"unbiased_logits_{index}"] = unbiased[0].numpy()
        arrays[f"logits_{index}"] = logits[0].numpy()
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, **arrays)
    print(f"{TARGET}: {len(arrays)} arrays, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
