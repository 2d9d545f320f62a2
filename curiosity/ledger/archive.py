"""The files of an export, read where they lie: a folder, or the members of a tar file. Nothing is ever unpacked.

A tar file of somebody else's may hold links, devices, names with ``..`` and sparse or compressed members (CVE-2025-4517
is one way in which a library's extraction was led outside its folder). Here a member is an offset and a size under a
name of an export's own layout; whatever else there is refuses the whole file before anything of it is used.
"""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from curiosity.host.paths import PathRefused, inside
from curiosity.host.tar import Member, TarBroken, TarForeign, read_members
from curiosity.ledger.layout import PATTERN
from curiosity.protocol.errors import ProofError

_MAX_MEMBERS: Final = 8_000_000
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd", b"PK": "zip"}


class Folder:
    """An export's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a file of the layout.

        Raises:
            FileNotFoundError, OSError: If it cannot be read.
            ProofError: IMPORT_SIZE if it is longer, IMPORT_MEMBER if a link leads out of the folder.
        """
        try:
            path = inside(self.path, name)
        except PathRefused as error:
            raise ProofError(
                "IMPORT_MEMBER", f"{self.path}: {name} {error}", "Copy the export, not links to it."
            ) from None
        with path.open("rb") as file:
            return _at_most(file, name, max_bytes)


class Archive:
    """A tar file of an export, open for as long as it is used as a context manager.

    Raises:
        ProofError: IMPORT_COMPRESSED; IMPORT_MEMBER for a member that is not a plain file or folder of the layout, or
            comes twice; IMPORT_MALFORMED for what is not a whole tar file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, tuple[int, int]] = {}  # name: offset, size
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise _malformed(path, str(error.strerror)) from None
        try:
            self._list()
        except TarForeign as error:
            self._file.close()
            raise _bad_member(path, str(error)) from None
        except (OSError, TarBroken) as error:
            self._file.close()
            raise _malformed(path, str(error)) from None
        except ProofError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a member.

        Raises:
            FileNotFoundError: .
            ProofError: IMPORT_SIZE if it is longer than it may be.
        """
        try:
            offset, size = self._members[name]
        except KeyError:
            raise FileNotFoundError(2, "not in the archive", name) from None
        if size > max_bytes:
            raise _too_long(name, size, max_bytes)
        self._file.seek(offset)
        return self._file.read(size)

    def _list(self) -> None:
        kind = _COMPRESSED.get(self._file.read(2))
        if kind is not None:
            raise ProofError(
                "IMPORT_COMPRESSED",
                f"{self.path} is compressed ({kind})",
                "Unpack it to a plain .tar yourself, if you trust how large it becomes.",
            )
        for member in read_members(self._file):
            self._take(member)
        if not self._members:
            raise TarBroken("it has no member")

    def _take(self, member: Member) -> None:
        name = member.name.removeprefix("./").rstrip("/")
        if member.is_folder and (name in (".", "") or not _is_outside(name)):
            return
        if member.is_folder or PATTERN.fullmatch(name) is None:
            raise _bad_member(self.path, f"a {'folder' if member.is_folder else 'file'} named {member.name[:100]!r}")
        if name in self._members:
            raise _bad_member(self.path, f"{name} twice")
        if len(self._members) >= _MAX_MEMBERS:
            raise _bad_member(self.path, f"more than {_MAX_MEMBERS} files")
        self._members[name] = member.offset, member.size


def _is_outside(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _at_most(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise _too_long(name, len(data), max_bytes)
    return data


def _too_long(name: str, size: int, max_bytes: int) -> ProofError:
    return ProofError("IMPORT_SIZE", f"{name} has {size} bytes or more, at most {max_bytes} fit", "Export again.")


def _bad_member(path: Path, what: str) -> ProofError:
    return ProofError(
        "IMPORT_MEMBER",
        f"{path} holds {what}, which is not part of an export",
        "Take the export from somebody else; nothing of this one was used.",
    )


def _malformed(path: Path, why: str) -> ProofError:
    return ProofError("IMPORT_MALFORMED", f"{path}: {why}", "Name an exported folder or tar file.")
