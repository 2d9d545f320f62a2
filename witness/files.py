"""Names of a witness's files, and putting them on the disk for good."""

import os
from hashlib import sha256
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole or not at all, and only return once it is on the disk."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def origin_hash(origin: str) -> str:
    """Return the hex SHA-256 of an origin line, by which files and the monitoring route name a log."""
    return sha256(origin.encode()).hexdigest()
