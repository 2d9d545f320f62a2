"""Files that are on the disk when a call returns."""

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, data: bytes | memoryview, start: int) -> None:
    """Write all of ``data`` at an offset, however often the kernel takes less than it was given. Raises OSError."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, start)
        left = left[written:]
        start += written
