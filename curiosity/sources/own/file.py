"""A contributor's file, read whole."""

from pathlib import Path

from curiosity.protocol.errors import SourceError


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceError: CANNOT_READ.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            "CANNOT_READ", f"{path}: {error.strerror}", "Check that the file is there and may be read."
        ) from error
