"""`cascore export`: a model as an ONNX graph."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cascore.cli import options
from cascore.cli.common import plain_console
from cascore.locks import one_file
from cascore.model.pretrained import find_model, spoken_name
from cascore.progress import Display


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write the denoiser of a model as an ONNX graph, checked against PyTorch (extra onnx).

    Example: cascore export digits digits.onnx

    The graph takes x and sigma and gives the denoised x, for any number of samples; of a model of
    classes, for no particular class. Its metadata hold shape, sigma_first, sigma_last, kappa
    and data_mean.
    """

    path: options.ModelName
    out: tyro.conf.Positional[Path]
    """File of the graph; one that is there is replaced."""

    def run(self, typed: str) -> int:
        """Export, check, and say what came out."""
        from cascore.ecosystem.onnx import export_onnx
        from cascore.model.loading import load

        path, display = find_model(self.path), Display()
        with one_file(self.out, "an export"):
            model = load(path, notify=display.say)
            schedule = model.experiment.schedule
            difference = export_onnx(
                model.denoiser,
                self.out,
                shape=model.shape,
                ends=(schedule.first, schedule.last),
                description={"model": spoken_name(path), "weights": model.digest},
            )
        display.say(f"onnxruntime differs from PyTorch by {difference:.1e} of x at most")
        plain_console().print(self.out)
        return 0
