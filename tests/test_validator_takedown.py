"""Takedowns against a real validator: what is forgotten, what stays, who may ask, and what comes of interruptions."""

import asyncio
import base64
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from curiosity.client.client import ValidatorClient
from curiosity.client.takedowns import find_digest, take_down
from curiosity.embedding.sketch import Sketch
from curiosity.ledger.copy import copy_ledger
from curiosity.protocol.entry import TakedownEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, SourceError, StoreError
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.merkle import verify_consistency, verify_inclusion
from curiosity.protocol.messages import Decision, TakedownReport
from curiosity.protocol.pair import Item, SignedPair
from curiosity.protocol.payouts import derive
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.takedown import SignedTakedown, TakedownReason, sign_takedown
from curiosity.protocol.tlog import verify_checkpoint
from curiosity.protocol.tombstones import check_takedowns
from curiosity.protocol.verdict import Reason
from curiosity.serving.index import VectorIndex
from tests.material.child_checkpoint import child_of_genesis
from tests.material.ledger import make_entry, make_pair, open_ledger
from tests.material.service import ALICE, BOB, Running, code_of, item_of, pictures, running
from tests.material.takedown import digest_of, forget, request, submit
from trainer.mirror import read_mirror
from validator.intake import Admitted
from validator.ledger import NewEntry
from validator.turn import Turn


def pieces_of(signed: SignedPair, decision: Decision) -> dict[str, bytes]:
    """Everything of a pair that must be gone, in each form in which it is kept."""
    assert decision.embeddings is not None
    secrets = {
        "picture": signed.a.data,
        "digest of the picture": signed.a.digest,
        "nonce": signed.envelope.submission.nonce,
        "salt": decision.opening.salt,
    }
    texts = {f"{name} in hex": value.hex().encode() for name, value in secrets.items()}
    texts["vector"] = base64.b64decode(decision.embeddings.a)
    texts["final vector"] = base64.b64decode(decision.embeddings.final_a)
    return secrets | texts


def found_in(folder: Path, pieces: dict[str, bytes]) -> set[str]:
    """Names of the pieces that some file below the folder holds."""
    data = b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return {name for name, piece in pieces.items() if piece in data}


