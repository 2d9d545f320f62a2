"""The validator as its callers see it: a real service, real pairs, real signatures, over HTTP."""

import asyncio
import base64
import io
import json
import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from curiosity.client.client import ValidatorClient
from curiosity.client.receipts import check_proof
from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.protocol.decision import check_decision
from curiosity.protocol.entry import CheckpointEntry, EpochEntry, PairEntry, parse_entry
from curiosity.protocol.errors import ConfigError, ExitCode, Fault, Overloaded, Rejected
from curiosity.protocol.merkle import leaf_hash, root, verify_consistency
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Envelope, Item, SignedPair
from curiosity.protocol.payouts import derive
from curiosity.protocol.receipt import verify_receipt
from curiosity.protocol.rewards import RewardParameters, verify_claim
from curiosity.protocol.signing import address_of
from curiosity.protocol.tlog import verify_checkpoint
from curiosity.protocol.verdict import Outcome, Reason
from curiosity.protocol.wire import encode, parse
from tests.material.checkpoint import as_good_as_its_parent
from tests.material.child_checkpoint import child_of_genesis
from tests.material.service import ALICE, BOB, Running, item_of, pictures, running
from tests.material.waiting import PATIENCE_S
from validator.routes import openapi_document


async def send(live: Running, signed: SignedPair) -> object:
    decision = await live.client.post_pair(signed.encode())
    digest = signed.envelope.submission.digest(live.network.domain)
    check_decision(decision, signed.envelope, digest, live.network.origin, live.network.receipt_vkey)
    return decision


async def test_a_pair_becomes_a_receipt_a_proof_and_a_search_result(live: Running) -> None:
    decisions = [await send(live, live.sign(pair)) for pair in pictures(6)]
    accepted = [d for d in decisions if d.verdict.is_accepted]  # type: ignore[attr-defined]
    assert len(accepted) >= 4
    first = accepted[0]
    measurement = first.opening.measurement  # type: ignore[attr-defined]
    assert measurement.distance_micro < measurement.raw_distance_micro
    vectors = [
        np.frombuffer(base64.b64decode(text), dtype="<i2")
        for text in (first.embeddings.a, first.embeddings.final_a, first.embeddings.b, first.embeddings.final_b)  # type: ignore[attr-defined]
    ]
    assert vectors[0] @ vectors[1].astype(float) != vectors[0] @ vectors[0].astype(float)
    assert vectors[1].astype(float) @ vectors[3] > vectors[0].astype(float) @ vectors[2]  # moved towards each other

    checked = verify_receipt(first.receipt, live.network.origin, live.network.receipt_vkey)  # type: ignore[attr-defined]
    for size in (checked.index + 1, None):
        proof = await live.client.inclusion(checked.index, size)
        check_proof(proof, checked, live.network.origin, live.network.log_vkey)

    answer = await live.client.query("text", "text/plain", pictures(1)[0].concept.encode(), "image", 5)
    assert answer.indexed == len(accepted)
    assert answer.found[0].license == "CC0-1.0"
    assert await live.client.item(answer.found[0].sha256)
    names = await live.client.query("text", "text/plain", b"three", "text", 5)
    assert len({found.sha256 for found in names.found}) == len(names.found) < len(accepted)  # names repeat
    cosines = [found.cosine_micro for found in answer.found]
    assert cosines == sorted(cosines, reverse=True)


async def test_the_ledger_can_be_recomputed_from_what_it_gives_out(live: Running) -> None:
    head0 = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
    for pair in pictures(5):
        await send(live, live.sign(pair))
    head1 = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
    leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
    assert (head1.size, head1.root) == (len(leaves), root(leaves))
    live.service.ledger.verify()
    live.service.ledger.verify_pairs(live.network.domain)
    proof = await live.client.consistency(head0.size, head1.size)
    verify_consistency(head0.size, head1.size, proof.path, head0.root, head1.root)
    entries = [parse_entry(leaf) for leaf in leaves]
    assert isinstance(entries[0], CheckpointEntry)
    assert entries[0].checkpoint == live.network.checkpoint
    submissions = (await live.client.submissions(0, 100)).submissions
    assert [row.submission.digest(live.network.domain) for row in submissions] == [
        entry.pair for entry in entries if isinstance(entry, PairEntry)
    ]


