"""A validator and real witnesses: cosigned heads, offline proofs, tiles; and what it does when they fail or object."""

import asyncio
import gzip
import io
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.merkle import leaf_hash, root
from curiosity.protocol.messages import WitnessPage
from curiosity.protocol.pair import Item
from curiosity.protocol.tlog import (
    Signer,
    TileReader,
    cosign,
    parse_bundle,
    parse_note,
    parse_witness_request,
    verified_cosignatures,
    verify_checkpoint,
    verify_proof,
)
from curiosity.protocol.wire import parse
from tests.material.ledger import LOG, open_ledger
from tests.material.ledger import ORIGIN as LEDGER_ORIGIN
from tests.material.service import Running, running
from tests.material.waiting import in_the_end
from tests.material.witness import Live, witnessing
from validator.keys import load_keys
from validator.ledger import Ledger, NewEntry
from validator.witnesses import CosignedHead, Witnesses, parse_witnesses
from witness.files import origin_hash

ORIGIN = "curiosity-local"
LOG_VKEY = LOG.verifier.vkey()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that failed is asked again after 50 ms at the latest."""
    monkeypatch.setattr("validator.witnesses.LONGEST_WAIT_S", 0.05)


def make_leaves(start: int, end: int) -> list[NewEntry]:
    """Entries without a pair: what witnesses see does not depend on what entries say."""
    return [NewEntry(encode_entry(CheckpointEntry(n.to_bytes(32, "big"), None))) for n in range(start, end)]


@dataclass
class Witnessed:
    """A ledger whose heads go to witnesses, without the rest of the service."""

    ledger: Ledger
    witnesses: Witnesses

    async def append(self, start: int, end: int) -> None:
        await asyncio.to_thread(self.ledger.append, make_leaves(start, end))

    async def cosigned(self, vkeys: list[str], count: int) -> str:
        """Wait until the newest head has that many cosignatures."""
        return await in_the_end(
            lambda: (
                note
                if len(verified_cosignatures(note := self.witnesses.newest(), vkeys)) == count
                and note.split("\n")[1] == str(self.ledger.size)
                else ""
            )
        )


@asynccontextmanager
async def asking(folder: Path, lines: list[str], quorum: int) -> AsyncIterator[Witnessed]:
    """A ledger in ``folder`` that asks these witnesses a hundred times a second."""
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}", folder / "head") as opened:
        witnesses = Witnesses(
            opened.ledger,
            origin=LEDGER_ORIGIN,
            log_vkey=LOG_VKEY,
            addresses=parse_witnesses(lines, quorum),
            quorum=quorum,
            path=folder / "cosigned-head.txt",
            interval_s=0.01,
            read=asyncio.to_thread,
        )
        task = asyncio.create_task(witnesses.run())
        try:
            yield Witnessed(opened.ledger, witnesses)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def witness(folder: Path, number: int, port: int = 0) -> AbstractAsyncContextManager[Live]:
    logs = (f"{LEDGER_ORIGIN} {LOG_VKEY}",)
    return witnessing(folder / f"w{number}", logs, name=f"witness.example/w{number}", port=port)


async def test_every_witness_cosigns_every_head_that_it_is_shown(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(witness(tmp_path, n)) for n in range(3)]
        vkeys = [one.keys.vkeys[0] for one in lives]
        at = await stack.enter_async_context(asking(tmp_path, [one.line for one in lives], 2))
        for start, end in ((0, 1), (1, 2), (2, 9), (9, 300)):
            await at.append(start, end)
            note = await at.cosigned(vkeys, 3)
            head = verify_checkpoint(note, LEDGER_ORIGIN, [LOG_VKEY], vkeys, 3)
            assert (head.size, head.root) == (end, at.ledger.root())
            for one in lives:
                shown = await one.latest(origin_hash(LEDGER_ORIGIN))
                assert verify_checkpoint(shown, LEDGER_ORIGIN, [LOG_VKEY]) == head
        file = tmp_path / "cosigned-head.txt"
        await in_the_end(lambda: file.read_text() == note)
        assert [one.evidence() for one in lives] == [[], [], []]


async def test_a_witness_that_is_down_delays_nothing_and_catches_up(tmp_path: Path) -> None:
    async with witness(tmp_path, 0) as first, witness(tmp_path, 1) as second:
        lines, vkeys = [first.line, second.line], [first.keys.vkeys[0], second.keys.vkeys[0]]
        ports = [int(one.url.rpartition(":")[2]) for one in (first, second)]
        async with asking(tmp_path, lines, 1) as at:
            await at.append(0, 1)
            await at.cosigned(vkeys, 2)
            await in_the_end(lambda: at.witnesses.cosigned)  # which is when it is on the disk
    async with witness(tmp_path, 0, ports[0]) as first, asking(tmp_path, lines, 1) as at:  # the second stays down
        assert at.witnesses.provable().head.size == 1  # kept through the restart
        await at.append(1, 10)
        await at.cosigned(vkeys, 1)
        await in_the_end(lambda: at.witnesses.provable().head.size == 10)
        up, down = at.witnesses.status()
        assert (up.name, up.size, up.failures, up.error) == ("witness.example/w0", 10, 0, None)
        assert (down.name, down.size, down.alarm) == ("witness.example/w1", None, None)
        assert down.failures > 0
        async with witness(tmp_path, 1, ports[1]) as second:
            await at.cosigned(vkeys, 2)  # it had cosigned 1 entry, and says so
            assert second.evidence() == first.evidence() == []


async def test_answers_that_are_none_are_not_believed(tmp_path: Path) -> None:
    """Nonsense, a signature of another head, a redirect, an endless answer: as good as a witness that is down."""
    stranger = Signer("witness.example/w9", b"\x09" * 32)
    with open_ledger(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other") as other:
        other.ledger.append(make_leaves(50, 52))
        foreign = cosign(other.ledger.tree_head(), stranger, 1).removeprefix(other.ledger.tree_head())
    answers = [
        (200, "nonsense"), (200, ""), (200, foreign), (500, "x"), (409, "many\n"), (409, "007\n"), (409, "99\n"),
        (200, "x" * 200_000), (302, ""), (404, ""), (409, "1\n"),
    ]  # fmt: skip
    asked = 0

    async def handle(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        status, body = answers[(asked - 1) % len(answers)]
        return web.Response(status=status, text=body, headers={"Location": "/"} if status == 302 else {})

    app = web.Application()
    app.router.add_post("/add-checkpoint", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    line = f"http://127.0.0.1:{runner.addresses[0][1]} {stranger.witness.vkey()}"
    try:
        with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "head") as opened:
            opened.ledger.append(make_leaves(0, 3))
        async with asking(tmp_path, [line], 1) as at:
            await in_the_end(lambda: asked > len(answers) + 2)
            assert at.witnesses.cosigned is None
            assert at.witnesses.newest() == at.ledger.tree_head()
            (status,) = at.witnesses.status()
            assert status.failures >= len(answers)
            assert "99 entries of this log, which holds 3" in (status.alarm or "")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [403, 422])
async def test_a_witness_writes_no_line_of_ours(status: int, tmp_path: Path) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="no\nERROR event=forged\x1b[2J")

    app = web.Application()
    app.router.add_post("/add-checkpoint", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    line = f"http://127.0.0.1:{runner.addresses[0][1]} {Signer('witness.example/w9', bytes(32)).witness.vkey()}"
    try:
        async with asking(tmp_path, [line], 1) as at:
            await in_the_end(lambda: at.witnesses.status()[0].failures > 0)
            (shown,) = at.witnesses.status()
            assert f"status {status}: no ERROR event=forged\ufffd[2J" in (shown.error or "")
            assert "\n" not in f"{shown.error}{shown.alarm}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def crowding(signer: Signer) -> AsyncIterator[str]:
    """A witness that answers each head with 99 valid cosignatures of its own; its line for the settings."""

    async def handle(request: web.Request) -> web.Response:
        note = parse_witness_request(await request.text()).note
        return web.Response(text="".join(cosign(note, signer, second).removeprefix(note) for second in range(1, 100)))

    app = web.Application()
    app.router.add_post("/add-checkpoint", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]} {signer.witness.vkey()}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("is_defended", [False, True])
async def test_one_witness_with_many_signatures_keeps_out_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_defended: bool
) -> None:
    if not is_defended:  # every line that is new is added, as before
        monkeypatch.setattr("validator.witnesses.add_signatures", lambda note, lines, _vkeys: _all_lines(note + lines))
    signer = Signer("witness.example/crowd", b"\x0c" * 32)
    honest = [f"witness.example/w{number}" for number in range(2)]
    async with witness(tmp_path, 0) as first, witness(tmp_path, 1) as second:
        lines, ports = [first.line, second.line], [int(one.url.rpartition(":")[2]) for one in (first, second)]
    vkeys = [signer.witness.vkey(), *(line.split()[1] for line in lines)]
    async with crowding(signer) as line, asking(tmp_path, [line, *lines], 2) as at:
        await at.append(0, 3)
        await at.cosigned(vkeys[:1], 1 if is_defended else 99)  # it answered before the others
        async with witness(tmp_path, 0, ports[0]), witness(tmp_path, 1, ports[1]):
            if is_defended:
                note = await at.cosigned(vkeys, 3)
                assert verify_checkpoint(note, LEDGER_ORIGIN, [LOG_VKEY], vkeys, 3).size == 3
                await in_the_end(lambda: at.witnesses.cosigned is not None)
                assert at.witnesses.provable().head.size == 3
            else:
                await in_the_end(lambda: all("SIGNATURES" in (s.error or "") for s in at.witnesses.status()[1:]))
                assert [status.name for status in at.witnesses.status()[1:]] == honest
                assert at.witnesses.cosigned is None


def _all_lines(note: str) -> str:
    parse_note(note)
    return note


async def test_a_witness_that_objects_raises_an_alarm(tmp_path: Path) -> None:
    """It has cosigned another history of this very log: what a database restored from another copy leads to."""
    async with witness(tmp_path, 0) as live:
        async with asking(tmp_path, [live.line], 1) as at:
            await at.append(0, 4)
            await at.cosigned([live.keys.vkeys[0]], 1)
        other = tmp_path / "restored"
        other.mkdir()
        with open_ledger(f"sqlite:///{other / 'ledger.db'}", other / "head") as opened:
            opened.ledger.append(make_leaves(7, 8))
        async with asking(other, [live.line], 1) as at:
            alarm = await in_the_end(lambda: at.witnesses.status()[0].alarm or "")
            assert "it cosigned 4 entries of this log, which holds 1" in alarm
            await at.append(8, 13)
            await in_the_end(lambda: ("NOT_CONSISTENT" in (at.witnesses.status()[0].alarm or "") and "yes") or "")
            assert at.witnesses.cosigned is None
        assert len(live.evidence()) > 0


async def test_a_kept_head_that_is_not_ours_is_not_shown(tmp_path: Path) -> None:
    async with witness(tmp_path, 0) as live, asking(tmp_path, [live.line], 1) as at:
        await at.append(0, 4)
        kept = await at.cosigned([live.keys.vkeys[0]], 1)
        await in_the_end(
            lambda: "yes" if at.witnesses.cosigned == CosignedHead(at.witnesses.provable().head, kept) else ""
        )
    lines = [f"http://127.0.0.1:9 {live.keys.vkeys[0]}"]
    file = tmp_path / "cosigned-head.txt"
    for change in (kept[:-9] + kept[-8:], kept.replace("\n4\n", "\n5\n"), at.ledger.tree_head(), ""):
        file.write_text(change)
        async with asking(tmp_path, lines, 1) as again:
            assert again.witnesses.cosigned is None
    file.write_text(kept)
    async with asking(tmp_path, lines, 1) as again:
        assert again.witnesses.provable().note == kept
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cosigned-head.txt").write_text(kept)
    async with asking(tmp_path / "other", lines, 1) as again:  # an empty ledger of the same key
        assert again.witnesses.cosigned is None


def test_settings_that_name_no_witness_are_refused() -> None:
    plain, cosigner = Signer("a", b"\1" * 32).verifier.vkey(), Signer("a", b"\1" * 32).witness.vkey()
    assert parse_witnesses([f"https://w.example/x/ {cosigner}"], 1)[0].url == "https://w.example/x"
    for lines, quorum, code in (
        (["http://w.example"], 0, "WITNESS_LINE"),
        ([f"ftp://w.example {cosigner}"], 0, "WITNESS_LINE"),
        ([f"http://w.example {cosigner[:-2]}"], 0, "WITNESS_LINE"),
        ([f"http://w.example {plain}"], 0, "WITNESS_LINE"),
        ([f"http://w.example {cosigner}"], 2, "WITNESS_QUORUM"),
        ([], 1, "WITNESS_QUORUM"),
    ):
        with pytest.raises(ConfigError, match=code):
            parse_witnesses(lines, quorum)


# -- over HTTP


async def get(live: Running, path: str, status: int = 200) -> str:
    async with aiohttp.ClientSession() as session, session.get(live.url + path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.text()


def picture(shade: int) -> bytes:
    """A plain grey picture."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


