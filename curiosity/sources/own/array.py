"""Arrays of sensors as ``.npy`` bytes: their header read without trust, written anew, and arrays made from numbers."""

import io
import math
import tokenize
from typing import Any, Final

MAX_HEADER_BYTES: Final = 4096
# What NumPy's header parser raises on hostile text; MemoryError and RecursionError come from deep nesting.
_BROKEN: Final = (
    SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip


def read_header(data: bytes) -> tuple[tuple[int, ...], bool, Any, int]:
    """Return the shape, whether in Fortran order, the dtype, and where the values start.

    Raises:
        ValueError: If it cannot be read.
    """
    import numpy as np  # not before an array is read

    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
    except _BROKEN as error:
        raise ValueError(f"{type(error).__name__} in the header") from error
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("a length in the header is not a count")
    if dtype.hasobject or dtype.names is not None or dtype.shape:
        raise ValueError(f"values of type {str(dtype)[:40]} are not numbers")
    return shape, is_fortran, dtype, file.tell()


def strip_array(data: bytes) -> bytes:
    """Return the array behind the header that NumPy writes today.

    Spaces and order of keys of another header can carry a message.

    Raises:
        ValueError: If it cannot be read.
    """
    import numpy as np

    shape, is_fortran, dtype, start = read_header(data)
    size = math.prod(shape) * dtype.itemsize
    values = data[start : start + size]  # what follows the array is dropped
    if len(values) < size:
        raise ValueError(f"{size} bytes of values are promised")
    head = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(head, {"descr": described, "fortran_order": is_fortran, "shape": shape})
    return head.getvalue() + values


def encode_array(values: object, shape: tuple[int, ...] | None = None) -> bytes:
    """Return ``.npy`` of float32 from (nested) lists of numbers.

    It is brought to ``shape`` where given (one -1 for what is left).

    Raises:
        ValueError: Where rows differ in length, a value is not a number, or the shape does not fit.
    """
    import numpy as np

    try:
        array = np.asarray(values, dtype=np.float64).astype("<f4")
    except TypeError as error:
        raise ValueError(f"not all values are numbers ({error})") from error
    if shape is not None:
        array = array.reshape(shape)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