async def test_a_takedown_leaves_nothing_but_proofs(live: Running, tmp_path: Path) -> None:
    pairs = await submit(live, 24)
    names = Counter(one.b.data for one, _ in pairs)
    signed, decision = next(one for one in pairs if one[1].verdict.novel and names[one[0].b.data] > 1)
    pieces, folder = pieces_of(signed, decision), tmp_path / "validator"
    size = live.service.ledger.size
    head = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
    proof = await live.client.inclusion(decision.receipt.index, size)
    known = live.service.embedder.in_force.judge.known("image-text")
    await copy_ledger(live.client, tmp_path / "mirror")
    query = ("image", "image/png", signed.a.data, "image", 40)
    # The control arm: before, all of it is there.
    assert signed.a.digest in {one.sha256 for one in (await live.client.query(*query)).found}
    assert found_in(folder, pieces) == set(pieces) - {"salt", "picture in hex"}
    assert found_in(tmp_path / "mirror", pieces) >= {"picture", "nonce in hex", "salt in hex"}
    assert len(read_mirror(tmp_path / "mirror")[1]) == len(pairs)

    report = await forget(live, signed)
    entry = parse_entry(report.receipts[0].entry.encode())
    assert isinstance(entry, TakedownEntry)
    assert (entry.index, entry.pair, report.receipts[0].index) == (decision.receipt.index, report.pair, size)
    assert not [key for key in live.service.embedder._cache if key[2] == signed.a.digest]
    assert (await live.client.query(*query)).indexed == len(pairs) - 1

    async def is_gone(live: Running) -> None:
        assert found_in(folder, pieces) == set()
        assert signed.a.digest not in {one.sha256 for one in (await live.client.query(*query)).found}
        assert await code_of(live.client.receipt(report.pair)) == ("PAIR_TAKEN_DOWN", 410)
        assert await code_of(live.client.item(signed.a.digest)) == ("ITEM_GONE", 410)
        assert await live.client.item(signed.b.digest) == signed.b.data  # other pictures have that name too
        page = await live.client.submissions(0, 100)
        assert report.pair not in {row.submission.digest(live.network.domain) for row in page.submissions}
        assert await code_of(live.client.post_pair(signed.encode())) == ("PAIR_TAKEN_DOWN", 410)
        again = live.sign((signed.a, signed.b))
        assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
        assert found_in(folder, pieces) == set()  # nor has trying brought it back
        assert live.service.embedder.in_force.judge.known("image-text") == known - 1
        assert (await forget(live, signed)) == replace(report, replayed=True)
        # Old proofs verify, and the log has only grown.
        verify_inclusion(proof.leaf_hash, proof.index, proof.size, proof.path, head.root)
        newer = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
        path = (await live.client.consistency(head.size, newer.size)).path
        verify_consistency(head.size, newer.size, path, head.root, newer.root)
        fresh = await live.client.inclusion(proof.index)
        verify_inclusion(proof.leaf_hash, fresh.index, newer.size, fresh.path, newer.root)

    await is_gone(live)
    # Nor does a search that found it before it was gone, and describes what it found after.
    stale = np.frombuffer(pieces["final vector"], dtype="<i2").astype(np.int16)
    live.service.embedder.in_force.index.add([2 * entry.index], "image", stale[None, :])
    assert entry.index not in {one.index for one in (await live.client.query(*query)).found}
    live.service.embedder.in_force.index.remove([2 * entry.index], "image")
    done = await copy_ledger(live.client, tmp_path / "mirror")
    assert done.taken_down == 1
    assert found_in(tmp_path / "mirror", pieces) == set()
    ledger, fed = read_mirror(tmp_path / "mirror")
    assert ledger.takedowns == (report.receipts[0].index,)
    assert report.pair not in {pair.digest for pair in fed}
    assert len(fed) == len(pairs) - 1


async def test_it_stays_forgotten_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        pairs = await submit(live, 6)
        signed, decision = pairs[0]
        await forget(live, signed)
        known = live.service.embedder.in_force.judge.known("image-text")
        indexed = (await live.client.query("text", "text/plain", b"three", "image", 5)).indexed
        assert indexed == len(pairs) - 1
    async with running(tmp_path / "validator") as live:
        assert found_in(tmp_path / "validator", pieces_of(signed, decision)) == set()
        assert live.service.embedder.in_force.judge.known("image-text") == known
        assert (await live.client.query("text", "text/plain", b"three", "image", 5)).indexed == indexed
        assert await code_of(live.client.post_pair(signed.encode())) == ("PAIR_TAKEN_DOWN", 410)
        again = live.sign((signed.a, signed.b))
        assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
        assert (await forget(live, signed)).replayed


async def test_an_old_mirror_is_not_learned_from(live: Running, tmp_path: Path) -> None:
    """Whoever keeps a blob against the tombstone still feeds nothing of it, and cannot leave the tombstone out."""
    pairs = await submit(live, 4)
    signed, _ = pairs[0]
    out = tmp_path / "mirror"
    await copy_ledger(live.client, out)
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    await forget(live, signed)
    await copy_ledger(live.client, out)
    now = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path, data in kept.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    assert digest_of(live, signed) in {pair.digest for pair in read_mirror(out)[1]}  # of before: nobody had asked yet
    (out / "checkpoint").write_bytes(now[out / "checkpoint"])
    for path, data in now.items():
        if path.parent.parent.name == "tile":
            path.write_bytes(data)
    (bundle,) = [path for path in now if "entries" in path.parts]
    (old_bundle,) = [path for path in kept if "entries" in path.parts]
    bundle.write_bytes(kept[old_bundle])
    with pytest.raises(ProofError, match="BUNDLE_TRUNCATED"):  # the tombstone left out
        read_mirror(out)
    bundle.write_bytes(now[bundle])
    (rows,) = [path for path in now if "pairs" in path.parts]
    rows.write_bytes(next(data for path, data in kept.items() if "pairs" in path.parts))
    assert digest_of(live, signed) not in {pair.digest for pair in read_mirror(out)[1]}


