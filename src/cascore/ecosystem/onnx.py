"""Denoisers as ONNX graphs: x and sigma in, H(x, sigma) out, for any number of samples."""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cascore.denoiser import own_kappa, own_mean
from cascore.errors import InputError, MissingExtraError
from cascore.files import replaced_file
from cascore.noise import KeyedNoise, Purpose

_CLOSE = 1e-3  # of H, relative to the size of x: float32 in another order of sums


def export_onnx(
    denoiser: nn.Module,
    path: Path,
    *,
    shape: Sequence[int],
    ends: tuple[float, float],
    description: Mapping[str, str] | None = None,
) -> float:
    """Write a denoiser as an ONNX graph, once onnxruntime gives what PyTorch gives.

    Inputs are x, float32 `[batch, *shape]`, and sigma, float32 [batch]; the output is denoised. The
    graph's metadata hold shape, sigma_first, sigma_last, kappa, data_mean (one number, or one for
    each channel), and the description.

    Args:
        denoiser: a module on the CPU, of no class where it could be told one.
        path: of the file, which is replaced whole or not at all.
        shape: of one datum.
        ends: the first and the last sigma of the training.
        description: further metadata.

    Returns:
        The largest difference from PyTorch, over 1 + sigma, at 1 and 3 samples and both ends.

    Raises:
        InputError: a denoiser that cannot be exported, or whose graph gives something else.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
    """
    _require_packages()
    metadata = {
        "shape": " ".join(map(str, shape)),
        "sigma_first": repr(ends[0]),
        "sigma_last": repr(ends[1]),
        "kappa": repr(own_kappa(denoiser)),
        "data_mean": " ".join(map(repr, own_mean(denoiser).flatten().tolist())),
        **(description or {}),
    }
    batch = torch.export.Dim("batch")
    example = torch.zeros(3, *shape), torch.full((3,), ends[0])
    with _quiet(), replaced_file(path) as temporary:
        try:
            program: Any = torch.onnx.export(
                denoiser,
                example,
                dynamo=True,
                verbose=False,
                input_names=["x", "sigma"],
                output_names=["denoised"],
                dynamic_shapes=({0: batch}, {0: batch}),
                custom_translation_table={
                    torch.ops.aten.scaled_dot_product_attention.default: _attention
                },
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise InputError(f"this denoiser has no form in ONNX: {error}") from error
        program.model.metadata_props.update(metadata)
        program.save(temporary, external_data=False)
        difference = max(
            _difference(denoiser, temporary, shape, sigma, count)
            for count in (1, 3)
            for sigma in ends
        )
        if not difference < _CLOSE:
            raise InputError(
                f"the graph differs from the network by {difference:.3g} of x: it was not written"
            )
    return difference


@torch.no_grad()
def _difference(
    denoiser: nn.Module, graph: Path, shape: Sequence[int], sigma: float, count: int
) -> float:
    """Max |H_onnx - H_torch| / (1 + sigma) on noise of that size."""
    import onnxruntime

    noise = KeyedNoise(range(count)).normal((count, *shape), purpose=Purpose.INITIAL)
    x, level = noise * (1 + sigma), torch.full((count,), sigma)
    session = onnxruntime.InferenceSession(str(graph))
    (found,) = session.run(None, {"x": x.numpy(), "sigma": level.numpy()})
    expected: Tensor = denoiser(x, level)
    return float(np.abs(found - expected.numpy()).max()) / (1 + sigma)


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(Q K^T / sqrt(d)) V of [N, L, d]; PyTorch's own translation takes four axes alone."""
    from onnxscript import opset18

    plain = attn_mask is None and not (dropout_p or is_causal or scale or enable_gqa)
    if len(query.shape) != 3 or not plain:
        raise NotImplementedError("attention of other than three axes, or masked")
    size = opset18.Constant(value_float=1 / math.sqrt(query.shape[-1]))
    scores = opset18.MatMul(opset18.Mul(query, size), opset18.Transpose(key, perm=[0, 2, 1]))
    return opset18.MatMul(opset18.Softmax(scores, axis=-1), value)


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        package = (error.name or "onnx").partition(".")[0]
        raise MissingExtraError(what="An ONNX graph", package=package, extra="onnx") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and logs of its own insides and of torchvision: nothing to be mended."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
