"""Items of refused pairs: what is kept of them, for how long, and who is given them."""

import asyncio
import io
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import validator.judging
from curiosity.client.client import ValidatorClient
from curiosity.client.items import fetch_item
from curiosity.client.takedowns import ask as ask_takedown
from curiosity.client.takedowns import take_down
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.reader import opened_copy
from curiosity.protocol.errors import ConfigError, ProofError, Rejected
from curiosity.protocol.item_request import MAX_LIFETIME_S, ItemRequest, SignedItemRequest, sign_item_request
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Item, SignedPair
from curiosity.protocol.signing import address_of, checksum
from curiosity.protocol.takedown import TakedownReason
from curiosity.protocol.verdict import Opening, Reason, Verdict
from curiosity.serving.crowds import Packed
from tests.material.http import Listening
from tests.material.ledger import NOW, make_entry, make_pair, open_ledger, submission_of
from tests.material.route import Asked, Given, ask
from tests.material.service import ALICE, BOB, Running, code_of, pictures, running
from tests.material.takedown import digest_of
from validator.decided import seal_entry
from validator.importer import import_ledger
from validator.intake import Admitted
from validator.keys import load_keys
from validator.ledger import NewEntry
from validator.refused_items import DAY_S, Auditors, parse_auditors
from validator.store import Store, StoredItem

AUDITOR = b"\x0c" * 32
EXECUTABLE = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 80
KEYS = [bytes([number]) * 32 for number in range(1, 7)]
LATER = 15 * DAY_S


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    auditors = (checksum(address_of(AUDITOR)),)
    async with running(tmp_path / "validator", auditors=auditors) as made:
        yield made


