"""Writing at a place of a file."""

import os


def write_at(descriptor: int, data: bytes | memoryview, start: int) -> None:
    """Write all of ``data`` at an offset, however often the kernel takes less than it was given.

    Raises:
        OSError: If the disk does not take it.
    """
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, start)
        left = left[written:]
        start += written
