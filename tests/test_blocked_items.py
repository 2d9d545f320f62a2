"""Items on the operator's list stay out, in every form of a listed picture, and others do not."""

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curiosity.embedding.modalities import decode
from curiosity.embedding.sketch import sketch_item
from curiosity.host.port.address import UNKNOWN
from curiosity.protocol.errors import ConfigError, Rejected
from curiosity.protocol.orders import RuleOrder
from curiosity.protocol.pair import NO_ITEM, Item, SignedPair
from curiosity.serving.block_list import NEAR_BITS, BlockedItem, BlockList, describe_item, read_blocked
from tests.material.child_checkpoint import ACCEPTS_ALL, HOLDS_ALL, child_of_genesis
from tests.material.service import BOB, Running, code_of, running
from tests.material.takedown import digest_of, forget
from validator.blocking import change_list, read_list
from validator.service import switch_checkpoint

CURIOSITY = str(Path(sys.executable).parent / "curiosity")


@lru_cache
def photo(seed: int, width: int = 120, height: int = 90) -> Image.Image:
    """Return blots of colour on blots, with a few sharp edges: waves as a photo has them, and no two alike."""
    rng = np.random.default_rng(seed)
    layers = sum(
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n + n // 3, 3), dtype=np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            )
        ).astype(np.float64)
        * share
        for n, share in ((3, 0.5), (6, 0.3), (24, 0.2))
    )
    picture = Image.fromarray(np.clip(layers, 0, 255).astype(np.uint8))
    for _ in range(3):
        left, top = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        picture.paste(tuple(int(c) for c in rng.integers(0, 256, 3)), (left, top, left + 35, top + 25))
    return picture


def encode(picture: Image.Image, form: str = "PNG", **options: Any) -> Item:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return Item("image", f"image/{form.lower()}", out.getvalue())