def noise(seed: int) -> Item:
    """A picture that can be decoded and shows nothing."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Item("image", "image/png", buffer.getvalue())


async def refused(live: Running, seed: int = 1, key: bytes = ALICE) -> tuple[SignedPair, Decision]:
    """A pair that was decoded, judged, and refused."""
    signed = live.sign((noise(seed), Item("text", "text/plain", b"the number %d" % seed)), key)
    decision = await live.client.post_pair(signed.encode())
    assert not decision.verdict.is_accepted
    assert decision.verdict.reason is not Reason.ITEM_UNDECODABLE
    return signed, decision


async def accepted(live: Running) -> SignedPair:
    for pair in pictures(8):
        signed = live.sign(pair)
        if (await live.client.post_pair(signed.encode())).verdict.is_accepted:
            return signed
    raise AssertionError("none of eight honest pairs was accepted")


def ask_for(live: Running, pair: bytes, digest: bytes, key: bytes) -> SignedItemRequest:
    expiry = int(time.time()) + MAX_LIFETIME_S
    request = ItemRequest(live.network.network_id, pair, digest, secrets.token_bytes(32), expiry)
    return sign_item_request(request, live.network.domain, key)


async def get(live: Listening, digest: bytes) -> Given:
    return await ask(live, Asked("GET", f"/v1/items/0x{digest.hex()}".encode(), (), b""))


def stored_bytes(folder: Path, contents: list[bytes]) -> int:
    """How many bytes have those contents of which some file below the folder holds any part (pages cut them up)."""
    data = b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return sum(len(one) for one in contents if any(one[at : at + 48] in data for at in range(0, len(one), 2000)))


# -- what is kept


@pytest.mark.parametrize("is_on", [False, True], ids=["without the rule", "with it"])
async def test_bytes_that_are_not_what_they_claim_are_neither_kept_nor_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_on: bool
) -> None:
    """Six new keys send random bytes and one an executable as a picture: before, all of it stayed, for everybody."""
    if not is_on:
        item = Store.item

        def keeps_all(
            admitted: Admitted,
            verdict: Verdict,
            opening: Opening,
            embeddings: bytes | None,
            _came: int | None,
            *,
            sketches: Packed,
        ) -> NewEntry:
            return seal_entry(admitted, verdict, opening, embeddings, int(time.time()), sketches=sketches)

        def for_everybody(self: Store, digest: bytes) -> StoredItem | None:
            found = item(self, digest)
            return None if found is None else replace(found, accepted_uses=1)

        monkeypatch.setattr(validator.judging, "seal_entry", keeps_all)
        monkeypatch.setattr(Store, "item", for_everybody)
    chance, caption = random.Random(7), Item("text", "text/plain", b"three")
    junk = [chance.randbytes(chance.choice([9_000, 90_000])) for _ in range(12)]
    contents = [EXECUTABLE, *junk]
    async with running(tmp_path) as live:
        for number, content in enumerate(contents):
            signed = live.sign((Item("image", "image/png", content), caption), KEYS[number % len(KEYS)])
            decision = await live.client.post_pair(signed.encode())
            assert decision.verdict.reason is Reason.ITEM_UNDECODABLE
            assert decision.opening.a == sha256(content).digest()  # the hash and the reason are kept
            assert decision.opening.detail
        given = await get(live, sha256(EXECUTABLE).digest())
        if is_on:
            pair = digest_of(live, signed)
            asked = ask_for(live, pair, signed.a.digest, KEYS[(len(contents) - 1) % len(KEYS)])
            assert await code_of(live.client.signed_item(asked)) == ("ITEM_NOT_KEPT", 410)
    if is_on:
        assert (given.status, json.loads(given.body)["code"]) == (410, "ITEM_GONE")
        assert stored_bytes(tmp_path, contents) == 0
        async with running(tmp_path) as live:
            live.service.ledger.verify_pairs(live.network.domain)
            assert (await live.client.receipt(pair)).verdict.reason is Reason.ITEM_UNDECODABLE
    else:
        assert (given.status, given.body) == (200, EXECUTABLE)
        assert stored_bytes(tmp_path, contents) == sum(map(len, contents))


async def test_accepted_items_are_everybodys_and_no_browser_runs_them(live: Running) -> None:
    signed = await accepted(live)
    for item in (signed.a, signed.b):
        given = await get(live, item.digest)
        assert (given.status, given.body) == (200, item.data)
        assert given.fields["content-type"].partition(";")[0] == item.media_type
        assert given.fields["x-content-type-options"] == "nosniff"
        assert given.fields["content-disposition"] == "attachment"
        assert "default-src 'none'; sandbox" in given.fields["content-security-policy"]


# -- who is given them


async def test_items_of_a_refused_pair_are_its_contributors_and_the_auditors(live: Running) -> None:
    signed, _ = await refused(live)
    pair = digest_of(live, signed)
    assert json.loads((await get(live, signed.a.digest)).body)["code"] == "ITEM_GONE"
    for key in (ALICE, AUDITOR, live.service.keys.attestation):
        for item in (signed.a, signed.b):
            fetched = await fetch_item(live.client, live.network, pair, item.digest, private_key=key)
            assert fetched == item.data
    asked = ask_for(live, pair, signed.a.digest, ALICE)
    body = json.dumps(
        {
            "request": {
                "network_id": "0x" + asked.request.network_id.hex(),
                "pair": "0x" + pair.hex(),
                "sha256": "0x" + signed.a.digest.hex(),
                "nonce": "0x" + asked.request.nonce.hex(),
                "expiry": asked.request.expiry,
            },
            "signature": "0x" + asked.signature.hex(),
        }
    ).encode()
    given = await ask(live, Asked("POST", b"/v1/items", (), body))
    assert (given.status, given.body) == (200, signed.a.data)
    assert given.fields["content-type"] == "application/octet-stream"  # whatever it was called
    assert given.fields["cache-control"] == "no-store"
    assert given.fields["content-disposition"] == "attachment"

    with pytest.raises(Rejected, match="ITEM_OF_ANOTHER"):
        await fetch_item(live.client, live.network, pair, signed.a.digest, private_key=BOB)
    with pytest.raises(Rejected, match="ITEM_GONE"):
        await fetch_item(live.client, live.network, pair, signed.a.digest)


async def test_a_request_counts_once_and_for_what_it_names(live: Running) -> None:
    signed, _ = await refused(live)
    pair, now = digest_of(live, signed), int(time.time())
    asked = ask_for(live, pair, signed.a.digest, ALICE)
    assert await live.client.signed_item(asked) == signed.a.data
    assert await code_of(live.client.signed_item(asked)) == ("ITEM_REQUEST_REPLAYED", 409)
    moved = replace(asked, request=replace(asked.request, sha256=signed.b.digest))
    assert (await code_of(live.client.signed_item(moved)))[0] in ("ITEM_OF_ANOTHER", "SIGNATURE_INVALID")
    for changes, code in (
        ({"expiry": now - 1}, "SIGNATURE_EXPIRED"),
        ({"expiry": now + 1}, "SIGNATURE_EXPIRED"),  # it could have been answered before this validator started
        ({"expiry": now + 3 * MAX_LIFETIME_S}, "EXPIRY_TOO_FAR"),
        ({"network_id": bytes(32)}, "WRONG_NETWORK"),
        ({"pair": bytes(32)}, "NOT_FOUND"),
        ({"sha256": bytes(32)}, "NOT_FOUND"),
    ):
        request = replace(ask_for(live, pair, signed.a.digest, ALICE).request, **changes)
        spoiled = sign_item_request(request, live.network.domain, ALICE)
        assert (await code_of(live.client.signed_item(spoiled)))[0] == code
    other = replace(live.network.domain, chain_id=1)
    elsewhere = sign_item_request(ask_for(live, pair, signed.a.digest, ALICE).request, other, ALICE)
    assert (await code_of(live.client.signed_item(elsewhere)))[0] in ("ITEM_OF_ANOTHER", "SIGNATURE_INVALID")


def test_auditors_are_addresses_and_the_contracts_validators() -> None:
    mine, theirs = address_of(ALICE), address_of(BOB)
    assert parse_auditors([checksum(mine), " 0x" + theirs.hex()]) == {mine, theirs}
    with pytest.raises(ConfigError, match="AUDITOR_INVALID"):
        parse_auditors(["alice"])
    asked: list[int] = []

    def validators() -> list[bytes]:
        asked.append(1)
        return [theirs]

    auditors = Auditors(frozenset({mine}), validators)
    assert [auditors.include(one) for one in (mine, theirs, bytes(20), bytes(20))] == [True, True, False, False]
    assert len(asked) == 1  # strangers do not make it ask the chain each time
    assert not Auditors(frozenset()).include(theirs)


async def test_an_item_is_for_everybody_as_long_as_an_accepted_pair_holds_it(live: Running, tmp_path: Path) -> None:
    """A refused pair shares the picture: when the accepted one is taken down, only the refused one's owner has it."""
    signed = await accepted(live)
    wrong = live.sign((signed.a, Item("text", "text/plain", b"zzzz qqqq")), BOB)
    assert not (await live.client.post_pair(wrong.encode())).verdict.is_accepted
    assert (await get(live, signed.a.digest)).body == signed.a.data

    expiry = int(time.time()) + 60
    request = ask_takedown(
        live.network, digest_of(live, signed), TakedownReason.PRIVACY, "", private_key=ALICE, expiry=expiry
    )
    await take_down(live.client, live.network, request)
    assert (await get(live, signed.a.digest)).status == 410
    pair = digest_of(live, wrong)
    assert await fetch_item(live.client, live.network, pair, signed.a.digest, private_key=BOB) == signed.a.data
    with pytest.raises(Rejected, match="PAIR_TAKEN_DOWN"):
        await fetch_item(live.client, live.network, digest_of(live, signed), signed.a.digest, private_key=ALICE)


