"""Foreign bytes: the one way in which a parser of them is called, and what bounds its work.

A parser of damaged or hostile bytes raises anything at all, and believes sizes that a file claims.
So whatever it raises becomes an InputError that names the file, and before it builds anything the
claims are held against what such a file can hold. JSON has its own reader, `cascore.plain`.
"""

import math
import pickletools
import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cascore.errors import InputError

_MOST_INSTRUCTIONS = 2_000_000  # of a pickle; a checkpoint of 10,000 tensors has a fifth
_MOST_VALUES = 20_000_000  # each counted wherever it is reached
_DEEPEST = 32
_BITS = 128  # of an integer; PyTorch's magic number has 80
_LEGACY_PICKLES = 5  # of a checkpoint before torch 1.6: magic, protocol, system, value, names


@contextmanager
def parsing(name: object, kind: str, advice: str = "get it anew") -> Iterator[None]:
    """Call a parser: whatever it raises becomes an InputError that names the file and the reason.

    The message is "NAME cannot be read as KIND: reason; ADVICE". An InputError passes as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # MemoryError and RecursionError are among them
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{name} cannot be read as {kind}: {reason:.300}; {advice}") from error


def read_npy(stream: IO[bytes], *, most: int) -> npt.NDArray[Any]:
    """The array of an .npy stream, once its header claims at most so many bytes.

    Anything else than a whole array of plain numbers or text raises ValueError, or what numpy does.
    """
    shape, fortran, dtype = _npy_header(stream)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or size > most:
        raise ValueError(f"it claims {dtype} of shape {shape!s:.60}, more than {most} bytes of it")
    content = stream.read(size)
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def read_npz(path: Path, most: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these names in an .npz file, as many as it has, each as by `read_npy`."""
    with zipfile.ZipFile(path) as archive:
        present = set(archive.namelist())
        arrays = {}
        for name in most:
            if f"{name}.npy" in present:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = read_npy(stream, most=most[name])
    return arrays


def npz_shape(path: Path, name: str) -> tuple[int, ...] | None:
    """The shape that an array in an .npz file claims to have, None of one that is not there."""
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as stream:
            return _npy_header(stream)[0]


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


# --- pickles --------------------------------------------------------------------------------------


class _Value:
    """What is known of a value that a pickle would build."""

    def __init__(self, parts: Sequence["_Value"] = (), *, name: str = "") -> None:
        self.depth, self.count, self.placed, self.name = 0, 1, False, name
        self.take(parts)

    def take(self, parts: Sequence["_Value"]) -> None:
        for part in parts:
            part.placed = True
            self.count += part.count
            self.depth = max(self.depth, 1 + part.depth)
        if self.depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST}")


_PUTS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")
_BYTES = "_codecs encode"  # bytes in old protocols; no checkpoint has any, some codes take hours
_HASHING = ("collections OrderedDict", "collections Counter", "builtins set", "__builtin__ set")


def require_modest_pickle(stream: IO[bytes], *, refused: Collection[str] = ()) -> None:
    """Follow the instructions of a pickle without building anything, up to its end.

    Nesting, the number of instructions, of values, each counted wherever it is reached, and of
    places in the memo, integers beyond 128 bits, and keys that are tuples raise ValueError: a few
    bytes can ask for a tuple of tuples of ... whose hash takes for ever. So do a value that changes
    after it was made part of another, as no writer of plain values does, and a function of those
    refused ("module name"). Whatever else a damaged pickle makes of this is raised too.
    """
    stack: list[Any] = []
    memo: dict[int, _Value] = {}
    mark, values = object(), 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if number > _MOST_INSTRUCTIONS or values > _MOST_VALUES:
            raise ValueError("it asks for more values than any data set or checkpoint has")
        if isinstance(argument, int) and abs(argument) >= 2**_BITS:
            raise ValueError(f"it holds an integer of more than {_BITS} bits")
        if argument in refused:
            raise ValueError(f"it asks for {argument}")
        if name == "MARK":
            stack.append(mark)
        elif name in _PUTS:
            place = len(memo) if name == "MEMOIZE" else int(argument or 0)
            if place > number:
                raise ValueError(f"it asks for room for {place} values after {number} instructions")
            memo[place] = stack[-1]
        elif name in _GETS or name == "DUP":
            stack.append(stack[-1] if name == "DUP" else memo[int(argument or 0)])
        else:
            parts = _taken(stack, opcode, mark)
            values += sum(part.count for part in parts if part is not mark)
            _build(stack, opcode, parts, argument)


