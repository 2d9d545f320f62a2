"""Names from outside lead nowhere but below their folder (T32)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curiosity.host.paths import PathRefused, inside
from curiosity.ledger.archive import Folder
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.sources.pairset import read_pairs
from trainer.feed import read_trusted

OUTSIDE = ["", ".", "..", "../x", "a/../../x", "a\\..\\x", "/etc/passwd", "\\\\host\\x", "C:\\x", "c:/x", "C:", "a\0b"]


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_is_not_below_its_folder_is_refused(name: str, one: bool, links: bool, tmp_path: Path) -> None:
    with pytest.raises(PathRefused):
        inside(tmp_path, name, one=one, links=links)


@pytest.mark.parametrize("name", ["a", ".a", "...", "a..b", "a b.png", "ä.png", "C:x", "x:y.png"])
def test_a_single_name_is_below_its_folder(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name, one=True) == tmp_path / name


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a/"])
def test_a_path_is_taken_only_where_one_may_stand(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name) == tmp_path / name
    with pytest.raises(PathRefused, match="single name"):
        inside(tmp_path, name, one=True)


def test_a_link_may_not_lead_out_unless_the_folder_is_ours(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "file").symlink_to("../secret")
    (folder / "way").symlink_to(tmp_path)
    (folder / "deep/inner").symlink_to("../deep")
    (folder / "ring").symlink_to("ring")
    for name in ("file", "way/secret", "way/not there", "deep/inner/../../file"):
        with pytest.raises(PathRefused):
            inside(folder, name)
    assert inside(folder, "way/secret", links=True).read_text() == "secret"
    assert inside(folder, "deep/inner/x") == folder / "deep/inner/x"
    (tmp_path / "alias").symlink_to(folder)  # the folder itself may be reached by a link
    assert inside(tmp_path / "alias", "deep/x") == tmp_path / "alias/deep/x"


def stolen(folder: Path, path: str) -> Path:
    """A pair set of somebody else's that names a file of ours, and that file."""
    secret = folder.parent / "secret.txt"
    secret.write_text("my secret")
    (folder / "media").mkdir(parents=True)
    (folder / "media/link.txt").symlink_to(secret)
    half = {"modality": "text", "media_type": "text/plain", "path": path}
    other = {"modality": "image", "media_type": "image/png", "path": "media/x.png"}
    row = {"id": "1", "set": "s", "split": "submit", "concept": "c", "license": "MIT", "attribution": "", "voice": None}
    (folder / "pairs.jsonl").write_text(json.dumps(row | {"a": half, "b": other}) + "\n")
    (folder / "card.json").write_text("{}")
    return secret


@pytest.mark.parametrize("name", ["../secret.txt", "media/../../secret.txt", "media/link.txt", "absolute"])
@pytest.mark.parametrize("read", [read_pairs, lambda folder: read_trusted([folder], ["submit"])])
def test_a_foreign_pair_set_cannot_name_files_of_ours(
    name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    path = str(tmp_path / "secret.txt") if name == "absolute" else name
    secret = stolen(folder, path)
    assert (folder / path).read_text() == secret.read_text()  # what a plain join reads, and `submit` then publishes
    with pytest.raises(SourceError, match="PAIR_ROW") as refused:
        list(read(folder))  # type: ignore[call-overload]
    assert "line 1" in refused.value.what


def test_a_foreign_export_cannot_link_to_files_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "network.json").symlink_to(tmp_path / "secret")
    assert (folder / "network.json").read_bytes() == b"secret"
    with pytest.raises(ProofError, match="IMPORT_MEMBER"):
        Folder(folder).read("network.json", 100)


async def test_a_foreign_log_cannot_link_to_files_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "checkpoint").symlink_to("/dev/zero")  # has no end
    (folder / "note").write_bytes(b"note")
    async with LogFiles(str(folder)) as files:
        with pytest.raises(SourceError, match="LOG_UNREADABLE"):
            await files.head()
        assert await files.get("note") == b"note"
        assert await files.get("none") is None
