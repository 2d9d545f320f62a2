"""WebDataset shards: tar archives in which the members of one key, one after another, belong together.

Members are read as they stream by; nothing is ever written to disk, so no name in a shard can lead anywhere. Only
regular files count. A shard that somebody else made may lie about anything: sizes, names, headers.
"""

import lzma
import tarfile
import unicodedata
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Self

from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.sources.own.group import pair_up
from curiosity.sources.own.item import MAX_FILE_BYTES, make_item, make_text_item, unknown_extension
from curiosity.sources.own.media_type import Name, read_name
from curiosity.sources.pairset import SourceItem, SourcePair

MAX_GROUP_BYTES: Final = 512 << 20
MAX_GROUP_MEMBERS: Final = 64
MAX_RESTARTS: Final = 16  # a stranger's shard may be damage alone, and each time the rest may be read once more
_SEARCH_BYTES: Final = 1 << 20
MAX_HEADER_BYTES: Final = 1 << 20  # of the extra headers that hold long names
MAX_EXTRA_HEADERS: Final = 8  # before one member; ``tarfile`` recurses for each
MAX_SHARED_KEYS: Final = 256  # of global headers; ``tarfile`` copies all for each member
_MAX_NAME_CHARS: Final = 1024
_NOTE_BYTES: Final = 1 << 20
_ONE_OBJECT: Final = "Write one JSON object, with each name once."
_TEXT_ENDINGS: Final = ("txt", "text", "caption")
_EXTRA: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
_SPARSE_TYPE: Final = tarfile.GNUTYPE_SPARSE
_UNREAD_TYPE: Final = tarfile.CHRTYPE
_BROKEN: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


def read_shards(paths: Sequence[Path], *, license: str | None = None) -> Iterator[SourcePair | SourceError]:
    """Yield the pairs of the shards, in order: every two members of a key that differ in kind.

    A key is a member's name up to the first dot behind the last slash; what follows says what it is: ``png``, ``txt``,
    ``touch.npy``, ``camera2.png``. A ``json`` member may state ``license``, ``attribution``, ``captured_at``,
    ``generated`` and, where there is no ``txt``, ``text`` or ``caption``. ``license`` (SPDX) holds for keys that state
    none.

    What cannot be read comes as a ``SourceError`` in its place: TAR_BROKEN (reading goes on at the next header, where
    the shard is not compressed), TAR_MEMBER, TAR_KEY_TWICE, GROUP_LARGE, UNKNOWN_EXTENSION (once a shard), and those
    of ``make_item`` and ``pair_up``.

    Raises:
        SourceError: NOTHING_FOUND.
    """
    empty = True
    for path in paths:
        for found in _read_shard(path, license):
            empty = False
            yield found
    if empty:
        raise SourceError(
            "NOTHING_FOUND",
            f"{paths[0]} holds no members",
            "Put the files of one key side by side, as 0001.png, 0001.txt.",
        )


@dataclass(frozen=True)
class _Member:
    number: int
    key: str
    ending: str
    data: bytes
    where: str