# -- until when


async def test_items_of_refused_pairs_are_let_go_and_everything_goes_on(live: Running, tmp_path: Path) -> None:
    kept = await accepted(live)
    both = [await refused(live, seed) for seed in (1, 2)]
    contents = [item.data for signed, _ in both for item in (signed.a, signed.b)]
    folder, now = tmp_path / "validator", int(time.time())
    before = await live.service.refused_items.expire(now + 14 * DAY_S - 60)
    assert (before.pairs, stored_bytes(folder, contents)) == (0, sum(map(len, contents)))

    done = await live.service.refused_items.expire(now + LATER)
    assert (done.pairs, done.items, done.size) == (2, 4, sum(map(len, contents)))
    assert stored_bytes(folder, contents) == 0
    assert (await live.service.refused_items.expire(now + LATER)).pairs == 0
    pair = digest_of(live, both[0][0])
    for key in (ALICE, AUDITOR):
        asked = ask_for(live, pair, both[0][0].a.digest, key)
        assert await code_of(live.client.signed_item(asked)) == ("ITEM_EXPIRED", 410)

    # The entry, its proof, its receipt and its replay are what they were, and so is all that needs items.
    assert (await live.client.receipt(pair)).receipt == both[0][1].receipt
    assert (await live.client.post_pair(both[0][0].encode())).replayed
    live.service.ledger.verify()
    live.service.ledger.verify_pairs(live.network.domain)
    assert (await get(live, kept.a.digest)).body == kept.a.data
    await copy_ledger(live.client, tmp_path / "mirror")
    assert (await live.client.query("text", "text/plain", b"three", "image", 5)).found
    again = live.sign((both[0][0].a, both[0][0].b), BOB)
    assert not (await live.client.post_pair(again.encode())).replayed  # the same contents may come again
    assert (
        await fetch_item(live.client, live.network, digest_of(live, again), again.a.digest, private_key=BOB)
        == again.a.data
    )


async def test_the_operator_lets_go_at_once_and_the_service_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path, keep_refused_days=14) as live:
        signed, _ = await refused(live)
        token = live.service.keys.admin_token
        assert (await live.client.expire(token)).pairs == 0
        with pytest.raises(Rejected, match="ADMIN_TOKEN"):
            await live.client.expire("wrong")
        (tmp_path / "token").write_text(token)
        command = [sys.executable, "-m", "node.cli", "validator", "expire", "--url", live.url, "--json"]
        ended = await _run([*command, "--token-file", str(tmp_path / "token"), "--home", str(tmp_path)])
        assert json.loads(ended) == {"pairs": 0, "items": 0, "bytes": 0}
        assert live.service.store.blob(signed.a.digest) is not None
    with Store.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as store:  # as if it had come a second earlier
        assert store.blob(signed.a.digest) == signed.a.data
    async with running(tmp_path, keep_refused_days=0) as live:
        await live.service.refused_items.expire(int(time.time()) + 1)
        assert live.service.store.blob(signed.a.digest) is None


