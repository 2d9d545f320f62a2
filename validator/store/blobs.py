"""Large contents as files named by their SHA-256: durable before the transaction that speaks of them."""

import os
from hashlib import sha256
from pathlib import Path

from protocol.errors import StoreError

MAX_INLINE_BYTES = 100 * 1024
"""Up to this size a content lives in the database, where it is read faster (sqlite.org/intern-v-extern-blob.html)."""


def _failed(error: OSError, path: Path) -> StoreError:
    return StoreError(
        "BLOB_UNWRITABLE",
        f"cannot write {path}: {error.strerror or error}",
        "Free space or make the folder writable, then start the validator again.",
    )


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all, and only return once it is on the disk. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


class BlobFiles:
    """Content-addressed files ``ab/cdef...`` below a folder. A file without a row in the database is harmless."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / name[:2] / name[2:]

    def write(self, digest: bytes, data: bytes) -> None:
        """Make the content durable; do nothing where it lies whole already. Raises StoreError BLOB_UNWRITABLE."""
        path = self._path(digest)
        try:
            if path.is_file() and sha256(path.read_bytes()).digest() == digest:
                sync_directory(path.parent)
                return
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                sync_directory(path.parent.parent)
            write_durably(path, data)
        except OSError as error:
            raise _failed(error, path) from None

    def read(self, digest: bytes) -> bytes | None:
        """Return the content, None if there is no such file."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