async def test_a_mirror_copes_with_a_takedown_in_the_middle_of_it(live: Running, tmp_path: Path) -> None:
    signed, _ = (await submit(live, 4))[0]

    class Interrupted(ValidatorClient):
        """Takes a pair down after its submission was listed and before its items are fetched."""

        async def item(self, digest: bytes) -> bytes:
            if not live.service.forgotten.entry_of(digest_of(live, signed)):
                await forget(live, signed)
            return await super().item(digest)

    async with Interrupted(live.url) as client:
        done = await copy_ledger(client, tmp_path / "mirror")
    assert (done.taken_down, done.size) == (1, live.service.ledger.size)
    assert not (tmp_path / "mirror" / "blobs" / signed.a.digest.hex()).exists()


async def test_a_shared_item_stays_unless_it_is_taken_down_everywhere(live: Running) -> None:
    (first, _), (other, _), *_ = await submit(live, 20)
    picture = Item("image", "image/png", first.a.data)
    mine = live.sign((picture, Item("text", "text/plain", b"a digit")))
    theirs = live.sign((picture, Item("text", "text/plain", b"one digit of ten")), BOB)
    answers = [await live.client.post_pair(one.encode()) for one in (mine, theirs)]
    assert [answer.receipt.index for answer in answers]
    await forget(live, first)
    assert live.service.store.blob(picture.digest) == picture.data
    report = await forget(live, mine, everywhere="image")
    assert len(report.receipts) == 1  # BOB's pair is not ALICE's to take
    assert live.service.store.blob(picture.digest) == picture.data
    fresh = Item("text", "text/plain", b"nought")
    assert await code_of(live.client.post_pair(live.sign((picture, fresh)).encode())) == ("CONTENT_TAKEN_DOWN", 410)
    bobs = live.sign((picture, fresh), BOB)
    await live.client.post_pair(bobs.encode())  # what ALICE withdraws is not forbidden to others
    report = await forget(live, theirs, key=None, everywhere="image")
    assert [parse_entry(one.entry.encode()).pair for one in report.receipts] == [  # type: ignore[union-attr]
        digest_of(live, theirs), digest_of(live, bobs)
    ]  # fmt: skip
    assert live.service.store.blob(picture.digest) is None
    again = live.sign((picture, Item("text", "text/plain", b"null")), BOB)
    assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
    leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
    assert len(check_takedowns(leaves, live.network.network_id, live.network.domain)) == 4
    assert await live.client.item(other.a.digest) == other.a.data


async def test_copies_that_were_refused_go_with_the_original(live: Running) -> None:
    signed, _ = (await submit(live, 3))[0]
    copy = live.sign((signed.a, signed.b), BOB)
    assert (await live.client.post_pair(copy.encode())).verdict.reason is Reason.CONTENT_DUPLICATE
    report = await forget(live, signed)
    assert len(report.receipts) == 2
    assert await code_of(live.client.receipt(digest_of(live, copy))) == ("PAIR_TAKEN_DOWN", 410)
    assert await code_of(live.client.item(signed.a.digest)) == ("ITEM_GONE", 410)
    leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
    assert len(check_takedowns(leaves, live.network.network_id, live.network.domain)) == 2