async def test_a_replay_gets_the_identical_receipt_and_no_second_entry(live: Running) -> None:
    signed = live.sign(pictures(1)[0])
    answers = await asyncio.gather(*(live.client.post_pair(signed.encode()) for _ in range(20)))
    later = await live.client.post_pair(signed.encode())
    by_digest = await live.client.receipt(signed.envelope.submission.digest(live.network.domain))
    assert {encode(answer.receipt) for answer in (*answers, later, by_digest)} == {encode(answers[0].receipt)}
    assert later.replayed
    assert later.embeddings == answers[0].embeddings
    assert live.service.ledger.size == 2


async def test_a_nonce_counts_once(live: Running) -> None:
    nonce = secrets.token_bytes(32)
    one, other = pictures(2)
    await send(live, live.sign(one, nonce=nonce))
    with pytest.raises(Rejected) as caught:
        await live.client.post_pair(live.sign(other, nonce=nonce).encode())
    assert (caught.value.code, caught.value.status) == ("NONCE_REUSED", 409)
    await send(live, live.sign(other, BOB, nonce=nonce))  # another contributor's nonces are his own


async def test_nonces_count_once_after_a_restart_too(tmp_path: Path) -> None:
    nonce = secrets.token_bytes(32)
    one, other = pictures(2)
    async with running(tmp_path) as live:
        signed = live.sign(one, nonce=nonce)
        first = await live.client.post_pair(signed.encode())
    async with running(tmp_path) as live:
        with pytest.raises(Rejected) as caught:
            await live.client.post_pair(live.sign(other, nonce=nonce).encode())
        assert (caught.value.code, caught.value.status) == ("NONCE_REUSED", 409)
        assert await live.client.post_pair(signed.encode()) == replace(first, replayed=True)
        await send(live, live.sign(other))
        assert live.service.ledger.size == 3


async def test_racing_with_one_nonce_gives_one_decision(live: Running) -> None:
    nonce = secrets.token_bytes(32)
    bodies = [live.sign(pair, nonce=nonce).encode() for pair in pictures(8)]
    answers = await asyncio.gather(*(live.client.post_pair(body) for body in bodies), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Rejected)]
    assert len(refused) == 7
    assert {refusal.code for refusal in refused} == {"NONCE_REUSED"}
    assert live.service.ledger.size == 2


async def test_copied_contents_are_not_accepted_twice(live: Running) -> None:
    """Both arms: before the original is there the copy would be accepted; after it never is, in any batch."""
    pair = pictures(1)[0]
    decisions = await asyncio.gather(*(send(live, live.sign(pair, key)) for key in [ALICE, BOB] * 5))
    reasons = sorted(decision.verdict.reason.value for decision in decisions)  # type: ignore[attr-defined]
    assert reasons == [Reason.BELONGS_TOGETHER.value] + [Reason.CONTENT_DUPLICATE.value] * 9


async def test_junk_is_rejected_with_its_reason_and_logged(live: Running) -> None:
    caption = item_of(pictures(1)[0], "b")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 255, 255)).save(buffer, "PNG")
    blank = await send(live, live.sign((Item("image", "image/png", buffer.getvalue()), caption)))
    assert blank.verdict.outcome is Outcome.REJECTED  # type: ignore[attr-defined]
    assert blank.verdict.reason is Reason.ITEM_UNINFORMATIVE  # type: ignore[attr-defined]
    assert blank.embeddings.final_a == blank.embeddings.a  # type: ignore[attr-defined]
    broken = await send(live, live.sign((Item("image", "image/png", b"\x89PNG\r\n\x1a\n broken"), caption)))
    assert broken.verdict.reason is Reason.ITEM_UNDECODABLE  # type: ignore[attr-defined]
    assert "item a" in broken.opening.detail  # type: ignore[attr-defined]
    assert broken.embeddings is None  # type: ignore[attr-defined]
    assert live.service.ledger.size == 3


async def refusal_of(live: Running, body: bytes) -> tuple[str, int]:
    with pytest.raises(Rejected) as caught:
        await live.client.post_pair(body)
    return caught.value.code, caught.value.status


