"""`curiosity submit` over a folder of all that people have: what it says of conversions, and what arrives."""

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from curiosity.client.history import find, read_history
from curiosity.client.receipts import read_saved
from curiosity.sources.own.item import load_item
from curiosity.sources.own.own import read_sources
from tests.material.contributor import submit
from tests.material.convert import PICTURES, write_picture
from tests.material.convertible import TYPES, everything
from tests.material.service import Running, digit_pairs, running
from tests.material.shell import Shell

FIELDS = {"file", "sha256", "from_type", "to_type", "bytes_before", "bytes_after", "changes"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = everything(tmp_path / "mine")
    (tmp_path / "mine" / "torn.heic").write_bytes(files["heic.heic"][:-60])
    (tmp_path / "mine" / "torn.txt").write_text("a torn picture")
    return tmp_path / "mine"


def test_a_dry_run_names_what_is_converted_from_what_to_what_and_how_large(folder: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    command = ("submit", folder, "--license", "CC0-1.0", "--dry-run")
    done = shell.run(*command, "--json")
    told = done.json
    assert (done.status, told["would_send"]) == (0, 7), done.err
    assert [(error["code"], "torn.heic" in error["what"]) for error in told["unreadable"]] == [("BROKEN_FILE", True)]
    assert {Path(one["file"]).name: one["from_type"] for one in told["converted"]} == {
        f"{extension}.{extension}": media_type for extension, media_type in TYPES.items()
    }
    sent = {half["from"]: half for row in told["rows"] for half in (row["a"], row["b"])}
    for one in told["converted"]:
        assert set(one) == FIELDS
        assert one["bytes_before"] == Path(one["file"]).stat().st_size
        half = sent[one["file"]]
        assert (half["media_type"], half["bytes"]) == (one["to_type"], one["bytes_after"])
        assert half["sha256"] == one["sha256"]
    shown = shell.run(*command).out
    _, title, table = shown.partition("converted before signing")
    assert title
    for one in told["converted"]:
        line = next(line for line in table.splitlines() if Path(one["file"]).name in line)
        for word in ("PNG" if one["to_type"] == "image/png" else "FLAC", f"{one['bytes_after']:,}"):
            assert word in line, line
    assert shell.run(*command, "--json").json["converted"] == told["converted"]  # the same bytes each time


def digits(folder: Path) -> Path:
    """Digits, which the genesis checkpoint knows, as people's pictures, captioned."""
    folder.mkdir()
    pairs = [pair for pair in digit_pairs() if pair.modalities == "image-text"]
    for pair, extension in zip(pairs, PICTURES, strict=False):
        with Image.open(pair.a.path) as picture:
            options = {"quality": -1} if extension == "heic" else {"quality": 100} if extension == "avif" else {}
            (folder / f"{extension}.{extension}").write_bytes(
                write_picture(picture.convert("RGB"), extension, **options)
            )
        (folder / f"{extension}.txt").write_bytes(pair.b.read())
    return folder


async def test_what_was_converted_is_signed_judged_and_said(tmp_path: Path) -> None:
    folder = digits(tmp_path / "mine")
    async with running(tmp_path / "validator") as live:
        await check(live, folder, tmp_path)


async def check(live: Running, folder: Path, tmp_path: Path) -> None:
    rows = list(read_sources((folder,), license="CC0-1.0"))
    tally = await submit(live, live.url, tmp_path, rows)
    assert (tally.decided, tally.receipts_verified, tally.unreadable) == (4, 4, [])
    assert tally.accepted >= 3
    converted = tally.to_json()["converted"]
    assert sorted(one["from_type"] for one in converted) == sorted(TYPES[extension] for extension in PICTURES)
    receipts = [read_saved(path) for path in (tmp_path / "home" / "receipts").glob("*.json")]
    assert {saved.envelope.submission.a.sha256.hex() for saved in receipts} == {one["sha256"] for one in converted}
    assert {saved.envelope.submission.a.media_type for saved in receipts} == {"image/png"}
    again = await submit(live, live.url, tmp_path, list(read_sources((folder,), license="CC0-1.0")))
    assert (again.known, again.decided, again.to_json()["converted"]) == (4, 0, [])  # converted anew: the same bytes
    history, _ = read_history(tmp_path / "home")
    renamed = (folder / "heic.heic").rename(folder / "renamed.heic")  # found by what was sent in its place
    digest = sha256(load_item(renamed).read()).digest()
    assert [one.digests[0] for one in find(history, str(renamed))] == [digest]
    shell = Shell(tmp_path / "searcher", live.url)
    searched = await asyncio.to_thread(shell.run, "query", "--image", renamed, "--to", "image", "-k", "1", "--json")
    assert searched.json["found"][0]["sha256"] == "0x" + digest.hex()
    assert (await asyncio.to_thread(shell.run, "wallet", "new", "bob")).status == 0
    sent = await asyncio.to_thread(shell.run, "submit", folder, "--wallet", "bob", "--license", "CC0-1.0")
    assert "avif.avif │ AVIF │ PNG" in sent.out.partition("converted before signing")[2]
