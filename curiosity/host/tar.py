"""Headers of a tar file from a stranger, read one after another in time and memory that its length bounds.

The standard library's reader recurses once for each extended header in a row, copies all global keys for each member,
and takes a size of -1. This one knows what a plain archive of short names needs: ustar headers (GNU's and V7's too),
and before a member at most one extended header, of which ``path`` and ``size`` count. It reads no content.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

MAX_RECORD_BYTES: Final = 64 << 10
"""Of one extended header: a name and what tools add, never content."""

_BLOCK: Final = 512
_MAX_SIZE: Final = (1 << 63) - 1  # more than any file has
_FILES: Final = (b"0", b"\0")
_FOLDER: Final = b"5"
_EXTENDED: Final = b"x"
_FOREIGN: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
_LENGTH: Final = re.compile(rb"[1-9][0-9]{0,5} ")
_DECIMAL: Final = re.compile(rb"[0-9]{1,19}")
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")


class TarBroken(ValueError):
    """A file that is not a whole tar file, or whose headers contradict themselves."""


class TarForeign(ValueError):
    """A member that a plain archive does not have: a link, a device, a sparse file, a header of another kind."""


@dataclass(frozen=True)
class Member:
    """A file or folder: its name as it is written there, where its content begins, and how many bytes it has."""

    name: str
    is_folder: bool
    offset: int
    size: int


def read_members(file: BinaryIO) -> Iterator[Member]:
    """Yield the files and folders of an archive in order, from its first byte to its end mark or its last byte.

    Raises:
        TarBroken: The file is cut, a checksum or a number is wrong, or a header is too long.
        TarForeign: There is a member that is neither a file nor a folder.
        OSError: The file cannot be read.
    """
    end = file.seek(0, io.SEEK_END)
    at = 0
    extended: dict[bytes, bytes] | None = None
    while at < end:
        header = _read(file, at, _BLOCK)
        if not any(header):
            break
        _check_sum(header, at)
        size, kind, at = _number(header[124:136], "a size"), header[156:157], at + _BLOCK
        if kind == _EXTENDED:
            if extended is not None:
                raise TarBroken("two extended headers before one member")
            if size > MAX_RECORD_BYTES:
                raise TarBroken(f"a header record of {size} bytes, at most {MAX_RECORD_BYTES} are read")
            extended = _records(_read(file, at, size))
            at += _padded(size)
            continue
        member = _member(header, kind, at, size, extended or {})
        extended = None
        if member.offset + member.size > end:
            raise TarBroken(f"{member.name[:100]!r} is cut off")
        yield member
        at += _padded(member.size)
    if extended is not None:
        raise TarBroken("an extended header before no member")


def _member(header: bytes, kind: bytes, at: int, size: int, extended: dict[bytes, bytes]) -> Member:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345] != 0:
        name = f"{_text(header[345:500])}/{name}"
    if b"path" in extended:
        name = extended[b"path"].decode("utf-8", "surrogateescape")
    is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith("/"))
    if not is_folder and kind not in _FILES:
        raise TarForeign(f"{_FOREIGN.get(kind, 'something that is not a file')} named {name[:100]!r}")
    if any(key.startswith(b"GNU.sparse.") for key in extended):
        raise TarForeign(f"a sparse file named {name[:100]!r}")
    if b"size" in extended:
        if _DECIMAL.fullmatch(extended[b"size"]) is None:
            raise TarBroken("a size that is not a whole number")
        size = int(extended[b"size"])
    if size > _MAX_SIZE:
        raise TarBroken(f"a size of {size} bytes")
    return Member(name, is_folder, at, 0 if is_folder else size)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Return the records ``LENGTH KEY=VALUE`` of an extended header, the last of each key."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        length = _LENGTH.match(data, at)
        if length is None:
            raise TarBroken("a header record without a length")
        end = at + int(length[0])
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise TarBroken("a header record that is cut or damaged")
        found[key] = value
        at = end
    return found


def _number(field: bytes, what: str) -> int:
    """Return a field of octal digits, or of 256 as base where its first bit is set. Never negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = _OCTAL.fullmatch(field)
    if digits is None:
        raise TarBroken(f"{what} that is not a whole number")
    return int(digits[1] or b"0", 8)


def _check_sum(header: bytes, at: int) -> None:
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != _number(header[148:156], "a checksum"):
        raise TarBroken(f"the header at byte {at} is damaged")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise TarBroken(f"it ends within the header at byte {at}")
    return data


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