async def test_what_cannot_become_a_decision_is_refused_and_not_logged(live: Running) -> None:
    pair = pictures(1)[0]
    now = int(time.time())
    good = live.sign(pair)
    submission = good.envelope.submission
    tampered = SignedPair(Envelope(submission, good.envelope.signature[:-1] + b"\x1d"), good.a, good.b)
    huge = Item("text", "text/plain", b"x" * (live.network.max_item_bytes["text"] + 1))
    cases = [
        (live.sign(pair, network_id=b"\x01" * 32).encode(), ("WRONG_NETWORK", 400)),
        (live.sign(pair, expiry=now - 10).encode(), ("SIGNATURE_EXPIRED", 422)),
        (live.sign(pair, expiry=now + 25 * 3600).encode(), ("EXPIRY_TOO_FAR", 422)),
        (live.sign(pair, license="Proprietary").encode(), ("LICENSE_NOT_ALLOWED", 422)),
        (live.sign(pair, license="").encode(), ("LICENSE_NOT_ALLOWED", 422)),
        (tampered.encode(), ("SIGNATURE_V", 401)),
        (good.encode()[:-1], ("BODY_SIZE", 400)),
        (good.encode()[:-1] + b"?", ("ITEM_HASH", 422)),
        (b"nonsense", ("ENVELOPE_TOO_LARGE", 400)),
        (live.sign((item_of(pair, "a"), huge)).encode(), ("ITEM_TOO_LARGE", 413)),
        (live.sign((Item("image", "image/tiff", b"II*\0"), item_of(pair, "b"))).encode(), ("MEDIA_TYPE_UNKNOWN", 422)),
        (live.sign((Item("smell", "x/y", b"1"), item_of(pair, "b"))).encode(), ("PAIR_UNSUPPORTED", 422)),
        (live.sign((item_of(pair, "a"), Item("text", "text/plain", b""))).encode(), ("ITEM_EMPTY", 422)),
    ]
    for body, expected in cases:
        assert await refusal_of(live, body) == expected
    assert live.service.ledger.size == 1
    await send(live, live.sign(pair, license="(MIT AND CC-BY-4.0) OR Apache-2.0"))


async def test_an_expired_submission_that_was_decided_gets_its_receipt_again(live: Running) -> None:
    signed = live.sign(pictures(1)[0], expiry=int(time.time()) + 600)
    first = await live.client.post_pair(signed.encode())
    live.set_clock_forward(1200)
    assert await refusal_of(live, live.sign(pictures(2)[1], expiry=int(time.time()) + 600).encode()) == (
        "SIGNATURE_EXPIRED",
        422,
    )
    again = await live.client.post_pair(signed.encode())
    assert again.receipt == first.receipt