async def test_a_takedown_never_looks_at_every_pair(live: Running) -> None:
    """By SQLite's own plan of each statement: the table of pairs is read by an index, or an index in its place."""
    signed, _ = (await submit(live, 3))[0]
    copy = live.sign((signed.a, signed.b), BOB)
    await live.client.post_pair(copy.encode())
    statements: list[str] = []
    database = live.service.store._database
    writer: Any = database._connection.connection.driver_connection
    writer.set_trace_callback(statements.append)
    event.listen(database._engines.reader, "checkout", lambda one, *_: one.set_trace_callback(statements.append))
    assert len((await forget(live, signed, key=None, everywhere="image-text")).receipts) == 2
    plans = {
        row[3]
        for statement in list(statements)
        if "pairs" in statement
        for row in database.rows(f"EXPLAIN QUERY PLAN {statement}")
        if "pairs" in row[3]
    }
    assert not [plan for plan in plans if plan == "SCAN pairs" or "AUTOMATIC" in plan], plans
    assert "SEARCH pairs USING INDEX pairs_refused_contents (a_sha256=? AND b_sha256=?)" in plans
    # The control: this is how a look at all of them is told.
    (row,) = database.rows("EXPLAIN QUERY PLAN SELECT leaf_index FROM pairs WHERE b_sha256 = ?", (bytes(32),))
    assert row[3] == "SCAN pairs"


async def test_only_the_contributor_or_the_operator_may_ask(live: Running) -> None:
    """Both arms: with the check off anybody's signature would do, as the last request shows that the form is right."""
    signed, _ = (await submit(live, 3))[0]
    now = int(time.time())
    client, token = live.client, live.service.keys.admin_token
    cases = [
        (request(live, signed, key=BOB), "", ("SIGNATURE_OF_ANOTHER", 403)),
        (request(live, signed, key=None), "", ("TAKEDOWN_UNSIGNED", 401)),
        (request(live, signed, key=None), "x" * 64, ("ADMIN_TOKEN", 401)),
        (replace(request(live, signed), signature=b"\1" * 64 + b"\x1d"), "", ("SIGNATURE_V", 401)),
        (request(live, signed, network_id=bytes(32)), "", ("WRONG_NETWORK", 400)),
        (request(live, signed, pair=b"\1" * 32), "", ("NOT_FOUND", 404)),
        (request(live, signed, everywhere="audio"), "", ("TAKEDOWN_EVERYWHERE", 422)),
        (request(live, signed, everywhere="text-image"), "", ("TAKEDOWN_EVERYWHERE", 422)),
    ]
    for asked, with_token, expected in cases:
        assert await code_of(client.takedown(asked, with_token)) == expected
    for expiry, code in ((now - 5, "SIGNATURE_EXPIRED"), (now + 25 * 3600, "EXPIRY_TOO_FAR")):
        late = replace(request(live, signed).request, expiry=expiry)
        assert (await code_of(client.takedown(sign_takedown(late, live.network.domain, ALICE))))[0] == code
    # Nothing of a signed request can be changed, in particular not how far it reaches.
    good = request(live, signed)
    for field, value in (
        ("everywhere", "image"),
        ("reason", TakedownReason.ILLEGAL),
        ("expiry", good.request.expiry + 1),
    ):
        changed = replace(good, request=replace(good.request, **{field: value}))  # type: ignore[arg-type]
        assert (await code_of(client.takedown(changed)))[0] == "SIGNATURE_OF_ANOTHER"
    assert live.service.ledger.size == 4
    assert not (await client.takedown(good)).replayed
    assert (await client.takedown(request(live, signed, key=None), token)).replayed


async def test_a_pair_is_not_paid_if_it_goes_before_its_epoch_closes(live: Running) -> None:
    parameters = RewardParameters()
    pairs = [one for one in await submit(live, 20) if one[1].verdict.novel]
    assert len(pairs) >= 3

    async def payouts() -> list[object]:
        leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
        return list(derive(leaves, parameters))

    before = (await payouts())[0].paid  # type: ignore[attr-defined]
    await forget(live, pairs[0][0])
    report = await live.client.close_epoch(live.service.keys.admin_token)
    closed, _ = await payouts()
    gone = pairs[0][1].receipt.index
    assert gone in {one.index for one in before}  # the control arm
    assert {one.index for one in closed.paid} == {one.index for one in before} - {gone}  # type: ignore[attr-defined]
    assert (report.reward_root, report.paid_pairs) == (closed.reward_root, len(closed.paid))  # type: ignore[attr-defined]
    await forget(live, pairs[1][0])  # paid stays paid
    assert (await payouts())[0].reward_root == closed.reward_root  # type: ignore[attr-defined]
    ticket = await live.client.claim(address_of(ALICE))
    assert [share.reward_root for share in ticket.shares] == [report.reward_root]