class _StrictInfo(tarfile.TarInfo):
    """A header that is read without trust: ``tarfile`` takes a broken one for the end, and holds long names whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise  # the mark at the end
            raise ValueError(f"a header is cut or damaged ({error})") from error
        if info.size < 0 or (info.type in _EXTRA and info.size > MAX_HEADER_BYTES):
            raise ValueError(f"a header says {info.size} bytes")
        return info

    def _proc_member(self, tarfile: "_Shard") -> Self:  # the reader's own name for what it calls for each header
        if self.type in _EXTRA:
            tarfile.extra_headers += 1
        if tarfile.extra_headers > MAX_EXTRA_HEADERS or len(tarfile.pax_headers) > MAX_SHARED_KEYS:
            raise ValueError("too many extra headers")
        if self.type == _SPARSE_TYPE:
            self.type = _UNREAD_TYPE  # its map may be cut, or without end
        return super()._proc_member(tarfile)  # type: ignore[misc,no-any-return]

    def _proc_gnusparse_00(self, following: tarfile.TarInfo, *_: object) -> None:
        following.sparse = b""  # a sparse file, which is not read; nor is its map, which need not end

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


class _Shard(tarfile.TarFile):
    """A shard as it streams by. Skipping ends where its bytes do, whatever size a header names."""

    extra_headers = 0  # before the member that is read

    def next(self) -> tarfile.TarInfo | None:
        self.extra_headers = 0
        stream = self.fileobj
        if stream is None:
            raise EOFError("the shard is closed")
        first: tarfile.TarInfo | None = vars(self).get("firstmember")  # read when the shard was opened, not yet given
        while first is None and (rest := self.offset - 1 - stream.tell()) > 0:
            if not stream.read(min(rest, tarfile.RECORDSIZE)):
                raise EOFError("unexpected end of data")
        return super().next()


def _read_shard(path: Path, license: str | None) -> Iterator[SourcePair | SourceError]:
    group: list[_Member] = []
    told: set[str] = set()  # endings that no rule reads, said once
    spoiled = ""  # a key of which something could not be read
    for found in _read_members(path):
        if isinstance(found, SourceError):
            yield found
            continue
        if group and found.key != group[0].key:
            yield from _read_group(path, group, license, told, spoiled)
            group = []
        if len(group) >= MAX_GROUP_MEMBERS or sum(len(each.data) for each in group) > MAX_GROUP_BYTES:
            yield SourceError(
                "GROUP_LARGE",
                f"{found.where}: the key {found.key} has over {MAX_GROUP_MEMBERS} members or {MAX_GROUP_BYTES} bytes",
                "Give each thing a key of its own.",
            )
            spoiled, group = found.key, group[:1]
            continue
        group.append(found)
    if group:
        yield from _read_group(path, group, license, told, spoiled)


def _read_members(path: Path) -> Iterator[_Member | SourceError]:
    """Yield the members of a shard. Where it is damaged, reading goes on at the next header, a few times."""
    at, number = 0, 0
    for restarts in range(MAX_RESTARTS, -1, -1):
        following, number = yield from _read_from(path, at, number, may_restart=restarts > 0)
        if following is None:
            return
        at = following


def _read_from(
    path: Path, start: int, number: int, *, may_restart: bool
) -> Generator[_Member | SourceError, None, tuple[int | None, int]]:
    """Yield the members from byte ``start`` on.

    Returns:
        Where to go on after damage, and the number of the last member.
    """
    name, at = "", 0  # ``at`` is the header that is read, counted from ``start``
    try:
        with (
            path.open("rb") as file,
            _Shard.open(fileobj=_seek(file, start), mode="r|" if start else "r|*", tarinfo=_StrictInfo) as shard,
        ):
            while (info := shard.next()) is not None:
                shard.members.clear()  # type: ignore[attr-defined]  # else every header stays in memory
                number, name, at = number + 1, info.name, info.offset
                where = f"{path.name} member {number} ({name[:200]!r})"
                problem = _find_problem(info)
                if info.isdir() or PurePosixPath(name).name.startswith("."):
                    pass
                elif problem:
                    yield SourceError("TAR_MEMBER", f"{where} {problem}", "Put plain files below the archive's root.")
                else:
                    yield _read_member(shard, info, number, where)
                at = shard.offset
    except _BROKEN as error:
        why = getattr(error, "strerror", None) or error
        following = _find_header(path, start + at + tarfile.BLOCKSIZE) if may_restart else None
        after = f" behind member {number} ({name[:200]!r})" if number else ""
        rest = "the rest is not read" if following is None else f"reading continues at byte {following}"
        yield SourceError(
            "TAR_BROKEN", f"{path.name} cannot be read{after}: {why}; {rest}", "Copy the shard again, or write it anew."
        )
        return following, number
    return None, number


def _seek(file: BinaryIO, start: int) -> BinaryIO:
    file.seek(start)
    return file


def _read_member(shard: tarfile.TarFile, info: tarfile.TarInfo, number: int, where: str) -> _Member:
    file = shard.extractfile(info)
    data = file.read() if file is not None else b""
    if len(data) != info.size:
        raise EOFError(f"{len(data)} of {info.size} bytes are there")
    path = PurePosixPath(unicodedata.normalize("NFC", info.name))  # macOS spells accents as signs of their own
    key, _, ending = path.name.partition(".")
    return _Member(number, str(path.parent / key), ending.lower(), data, where)


def _find_header(path: Path, at: int) -> int | None:
    """Return where the next whole header stands, from byte ``at`` on; None in a compressed shard, which shows none."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            while blocks := file.read(_SEARCH_BYTES):
                for start in range(0, len(blocks), tarfile.BLOCKSIZE):
                    block = blocks[start : start + tarfile.BLOCKSIZE]
                    if block[257:262] == b"ustar" and _is_header(block):
                        return at + start
                at += len(blocks)
    except (OSError, ValueError, OverflowError):  # it was to begin behind where a file can end
        return None
    return None


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _find_problem(info: tarfile.TarInfo) -> str:
    """Return why a member is not read; empty if it is."""
    path = PurePosixPath(info.name)
    if not info.isreg() or info.issparse():
        return "is not a plain file (a link, a device or a sparse file)"
    if path.is_absolute() or ".." in path.parts or "\\" in info.name:
        return "has a name that leads out of the archive"
    if len(info.name) > _MAX_NAME_CHARS or not info.name.isprintable():
        return "has a name that cannot be printed"
    if info.size > MAX_FILE_BYTES:
        return f"has {info.size} bytes, at most {MAX_FILE_BYTES} are read"
    return ""