async def test_offline_proofs_carry_the_quorum_and_pairs_do_not_wait_for_it(tmp_path: Path) -> None:
    log_vkey = load_keys(tmp_path / "keys", ORIGIN).log.verifier.vkey()
    nowhere = Signer("witness.example/nowhere", b"\x31" * 32).witness.vkey()
    async with witnessing(tmp_path / "w", (log_vkey,)) as witness:
        port = int(witness.url.rpartition(":")[2])
        vkeys = [witness.keys.vkeys[0]]
    lines = (witness.line, f"http://127.0.0.1:9 {nowhere}")
    async with running(tmp_path, witnesses=lines, quorum=1, witness_interval_s=0.05) as live:
        for shade in (10, 200):
            pair = live.sign((Item("image", "image/png", picture(shade)), Item("text", "text/plain", b"%d" % shade)))
            assert (await live.client.post_pair(pair.encode())).receipt.index > 0
        assert (await get(live, "/checkpoint")).split("\n")[1] == "3"
        assert "HEAD_NOT_COSIGNED" in await get(live, "/v1/proof/tlog?index=1", 503)
        assert "HEAD_NOT_COSIGNED" in await get(live, "/v1/checkpoint/cosigned", 503)
        async with witnessing(tmp_path / "w", (log_vkey,), port=port):
            await in_the_end(lambda: (done := live.service.witnesses.cosigned) and done.head.size == 3)
            note = await get(live, "/v1/checkpoint/cosigned")
            assert note == await get(live, "/checkpoint")
            leaves = live.service.store.leaves(0, 3)
            for index, leaf in enumerate(leaves):
                proof = await get(live, f"/v1/proof/tlog?index={index}")
                proven = verify_proof(proof, leaf, ORIGIN, [log_vkey], vkeys, 1)
                assert (proven.index, proven.extra) == (index, leaf)
                with pytest.raises(ProofError, match="PROOF_MISMATCH"):
                    verify_proof(proof, leaves[index - 1], ORIGIN, [log_vkey], vkeys, 1)
        await get(live, "/v1/proof/tlog?index=3", 404)
        await live.service.threads.on_writer(lambda: live.service.ledger.append(make_leaves(0, 1)))
        assert "newer than the last cosigned tree of 3" in await get(live, "/v1/proof/tlog?index=3", 503)
        page = parse(WitnessPage, await get(live, "/v1/witnesses"))
        assert (page.quorum, page.cosigned_size, len(page.witnesses)) == (1, 3, 2)


