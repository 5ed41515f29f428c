"""Consistent annealed sampling without PyTorch: an ONNX graph, onnxruntime and numpy.

    cascore export digits digits.onnx
    python examples/onnx_sampling.py digits.onnx

Algorithm 2 of second order at geometric levels: x <- (1 - eta) x + eta (H + lead (H - H_before)) +
noise z, with eta = 1 - gamma^kappa. Writes the denoised pictures beside the graph.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image


def main(graph: Path, *, count: int = 16, calls: int = 20, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw `count` pictures, [N, C, H, W], and write them in a row."""
    session = onnxruntime.InferenceSession(str(graph))
    facts = session.get_modelmeta().custom_metadata_map
    shape = [int(size) for size in facts["shape"].split()]
    kappa = float(facts["kappa"])
    sigma = np.geomspace(float(facts["sigma_first"]), float(facts["sigma_last"]), calls)
    gamma = sigma[1] / sigma[0]
    eta, spread = 1 - gamma**kappa, np.sqrt(1 - gamma ** (2 * kappa - 2))
    random = np.random.default_rng(seed)
    mean = np.array(facts.get("data_mean", "0").split(), dtype=float).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    x = before = mean + sigma[0] * random.standard_normal((count, *shape))
    for i in range(calls):
        level = np.full(count, sigma[i], dtype=np.float32)
        (denoised,) = session.run(None, {"x": x.astype(np.float32), "sigma": level})
        lead = 0.0 if i == 0 else 0.5
        ahead, before = denoised + lead * (denoised - before), denoised
        if i + 1 < calls:
            z = random.standard_normal(x.shape)
            x = (1 - eta) * x + eta * ahead + sigma[i + 1] * spread * z
    pictures = (denoised.clip(0, 1) * 255).round().astype(np.uint8)
    row = np.concatenate(list(pictures), axis=2)  # [C, H, N W]
    image = Image.fromarray(row[0] if len(row) == 1 else row.transpose(1, 2, 0))
    image.save(graph.with_suffix(".png"))
    return pictures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    main(parser.parse_args().graph)