def _read_group(
    path: Path, group: list[_Member], license: str | None, told: set[str], spoiled: str
) -> Iterator[SourcePair | SourceError]:
    if group[0].key == spoiled:
        return
    where = f"{path.name} members {group[0].number} to {group[-1].number}"
    items: list[SourceItem] = []
    row: dict[str, Any] = {}
    broken = len({member.ending for member in group}) < len(group)
    if broken:
        yield SourceError("TAR_KEY_TWICE", f"{where}: {group[0].key} has two members of one kind", "Keep one of them.")
    for member in group:
        try:
            if member.ending == "json":
                row = _read_note(member)
                continue
            name = _name_member(member)
            if name.modality is not None:
                place = path / f"{PurePosixPath(member.key).name}.{member.ending}"
                items.append(
                    make_item(member.data, place, modality=name.modality, stream=name.stream, where=member.where)
                )
            elif member.ending not in told:
                told.add(member.ending)
                yield unknown_extension(f"{member.where} and any other like it", f".{member.ending}")
        except SourceError as error:
            broken = True
            yield error
    if broken:
        return  # what is wrong with the key has been said
    try:
        caption = row.get("text") or row.get("caption")
        if isinstance(caption, str) and not any(item.modality == "text" for item in items):
            items.append(make_text_item(path / "json", caption, where=where))
        yield from pair_up(items, key=group[0].key, set_name="shard", row=row, license=license, where=where)
    except SourceError as error:
        yield error


def _name_member(member: _Member) -> Name:
    """Return what the ending says; ``seg.png`` says nothing, because a segmentation is no picture."""
    if member.ending in _TEXT_ENDINGS:
        return Name("", ".txt", "text")
    name = read_name(f"x.{member.ending}")
    return name if name.stem == "x" else Name("", name.suffix, None)


def _read_note(member: _Member) -> dict[str, Any]:
    try:
        if len(member.data) > _NOTE_BYTES:
            raise ValueError(f"{len(member.data)} bytes")
        row = read_json(member.data, is_unique=True)
    except (ValueError, RecursionError) as error:
        raise SourceError("ROW_NOT_JSON", f"{member.where} is not JSON ({error})", _ONE_OBJECT) from error
    if not isinstance(row, dict):
        raise SourceError("ROW_NOT_JSON", f"{member.where} holds a {type(row).__name__}", _ONE_OBJECT)
    return row
