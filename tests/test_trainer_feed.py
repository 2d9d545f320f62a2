"""The feeds give what was signed, byte for byte, or say which item differs."""

import hashlib
import json
from pathlib import Path

import pytest

from curiosity.protocol.errors import SourceError
from trainer.feed import read_trusted


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
