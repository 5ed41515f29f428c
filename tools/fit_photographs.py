"""Fit the laws of photographs on which `benchmarks/samplers.py` measures samplers exactly.

    python tools/fit_photographs.py TRAIN.parquet [--out benchmarks/data]

Reads the 50,000 training photographs of CIFAR-10 (columns `img` and `label`, the hub's layout), as
pixels in [0, 1], and writes

- `spectrum.npy`: float32 [3072], the variances along the principal axes, largest first;
- `mixture-k-means.npz`: a mixture of ten full-covariance Gaussians in the first 64 principal
  components (float32 weights [10], means [10, 64], lower triangles of the Cholesky factors of the
  covariances [10, 2080]), of the clusters of 20 sweeps of k-means from seed 0;
- `mixture-em.npz`: the same after 30 sweeps of expectation maximisation from there.

Mean log density of the photographs: -28.3 of one Gaussian, -26.0 of k-means, -20.6 of the last. No
picture can be recovered from any of them.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor

COMPONENTS, DIMENSIONS = 10, 64
OUT = Path(__file__).parents[1] / "benchmarks" / "data"


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parquet", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    variances, projected = principal_components(read(arguments.parquet))
    arguments.out.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out / "spectrum.npy", variances.float().numpy())
    clusters = k_means(projected)
    write(arguments.out / "mixture-k-means.npz", *clusters)
    write(arguments.out / "mixture-em.npz", *expectation_maximisation(projected, *clusters))


def write(path: Path, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    """One mixture in float32."""
    rows, columns = torch.tril_indices(DIMENSIONS, DIMENSIONS)
    np.savez(
        path,
        weights=weights.float().numpy(),
        means=means.float().numpy(),
        factors=torch.linalg.cholesky(covariances)[:, rows, columns].float().numpy(),
    )
    print(f"{path}: weights {[round(weight, 3) for weight in weights.tolist()]}")


def read(path: Path) -> Tensor:
    """All photographs, uint8 [N, 3072]."""
    column = pyarrow.parquet.read_table(path, columns=["img"])["img"]
    pictures = (Image.open(io.BytesIO(row["bytes"].as_py())) for row in column)
    return torch.from_numpy(np.stack([np.asarray(picture).reshape(-1) for picture in pictures]))


def principal_components(images: Tensor) -> tuple[Tensor, Tensor]:
    """The variances along the principal axes, largest first, and the first coordinates [N, 64]."""
    mean = images.double().mean(dim=0) / 255
    second = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for chunk in images.split(5000):
        centred = chunk.double() / 255 - mean
        second += centred.T @ centred
    values, vectors = torch.linalg.eigh(second / (len(images) - 1))
    axes = vectors.flip(1)[:, :DIMENSIONS]
    axes = axes * axes.sum(dim=0).sign()
    parts = [(chunk.double() / 255 - mean) @ axes for chunk in images.split(5000)]
    return values.flip(0).clamp(min=0), torch.cat(parts)


def k_means(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of the clusters."""
    generator = torch.Generator().manual_seed(0)
    centres = points[torch.randperm(len(points), generator=generator)[:COMPONENTS]]
    for _ in range(20):
        share = torch.nn.functional.one_hot(torch.cdist(points, centres).argmin(1), COMPONENTS)
        centres = share.double().T @ points / share.sum(0)[:, None]
    return moments(points, share.double())


def expectation_maximisation(
    points: Tensor, weights: Tensor, means: Tensor, covariances: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The mixture after 30 sweeps."""
    for _ in range(30):
        factors = torch.linalg.cholesky(covariances)
        logits = weights.log() - factors.diagonal(dim1=1, dim2=2).log().sum(1)
        distances = [
            torch.linalg.solve_triangular(factor, (points - mean).T, upper=False).square().sum(0)
            for factor, mean in zip(factors, means, strict=True)
        ]
        share = (logits - torch.stack(distances, 1) / 2).softmax(1)
        weights, means, covariances = moments(points, share)
    return weights, means, covariances


def moments(points: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of points that belong to components by shares [N, K]."""
    total = share.sum(0)
    means = share.T @ points / total[:, None]
    covariances = torch.stack(
        [
            (part[:, None] * (points - mean)).T @ (points - mean) / part.sum()
            for part, mean in zip(share.T, means, strict=True)
        ]
    )
    return total / len(points), means, covariances


if __name__ == "__main__":
    main()