async def test_tiles_and_bundles_are_those_of_the_specification(tmp_path: Path) -> None:
    async with running(tmp_path) as live, aiohttp.ClientSession(auto_decompress=False) as session:
        await live.service.threads.on_writer(lambda: live.service.ledger.append(make_leaves(0, 519)))
        leaves = live.service.store.leaves(0, 520)
        files: dict[str, bytes] = {}

        async def get(path: str, **headers: str) -> tuple[int, bytes]:
            async with session.get(f"{live.url}/{path}", headers={"Accept-Encoding": "identity", **headers}) as answer:
                body = await answer.read()
                if answer.status == 200:
                    assert answer.headers["Content-Type"] == "application/octet-stream"
                    assert "immutable" in answer.headers["Cache-Control"]
                    files[path] = body
                return answer.status, body

        hashes = [leaf_hash(leaf) for leaf in leaves]
        assert await get("tile/0/000") == (200, b"".join(hashes[:256]))
        assert await get("tile/0/001") == (200, b"".join(hashes[256:512]))
        assert await get("tile/0/002.p/8") == (200, b"".join(hashes[512:]))
        assert await get("tile/0/002.p/3") == (200, b"".join(hashes[512:515]))
        assert await get("tile/0/001.p/200") == (200, b"".join(hashes[256:456]))
        assert await get("tile/1/000.p/2") == (200, root(leaves[:256]) + root(leaves[256:512]))
        for number, width in ((0, 256), (1, 256), (2, 8)):
            suffix = f"{number:03d}" if width == 256 else f"{number:03d}.p/{width}"
            status, body = await get(f"tile/entries/{suffix}")
            assert (status, parse_bundle(body, width)) == (200, leaves[256 * number : 256 * number + width])
        async with session.get(f"{live.url}/tile/entries/001", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await answer.read()) == files["tile/entries/001"]
        for path in (
            "tile/0/002.p/9", "tile/0/002", "tile/0/003", "tile/1/000", "tile/1/000.p/3", "tile/2/000.p/1",
            "tile/0/2.p/8", "tile/00/000", "tile/0/x000/000", "tile/0/002.p/0", "tile/0/002.p/256", "tile/64/000",
            "tile/entries/002.p/9", "tile/entries/003", "tile/-1/000", "tile/0/", "tile/entries/000.p/", "tile/0/000/",
        ):  # fmt: skip
            assert (await get(path))[0] == 404, path
        async with session.get(f"{live.url}/checkpoint") as answer:
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
            head = verify_checkpoint(await answer.text(), ORIGIN, [live.network.log_vkey])
        reader = TileReader(head, files.get)
        assert [entry for n in range(3) for entry in reader.entries(n)] == leaves
        assert reader.root(300) == live.service.ledger.root_at(300)
        for index in random.Random(1).sample(range(520), 20):
            assert reader.inclusion_path(index) == live.service.ledger.inclusion_proof(index, 520)