async def test_http_edges_are_messages_too(live: Running) -> None:
    async with aiohttp.ClientSession(live.url) as session:
        for method, path, arguments, code, status in [
            ("GET", "/nothing", {}, "HTTP_404", 404),
            ("DELETE", "/v1/pairs", {}, "HTTP_405", 405),
            ("GET", "/v1/entries?start=-1", {}, "QUERY_INVALID", 400),
            ("GET", "/v1/entries?start=1e9", {}, "QUERY_INVALID", 400),
            ("GET", "/v1/receipts/0x12", {}, "QUERY_INVALID", 400),
            ("GET", "/v1/receipts/0x" + "00" * 32, {}, "NOT_FOUND", 404),
            ("GET", "/v1/proof/inclusion?index=5", {}, "NOT_FOUND", 404),
            ("GET", "/v1/items/0x" + "00" * 32, {}, "ITEM_GONE", 410),
            ("GET", "/v1/claims/0x" + "00" * 20, {}, "CLAIM_NONE", 404),
            ("POST", "/v1/query?modality=smell", {"data": b"x"}, "QUERY_INVALID", 400),
            ("POST", "/v1/query?to=image&k=1000", {"data": b"x"}, "QUERY_INVALID", 400),
            ("POST", "/v1/query?modality=image&to=text", {"data": b"no picture"}, "IMAGE_NOT_DECODABLE", 422),
            ("POST", "/v1/pairs", {"data": b"x", "headers": {"Content-Encoding": "gzip"}}, "BODY_ENCODED", 415),
            ("POST", "/v1/admin/epochs", {}, "ADMIN_TOKEN", 401),
            ("POST", "/v1/admin/epochs", {"headers": {"Authorization": "Bearer x"}}, "ADMIN_TOKEN", 401),
        ]:
            async with session.request(method, path, **arguments) as response:  # type: ignore[arg-type]
                body = await response.json()
                assert (body["code"], response.status) == (code, status), path
                assert body["remedy"]
                assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_pair_is_answered_alike_past_the_router_and_through_it(live: Running) -> None:
    body = live.sign(pictures(1)[0]).encode()
    first = await live.client.post_pair(body)
    async with aiohttp.ClientSession(live.url) as session:
        for path, headers in (
            ("/v1/pairs", {}),
            ("/v1/pairs?", {}),
            ("/v1/pairs?a=b", {}),
            ("/v1/pairs", {"Expect": "100-continue"}),
        ):
            async with session.post(path, data=body, headers=headers) as response:
                assert response.status == 200
                assert parse(Decision, await response.read()) == replace(first, replayed=True)
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Content-Type"] == "application/json"
            async with session.post(path, data=b"no pair", headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (400, "ENVELOPE_TOO_LARGE")
        async with session.get("/v1/pairs") as response:
            assert (response.status, (await response.json())["code"]) == (405, "HTTP_405")
        text = await (await session.get("/metrics")).text()
    assert 'curiosity_request_seconds_count{route="/v1/pairs"} 9.0' in text


async def test_the_openapi_document_describes_every_route(live: Running) -> None:
    async with aiohttp.ClientSession(live.url) as session:
        document = await (await session.get("/openapi.json")).json()
        paths = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert ("POST", "/v1/pairs") in paths
        served = {
            (route.method, route.resource.canonical)
            for route in session_routes(live)
            if route.resource is not None and route.method != "HEAD"
        }
        assert served == paths
        text = json.dumps(document)
        for name in document["components"]["schemas"]:
            assert f"#/components/schemas/{name}" in text
        health = await (await session.get("/health")).json()
        assert health["status"] == "ok"
        metrics = await (await session.get("/metrics")).text()
        assert "curiosity_ledger_entries 1.0" in metrics


async def test_the_openapi_document_is_made_once_and_not_sent_to_who_has_it(live: Running) -> None:
    openapi_document.cache_clear()
    async with aiohttp.ClientSession(live.url) as session:
        first, second = [await session.get("/openapi.json") for _ in range(2)]
        assert await first.read() == await second.read()
        tag = first.headers["ETag"]
        again = await session.get("/openapi.json", headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        assert (await session.get("/openapi.json", headers={"If-None-Match": '"other"'})).status == 200
    assert openapi_document.cache_info().misses == 1


def session_routes(live: Running) -> list[aiohttp.web.AbstractRoute]:
    from validator.app import make_application

    return list(make_application(live.service).router.routes())


async def test_epochs_pay_what_follows_from_the_ledger(live: Running) -> None:
    for number, pair in enumerate(pictures(20)):
        await send(live, live.sign(pair, [ALICE, BOB][number % 2]))
    token = live.service.keys.admin_token
    report = await live.client.close_epoch(token)
    assert report.epoch == 1
    assert report.paid_pairs > 0
    leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
    closed, open_ = derive(leaves, RewardParameters())
    assert (closed.reward_root, str(closed.emission_wei)) == (report.reward_root, report.emission_wei)
    assert closed.emission_wei == RewardParameters().emission(1)
    assert open_.paid == ()
    assert isinstance(parse_entry(leaves[report.entry]), EpochEntry)
    for account, amount in closed.amounts_wei.items():
        (share,) = (await live.client.claim(account)).shares
        assert (share.epoch, share.reward_root, share.amount_wei) == (1, report.reward_root, str(amount))
        verify_claim(share.reward_root, account, amount, share.proof)
    assert set(closed.cumulative_wei) <= {address_of(ALICE), address_of(BOB)}
    assert (await live.client.close_epoch(token)).epoch == 2


async def test_a_checkpoint_that_is_no_child_is_refused(live: Running) -> None:
    token = live.service.keys.admin_token
    for path, code in [(str(GENESIS), "CHECKPOINT_NOT_CHILD"), ("/nowhere", "CHECKPOINT_MISSING")]:
        with pytest.raises(Exception, match=code):
            await live.client.switch_checkpoint(token, path)
    assert live.service.embedder.in_force.judge.checkpoint == live.network.checkpoint


async def test_a_fit_child_is_switched_to_and_everything_is_embedded_again(live: Running, tmp_path: Path) -> None:
    signed = [live.sign(pair) for pair in pictures(6)]
    before = [await live.client.post_pair(one.encode()) for one in signed]
    accepted = sum(decision.verdict.is_accepted for decision in before)
    token = live.service.keys.admin_token
    with pytest.raises(Rejected, match="CHECKPOINT_UNFIT"):
        await live.client.switch_checkpoint(token, str(child_of_genesis(tmp_path / "unfit", fit=False)))
    report = await live.client.switch_checkpoint(token, str(child_of_genesis(tmp_path / "fit", fit=True)))
    assert report.reindexed == accepted > 0
    network = await live.client.network()
    assert network.checkpoint == report.checkpoint != live.network.checkpoint
    assert network.checkpoint_parent == live.network.checkpoint
    entry = parse_entry((await live.client.entries(report.entry, 1)).entries[0].encode())
    assert entry == CheckpointEntry(report.checkpoint, live.network.checkpoint)
    assert (await live.client.query("text", "text/plain", b"three", "image", 9)).indexed == accepted
    again = await live.client.post_pair(signed[0].encode())
    assert again.receipt == before[0].receipt  # what was decided stays decided
    fresh = await live.client.post_pair(live.sign(pictures(7)[6]).encode())
    assert fresh.verdict.checkpoint == report.checkpoint


async def test_a_worse_child_is_switched_to_only_by_force(
    live: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What happened: a training that was cut short brought sound to picture from 100 to 90 %."""
    token, evaluation = live.service.keys.admin_token, as_good_as_its_parent(load(GENESIS).manifest.evaluation)
    fallen = json.loads(json.dumps(evaluation))
    fallen["recall"]["digits"]["audio-image"]["r1_micro"] = 900_000
    worse = str(child_of_genesis(tmp_path / "worse", fit=True, evaluation=fallen))
    unknown = str(child_of_genesis(tmp_path / "unknown", fit=True, evaluation=load(GENESIS).manifest.evaluation))
    with pytest.raises(Rejected, match="CHECKPOINT_NOT_COMPARED"):
        await live.client.switch_checkpoint(token, unknown)
    with pytest.raises(Rejected, match=r"CHECKPOINT_WORSE: .*digits audio-image fell from 100.0 to 90.0 %") as caught:
        await live.client.switch_checkpoint(token, worse)
    only_emoji = {**evaluation, "recall": fallen["recall"], "parent": {"recall": {"emoji": fallen["recall"]["emoji"]}}}
    del only_emoji["recall"]["digits"]
    partly = str(child_of_genesis(tmp_path / "partly", fit=True, evaluation=only_emoji))
    with pytest.raises(Rejected, match=r"CHECKPOINT_NOT_COMPARED: .* its parent was evaluated: digits audio-image, "):
        await live.client.switch_checkpoint(token, partly)
    assert caught.value.fault is Fault.VALIDATOR  # no contributor can do anything about it
    assert (await live.client.network()).checkpoint == live.network.checkpoint
    assert live.service.ledger.size == 1
    nowhere = ("-m", "node.cli", "validator", "switch", str(tmp_path / "nowhere"), "--url", live.url, "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *nowhere, "--token-file", str(tmp_path / "validator" / "keys" / "admin.token"),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert json.loads(said)["error"]["code"] == "CHECKPOINT_MISSING"
    assert process.returncode == ExitCode.REJECTED  # docs/cli.md, "Status": the validator refused it
    command = ("-m", "node.cli", "validator", "switch", worse, "--force", "--url", live.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--token-file", str(tmp_path / "validator" / "keys" / "admin.token"),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert f"Judging under 0x{load(Path(worse)).digest}" in said.decode()
    assert "Forced in spite of CHECKPOINT_WORSE: recall at 1 of digits audio-image fell" in said.decode()
    assert "event=checkpoint_forced code=CHECKPOINT_WORSE" in caplog.text


async def test_a_switch_that_was_cut_short_is_logged_at_the_next_start(tmp_path: Path) -> None:
    """Killed when the checkpoint was chosen and its entry not yet in the ledger, which no audit could forgive."""
    child = child_of_genesis(tmp_path / "child", fit=True)
    async with running(tmp_path / "v") as live:
        genesis = live.network.checkpoint
        live.service.store.meta_set("checkpoint_path", str(child))
    async with running(tmp_path / "v") as live:
        entries = [parse_entry(entry.encode()) for entry in (await live.client.entries(0, 10)).entries]
        chosen = live.service.embedder.in_force.judge.checkpoint
        assert entries == [CheckpointEntry(genesis, None), CheckpointEntry(chosen, genesis)]
        assert (await live.client.post_pair(live.sign(pictures(1)[0]).encode())).verdict.checkpoint == chosen
    async with running(tmp_path / "v") as live:
        assert live.service.ledger.size == 3
        live.service.store.meta_set("checkpoint_path", str(child_of_genesis(tmp_path / "other", fit=False)))
    with pytest.raises(ConfigError, match="CHECKPOINT_NEEDED"):
        async with running(tmp_path / "v"):
            pass


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        sent = [live.sign(pair) for pair in pictures(8)]
        first = [await live.client.post_pair(signed.encode()) for signed in sent]
        known = {pair: live.service.embedder.in_force.judge.known(pair) for pair in live.network.pairs}
        head = await live.client.tree_head()
        answer = await live.client.query("text", "text/plain", b"three", "image", 8)
        await live.client.close_epoch(live.service.keys.admin_token)
    async with running(tmp_path / "v") as live:
        again = [await live.client.post_pair(signed.encode()) for signed in sent]
        assert [a.receipt for a in again] == [f.receipt for f in first]
        assert {pair: live.service.embedder.in_force.judge.known(pair) for pair in live.network.pairs} == known
        assert (await live.client.query("text", "text/plain", b"three", "image", 8)).found == answer.found
        old = verify_checkpoint(head, live.network.origin, [live.network.log_vkey])
        new = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
        proof = await live.client.consistency(old.size, new.size)
        verify_consistency(old.size, new.size, proof.path, old.root, new.root)
        assert live.service.epochs.open_epoch == 2


async def test_the_same_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    async with running(tmp_path / "v", store_url=postgres_url) as live:
        sent = [live.sign(pair) for pair in pictures(5)]
        first = [await live.client.post_pair(signed.encode()) for signed in sent]
        await live.client.close_epoch(live.service.keys.admin_token)
    async with running(tmp_path / "v", store_url=postgres_url) as live:
        again = [await live.client.post_pair(signed.encode()) for signed in sent]
        assert [a.receipt for a in again] == [f.receipt for f in first]
        leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
        head = verify_checkpoint(await live.client.tree_head(), live.network.origin, [live.network.log_vkey])
        assert root(leaves) == head.root
        assert leaf_hash(leaves[1])


async def test_load_is_pushed_back_with_a_time(tmp_path: Path) -> None:
    async with running(tmp_path / "v", max_queue_pairs=2) as live:
        impatient = ValidatorClient(live.url, patience_s=0.0)
        async with impatient:
            bodies = [live.sign(pair).encode() for pair in pictures(20)]
            answers = await asyncio.gather(*(impatient.post_pair(body) for body in bodies), return_exceptions=True)
        pushed = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert pushed
        assert all(one.code == "QUEUE_FULL" and one.retry_after_s >= 1 for one in pushed)
        assert not [a for a in answers if isinstance(a, BaseException) and not isinstance(a, Overloaded)]
        patient = await asyncio.gather(*(live.client.post_pair(body) for body in bodies))
        assert len({answer.receipt.index for answer in patient}) == 20


async def test_quotas_are_a_contributors_own(tmp_path: Path) -> None:
    async with running(tmp_path / "v", pairs_per_minute=3) as live:
        for pair in pictures(3):
            await live.client.post_pair(live.sign(pair).encode())
        async with aiohttp.ClientSession(live.url) as session:
            response = await session.post("/v1/pairs", data=live.sign(pictures(4)[3]).encode())
            assert ((await response.json())["code"], response.status) == ("QUOTA_EXCEEDED", 429)
            assert 1 <= int(response.headers["Retry-After"]) <= 61
        await live.client.post_pair(live.sign(pictures(4)[3], BOB).encode())


async def test_a_slow_body_is_cut(tmp_path: Path) -> None:
    async with running(tmp_path / "v", body_timeout_s=0.5) as live:
        port = int(live.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/pairs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(2000), PATIENCE_S)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"BODY_TIMEOUT" in answer
        writer.close()