def forms(picture: Image.Image) -> Iterator[tuple[str, Item]]:
    """The picture and its eight turns and mirror images, each as it is, recoded and smaller."""
    for turn in (None, *Image.Transpose):
        one = picture if turn is None else picture.transpose(turn)
        name = "as it is" if turn is None else turn.name
        yield f"{name}, PNG", encode(one)
        yield f"{name}, JPEG", encode(one, "JPEG", quality=75)
        yield f"{name}, smaller", encode(one.resize((one.width * 2 // 3, one.height * 2 // 3)), "WEBP", quality=80)


def listing(item: Item) -> list[BlockedItem]:
    return describe_item(item.data, item.modality, decode(item.modality, item.data, item.media_type))


def is_blocked(listed: BlockList, item: Item) -> bool:
    try:
        listed.check_bytes([item.data])
        listed.check_sketches([sketch_item(item.modality, decode(item.modality, item.data, item.media_type))])
    except Rejected:
        return True
    return False


# -- the list itself


def test_every_form_of_a_listed_picture_is_known_and_no_other_picture() -> None:
    taken = 0
    for seed in range(2):
        listed = BlockList.of(listing(encode(photo(seed))))
        for name, item in forms(photo(seed)):
            assert is_blocked(listed, item), (seed, name)
            taken += not is_blocked(BlockList(), item)
        assert not any(is_blocked(listed, encode(photo(other))) for other in range(100, 115))
    assert taken == 2 * 8 * 3  # without the list: all


def test_files_are_known_by_the_hashes_that_others_list() -> None:
    text = Item("text", "text/plain", b"a caption that nobody wants")
    for kind in ("sha256", "sha1", "md5"):
        digest = hashlib.new(kind, text.data).digest()
        listed = BlockList.of([BlockedItem(kind, digest)])
        assert is_blocked(listed, text)
        assert not is_blocked(listed, Item("text", "text/plain", b"another"))
    # By what it decodes to, a picture without a figure is known too.
    plain = Image.new("RGB", (40, 30), (9, 9, 9))
    content = [one for one in listing(encode(plain)) if one.kind == "content"]
    assert is_blocked(BlockList.of(content), encode(plain, compress_level=0))
    assert [one.kind for one in listing(encode(plain))] == ["sha256", "content"]


def test_a_list_reads_as_it_is_written_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    items = [BlockedItem("md5", bytes(16), "case 12"), BlockedItem("picture", b"\x01" * 32)]
    assert change_list(path, add=items) == 2
    assert change_list(path, add=items) == 0
    path.write_text(path.read_text() + "\n  # a remark\n")
    assert read_list(path) == items
    assert change_list(path, remove={("md5", bytes(16))}) == 1
    assert read_list(path) == items[1:]
    assert "# a remark" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    for line in ("md5 00", "sha256 " + "0g" * 32, "pdq " + "00" * 32, "0" * 64, "sha256"):
        with pytest.raises(ConfigError, match=r"BLOCK_LIST_INVALID.*line 2"):
            list(read_blocked(f"# head\n{line}\n", "list"))
    with pytest.raises(ConfigError, match="BLOCK_LIST_UNREADABLE"):
        read_list(tmp_path / "none")
    assert read_list(tmp_path / "none", must_exist=False) == []


def test_a_long_list_is_searched_to_its_end() -> None:
    rows = np.random.default_rng(4).integers(0, 2**63, (10_000, 4)).astype("<u8")
    listed = BlockList.of([BlockedItem("picture", row.tobytes()) for row in rows])
    assert len(listed.pictures) == 10_000
    probe = listed.pictures[-1:].copy()
    probe[0, 0] ^= np.uint64(0b1011)
    assert listed.nearest(probe) == 3
    assert listed.nearest(~probe) > NEAR_BITS


# -- a validator with a list


@asynccontextmanager
async def accepting(folder: Path, **changes: Any) -> AsyncIterator[Running]:
    """A validator whose checkpoint accepts every pair that has its two modalities."""
    child = child_of_genesis(folder / "child", fit=True, beliefs=ACCEPTS_ALL, every_item=True)
    async with running(folder / "validator", **changes) as live:
        await switch_checkpoint(live.service, child, force=True)
        yield live


def with_words(live: Running, item: Item, words: str, key: bytes = BOB) -> SignedPair:
    return live.sign((item, Item("text", "text/plain", words.encode())), key)


async def is_served(live: Running, item: Item) -> bool:
    try:
        return await live.client.item(item.digest) == item.data
    except Rejected:
        return False


def is_on_disk(folder: Path, item: Item) -> bool:
    """Say whether any file below has these bytes, or the SHA-256 of them."""
    digest = hashlib.sha256(item.data)
    marks = (item.data[-64:], digest.digest(), digest.hexdigest().encode())
    return any(mark in path.read_bytes() for path in folder.rglob("*") if path.is_file() for mark in marks)


async def test_a_listed_picture_is_refused_in_every_form_and_leaves_nothing(tmp_path: Path) -> None:
    picture = photo(1)
    async with accepting(tmp_path / "off") as live:
        for number, (name, item) in enumerate(forms(picture)):
            decided = await live.client.post_pair(with_words(live, item, f"scene {number}").encode())
            assert decided.verdict.is_accepted, (name, decided.verdict)
            assert await is_served(live, item), name
    assert number == 8 * 3 - 1

    path = tmp_path / "list.txt"
    change_list(path, add=listing(encode(picture)))
    async with accepting(tmp_path / "on", blocked_items=path) as live:
        size, cached = live.service.ledger.size, len(live.service.embedder._cache)
        for number, (name, item) in enumerate(forms(picture)):
            signed = with_words(live, item, f"scene {number}")
            assert await code_of(live.client.post_pair(signed.encode())) == ("ITEM_BLOCKED", 422), name
            assert await code_of(live.client.receipt(digest_of(live, signed))) == ("NOT_FOUND", 404), name
            assert not await is_served(live, item), name
            assert (await code_of(live.client.query("image", item.media_type, item.data, "text", 1)))[
                0
            ] == "ITEM_BLOCKED"
        assert (live.service.ledger.size, len(live.service.embedder._cache)) == (size, cached)
        for seed in range(200, 210):  # others are taken as ever
            decided = await live.client.post_pair(with_words(live, encode(photo(seed)), f"view {seed}").encode())
            assert decided.verdict.is_accepted
    assert not any(is_on_disk(tmp_path / "on", item) for _, item in forms(picture))
    assert all(is_on_disk(tmp_path / "off", item) for _, item in forms(picture))


async def test_a_listed_picture_is_refused_alone_too(tmp_path: Path) -> None:
    alone = encode(photo(9).transpose(Image.Transpose.TRANSVERSE), "JPEG", quality=80)
    async with running(tmp_path / "v") as live:
        await live.service.epochs.announce(RuleOrder(1, {"item_micro": "50000", "min_epoch_s": "0"}))
        change_list(live.service.blocked_items.path, add=listing(encode(photo(9))))
        signed = live.sign((alone, NO_ITEM), BOB)
        assert (await code_of(live.client.post_pair(signed.encode())))[0] == "ITEM_BLOCKED"
        live.service.blocked_items.path.write_text("")
        decided = await live.client.post_pair(signed.encode())
        assert (decided.replayed, decided.opening.a) == (False, alone.digest)


@pytest.mark.parametrize("alone", [False, True])
async def test_a_listed_file_is_not_served_behind_another_pictures_end(tmp_path: Path, alone: bool) -> None:
    listed = encode(photo(1), "JPEG", quality=90)
    async with accepting(tmp_path / "v") as live:
        await live.service.epochs.announce(RuleOrder(1, {"item_micro": "50000", "min_epoch_s": "0"}))
        change_list(live.service.blocked_items.path, add=listing(listed))
        for number, cover in enumerate((encode(photo(2)), encode(photo(3), "JPEG"), encode(photo(4), "WEBP"))):
            for tail in (b"", listed.data):
                item = Item("image", cover.media_type, cover.data + tail)
                signed = live.sign((item, NO_ITEM), BOB) if alone else with_words(live, item, f"scene {number}")
                decided = await live.client.post_pair(signed.encode())
                assert (decided.verdict.reason.value == "ITEM_UNDECODABLE") == bool(tail)
                assert "ITEM_SPARE_BYTES" in str(decided) or not tail
                if not alone:
                    assert await is_served(live, item) == (not tail)
    assert not any(listed.data[-64:] in path.read_bytes() for path in (tmp_path / "v").rglob("*") if path.is_file())


async def test_a_listed_picture_leaves_nothing_when_its_partner_cannot_be_decoded(tmp_path: Path) -> None:
    picture = encode(photo(1).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=75)
    async with running(tmp_path / "v") as live:
        broken = Item("text", "text/plain", b"\xff\xfe broken \x00")
        for block in (True, False):
            change_list(live.service.blocked_items.path, add=listing(encode(photo(1))))
            if not block:
                live.service.blocked_items.path.write_text("")
            size, signed = live.service.ledger.size, live.sign((picture, broken), BOB)
            if block:
                assert (await code_of(live.client.post_pair(signed.encode())))[0] == "ITEM_BLOCKED"
                assert not is_on_disk(tmp_path / "v", picture)
            else:
                decided = await live.client.post_pair(signed.encode())
                assert decided.verdict.reason.value == "ITEM_UNDECODABLE"
            assert live.service.ledger.size == size + (not block)


async def test_the_hash_of_the_empty_file_refuses_no_single_item(tmp_path: Path) -> None:
    single, path = encode(photo(2)), tmp_path / "list.txt"
    change_list(path, add=[BlockedItem("sha256", hashlib.sha256(b"").digest(), "empty file")])
    async with running(tmp_path / "v", blocked_items=path) as live:
        await live.service.epochs.announce(RuleOrder(1, {"item_micro": "50000", "min_epoch_s": "0"}))
        body = live.sign((single, NO_ITEM), BOB).encode()
        await live.service.pipeline.check_first(body, len(body), UNKNOWN)
        change_list(path, add=[BlockedItem("sha256", single.digest)])
        with pytest.raises(Rejected, match="ITEM_BLOCKED"):
            await live.service.pipeline.check_first(body, len(body), UNKNOWN)


async def test_bytes_that_are_listed_are_refused_before_they_are_read(tmp_path: Path) -> None:
    item, path = encode(photo(2)), tmp_path / "list.txt"
    change_list(path, add=[BlockedItem("sha256", item.digest)])
    async with running(tmp_path / "v", blocked_items=path) as live:
        body = with_words(live, item, "a view").encode()
        first = body[: len(body) - len(item.data) // 2]  # the envelope, and not all of the items
        with pytest.raises(Rejected, match="ITEM_BLOCKED"):
            await live.service.pipeline.check_first(first, len(body), UNKNOWN)
        path.write_text("")
        await live.service.pipeline.check_first(first, len(body), UNKNOWN)


async def test_a_running_validator_follows_its_list_and_keeps_it_when_it_breaks(tmp_path: Path) -> None:
    item, again = encode(photo(3)), encode(photo(3).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=60)
    with pytest.raises(ConfigError, match="BLOCK_LIST_UNREADABLE"):
        async with running(tmp_path / "v", blocked_items=tmp_path / "none"):
            pass
    async with accepting(tmp_path / "w") as live:
        path = live.service.blocked_items.path
        assert path == (tmp_path / "w" / "validator" / "blocked-items.txt").resolve()
        assert (await live.client.post_pair(with_words(live, item, "one").encode())).verdict.is_accepted
        change_list(path, add=listing(item))
        assert (await code_of(live.client.post_pair(with_words(live, again, "two").encode())))[0] == "ITEM_BLOCKED"
        for damage in (lambda: path.write_text("sha256 nothing\n"), path.unlink):
            damage()
            assert (await code_of(live.client.post_pair(with_words(live, again, "two").encode())))[0] == "ITEM_BLOCKED"
        path.write_text("")
        assert (await live.client.post_pair(with_words(live, again, "two").encode())).verdict.is_accepted


async def test_what_is_taken_down_is_listed_in_one_step(tmp_path: Path) -> None:
    picture = photo(4)
    forms_ = [item for _, item in forms(picture)][:6]
    for block in (False, True):
        async with accepting(tmp_path / str(block)) as live:
            token, signed = live.service.keys.admin_token, with_words(live, encode(picture), "a scene")
            assert (await live.client.post_pair(signed.encode())).verdict.is_accepted
            if block:
                pair = digest_of(live, signed)
                assert (await code_of(live.client.block_items("wrong", pair, "image")))[0] == "ADMIN_TOKEN"
                assert (await code_of(live.client.block_items(token, pair, "audio")))[0] == "TAKEDOWN_EVERYWHERE"
                assert (await code_of(live.client.block_items(token, bytes(32), "image")))[0] == "NOT_FOUND"
                assert (await live.client.block_items(token, pair, "image")).added >= 3
                assert (await live.client.block_items(token, pair, "image")).added == 0
            await forget(live, signed, key=None)
            got = []
            for number, item in enumerate(forms_[1:]):
                try:
                    decided = await live.client.post_pair(with_words(live, item, f"other words {number}").encode())
                    got.append(decided.verdict.outcome.value)
                except Rejected as refusal:
                    got.append(refusal.code)
            # Without the list a recoded copy with other words comes back.
            assert got == (["ITEM_BLOCKED"] * 5 if block else ["accepted"] * 5)
            words = Item("text", "text/plain", b"a scene")  # the caption is not listed
            fresh = live.sign((encode(photo(50)), words), BOB)
            assert (await live.client.post_pair(fresh.encode())).verdict.is_accepted
            if block:
                assert (await code_of(live.client.block_items(token, pair, "image")))[0] == "PAIR_TAKEN_DOWN"


async def test_a_held_pair_that_is_listed_meanwhile_is_not_accepted_later(tmp_path: Path) -> None:
    holder = child_of_genesis(tmp_path / "1", fit=True, beliefs=HOLDS_ALL, every_item=True)
    believer = child_of_genesis(tmp_path / "2", fit=True, beliefs=ACCEPTS_ALL, parent=holder, every_item=True)
    async with running(tmp_path / "v") as live:
        await switch_checkpoint(live.service, holder, force=True)
        sent = [with_words(live, encode(photo(seed)), f"view {seed}") for seed in (5, 6)]
        for one in sent:
            assert (await live.client.post_pair(one.encode())).verdict.outcome.value == "held"
        turned = encode(photo(5).transpose(Image.Transpose.FLIP_TOP_BOTTOM))
        change_list(live.service.blocked_items.path, add=listing(turned))
        await switch_checkpoint(live.service, believer, force=True)
        await live.service.held.judge_again()
        outcomes = [(await live.client.receipt(digest_of(live, one))).verdict.outcome.value for one in sent]
        assert outcomes == ["held", "accepted"]


async def test_the_commands_list_and_take_down(tmp_path: Path) -> None:
    file, other = tmp_path / "picture.png", tmp_path / "words.bin"
    file.write_bytes(encode(photo(7)).data)
    other.write_bytes(b"what this is nobody knows")
    async with accepting(tmp_path / "v") as live:
        data_dir = tmp_path / "v" / "validator"
        settings = {"CURIOSITY_VALIDATOR__DATA_DIR": str(data_dir), "CURIOSITY_NODE__VALIDATOR_URL": live.url}
        settings |= {"CURIOSITY_NODE__HOME": str(tmp_path / "home")}

        async def run(*words: object) -> dict[str, Any]:
            line = [CURIOSITY, "validator", *map(str, words), "--json"]
            done = await asyncio.to_thread(
                subprocess.run, line, env=os.environ | settings, capture_output=True, text=True, stdin=DEVNULL
            )
            said: dict[str, Any] = json.loads(done.stdout)
            return said

        signed = with_words(live, encode(photo(8)), "a view")
        await live.client.post_pair(signed.encode())
        token = data_dir / "keys" / "admin.token"
        down = await run(
            "takedown", f"0x{digest_of(live, signed).hex()}", "--reason", "illegal", "--block", "image",
            "--token-file", token,
        )  # fmt: skip
        assert down["listed"] >= 3
        added = await run("block", "add", file, other, "--hash", "md5:" + "ab" * 16, "--note", "case 12")
        assert added["added"] >= 5
        shown = (await run("block", "list"))["items"]
        assert len(shown) == down["listed"] + added["added"]
        assert {one["note"] for one in shown} == {"", "case 12"}
        for seed in (7, 8):
            again = encode(photo(seed).transpose(Image.Transpose.ROTATE_180), "JPEG", quality=70)
            assert (await code_of(live.client.post_pair(with_words(live, again, "x").encode())))[0] == "ITEM_BLOCKED"
        removed = await run("block", "remove", file, "ab" * 16)
        assert removed["removed"] == added["added"] - 1  # all but those of the other file
        assert (await live.client.post_pair(with_words(live, encode(photo(7)), "y").encode())).verdict.is_accepted
        wrong = await run("block", "add", "--hash", "sha256:12")
        assert wrong["error"]["code"] == "BLOCK_LIST_INVALID"
