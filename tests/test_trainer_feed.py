"""The feeds give what was signed, byte for byte, or say which item differs."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.errors import SourceError
from trainer.feed import LedgerSlice, read_accepted, read_accepted_folder, read_trusted


@dataclass(frozen=True)
class Part:
    modality: str
    media_type: str
    sha256: bytes


@dataclass(frozen=True)
class Entry:
    digest: bytes
    a: Part
    b: Part


def part(modality: str, media_type: str, data: bytes) -> Part:
    return Part(modality, media_type, hashlib.sha256(data).digest())


ENTRY = Entry(bytes(32), part("audio", "audio/wav", b"sound"), part("text", "text/plain", b"word"))


def write_set(folder: Path, rows: list[dict[str, object]]) -> None:
    (folder / "media").mkdir(parents=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(folder: Path, split: str, text: bytes, picture: bytes) -> dict[str, object]:
    halves = {}
    for key, modality, media_type, data in (("a", "image", "image/png", picture), ("b", "text", "text/plain", text)):
        path = f"media/{hashlib.sha256(data).hexdigest()}.bin"
        (folder / path).write_bytes(data)
        halves[key] = {"modality": modality, "media_type": media_type, "path": path}
    return {"id": "1", "set": "s", "split": split, "concept": "c", "license": "MIT", "voice": None, **halves}


def test_trusted_pairs_come_by_split(tmp_path: Path) -> None:
    write_set(tmp_path / "s", [])
    rows = [row(tmp_path / "s", split, split.encode(), b"p" + split.encode()) for split in ("genesis", "submit")]
    (tmp_path / "s" / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (pair,) = read_trusted([tmp_path / "s"], ["genesis"])
    assert (pair.name, pair.a.load(), pair.item("text").load()) == ("image-text", b"pgenesis", b"genesis")
    assert len({p.digest for p in read_trusted([tmp_path / "s"], ["genesis", "submit"])}) == 2
    with pytest.raises(KeyError):
        pair.item("audio")


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    write_set(tmp_path / "s", [])
    one = row(tmp_path / "s", "genesis", b"text", b"picture")
    (tmp_path / "s" / "pairs.jsonl").write_text(json.dumps(one))
    (pair,) = read_trusted([tmp_path / "s"], ["genesis"])
    next(tmp_path.glob(f"s/media/{pair.a.digest}*")).write_bytes(b"other picture")
    with pytest.raises(SourceError, match="ITEM_DIFFERS"):
        pair.a.load()
    next(tmp_path.glob(f"s/media/{pair.b.digest}*")).unlink()
    with pytest.raises(SourceError, match="ITEM_MISSING"):
        pair.b.load()


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"a": {"modality": "text"}, "b": {}}'])
def test_a_bad_row_is_named(tmp_path: Path, line: str) -> None:
    write_set(tmp_path / "s", [])
    (tmp_path / "s" / "pairs.jsonl").write_text(line)
    with pytest.raises(SourceError, match="line 1"):
        read_trusted([tmp_path / "s"], ["genesis"])


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="PAIR_SET_MISSING"):
        read_trusted([tmp_path], ["genesis"])


def test_accepted_blobs_are_checked() -> None:
    blobs = {ENTRY.a.sha256: b"sound", ENTRY.b.sha256: b"another word"}
    (pair,) = read_accepted([ENTRY], lambda digest: blobs[digest])
    assert pair.a.load() == b"sound"
    with pytest.raises(SourceError, match="ITEM_DIFFERS"):
        pair.b.load()


def test_an_exported_folder_is_read(tmp_path: Path) -> None:
    ledger = LedgerSlice("log.example", 4, 9, "ab" * 32)
    (tmp_path / "blobs").mkdir()
    for data in (b"sound", b"word"):
        (tmp_path / "blobs" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    halves = {
        key: {"modality": p.modality, "media_type": p.media_type, "sha256": p.sha256.hex()}
        for key, p in (("a", ENTRY.a), ("b", ENTRY.b))
    }
    (tmp_path / "ledger.json").write_text(json.dumps(vars(ledger)))
    (tmp_path / "accepted.jsonl").write_text(json.dumps({"digest": "cd" * 32, **halves}) + "\n")
    got, (pair,) = read_accepted_folder(tmp_path)
    assert (got, pair.digest, pair.b.load()) == (ledger, bytes.fromhex("cd" * 32), b"word")
    (tmp_path / "accepted.jsonl").write_text(json.dumps({"digest": "zz", **halves}))
    with pytest.raises(SourceError, match="line 1"):
        read_accepted_folder(tmp_path)
    (tmp_path / "ledger.json").unlink()
    with pytest.raises(SourceError, match="ACCEPTED_MISSING"):
        read_accepted_folder(tmp_path)
