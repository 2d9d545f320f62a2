"""One way to write a file, one to append to it, one to lock it, and one to read a secret.

A file that is written in place is torn when the disk fills, and empty when the machine loses power; the next start then
finds a file that cannot be used, under a name that is taken. Everything here that writes returns once a power cut
changes nothing any more: the content is on the disk, and so is the name in its folder.
"""

import codecs
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from curiosity.host.paths import inside

_LOCK_POLL_S = 0.02
_LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")

MAX_SECRET_BYTES = 64 * 1024
"""More than a keystore with every field, 24 words or a password have; `read_secret` reads no further."""


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put ``data`` at ``path``, which is free, whole or not at all, and return once it is on the disk.

    ``mode`` as far as the umask lets it.

    Raises:
        FileExistsError: If there is something at ``path``, which stays as it is.
        OSError: After which nothing of ours is left there.
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

    A symbolic link stays and its target is replaced; a device such as ``/dev/stdout`` is written to. ``mode``
    as far as the umask lets it.

    Raises:
        OSError: If it cannot be written; then ``path`` is as it was.
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


@contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a free path for a library to write a file to, which then takes the place of ``path`` as a whole.

    If the block raises, ``path`` is as it was and nothing is left beside it.

    Raises:
        OSError: If it cannot be written, also if the block wrote no file.
    """
    target = path.resolve()
    part = _part_of(target)
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        yield part
        sync_file(part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Make a folder with these files, whole or not at all; there is nothing at ``path``, or an empty folder.

    Raises:
        OSError: If it cannot be written; then nothing of ours is left there.
    """
    make_folder(path.parent)
    part = _part_of(path)
    try:
        part.mkdir()
        for name, data in contents.items():
            _write(inside(part, name, one=True), data, 0o666)
        sync_directory(part)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_directory(path.parent)


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder and those above it where they are missing. ``mode`` is the last one's.

    Raises:
        OSError: If it cannot be made.
    """
    missing = []
    above = path
    while not above.is_dir():
        missing.append(above)
        above = above.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True, mode=mode if folder == path else 0o777)
        sync_directory(folder.parent)


def move(path: Path, to: Path) -> None:
    """Give a file or folder another name in the same folder, in place of a file that is there.

    Raises:
        OSError: If it cannot be moved.
    """
    path.replace(to)
    sync_directory(to.parent)


def append_durably(path: Path, data: bytes) -> None:
    """Add ``data`` to the end of a file, which is made if it is not there.

    After a power cut a part of ``data`` may be at the end.

    Raises:
        OSError: If it cannot be written; then the file is as it was, if the disk lets us cut it.
    """
    with FileIO(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+") as file:
        is_new = os.fstat(file.fileno()).st_size == 0
        append_to(file, data)
    if is_new:
        sync_directory(path.parent)


def append_to(file: FileIO, data: bytes, *, durable: bool = True) -> None:
    """Add ``data`` to a file that is open for appending; its name is durable already.

    ``durable=False`` leaves the moment at which it reaches the disk to the kernel.

    Raises:
        OSError: As `append_durably`.
    """
    size = os.fstat(file.fileno()).st_size
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
        if durable:
            os.fsync(file.fileno())
    except OSError:
        file.truncate(size)  # half a record would make the next one unreadable
        raise


def cut_to(path: Path, size: int) -> None:
    """Drop what a file has after ``size`` bytes, such as a record that a power cut tore.

    Raises:
        OSError: If it cannot be cut.
    """
    with path.open("r+b", buffering=0) as file:
        file.truncate(size)
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make the content of a file durable that was written in several steps.

    Raises:
        OSError: If the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_locked(path: Path, *, patience_s: float = 0.0, mode: int = 0o666) -> FileIO:
    """Open a file for reading and appending, made if it is not there, that no other process has open like this.

    Closing it lets others in. A file that serves as a lock only is never replaced and never removed: a lock on a file
    that others cannot find any more keeps nobody out.

    Raises:
        BlockingIOError: If another process still has it after ``patience_s``.
        OSError: If it cannot be opened.
    """
    is_new = not path.exists()
    file = FileIO(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode), "r+")
    try:
        if is_new:
            sync_directory(path.parent)
        end = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise
            time.sleep(_LOCK_POLL_S)
    except BaseException:
        file.close()
        raise


@contextmanager
def folder_locked(path: Path) -> Iterator[None]:
    """Keep other processes out of such a block with this folder; wait until they are.

    Raises:
        OSError: If the lock cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: If the disk does not take them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> str:
    """Return the text of a small file with a key, a token, words or a password, without line ends behind it.

    A byte order mark in front is not part of it.

    Raises:
        OSError: If it cannot be read.
        ValueError: For what is not UTF-8 or longer than `MAX_SECRET_BYTES`; its words say what is wrong and nothing of
            the content.
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
    part = _part_of(path)
    _write(part, data, mode)
    return part


def is_left_over(path: Path) -> bool:
    """Return True for the name of a file that a killed process was writing here, which may be removed."""
    return _LEFT_OVER.fullmatch(path.name) is not None


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


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
