"""Qt resource archives (.rcc, formats 1 to 3): files in a tree, plain or compressed with zlib.

Layout as in Qt's qresource.cpp: header ``qres``, version, offsets of tree, data and names, all big-endian. A node of
the tree is the offset of its name (4 bytes) and flags (2); then of a folder count and place of its children (4, 4), of
a file territory and language (2, 2) and the offset of its data (4); from format 2 on 8 bytes of time follow.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from curiosity.protocol.errors import SourceError

_COMPRESSED: Final = 1
_FOLDER: Final = 2
_MAX_NODES: Final = 20_000
_MAX_DEPTH: Final = 32
_MAX_BYTES: Final = 32 << 20  # of one unpacked file


class ResourceArchive:
    """The files of one archive by their path, such as ``/gcompris/src/x.ogg``.

    Raises:
        SourceError: RCC_BROKEN.
    """

    def __init__(self, data: bytes, *, where: str) -> None:
        self._data = data
        self._where = where
        try:
            magic, version, self._tree, self._payload, self._names = struct.unpack_from(">4s4I", data)
            if magic != b"qres" or version not in (1, 2, 3):
                raise ValueError(f"it starts with {data[:8].hex()}")
            self._node_bytes = 14 if version == 1 else 22
            self._files = dict(self._walk())
        except (struct.error, ValueError) as error:
            raise self._broken(error) from error

    def list_paths(self) -> list[str]:
        """Return the paths of the files, in order."""
        return sorted(self._files)

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            SourceError: RCC_BROKEN (also for another compression), FILE_MISSING.
        """
        if path not in self._files:
            raise SourceError("FILE_MISSING", f"{self._where} has no {path}", "Unpack the package again.")
        flags, at = self._files[path]
        try:
            (size,) = struct.unpack_from(">I", self._data, self._payload + at)
            start = self._payload + at + 4
            content = self._data[start : start + size]
            if len(content) != size:
                raise ValueError(f"{path} is cut short")
            if flags & ~(_COMPRESSED | _FOLDER):
                raise ValueError(f"{path} has flags {flags}")
            return _inflate(content) if flags & _COMPRESSED else content
        except (struct.error, ValueError, zlib.error) as error:
            raise self._broken(error) from error

    def _walk(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield the path, flags and data offset of each file. A node is visited once, so that loops end."""
        left = [(0, "", 0)]
        visited = 0
        while left:
            index, path, depth = left.pop()
            visited += 1
            if visited > _MAX_NODES or depth > _MAX_DEPTH:
                raise ValueError(f"over {_MAX_NODES} nodes or {_MAX_DEPTH} folders deep")
            at = self._tree + index * self._node_bytes
            name, flags = struct.unpack_from(">IH", self._data, at)
            here = path + "/" + self._read_name(name) if index else path
            if flags & _FOLDER:
                count, first = struct.unpack_from(">II", self._data, at + 6)
                if count > _MAX_NODES:
                    raise ValueError(f"a folder of {count} entries")
                left += [(first + child, here, depth + 1) for child in range(count)]
            else:
                (offset,) = struct.unpack_from(">I", self._data, at + 10)
                yield here, (flags, offset)

    def _read_name(self, offset: int) -> str:
        at = self._names + offset
        (length,) = struct.unpack_from(">H", self._data, at)
        name = self._data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")  # a hash of 4 bytes stands between
        if len(name) != length:
            raise ValueError("a name is cut short")
        return name

    def _broken(self, error: Exception) -> SourceError:
        return SourceError(
            "RCC_BROKEN", f"{self._where} is not a whole Qt resource archive ({error})", "Unpack the package again."
        )


def _inflate(content: bytes) -> bytes:
    """Return what Qt's qCompress made: the size in 4 bytes, and a zlib stream."""
    (size,) = struct.unpack_from(">I", content)
    unpacker = zlib.decompressobj()
    made = unpacker.decompress(content[4:], _MAX_BYTES)
    if len(made) != size or not unpacker.eof:
        raise ValueError(f"{len(made)} bytes unpacked, {size} stated")
    return made
