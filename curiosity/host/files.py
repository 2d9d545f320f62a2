"""One way to write a file and one way to read a secret.

Whoever writes in place leaves a torn file when the disk fills, and an empty one when the machine loses power; the next
start then finds a file that cannot be used, under a name that is taken.
"""

import codecs
import os
import secrets
from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024
"""More than a keystore with every field, 24 words or a password have; `read_secret` reads no further."""


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put ``data`` at ``path``, which is free, whole or not at all, and return once it is on the disk.

    ``mode`` as far as the umask lets it. Raises FileExistsError if there is something at ``path``, which stays as it
    is, and OSError, after which nothing of ours is left there.
    """
    part = _write_beside(path, data, mode)
    try:
        try:
            os.link(part, path)  # fails where something is, which a rename would replace
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            _write(path, data, mode)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put ``data`` at ``path`` whole or not at all, in place of what is there, and return once it is on the disk.

    A symbolic link stays and its target is replaced; what is no file, such as ``/dev/stdout``, is written to. ``mode``
    as far as the umask lets it. Raises OSError; then ``path`` is as it was.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    target = path.resolve()
    part = _write_beside(target, data, mode)
    try:
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> str:
    """Return the text of a small file with a key, a token, words or a password, without line ends behind it.

    A byte order mark in front is not part of it. Raises OSError, and ValueError for what is not UTF-8 or longer than
    `MAX_SECRET_BYTES`; its words say what is wrong and nothing of the content.
    """
    with path.open("rb") as file:
        data = file.read(MAX_SECRET_BYTES + 1)
    if len(data) > MAX_SECRET_BYTES:
        raise ValueError(f"is longer than {MAX_SECRET_BYTES} bytes")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:  # its own words would show the bytes
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from None


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    _write(part, data, mode)
    return part


def _write(path: Path, data: bytes, mode: int) -> None:
    """Make a file, or leave none."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