async def test_what_is_on_its_way_when_it_is_taken_down_is_refused(live: Running, tmp_path: Path) -> None:
    signed, decision = (await submit(live, 3))[0]
    copy = live.sign((signed.a, signed.b))

    batches, is_ready = live.service.batches, asyncio.Event()
    judge = batches.judge

    async def noticed(
        admitted: Admitted, embedded: tuple[Embedded, ...] | Rejected, sketches: tuple[Sketch, ...] = ()
    ) -> Turn:
        is_ready.set()
        return await judge(admitted, embedded, sketches)

    batches.judge = noticed  # type: ignore[method-assign]

    async def meanwhile() -> "asyncio.Task[Decision]":
        task = asyncio.create_task(live.client.post_pair(copy.encode()))
        await is_ready.wait()
        await forget(live, signed)
        return task

    task = await batches.paused(meanwhile())  # nothing is decided until the takedown is through
    assert await code_of(task) == ("CONTENT_TAKEN_DOWN", 410)
    assert found_in(tmp_path / "validator", pieces_of(signed, decision)) == set()
    assert not [key for key in live.service.embedder._cache if key[2] == signed.a.digest]


async def test_a_switch_of_the_checkpoint_does_not_bring_it_back(live: Running, tmp_path: Path) -> None:
    """The takedown comes while everything is embedded again, when its pair has been read already."""
    pairs = await submit(live, 6)
    signed, _ = pairs[0]
    embedder = live.service.embedder
    embed_whole = embedder.embed_whole

    async def slow(*arguments: object) -> object:
        vectors = await embed_whole(*arguments)  # type: ignore[arg-type]
        if digest_of(live, signed) not in live.service.forgotten:
            await forget(live, signed)
        return vectors

    embedder.embed_whole = slow  # type: ignore[assignment, method-assign]
    child = child_of_genesis(tmp_path / "child", fit=True)
    await live.client.switch_checkpoint(live.service.keys.admin_token, str(child))
    embedder.embed_whole = embed_whole  # type: ignore[method-assign]
    answer = await live.client.query("image", "image/png", signed.a.data, "image", 20)
    assert signed.a.digest not in {one.sha256 for one in answer.found}
    assert answer.indexed == len(pairs) - 1


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from curiosity.protocol.errors import Rejected
from tests.material.service import ALICE, item_of, pictures, running
from tests.material.takedown import forget
from validator.store.write import Writer

async def main():
    async with running(Path(sys.argv[1])) as live:
        signed = live.sign(pictures(1)[0], nonce=bytes.fromhex(sys.argv[2]))
        await live.client.post_pair(signed.encode())
        Writer.scrub = lambda _self: os.kill(os.getpid(), signal.SIGKILL)
        await forget(live, signed)

asyncio.run(main())
"""


async def test_a_takedown_cut_short_is_finished_at_start(tmp_path: Path) -> None:
    """Killed when the tombstone is durable and the bytes are still in SQLite's log."""
    nonce = b"\x77" * 32
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(tmp_path / "validator"), nonce.hex()],
        cwd=Path(__file__).parent.parent,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    pair = pictures(1)[0]
    pieces = {"picture": item_of(pair, "a").data, "nonce": nonce}
    assert found_in(tmp_path / "validator", pieces) == {"picture", "nonce"}
    async with running(tmp_path / "validator") as live:
        assert found_in(tmp_path / "validator", pieces) == set()
        signed = SignedPair(live.sign(pair).envelope, item_of(pair, "a"), item_of(pair, "b"))
        assert await code_of(live.client.post_pair(signed.encode())) == ("CONTENT_TAKEN_DOWN", 410)
        entries = [parse_entry(one.encode()) for one in (await live.client.entries(0, 10)).entries]
        assert [type(entry).__name__ for entry in entries] == ["CheckpointEntry", "PairEntry", "TakedownEntry"]


