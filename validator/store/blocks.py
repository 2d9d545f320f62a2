"""Appending whole blocks to a file past the kernel's page cache.

What is written once, synced at once and read back by nobody soon gains nothing from the cache: its pages have to be
found, filled and written back, which costs twice the processor time of the whole write, and pushes out pages that
somebody does read. So the bytes are put together in one aligned buffer, kept for the next batch, and handed to the
disk from there (O_DIRECT). Where a file system cannot do that, the same blocks go through the cache.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

BLOCK_BYTES = 4096  # a multiple of every disk's own
_BUFFER_BYTES = 4 << 20


def whole_blocks(size: int) -> int:
    """Return the bytes that as many whole blocks have as ``size`` bytes need."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


class BlockFile:
    """A file that is written in whole blocks.

    Raises:
        OSError: By every method.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self.descriptor = os.open(path, flags | os.O_DIRECT, 0o600)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.descriptor = os.open(path, flags, 0o600)
        self._room = memoryview(mmap.mmap(-1, _BUFFER_BYTES))  # begins at a page, as the kernel asks

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def write(self, parts: Sequence[bytes], start: int) -> None:
        """Write the parts one after the other from a block's beginning on, zeros up to the end of the last block."""
        filled = 0
        for part in parts:
            left = memoryview(part)
            while left:
                taken = min(len(left), _BUFFER_BYTES - filled)
                self._room[filled : filled + taken] = left[:taken]
                filled, left = filled + taken, left[taken:]
                if filled == _BUFFER_BYTES:
                    self._write(filled, start)
                    filled, start = 0, start + filled
        if filled:
            end = whole_blocks(filled)
            self._room[filled:end] = bytes(end - filled)
            self._write(end, start)

    def _write(self, size: int, start: int) -> None:
        left = self._room[:size]
        while left:
            try:
                written = os.pwrite(self.descriptor, left, start)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._give_up_direct():
                    raise
                continue
            if written % BLOCK_BYTES:  # what is left does not begin at a block any more
                self._give_up_direct()
            left, start = left[written:], start + written

    def _give_up_direct(self) -> bool:
        """Go through the cache from now on; False if that is so already."""
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        if not flags & os.O_DIRECT:
            return False
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return True
