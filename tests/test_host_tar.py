"""Headers of a stranger's tar file: those of common tools are read, and none costs more than its bytes."""

import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from curiosity.host.tar import Member, TarBroken, TarForeign, read_members

END = bytes(1024)


def header(name: str = "network.json", size: int = 0, kind: bytes = b"0", raw_size: bytes | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if raw_size is not None:
        block[124:136] = raw_size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body) + 1))
    return str(length).encode() + body


def extended(*records: bytes, kind: bytes = b"x") -> bytes:
    data = b"".join(records)
    return header("pax", len(data), kind) + data + bytes(-len(data) % 512)


def read(data: bytes) -> list[Member]:
    return list(read_members(io.BytesIO(data)))


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_the_standard_library_wrote(format: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format) as archive:
        long = "y" if format == tarfile.GNU_FORMAT else "deep/" * 25 + "x"
        for name, data in (("network.json", b"{}"), (long, b""), ("blobs/" + "ab" * 32, bytes(5000))):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            archive.addfile(info, io.BytesIO(data))
        archive.addfile(special("tile", tarfile.DIRTYPE))
    with tarfile.open(path) as archive:
        expected = [
            (one.name.rstrip("/"), one.isdir(), one.offset_data, one.size) for one in archive.getmembers()
        ]  # fmt: skip
    with path.open("rb") as file:
        found = list(read_members(file))
    assert [(one.name.rstrip("/"), one.is_folder, one.offset, one.size) for one in found] == expected


@pytest.mark.parametrize("options", [["--format=v7"], ["--format=oldgnu"], ["--format=ustar"], ["--format=posix"]])
def test_members_are_those_that_gnu_tar_wrote(options: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "blobs").mkdir(parents=True)
    (folder / "network.json").write_bytes(b"{}")
    (folder / "blobs" / ("ab" * 32)).write_bytes(b"item")
    subprocess.run(["tar", *options, "-cf", tmp_path / "a.tar", "-C", folder, "."], check=True, timeout=600)
    data = (tmp_path / "a.tar").read_bytes()
    files = {one.name: data[one.offset : one.offset + one.size] for one in read(data) if not one.is_folder}
    assert files == {"./network.json": b"{}", "./blobs/" + "ab" * 32: b"item"}


def test_a_large_size_is_read_in_base_256_and_from_a_record(tmp_path: Path) -> None:
    base = header(raw_size=b"\x80" + (9 << 30).to_bytes(11, "big"))
    records = extended(record(b"size", str(9 << 30).encode())) + header()
    for number, start in enumerate((base, records)):
        path = tmp_path / f"{number}.tar"
        with path.open("wb") as file:
            file.write(start)
            file.truncate(len(start) + (9 << 30))  # sparse on the disk
        with path.open("rb") as file:
            assert list(read_members(file)) == [Member("network.json", False, len(start), 9 << 30)]


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


BROKEN: dict[str, bytes] = {
    "size of -1 in a record": extended(record(b"size", b"-1")) + header(),
    "size of -512 in a record": extended(record(b"size", b"-512")) + header(),
    "size of -1 in base 256": header(raw_size=b"\xff" * 12),
    "size of 5,000 digits": extended(record(b"size", b"9" * 5000)) + header(),
    "size of 2^87": header(raw_size=b"\x80" + b"\xff" * 11),
    "size of other digits": extended(record(b"size", "٣".encode())) + header(),
    "size in letters": header(raw_size=b"00000000zz\0 "),
    "longer than the file": header(size=2000) + b"{}",
    "two extended headers": extended(record(b"a", b"b")) * 2 + header(),
    "an extended header alone": extended(record(b"a", b"b")),
    "an extended header of 1 MiB": extended(record(b"a", bytes(1 << 20))) + header(),
    "a record without a length": extended(b"a=b\n") + header(),
    "a record of length 0": extended(b"0 a=b\n") + header(),
    "a record of 6,000 digits": extended(b"9" * 6000 + b" a=b\n") + header(),
    "a record behind its header": extended(b"900 a=b\n") + header(),
    "a record without =": extended(b"7 aaaa\n") + header(),
    "a checksum": header()[:100] + b"x" + header()[101:],
    "half a header": header()[:300],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_contradicts_itself_is_broken(name: str) -> None:
    cut = name in ("longer than the file", "half a header")
    with pytest.raises(TarBroken):
        read(BROKEN[name] + (b"" if cut else END))


FOREIGN: dict[str, bytes] = {
    "symbolic link": header(kind=tarfile.SYMTYPE),
    "hard link": header(kind=tarfile.LNKTYPE),
    "device": header(kind=tarfile.CHRTYPE),
    "long name": header("n", 2, tarfile.GNUTYPE_LONGNAME) + b"a\0" + bytes(510) + header(),
    "records for all members": extended(record(b"size", b"1"), kind=b"g") + header(),
    "sparse": header(kind=tarfile.GNUTYPE_SPARSE),
    "sparse by records": extended(record(b"GNU.sparse.major", b"1")) + header(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_plain_archive_does_not_have_is_foreign(name: str) -> None:
    with pytest.raises(TarForeign):
        read(FOREIGN[name] + END)


def run_library(data: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.getmembers()


def test_headers_in_a_row_end_the_standard_reader_and_not_this_one() -> None:
    """Both arms: 2,000 extended headers before one member."""
    data = extended(record(b"a", b"b")) * 2000 + header() + END
    with pytest.raises(TarBroken, match="two extended headers"):
        read(data)
    with pytest.raises(RecursionError):
        run_library(data)


def test_keys_cost_their_bytes_once() -> None:
    """An extended header full of keys before each member: the cost per byte stays that of plain members."""
    full = extended(*(record(b"%x" % key, b"") for key in range(8000)))
    data = b"".join(full + header(f"m{number}") for number in range(30)) + END
    calls = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal calls
            calls += 1
            return super().read(size)

    assert len(list(read_members(Counted(data)))) == 30
    assert calls == 3 * 30 + 1


def test_changed_archives_give_members_or_one_of_two_errors() -> None:
    chance = random.Random(1)
    whole = (
        extended(record(b"path", b"blobs/x"), record(b"size", b"3"))
        + header()
        + b"abc"
        + bytes(509)
        + header("d/", 0, b"5")
        + END
    )
    for _ in range(20_000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.choice((0, 0x20, 0x30, 0x39, 0x80, 0xFF, chance.randrange(256)))
        for at in range(0, len(data) - 511, 512):  # else most changes end at a checksum
            if chance.randrange(3) and data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
        try:
            members = read(bytes(data[: chance.randrange(len(data))] if chance.randrange(4) == 0 else data))
        except (TarBroken, TarForeign):
            continue
        assert all(0 <= one.offset <= one.offset + one.size <= len(data) for one in members)
