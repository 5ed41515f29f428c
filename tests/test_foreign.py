"""Foreign bytes: small files that ask for much are refused before anything is built of them."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from cascore.data.idx import read_idx
from cascore.data.unpickling import unpickle_arrays
from cascore.errors import InputError
from cascore.evaluation.reference import read_statistics
from cascore.foreign import load_torch, parsing, read_npy, require_modest_pickle


@pytest.mark.parametrize(
    "raised", [MemoryError(), RecursionError("deep"), KeyError("x"), OSError(5, "I/O"), OSError()]
)
def test_whatever_a_parser_raises_names_the_file_and_the_reason(raised):
    reason = str(raised) or type(raised).__name__
    with pytest.raises(InputError) as caught, parsing("a.bin", "a picture", "paint it anew"):
        raise raised
    assert str(caught.value) == f"a.bin cannot be read as a picture: {reason}; paint it anew"


def test_neither_an_input_error_nor_an_interrupt_is_changed():
    for raised in (InputError("as it is"), KeyboardInterrupt()):
        with pytest.raises(type(raised)) as caught, parsing("a.bin", "a picture"):
            raise raised
        assert caught.value is raised


# --- pickles -------------------------------------------------------------------------------------

DOUBLED = b"0".join(2 * (b"h" + bytes([i])) + b"\x86q" + bytes([i + 1]) for i in range(40))
NESTED = b"\x80\x02)q\x000" + DOUBLED
"""A tuple of two that are the tuple before: 2^40 values, all of which a hash visits."""
HUNDRED = b"(" + b"h\x00" * 100 + b"tq\x01(" + b"h\x01" * 100 + b"tq\x02(" + b"h\x02" * 100
COLLIDING = b"".join(
    b"(" + b"".join(b"J" + struct.pack("<i", -1 - (n >> bit & 1)) for bit in range(20)) + b"tK\x00"
    for n in range(8)
)
"""Python gives -1 and -2 the same hash, and so all tuples of them."""
HOSTILE = {
    "a key of 2^40 values": b"}" + NESTED[2:] + b"K\x00s.",
    "a value of 2^40 values": NESTED + b".",
    "a value of 100^4 values": b"\x80\x02)q\x00" + HUNDRED + b"tq\x03(" + b"h\x03" * 100 + b"t.",
    "keys that share a hash": b"\x80\x02}(" + COLLIDING + b"u.",
    "deep lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 50_000 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a list that grows inside another": b"\x80\x02]q\x00\x85h\x00K\x01a.",
    "a great integer": b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
    "a great memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "nothing below": b"\x80\x02s.",
    "no mark": b"\x80\x02t.",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_pickle_that_asks_for_much_is_refused_by_both_readers(case, tmp_path):
    with pytest.raises(InputError, match="cannot be read as a pickle"):
        unpickle_arrays(HOSTILE[case], path="batch_1")
    new, old = tmp_path / "new.pth", tmp_path / "old.pth"
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("a/data.pkl", HOSTILE[case])
        archive.writestr("a/version", b"3")
    whole = io.BytesIO()
    torch.save([1], whole, _use_new_zipfile_serialization=False)
    value = pickle.dumps([1], protocol=2)
    assert value in whole.getvalue()
    old.write_bytes(whole.getvalue().replace(value, HOSTILE[case]))
    for path in (new, old):
        with pytest.raises(InputError, match="cannot be read as a checkpoint"):
            load_torch(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_writers_of_plain_values_write_passes(protocol):
    shared = (0.9, 0.999)
    groups = [{"betas": shared, "params": [*range(2000)]}, {"betas": shared, b"k": {"a": None}}]
    value = {"state": {i: {"step": i, "rows": [[1.5] * 5]} for i in range(2000)}, "groups": groups}
    require_modest_pickle(io.BytesIO(pickle.dumps(value, protocol=protocol)))


# --- claims of more than the bytes hold ----------------------------------------------------------


def test_a_checkpoint_is_never_unpacked_to_more_than_it_is(tmp_path):
    plain, small = tmp_path / "plain.pth", tmp_path / "small.pth"
    torch.save({"a": torch.zeros(10**6)}, plain)
    with zipfile.ZipFile(plain) as stored, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as out:
        for name in stored.namelist():
            out.writestr(name, stored.read(name))
    assert load_torch(plain)["a"].shape == (10**6,)
    assert small.stat().st_size < 10_000
    with pytest.raises(InputError, match="compressed, which torch"):
        load_torch(small)
    torch.save([torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)], small)
    with pytest.raises(InputError, match="claim 2000000000000 bytes"):
        load_torch(small)


def test_statistics_are_held_to_the_dimension_before_they_are_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, mu=np.zeros(3000), sigma=np.zeros((3000, 3000)))
    tracemalloc.start()
    with pytest.raises(InputError, match="3,000 dimensions, more than the 2,048"):
        read_statistics(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert len(read_statistics(path, largest=3000).mean) == 3000


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,)}", "9999999999"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}", "-8"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "object"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (True, 'a')}", ""),
        (b"(" * 500, ""),
        (b"{'descr': '<f8\x00", ""),
    ],
)
def test_the_header_of_an_array_is_not_believed(header, told):
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    with pytest.raises(InputError, match=f"as an array.*{told}"), parsing("a", "an array"):
        read_npy(io.BytesIO(content), most=64)


def test_more_images_than_the_official_files_hold_are_not_unpacked(tmp_path):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 60_001, 28, 28) + bytes(60_001 * 784))
    with pytest.raises(InputError, match="claims 60001 items"):
        read_idx(path, item_shape=(28, 28))