def _taken(stack: list[Any], opcode: pickletools.OpcodeInfo, mark: object) -> list[Any]:
    """What an instruction takes from the stack, without the container that it fills."""
    if pickletools.markobject in opcode.stack_before:
        start = len(stack) - 1 - stack[::-1].index(mark)
        parts = stack[start + 1 :]
    else:
        start = len(stack) - len(opcode.stack_before) + (opcode.name in _FILLS)
        parts = stack[start:]
    del stack[start:]
    return parts


def _build(
    stack: list[Any], opcode: pickletools.OpcodeInfo, parts: list[Any], argument: object
) -> None:
    """Fill the container on the stack, or put there what is made of the parts."""
    name = str(argument) if opcode.name == "GLOBAL" else ""
    if opcode.name == "REDUCE":
        name = parts[0].name
        if name in _HASHING and parts[1].depth > 2:  # more than a list of text and numbers
            raise ValueError(f"it has tuples hashed by {name}")
    if opcode.name.startswith("SETITEM") and any(x.depth and x.name != _BYTES for x in parts[::2]):
        raise ValueError("a key of a dictionary is no text or number")
    if opcode.name in _FILLS:
        stack[-1].take(parts)
        if stack[-1].placed:
            raise ValueError("it changes a value that is part of another")
    elif opcode.stack_after:
        stack.append(_Value(parts, name=name))


# --- what torch.save wrote ------------------------------------------------------------------------


def load_torch(path: Path) -> Any:
    """What `torch.save` wrote, in the old (pickle) or the new (zip) format: tensors on the CPU.

    Nothing of it is executed. A file that is damaged, asks for code, is nested or compressed as
    torch never does it, or whose tensors claim more than its bytes, raises InputError.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) == b"PK\x03\x04":
                _require_modest_zip(path)
            else:
                stream.seek(0)
                for _ in range(_LEGACY_PICKLES):
                    if stream.peek(1):
                        require_modest_pickle(stream, refused={_BYTES})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what cannot be read is refused
            value = torch.load(path, map_location="cpu", weights_only=True)
        claimed = sum(x.numel() * x.element_size() for x in tensors_in(value))
        if claimed > 2 * path.stat().st_size:
            raise ValueError(f"its tensors claim {claimed} bytes")
    except Exception as error:  # damaged bytes raise anything, an OSError too
        if functions := _code_asked_for(path, str(error)):
            raise InputError(
                f"{path} is refused: loading it would run code, it asks for {', '.join(functions)};"
                " a checkpoint needs only tensors, numbers, lists and dictionaries. Ask whoever"
                " made it for a file of state dictionaries, and do not load this one elsewhere"
                " unless you trust them"
            ) from None
        with parsing(path, "a checkpoint of torch.save", "download or copy it again"):
            raise ValueError(_first_reason(error)) from error
    return value


def _require_modest_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which torch.save never does")
        names = [member.filename for member in members]
        if sum(x.file_size for x in members) > path.stat().st_size or len({*names}) < len(names):
            raise ValueError("its parts overlap")
        for name in names:
            if name.endswith(".pkl"):
                with archive.open(name) as stream:
                    require_modest_pickle(stream, refused={_BYTES})


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The dense tensors on the CPU in lists and dictionaries, one in the other."""
    if isinstance(value, Tensor):
        if value.layout == torch.strided and value.device.type == "cpu":
            yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part)


def _code_asked_for(path: Path, message: str) -> list[str]:
    """The functions and classes that a file would have called, as far as they can be told."""
    names = re.findall(r"GLOBAL (\S+)", message)
    if names:
        with suppress(Exception):  # the old format, or damaged; the message names the first of them
            names += torch.serialization.get_unsafe_globals_in_checkpoint(path)
    # The operating system's module goes by another name in pickles.
    return sorted({re.sub(r"^(posix|nt)\.", "os.", name) for name in names})


def _first_reason(error: Exception) -> str:
    """What PyTorch found, without its advice to load the file unsafely."""
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return f"{type(error).__name__}: {reason}".removesuffix(": ")
