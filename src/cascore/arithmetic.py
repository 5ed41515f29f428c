"""How a network is computed; what goes into a denoiser and comes out is float32 all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from cascore.denoiser import DenoiserWrapper
from cascore.errors import InputError
from cascore.measurement import Precision


def require_precision(name: str) -> None:
    """Raise InputError unless there is a precision of that name."""
    if name not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise InputError(f"there is no precision {name!r:.60}; expected one of {known}")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether GPUs may multiply and convolve float32 in TF32 within; then as it was.

    PyTorch's own default is convolutions in TF32 and matrices not.
    """
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    # PyTorch 2.9 has other switches beside, and does not answer for one whose other differs.
    newer = [matrices, convolutions.conv, convolutions.rnn] if hasattr(convolutions, "conv") else []
    words = [switch.fp32_precision for switch in newer]
    if words:
        before = words[0] == "tf32", words[1] == "tf32"
    else:
        before = matrices.allow_tf32, convolutions.allow_tf32
    matrices.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        matrices.allow_tf32, convolutions.allow_tf32 = before
        for switch, word in zip(newer, words, strict=True):
            switch.fp32_precision = word


class _Computed(DenoiserWrapper):
    """H, computed in a precision, and compiled for batches of one size."""

    def __init__(self, denoiser: nn.Module, precision: Precision, compiled: bool) -> None:
        super().__init__(denoiser)
        self.precision, self.rows = precision, 0
        # CUDA graphs, where there is CUDA: a small network waits for the launches of its kernels.
        made = torch.compile(denoiser, mode="reduce-overhead") if compiled else denoiser
        self._call = (made,)  # in a tuple, or it were a second submodule
        self._compiled = compiled

    def forward(self, x: Tensor, sigma: Tensor, *label: Tensor) -> Tensor:
        (call,) = self._call
        half = self.precision == "bfloat16"
        given = self._filled(x, sigma, *label) if self._compiled else (x, sigma, *label)
        with tf32(self.precision == "tf32"), torch.autocast(x.device.type, torch.bfloat16, half):
            denoised: Tensor = call(*given)
        # A CUDA graph writes its next answer where this one is.
        return denoised[: len(x)].to(x.dtype, copy=self._compiled)

    def _filled(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What belongs to a smaller batch, such as the last, repeated: another size is compiled."""
        rows = len(given[0])
        self.rows = max(self.rows, rows)
        fewer = self.rows - rows
        return tuple(
            torch.cat([one, one[-1:].expand(fewer, *one.shape[1:])])
            if fewer and one.ndim and len(one) == rows
            else one
            for one in given
        )


def computed(denoiser: nn.Module, *, precision: Precision, compiled: bool = False) -> nn.Module:
    """The denoiser, computed in a precision; its weights, its input and its H stay float32.

    Args:
        denoiser: H(x, sigma), and a label if it takes one; sigma a scalar or one number per sample.
        precision: Of its products.
        compiled: By `torch.compile`, with CUDA graphs on a GPU; the first call takes a minute.
    """
    return _Computed(denoiser, precision, compiled)
