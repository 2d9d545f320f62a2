"""Sensor items: one array in a ``.npy`` file, read strictly and without pickle. What the sensor modalities share.

A file is what ``numpy.save`` writes of a float32 array: format version 1, 2 or 3, C order, little-endian. The header is
the sender's word: the bytes that it promises are compared with those that follow before anything is allocated.
"""

import io
import math
import tokenize
import warnings
from dataclasses import dataclass

import numpy as np

from curiosity.embedding.modality import Array, Contract, Limits, find_outside_column, refuse

MEDIA_TYPE = "application/x-npy"
DTYPE = "<f4"
# numpy writes 118 bytes for any array that is taken here; a longer header only gives its parser more to chew.
MAX_HEADER_BYTES = 1_024
# Beyond the largest array: the header, and enough that an array a little too long is told its length, not its bytes.
_ROOM_BYTES = 4_096
_MANY = 2**63  # a number for messages; a hostile shape promises one of hundreds of digits
# What numpy's header parser raises on hostile text; MemoryError and RecursionError come from deep nesting.
_BROKEN = (
    ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, RecursionError,
    MemoryError, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True)
class ArrayModality:
    """A modality whose items are one float32 array that meets its contract; a sensor gives the values."""

    name: str
    limits: Limits
    contract: Contract
    mask_share: float
    natural_unit: str
    media_types: tuple[str, ...] = (MEDIA_TYPE,)
    preparation: str = "Read strictly from `.npy`; nothing is scaled, cut or padded."

    def decode(self, data: bytes, media_type: str) -> Array:  # noqa: ARG002 - one media type
        """Return the array of the shape and unit that ``contract`` says.

        Raises:
            Rejected: an ``ARRAY_`` code of ``read_array``.
        """
        return read_array(self.name, self.contract, data)


def max_file_bytes(contract: Contract) -> int:
    """Return the size of the largest file in bytes: a header and the largest array that the contract allows."""
    return _ROOM_BYTES + contract.max_array_bytes


def read_array(name: str, contract: Contract, data: bytes) -> Array:
    """Return the float32 array of a ``.npy`` file that meets ``contract``; ``name`` is the modality's, for messages.

    Raises:
        Rejected: ARRAY_UNREADABLE (no such file, or its header is none), ARRAY_DTYPE, ARRAY_ORDER, ARRAY_TRUNCATED,
            ARRAY_TRAILING_BYTES, ARRAY_RANK, ARRAY_SHAPE (a fixed length differs), ARRAY_TOO_SHORT, ARRAY_TOO_LONG,
            ARRAY_NOT_FINITE, ARRAY_OUT_OF_RANGE or ARRAY_COLUMN_OUT_OF_RANGE.
    """
    shape, start = _read_header(name, data)
    promised, follow = math.prod(shape) * np.dtype(DTYPE).itemsize, len(data) - start
    if promised > follow:
        raise refuse(
            "ARRAY_TRUNCATED",
            f"{name}: the header says shape {_short(shape)}, at least "
            f"{min(promised, _MANY)} bytes, but {follow} follow it",
            "Save the array again and send the whole file.",
        )
    if promised < follow:
        raise refuse(
            "ARRAY_TRAILING_BYTES",
            f"{name}: the header says shape {_short(shape)}, {promised} bytes, but {follow} follow it",
            "Save one array in the file and nothing behind it.",
        )
    _check_shape(name, contract, shape)
    array = np.frombuffer(data, dtype=DTYPE, offset=start).reshape(shape).astype(np.float32)
    _check_values(name, contract, array)
    return array


def _read_header(name: str, data: bytes) -> tuple[tuple[int, ...], int]:
    """Return the shape, and where the values start."""
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns where it repairs a header; ours need no repair
            version = np.lib.format.read_magic(file)
            # Version 3 is version 2 in UTF-8, for names of fields, which no array here has: ASCII in both.
            parse = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
                (3, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, is_fortran, dtype = parse(file, max_header_size=MAX_HEADER_BYTES)
    except (*_BROKEN, Warning) as error:
        raise refuse(
            "ARRAY_UNREADABLE",
            f"{name}: {len(data)} bytes are not a .npy file of version 1, 2 or 3 "
            f"({type(error).__name__}: {str(error)[:100]})",
            "Write it with numpy.save.",
        ) from error
    # The parser takes True for a length, and negative ones.
    if any(type(length) is not int or length < 0 for length in shape):
        raise refuse("ARRAY_UNREADABLE", f"{name}: the header says shape {_short(shape)}", "Write it with numpy.save.")
    if dtype.str != DTYPE or dtype.shape:
        raise refuse(
            "ARRAY_DTYPE",
            f"{name}: dtype {str(dtype)[:60]}, taken is float32, little-endian ({DTYPE})",
            "Convert it: array.astype('<f4').",
        )
    if is_fortran and len(shape) > 1:
        raise refuse(
            "ARRAY_ORDER", f"{name}: the array is in Fortran order", "Save numpy.ascontiguousarray(array), C order."
        )
    return shape, file.tell()


def _check_shape(name: str, contract: Contract, shape: tuple[int, ...]) -> None:
    if len(shape) != len(contract.shape):
        raise refuse(
            "ARRAY_RANK",
            f"{name}: {len(shape)} dimensions, shape {_short(shape)}; expected {len(contract.shape)}",
            f"Send {contract.meaning}.",
        )
    for axis, (got, want) in enumerate(zip(shape, contract.shape, strict=True)):
        if isinstance(want, int) and got != want:
            raise refuse(
                "ARRAY_SHAPE",
                f"{name}: shape {_short(shape)} has {got} along axis {axis}, expected {want}",
                f"Send {contract.meaning}.",
            )
    for axis, (got, want) in enumerate(zip(shape, contract.shape, strict=True)):
        shortest, longest = want if isinstance(want, tuple) else (1, None)
        if got < shortest:
            raise refuse(
                "ARRAY_TOO_SHORT",
                f"{name}: {got} along axis {axis}, at least {shortest} are taken",
                "Send a longer recording.",
            )
        if longest is not None and got > longest:
            raise refuse(
                "ARRAY_TOO_LONG",
                f"{name}: {got} along axis {axis}, at most {longest} are taken",
                "Cut the recording, or send every second value.",
            )


def _check_values(name: str, contract: Contract, array: Array) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise refuse(
            "ARRAY_NOT_FINITE",
            f"{name}: {len(bad)} of {array.size} values are not finite, the first at {tuple(bad[0].tolist())}",
            "Leave out what the sensor did not measure.",
        )
    if (where := find_outside_column(contract, array)) is not None:
        column = contract.columns[where[-1]]
        raise refuse(
            "ARRAY_COLUMN_OUT_OF_RANGE",
            f"{name}: {column.name} is {array[where]:g} at step {where[0]}, "
            f"taken is {column.low:g} to {column.high:g} {column.unit}".rstrip(),
            "Check the unit and the order of the columns.",
        )
    low, high = float(array.min()), float(array.max())
    if array.min() < contract.low or array.max() > contract.high:
        raise refuse(
            "ARRAY_OUT_OF_RANGE",
            f"{name}: values from {low:g} to {high:g}, "
            f"taken are {contract.low:g} to {contract.high:g} {contract.unit}".rstrip(),
            "Check the unit.",
        )


def _short(shape: tuple[int, ...]) -> str:
    """Return the shape for a message; a hostile one has hundreds of lengths of hundreds of digits."""
    return (
        str(shape) if len(shape) <= 8 and all(abs(length) < _MANY for length in shape) else f"of {len(shape)} lengths"
    )
