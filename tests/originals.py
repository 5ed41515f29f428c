"""Original files of data sets, made small, and what is read from such."""

import gzip
import io
import struct
import tarfile

import numpy as np


def idx_bytes(array, *, count=None, code=8):
    """An IDX file of uint8, its header perhaps claiming another count or type."""
    shape = (len(array) if count is None else count, *array.shape[1:])
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + array.tobytes()


def write_mnist(folder, *, train=12, test=5):
    """Four IDX files of random images, labels 0 to 9 packed; images and labels by prefix."""
    generator = np.random.default_rng(3)
    content = {}
    for prefix, count in (("train", train), ("t10k", test)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8)[::-1] % 10
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
        content[prefix] = images, labels
    return content


def write_tar(path, members):
    """Members by name: bytes, or a TarInfo of no content; compressed, if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def everything(original, start=0):
    """The images of an original from a number on, [N, C, H, W]."""
    return np.stack([*original.items(start)])
