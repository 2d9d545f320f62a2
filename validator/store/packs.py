"""Large contents one after the other in few files: one write and one sync a batch, whatever the number of contents.

A pack is nothing but contents; which bytes are which is in the database, in the same transaction as the pair. Bytes
that no row speaks of were written by a process that ended before its transaction: the next one writes over them. A
batch begins at a block of its own, so that no write touches a block that holds what is durable already.
"""

import ctypes
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from curiosity.host.files import sync_directory
from curiosity.protocol.errors import StoreError
from validator.store.blocks import BlockFile, whole_blocks
from validator.store.files import write_at

_log = logging.getLogger(__name__)

MAX_INLINE_BYTES = 16 * 1024
"""Up to this size a content lies in the database, and costs no sync of its own. Above, writing it once into a pack is
cheaper than twice, into the write-ahead log and from there into the table."""

MAX_PACK_BYTES = 1 << 30  # a new pack begins once this is reached
_ZEROS = bytes(1 << 20)
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01  # linux/falloc.h


def _failed(error: OSError, path: Path) -> StoreError:
    return StoreError(
        "BLOB_UNWRITABLE",
        f"cannot write {path}: {error.strerror or error}",
        "Free space or make the folder writable, then start the validator again.",
    )


class Packs:
    """The files ``00000000.pack``, ``00000001.pack``... in a folder. One process appends; any may read."""

    def __init__(self, folder: Path, max_pack_bytes: int = MAX_PACK_BYTES) -> None:
        self._folder = folder
        self._max_pack_bytes = max_pack_bytes
        self._file: BlockFile | None = None
        self._pack = self._end = 0

    @property
    def is_open(self) -> bool:
        """Whether `open_at` has said where to append."""
        return self._file is not None

    def _path(self, pack: int) -> Path:
        return self._folder / f"{pack:08d}.pack"

    def open_at(self, pack: int, end: int) -> None:
        """Append to this pack from ``end`` on; whatever lies there or in later packs is cut off, no row knows it.

        Raises:
            StoreError: BLOB_UNWRITABLE, BLOB_CORRUPT if the pack is shorter than the database says.
        """
        self.close()
        path = self._path(pack)
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                sync_directory(self._folder.parent)
            for later in self._folder.glob("*.pack"):
                if later.stem.isdecimal() and int(later.stem) > pack:
                    later.unlink()
            self._file = BlockFile(path)
            size = os.fstat(self._file.descriptor).st_size
            if size < end:
                self.close()
                raise StoreError(
                    "BLOB_CORRUPT",
                    f"{path} has {size} bytes, the database knows {end}",
                    "Restore the packs of the newest copy; they are never shorter than their database.",
                )
            if size > end:
                os.ftruncate(self._file.descriptor, end)
                os.fsync(self._file.descriptor)
            sync_directory(self._folder)
        except OSError as error:
            self.close()
            raise _failed(error, path) from None
        self._pack, self._end = pack, end

    def close(self) -> None:
        """Close the file that is appended to."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, contents: Sequence[bytes]) -> list[tuple[int, int]]:
        """Make the contents durable at the end and return (pack, start) of each.

        Raises:
            StoreError: BLOB_UNWRITABLE.
        """
        if self._file is None:
            raise ValueError("nobody has said where the packs end")
        if self._end >= self._max_pack_bytes:
            self.open_at(self._pack + 1, 0)
        starts: list[tuple[int, int]] = []
        start = end = whole_blocks(self._end)
        for content in contents:
            starts.append((self._pack, end))
            end += len(content)
        try:
            self._file.write(contents, start)
            os.fdatasync(self._file.descriptor)
        except OSError as error:
            raise _failed(error, self._path(self._pack)) from None
        self._end = end
        return starts

    def size(self, pack: int) -> int:
        """Return the length of a pack, 0 if there is none."""
        try:
            return self._path(pack).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, pack: int, start: int, size: int) -> bytes | None:
        """Return the bytes of an extent, fewer where the pack ends; None if there is no such pack."""
        try:
            file = os.open(self._path(pack), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            parts: list[bytes] = []
            while size and (part := os.pread(file, size, start)):
                parts.append(part)
                start, size = start + len(part), size - len(part)
            return b"".join(parts)
        finally:
            os.close(file)

    def scrub(self, pack: int, start: int, size: int) -> None:
        """Overwrite an extent with zeros, durably, then give its blocks back.

        Zeros first: a hole alone would leave the bytes in the free blocks of the disk.

        Raises:
            StoreError: BLOB_UNWRITABLE.
        """
        path = self._path(pack)
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed(error, path) from None
        try:
            size = max(0, min(size, os.fstat(file).st_size - start))  # nothing to erase behind the end
            for offset in range(0, size, len(_ZEROS)):
                write_at(file, memoryview(_ZEROS)[: min(len(_ZEROS), size - offset)], start + offset)
            os.fsync(file)
            _punch_hole(file, start, size)
        except OSError as error:
            raise _failed(error, path) from None
        finally:
            os.close(file)


def _punch_hole(file: int, start: int, size: int) -> None:
    """Free the blocks of an extent that is zero already. A file system that cannot keeps them; they are zero."""
    if size == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    offset, length = ctypes.c_int64(start), ctypes.c_int64(size)
    if libc.fallocate(file, _PUNCH_HOLE | _KEEP_SIZE, offset, length) != 0:
        _log.info("pack=%d hole=refused reason=%s", file, os.strerror(ctypes.get_errno()))
