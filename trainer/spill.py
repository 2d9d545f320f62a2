"""Arrays that may be more than the memory holds: beyond a bound they lie in files that the system pages in and out."""

import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_BYTES = 2**30
_FILE_BYTES = 64 * 2**20
_ALIGN = 64  # a cache line


class Spill:
    """Gives room for arrays: ``max_bytes`` in memory, all further in temporary files.

    The files have no name (they are gone with the last array in them, also after a crash) and lie in the folder that
    ``TMPDIR`` names. They help only where that is a disk and not memory.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.in_memory = self.in_files = 0  # bytes
        self._file: mmap.mmap | None = None
        self._used = 0

    def make_room(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of that shape and dtype, its values not yet set."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if self.in_memory + size <= self.max_bytes:
            self.in_memory += size
            return np.empty(shape, dtype)
        if self._file is None or self._used + size > len(self._file):
            length = max(_FILE_BYTES, size)
            with tempfile.TemporaryFile() as file:  # the mapping outlives it
                file.truncate(length)
                self._file, self._used = mmap.mmap(file.fileno(), length), 0
        array = np.frombuffer(self._file, dtype, size // np.dtype(dtype).itemsize, self._used).reshape(shape)
        self._used += -(-size // _ALIGN) * _ALIGN
        self.in_files += size
        return array

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the same values, where there is room for them."""
        if self.in_memory + array.nbytes <= self.max_bytes:
            self.in_memory += array.nbytes
            return array
        room = self.make_room(array.shape, array.dtype)
        room[...] = array
        return room