async def _run(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"}
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def test_the_oldest_go_first_in_steps_and_shared_contents_stay(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.sqlite'}"

    def entry(number: int, since: int, *, accepted: bool = False, image: bytes | None = None) -> NewEntry:
        made = make_entry(number, accepted=accepted, pair=make_pair(number, image=image))
        return replace(made, submission=replace(submission_of(made), items_since=since))

    shared = b"shared" * 10_000
    with open_ledger(url, tmp_path / "head") as opened:
        opened.ledger.append([entry(0, 500, image=shared), entry(1, 300), entry(2, 400), entry(4, 100, accepted=True)])
        opened.ledger.append([entry(5, 100, accepted=True, image=shared), entry(6, 900)])
        assert opened.store.expire(100, 10).pairs == 0
        first = opened.store.expire(600, 2)
        since = [row.items_since for row in opened.store.submissions(0, 10)]
        assert (first.pairs, since) == (2, [500, None, None, 100, 100, 900])
        assert opened.store.expire(600, 2).pairs == 1
        assert opened.store.blob(sha256(shared).digest()) == shared, "an accepted pair holds it"
        assert opened.store.blob(make_pair(1).a.digest) is None
        assert opened.store.blob(make_pair(0).b.digest) is None
        opened.ledger.verify()
    with open_ledger(url, tmp_path / "head") as opened:
        assert opened.store.blob(make_pair(6).a.digest) == make_pair(6).a.data
        item = opened.store.item(sha256(shared).digest())
        assert item is not None
        assert item.accepted_uses == 1
        opened.ledger.append([NewEntry(b"{}", None, erases=(0, 4))])  # a pair without items, and one with
        assert opened.store.blob(sha256(shared).digest()) is None


async def test_an_export_holds_items_of_accepted_pairs_only_and_is_imported(live: Running, tmp_path: Path) -> None:
    kept = await accepted(live)
    signed, _ = await refused(live)
    junk = live.sign((Item("image", "image/png", EXECUTABLE), Item("text", "text/plain", b"three")), BOB)
    await live.client.post_pair(junk.encode())
    out = tmp_path / "export"
    done = await copy_ledger(live.client, out)
    names = {path.name for path in (out / "blobs").iterdir()}
    assert kept.a.digest.hex() in names
    assert not {signed.a.digest.hex(), junk.a.digest.hex()} & names
    assert done.items == len(names)
    with opened_copy(out) as found, Store.open(f"sqlite:///{tmp_path / 'copy.sqlite'}") as store:
        keys = load_keys(tmp_path / "keys", "another")
        imported = import_ledger(found, store, keys=keys, head_path=tmp_path / "head", clock=lambda: NOW)
        assert (imported.pairs, imported.items) == (done.pairs, 2 * (done.pairs - 2))
        assert store.blob(kept.a.digest) == kept.a.data
        assert store.blob(signed.a.digest) is None
        rows = {row.pair: row for row in store.submissions(0, 100)}
        assert rows[digest_of(live, signed)].items_since is None
        assert [s.pair for s in store.pairs_with([signed.a.digest])] == [digest_of(live, signed)]  # its hash is there


async def test_the_command_fetches_an_item_of_a_refused_pair(live: Running, tmp_path: Path) -> None:
    signed, _ = await refused(live)
    home = tmp_path / "home"
    (tmp_path / "key").write_text("0x" + ALICE.hex())
    (tmp_path / "password").write_text("correct horse battery staple")
    curiosity = [sys.executable, "-m", "node.cli"]
    wallet = ["--password-file", str(tmp_path / "password"), "--home", str(home)]
    await _run([*curiosity, "wallet", "import", "alice", "--key-file", str(tmp_path / "key"), *wallet])
    command = [*curiosity, "ledger", "item", "0x" + digest_of(live, signed).hex(), "0x" + signed.a.digest.hex()]
    out = tmp_path / "item.png"
    told = json.loads(
        await _run([*command, "--out", str(out), "--url", live.url, "--wallet", "alice", "--json", *wallet])
    )
    assert (out.read_bytes(), told["bytes"]) == (signed.a.data, len(signed.a.data))


async def test_what_comes_in_place_of_an_item_is_refused(live: Running) -> None:
    class Lying(ValidatorClient):
        async def item(self, digest: bytes) -> bytes:
            return digest

    async with Lying(live.url) as client:
        with pytest.raises(ProofError, match="ITEM_DIFFERS"):
            await fetch_item(client, live.network, bytes(32), bytes(32))
