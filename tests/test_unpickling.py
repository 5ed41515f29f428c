"""Pickles of arrays, read without running them. Oracles: numpy's own pickles, and bytes by hand."""

import pickle
import struct

import numpy as np
import pytest

from cascore.data.unpickling import unpickle_arrays
from cascore.errors import InputError

DATA = np.random.default_rng(2).integers(0, 256, (4, 3072), dtype=np.uint8)
BATCH = {
    b"batch_label": b"training batch 1 of 5",
    b"labels": [6, 9, 9, 4],
    b"data": DATA,
    b"filenames": [b"a.png", b"\xff\x00b.png", b"c.png", b"d.png"],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_pickles_comes_out_as_it_went_in(protocol, order):
    batch = BATCH | {b"data": np.asarray(DATA, order=order)}
    result = unpickle_arrays(pickle.dumps(batch, protocol=protocol), path="batch")
    assert result.keys() == batch.keys()
    assert np.array_equal(result[b"data"], DATA)
    assert result[b"data"].dtype == np.uint8
    assert all(result[key] == batch[key] for key in batch if key != b"data")


def python_2(shape, content, *, kind=b"u1", fortran=b"\x89"):
    """{'data': array, 'labels': [3, 4]} as Python 2 wrote it, instruction by instruction."""
    size = struct.pack("<i", len(content))
    sizes = b"".join(b"J" + struct.pack("<i", item) for item in shape)
    return (
        b"\x80\x02}q\x00(U\x04dataq\x01"
        b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
        b"(K\x01(" + sizes + b"tcnumpy\ndtype\nq\x05U\x02" + kind + b"K\x00K\x01\x87Rq\x06"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + fortran
        + b"T"
        + size
        + content
        + b"tbU\x06labels](K\x03K\x04eu."
    )


def test_a_pickle_of_python_2_is_read():
    result = unpickle_arrays(python_2((2, 3), b"abcdef"), path="batch")
    assert result[b"data"].tolist() == [[97, 98, 99], [100, 101, 102]]
    assert result[b"labels"] == [3, 4]
    result = unpickle_arrays(python_2((2, 3), b"abcdef", fortran=b"\x88"), path="batch")
    assert result[b"data"].tolist() == [[97, 99, 101], [98, 100, 102]]


def global_call(module, name, argument):
    """Protocol 2: call module.name with one string."""
    text = argument.encode()
    return (
        f"\x80\x02c{module}\n{name}\n".encode("latin1")
        + b"X"
        + struct.pack("<I", len(text))
        + text
        + b"\x85R."
    )


def stacked_call(module, name, argument):
    """Protocol 4, where the names come from the stack."""

    def text(value):
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


def instance_call(module, name, argument):
    """Protocol 0, with the old instruction for instances."""
    return f"(S'{argument}'\ni{module}\n{name}\n.".encode()


@pytest.mark.parametrize("write", [global_call, stacked_call, instance_call])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),  # what Python 2 called it
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.multiarray", "fromstring"),
        ("_codecs", "decode"),
        ("cascore.data.unpickling", "unpickle_arrays"),
        ("copyreg", "_reconstructor"),
    ],
)
def test_any_other_name_is_refused_by_name_and_not_called(write, module, name, tmp_path):
    canary = tmp_path / "canary"
    hostile = write(
        module, name, f"open({str(canary)!r}, 'w')" if "eval" in name else f"touch {canary}"
    )
    with pytest.raises(InputError, match=rf"hostile asks for \w+\.?.*{name}, .* refused"):
        unpickle_arrays(hostile, path="hostile")
    assert not canary.exists()


def test_the_canary_sings_where_a_pickle_is_trusted(tmp_path):
    """The calls above are real: the standard unpickler runs them."""
    for number, write in enumerate((global_call, stacked_call, instance_call)):
        canary = tmp_path / f"canary-{number}"
        pickle.loads(write("posix", "system", f"touch {canary}"))
        assert canary.exists()


WHOLE = pickle.dumps(BATCH, protocol=2)
DAMAGED = {
    "nothing": b"",
    "text": b"not a pickle at all",
    "truncated": WHOLE[: len(WHOLE) // 2],
    "without its end": WHOLE[:-1],
    "objects": python_2((1,), b"a", kind=b"O8"),
    "floats": pickle.dumps({b"data": np.zeros(3)}, protocol=2),
    "more shape than bytes": python_2((1000, 3072), b"abc"),
    "less shape than bytes": python_2((1,), b"abc"),
    "a negative shape": python_2((-1, -3), b"abc"),
    "an absurd memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a memo that would go through": b"\x80\x02]r\x00\x00\x01\x00.",
    "an absurd string": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "a persistent name": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "an extension": b"\x80\x02\x82\x01.",
    "state for a function": b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__)s\x86b.",
    "state for a class": b"\x80\x02cnumpy\nndarray\nN}X\x06\x00\x00\x00valuesK\x01s\x86b.",
    "another code": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "a new object of a stand-in": b"\x80\x02cnumpy\nndarray\n)\x81.",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_pickle_is_an_error_that_names_it(case):
    with pytest.raises(InputError, match=r"(batch_9 cannot be read|batch_9 asks for numpy)"):
        unpickle_arrays(DAMAGED[case], path="batch_9")
    # Nothing of it stays behind.
    assert np.array_equal(unpickle_arrays(WHOLE, path="batch")[b"data"], DATA)