async def test_what_a_validator_answers_to_a_request_is_checked(live: Running, tmp_path: Path) -> None:
    pairs = await submit(live, 3)
    reports = [await forget(live, signed) for signed, _ in pairs[:2]]

    class Lying(ValidatorClient):
        answers: tuple[Receipt, ...] = ()

        async def takedown(self, signed: SignedTakedown, token: str = "") -> TakedownReport:
            return TakedownReport(signed.request.pair, self.answers, replayed=False)

    async with Lying(live.url) as client:
        asked = request(live, pairs[0][0])
        for answers, code in [
            ((), "TAKEDOWN_OF_ANOTHER"),
            (reports[1].receipts, "TAKEDOWN_OF_ANOTHER"),
            ((*reports[0].receipts, *reports[1].receipts), "TAKEDOWN_OF_ANOTHER"),
            ((pairs[0][1].receipt,), "TAKEDOWN_OF_ANOTHER"),
            ((replace(reports[0].receipts[0], index=1),), "RECEIPT_INDEX"),
        ]:
            client.answers = answers
            with pytest.raises(ProofError, match=code):
                await take_down(client, live.network, asked)
        client.answers = reports[0].receipts
        await take_down(client, live.network, asked)
    with pytest.raises(SourceError, match="PAIR_UNKNOWN"):
        find_digest("nothing.json", tmp_path)


def test_a_removed_vector_is_not_kept_in_memory() -> None:
    index = VectorIndex(4)
    index.add([1, 2], "image", np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.int16))
    assert index.remove([1, 3], "image") == 1
    shelf = index._shelves["image"]
    assert not shelf.vectors[0].any()
    assert not shelf.units[0].any()
    assert shelf.vectors[1].tolist() == [5, 6, 7, 8]


def test_the_store_finds_pairs_by_content_and_keeps_what_is_blocked(store_url: str, tmp_path: Path) -> None:
    shared = b"a picture in three pairs"
    with open_ledger(store_url, tmp_path / "head") as opened:
        pairs = [make_pair(n, image=shared if n in (1, 2, 4) else None) for n in range(6)]
        opened.ledger.append([make_entry(n, pair=pair, accepted=n != 4) for n, pair in enumerate(pairs)])
        picture, caption = pairs[1].a.digest, pairs[3].b.digest
        assert [row.index for row in opened.store.pairs_with([picture])] == [1, 2, 4]
        assert [row.index for row in opened.store.pairs_with([picture, caption])] == [1, 2, 3, 4]
        assert opened.store.pairs_with([]) == []
        assert [row.index for row in opened.store.pairs_with([caption])] == [3]
        contents = [(pair.a.digest, pair.b.digest) for pair in pairs]
        assert [row.index for row in opened.store.refused_copies(contents)] == [4]
        assert opened.store.refused_copies([]) == opened.store.refused_copies(contents[:4]) == []
        opened.ledger.append([NewEntry(b"{}", None, erases=(2,))])
        assert [row.index for row in opened.store.pairs_with([picture])] == [1, 4]
        opened.store.block([b"\1" * 32, b"\2" * 32], b"\7" * 32)
        opened.store.block([b"\2" * 32, b"\3" * 32], b"\7" * 32)
    with open_ledger(store_url, tmp_path / "head") as opened:
        assert opened.store.blocked() == {b"\1" * 32, b"\2" * 32, b"\3" * 32}
        opened.store.check_pepper(b"\7" * 32)
        with pytest.raises(StoreError, match="PEPPER_DIFFERS: 3 contents"):
            opened.store.check_pepper(b"\x08" * 32)
