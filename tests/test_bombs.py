"""Files of some megabytes that unpack to gigabytes are refused within bounds of memory and time.

Each is read by a process of its own, which ends when it takes two gigabytes beyond its libraries,
or twenty seconds. It may take 400 MB: less than any of them unpacks to, and as much as the largest
whole file of these kinds needs.
"""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import cascore

GIGABYTE = 2**30
ZEROS = bytes(2**20)

READER = """
import json, os, resource, sys, time
from pathlib import Path
import pyarrow.parquet
import torch
import torch._dynamo  # which torch.load would import
from cascore.data.cifar import find_cifar10
from cascore.data.idx import read_idx
from cascore.errors import InputError
from cascore.evaluation.reference import read_statistics
from cascore.model.checkpoint_file import read_checkpoint_file
torch.set_num_threads(1)

def images(path):
    for part in find_cifar10(path).splits.values():
        for _ in part.items(0):
            pass

readers = {
    "idx": lambda path: read_idx(path, item_shape=(28, 28)),
    "tar": images, "parquet": images,
    "npz": read_statistics, "pth": read_checkpoint_file,
}
told = {}
for kind, path in json.loads(sys.argv[1]).items():
    here, there = os.pipe()
    child = os.fork()
    if not child:
        size, resident = (
            int(pages) * resource.getpagesize()
            for pages in Path("/proc/self/statm").read_text().split()[:2]
        )
        most = size + 2**31
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        seconds = int(time.process_time()) + 20
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        try:
            readers[kind.partition(",")[0]](Path(path))
            answer = "was read"
        except InputError as error:
            answer = f"refused: {error}"
        except BaseException as error:
            answer = repr(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        os.write(there, json.dumps([answer, peak - resident]).encode())
        os._exit(0)
    os.close(there)
    told[kind] = os.read(here, 10_000).decode()
    os.waitpid(child, 0)
print(json.dumps(told))
"""
"""Reads each file in a fork with limits; empty where the limit of time ended it."""


def packed(path, head=b""):
    """A gzip file of some bytes and then a gigabyte of zeros."""
    path.write_bytes(gzip.compress(head) + 16 * gzip.compress(bytes(GIGABYTE // 16), 1))


def idx(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    packed(path, struct.pack(">BBBBIII", 0, 0, 8, 3, 60_000, 28, 28))
    return path


def tar(folder, name="data_batch_1.bin"):
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.size = GIGABYTE
    packed(folder / "cifar-10-binary.tar.gz", info.tobuf())
    return folder / "cifar-10-binary.tar.gz"


def skipped(folder):
    return tar(folder, name="readme.txt")


def npz(folder):
    path, side = folder / "a.npz", 11_600
    small = io.BytesIO()
    np.save(small, np.zeros(2048))
    header = io.BytesIO()
    content = {"descr": "<f8", "fortran_order": False, "shape": (side, side)}
    np.lib.format.write_array_header_1_0(header, content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("mu.npy", small.getvalue())
        with archive.open("sigma.npy", "w") as stream:
            stream.write(header.getvalue())
            for _ in range(8 * side * side // len(ZEROS)):
                stream.write(ZEROS)
    return path


def pth(folder):
    path = folder / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/version", b"3")
        with archive.open("a/data/0", "w") as stream:
            for _ in range(700):
                stream.write(ZEROS)
    return path


def instructions(folder):
    """A compressed pickle of 700 MB within a checkpoint."""
    path = folder / "b.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a/version", b"3")
        with archive.open("a/data.pkl", "w") as stream:
            stream.write(b"\x80\x02")
            for _ in range(700):
                stream.write(b"N0" * 2**19)
    return path


def repeated(folder):
    """Ten thousand rows of one image of 50 MB."""
    keys, image = pa.array(np.zeros(10_000, np.int32)), pa.array([bytes(50 * 2**20)])
    images = pa.DictionaryArray.from_arrays(keys, image)
    table = pa.table({"img": images, "label": np.zeros(10_000, np.int64)})
    for name in ("train-0.parquet", "test-0.parquet"):
        parquet.write_table(table, folder / name)
    return folder / "train-0.parquet"


def labels(folder):
    """Thirty million labels."""
    table = pa.table({"label": np.zeros(3 * 10**7, np.int64), "img": pa.nulls(3 * 10**7, "null")})
    for name in ("train-0.parquet", "test-0.parquet"):
        parquet.write_table(table, folder / name, row_group_size=len(table))
    return folder / "train-0.parquet"


BOMBS = {
    "idx": idx, "tar": tar, "tar, skipped": skipped, "npz": npz, "pth": pth,
    "pth, instructions": instructions, "parquet, repeated": repeated, "parquet, labels": labels,
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What became of each, in words."""
    paths = {kind: make(tmp_path_factory.mktemp("bomb")) for kind, make in BOMBS.items()}
    assert max(path.stat().st_size for path in paths.values()) < 5 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", READER, json.dumps({kind: str(p) for kind, p in paths.items()})],
        env={**os.environ, "PYTHONPATH": str(Path(cascore.__file__).parents[1])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_within_bounds(kind, told):
    assert told[kind], "it took too long"
    answer, memory = json.loads(told[kind])
    assert answer.startswith("refused: ")
    assert memory < 4e8
