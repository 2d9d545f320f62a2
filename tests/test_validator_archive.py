"""Archives of exports from strangers: nothing is unpacked, and what is no part of an export refuses the whole file."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from curiosity.ledger.archive import Archive, Folder
from curiosity.ledger.reader import opened_copy
from curiosity.protocol.errors import ProofError

NAME = "blobs/" + "ab" * 32
Forge = Callable[[tarfile.TarFile], None]


def add(archive: tarfile.TarFile, name: str, data: bytes = b"x", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data) if member.size else None)


def forged(path: Path, forge: Forge, *, format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        forge(archive)
    return path


def test_members_are_read_where_they_lie(tmp_path: Path) -> None:
    def forge(archive: tarfile.TarFile) -> None:
        add(archive, "./", b"", type=tarfile.DIRTYPE)
        add(archive, "./network.json", b"{}")
        add(archive, "tile/0/000.p/11", b"t" * 352)
        add(archive, "tile/entries/x001/234.p/9", b"e")
        add(archive, "pairs/x001/234.jsonl", b"p")
        add(archive, NAME, b"item")

    with Archive(forged(tmp_path / "a.tar", forge)) as archive:
        assert archive.read("network.json", 100) == b"{}"
        assert archive.read("tile/0/000.p/11", 352) == b"t" * 352
        assert archive.read(NAME, 4) == b"item"
        with pytest.raises(ProofError, match="IMPORT_SIZE"):
            archive.read(NAME, 3)
        with pytest.raises(FileNotFoundError):
            archive.read("checkpoint", 100)
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar"]


def twice(archive: tarfile.TarFile) -> None:
    add(archive, NAME)
    add(archive, NAME)


HOSTILE: dict[str, Forge] = {
    "absolute": lambda archive: add(archive, "/tmp/evil"),
    "parent": lambda archive: add(archive, "../evil"),
    "inner parent": lambda archive: add(archive, "blobs/../../evil"),
    "not of the layout": lambda archive: add(archive, "blobs/evil.sh"),
    "upper case": lambda archive: add(archive, "blobs/" + "AB" * 32),
    "symbolic link": lambda archive: add(archive, NAME, b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": lambda archive: add(archive, NAME, b"", type=tarfile.LNKTYPE, linkname="network.json"),
    "device": lambda archive: add(archive, NAME, b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "pipe": lambda archive: add(archive, NAME, b"", type=tarfile.FIFOTYPE),
    "folder outside": lambda archive: add(archive, "../../evil", b"", type=tarfile.DIRTYPE),
    "twice": twice,
    "sparse": lambda archive: add(
        archive, NAME, pax_headers={"GNU.sparse.major": "0", "GNU.sparse.minor": "1",
                                    "GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
    ),
}  # fmt: skip


KINDS = ("symbolic link", "hard link", "device", "pipe")
"""Of these the error says what they are."""


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_part_of_an_export_refuses_the_whole_archive(name: str, tmp_path: Path) -> None:
    path = forged(tmp_path / "evil.tar", HOSTILE[name])
    with pytest.raises(ProofError, match="IMPORT_MEMBER") as caught, opened_copy(path):
        pass
    assert caught.value.remedy
    assert "type b'" not in caught.value.what
    if name in KINDS:
        assert f"holds a {name} named" in caught.value.what
    assert [one.name for one in tmp_path.iterdir()] == ["evil.tar"]


def test_plain_extraction_would_follow_the_link_and_this_does_not(tmp_path: Path) -> None:
    """Both arms: a link, then a file through it. Extraction without a filter writes outside its folder."""

    def forge(archive: tarfile.TarFile) -> None:
        add(archive, "blobs", b"", type=tarfile.SYMTYPE, linkname=str(tmp_path / "victim"))
        add(archive, NAME, b"overwritten")

    path = forged(tmp_path / "evil.tar", forge)
    victim = tmp_path / "victim"
    victim.mkdir()
    with pytest.raises(ProofError, match="IMPORT_MEMBER"), opened_copy(path):
        pass
    assert list(victim.iterdir()) == []
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="fully_trusted")
    assert [one.read_bytes() for one in victim.iterdir()] == [b"overwritten"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_a_compressed_bomb_is_never_inflated(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    bomb = forged(tmp_path / "plain.tar", lambda archive: add(archive, NAME, bytes(64 << 20)))
    path = tmp_path / "bomb.tar"
    path.write_bytes(pack(bomb.read_bytes()))
    assert path.stat().st_size < 100_000
    with tarfile.open(path) as archive:  # the other arm: a reader that takes any compression gets all of it
        assert archive.getmembers()[0].size == 64 << 20
    with pytest.raises(ProofError, match="IMPORT_COMPRESSED"), opened_copy(path):
        pass


def test_records_that_are_too_long_are_not_read_into_memory(tmp_path: Path) -> None:
    path = forged(tmp_path / "a.tar", lambda archive: add(archive, NAME, pax_headers={"comment": "x" * (1 << 20)}))
    with pytest.raises(ProofError, match="IMPORT_MALFORMED") as caught, opened_copy(path):
        pass
    assert "header record" in caught.value.what


def test_a_member_of_negative_size_is_not_read_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = forged(tmp_path / "a.tar", lambda archive: add(archive, "checkpoint", b"", pax_headers={"size": "-1"}))
    with path.open("ab") as file:
        file.truncate(1 << 30)
    with tarfile.open(path) as archive:  # the other arm: the standard library takes the size as it is
        assert archive.next().size == -1  # type: ignore[union-attr]
    with pytest.raises(ProofError, match="IMPORT_MALFORMED"), opened_copy(path):
        pass


def test_headers_in_a_row_are_refused_with_words(tmp_path: Path) -> None:
    start = forged(tmp_path / "a.tar", lambda archive: add(archive, NAME, pax_headers={"comment": "x"})).read_bytes()
    path = tmp_path / "evil.tar"
    path.write_bytes(start[:1024] * 5000 + start)
    with pytest.raises(ProofError, match="IMPORT_MALFORMED") as caught, opened_copy(path):
        pass
    assert "two extended headers" in caught.value.what
    assert caught.value.remedy.endswith(".")


def test_a_cut_or_foreign_file_is_malformed(tmp_path: Path) -> None:
    whole = forged(tmp_path / "a.tar", lambda archive: add(archive, NAME, b"x" * 5000)).read_bytes()
    for number, content in enumerate((whole[:3000], b"", b"no archive", bytes(1024))):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(content)
        with pytest.raises(ProofError, match="IMPORT_MALFORMED"), opened_copy(path):
            pass


def test_a_folder_that_is_no_export_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="IMPORT_MALFORMED") as caught, opened_copy(tmp_path):
        pass
    assert caught.value.what == f"{tmp_path} is not an exported ledger: it has no network.json"


def test_a_file_of_a_folder_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "network.json").write_bytes(bytes(101))
    with pytest.raises(ProofError, match="IMPORT_SIZE"):
        Folder(tmp_path).read("network.json", 100)
