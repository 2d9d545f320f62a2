"""Both receipts offline: what each proves and with which keys, and a code for every way of being wrong."""

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from curiosity.client.check import check_file
from curiosity.client.client import ValidatorClient
from curiosity.client.proofs import fetch_proofs, find_receipts
from curiosity.client.receipts import SavedReceipt, parse_saved, proof_path, read_saved, verify_saved, write_saved
from curiosity.client.trust import Trust
from curiosity.protocol.errors import ConfigError, CuriosityError, ProofError
from curiosity.protocol.evidence import collect, encode_evidence
from curiosity.protocol.messages import Decision, Embeddings
from curiosity.protocol.pair import Envelope
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.tlog import MLDSA44_COSIGNATURE, Signer, cosign, make_proof, sign_note
from curiosity.protocol.verdict import Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import encode, parse
from tests.material.ledger import (
    DOMAIN,
    LOG,
    NOW,
    ORIGIN,
    RECEIPT_VKEY,
    RECEIPTS,
    make_entries,
    make_entry,
    open_ledger,
    submission_of,
)
from tests.material.log import LOG_VKEY as OTHER_VKEY
from tests.material.log import ORIGIN as OTHER_ORIGIN
from tests.material.log import Log
from validator.ledger import NewSubmission

LOG_VKEY = LOG.verifier.vkey()
WITNESSES = [Signer(f"witness.example/w{n}", bytes([n + 1]) * 32, 6 if n == 2 else 1) for n in range(3)]
VKEYS = tuple(one.witness.vkey() for one in WITNESSES)
STRANGER = Signer("log.example", b"\x66" * 32)
PINNED = Trust(RECEIPT_VKEY, LOG_VKEY, ORIGIN, VKEYS, 2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedReceipt]:
    """Entry 5 of a ledger of 12, under a head that all three witnesses cosigned."""
    folder = tmp_path_factory.mktemp("ledger")
    with open_ledger(f"sqlite:///{folder / 'l.db'}", folder / "head") as opened:
        receipts = opened.ledger.append(make_entries(0, 12))
        note = opened.ledger.tree_head()
        for witness in WITNESSES:
            note = cosign(note, witness, NOW)
        submission = submission_of(make_entry(5))
        leaf = receipts[5].entry.encode()
        yield SavedReceipt(
            Decision(
                receipts[5],
                Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, b"\x55" * 32),
                parse(Opening, submission.opening),
                _embeddings(submission),
            ),
            parse(Envelope, submission.envelope),
            DOMAIN,
            ORIGIN,
            RECEIPT_VKEY,
            LOG_VKEY,
            make_proof(5, opened.ledger.inclusion_proof(5, 12), note, leaf),
        )


def _embeddings(submission: NewSubmission) -> Embeddings:
    data = submission.embeddings or b""
    quarter = len(data) // 4
    return Embeddings(*(base64.b64encode(data[at * quarter : (at + 1) * quarter]).decode() for at in range(4)))


def test_the_algorithms_differ() -> None:
    assert [one.algorithm for one in WITNESSES] == [1, 1, MLDSA44_COSIGNATURE]


# -- what is told


def test_a_receipt_alone_proves_a_promise(saved: SavedReceipt) -> None:
    proved = verify_saved(replace(saved, proof=None))
    assert (proved.index, proved.tree_size, proved.cosigners) == (5, None, ())
    assert "as entry 5; trusting receipts.example (key" in proved.sentence()
    assert "as kept beside it" in proved.sentence()


def test_the_second_receipt_proves_the_tree_and_its_witnesses(saved: SavedReceipt) -> None:
    proved = verify_saved(saved, PINNED)
    assert (proved.tree_size, proved.cosigners) == (12, tuple(one.name for one in WITNESSES))
    assert "signed tree of 12 entries, cosigned by 3 of 3 trusted witnesses (quorum 2)" in proved.sentence()
    assert proved.sentence().count("as pinned") == 2
    assert "no witness was asked for" in verify_saved(saved).sentence()


def test_a_proof_file_stands_alone_and_any_log_will_do(saved: SavedReceipt, tmp_path: Path) -> None:
    file = write_saved(tmp_path / "one.json", saved)
    assert read_saved(file) == saved
    proof = proof_path(file)
    assert proof.read_text() == saved.proof
    checked = check_file(proof, PINNED)
    assert checked.facts["cosigners"] == [one.name for one in WITNESSES]
    assert checked.sentence.startswith(f"Entry 5 (pair 0x{saved.pair.hex()}, accepted) is in the signed tree of 12")
    assert "as kept beside it" in check_file(proof, Trust()).sentence  # the receipt beside it names the log
    alone = tmp_path / "moved.tlog-proof"
    proof.rename(alone)
    with pytest.raises(ConfigError, match="LOG_KEY_NEEDED"):
        check_file(alone, Trust())

    log = Log(700)
    alone.write_text(make_proof(300, log.inclusion(300, 700), log.head()))
    leaf = tmp_path / "leaf"
    leaf.write_bytes(log.leaf(300))
    told = check_file(alone, Trust(log_vkey=OTHER_VKEY), leaf)
    assert (told.facts["index"], told.facts["origin"]) == (300, OTHER_ORIGIN)
    with pytest.raises(ProofError, match="PROOF_LEAF_MISSING"):
        check_file(alone, Trust(log_vkey=OTHER_VKEY))
    leaf.write_bytes(log.leaf(301))
    with pytest.raises(ProofError, match="PROOF_MISMATCH"):
        check_file(alone, Trust(log_vkey=OTHER_VKEY), leaf)


# -- every way of being wrong


def _decision(saved: SavedReceipt, **changes: object) -> SavedReceipt:
    return replace(saved, decision=replace(saved.decision, **changes))  # type: ignore[arg-type]


def _receipt(saved: SavedReceipt, **changes: object) -> SavedReceipt:
    return _decision(saved, receipt=replace(saved.decision.receipt, **changes))  # type: ignore[arg-type]


def _proof(saved: SavedReceipt, old: str, new: str, count: int = 1) -> SavedReceipt:
    assert saved.proof is not None
    assert old in saved.proof
    return replace(saved, proof=saved.proof.replace(old, new, count))


def _line(saved: SavedReceipt, number: int) -> str:
    assert saved.proof is not None
    return saved.proof.split("\n")[number]


def _reissued(saved: SavedReceipt, index: int = 5, origin: str = ORIGIN, entry: int = 5) -> SavedReceipt:
    receipt = issue_receipt(make_entry(entry).leaf, index, origin, NOW, RECEIPTS)
    return _decision(saved, receipt=receipt)


def _fewer_cosignatures(saved: SavedReceipt) -> SavedReceipt:
    assert saved.proof is not None
    lines = saved.proof.split("\n")
    return replace(saved, proof="\n".join([*lines[:-3], lines[-2], ""][: len(lines) - 2]) + "\n")


def _later(note: str) -> str:
    return note.replace(str(NOW), str(NOW + 1))


def _rejected(saved: SavedReceipt) -> SavedReceipt:
    return _decision(saved, verdict=Verdict(Outcome.REJECTED, Reason.PAIR_TOO_FAR, b"\x55" * 32))


def _other_envelope(saved: SavedReceipt) -> SavedReceipt:
    return replace(saved, envelope=parse(Envelope, submission_of(make_entry(6)).envelope))


def _other_signature(saved: SavedReceipt) -> SavedReceipt:
    other = parse(Envelope, submission_of(make_entry(6)).envelope)
    return replace(saved, envelope=replace(saved.envelope, signature=other.signature))


def _opening(saved: SavedReceipt, **changes: object) -> SavedReceipt:
    return _decision(saved, opening=replace(saved.decision.opening, **changes))  # type: ignore[arg-type]


def _unsigned_head(saved: SavedReceipt) -> SavedReceipt:
    assert saved.proof is not None
    top, text, _ = saved.proof.split("\n\n")
    return replace(saved, proof=f"{top}\n\n{sign_note(text + chr(10), STRANGER)}")


WRONG: dict[str, tuple[str, Callable[[SavedReceipt], SavedReceipt]]] = {
    "another key signed the receipt": ("NOTE_UNSIGNED", lambda s: replace(s, receipt_vkey=LOG_VKEY)),
    "the receipt's note was changed": ("SIGNATURE_WRONG", lambda s: _receipt(s, note=_later(s.decision.receipt.note))),
    "the receipt is of another ledger": ("RECEIPT_ORIGIN", lambda s: _reissued(s, origin="other.example")),
    "the receipt names another index": ("RECEIPT_ENTRY", lambda s: _receipt(s, index=4)),
    "the receipt names an index of another batch": ("RECEIPT_INDEX", lambda s: _receipt(s, index=12)),
    "the entry was changed": ("RECEIPT_ENTRY", lambda s: _receipt(s, entry=make_entry(6).leaf.decode())),
    "the receipt is of another pair": ("RECEIPT_OF_ANOTHER", lambda s: _reissued(s, entry=6)),
    "the envelope is of another pair": ("RECEIPT_OF_ANOTHER", _other_envelope),
    "another signature is beside it": ("PAIR_SIGNATURE", _other_signature),
    "the verdict was changed": ("VERDICT_DIFFERS", _rejected),
    "the salt was changed": ("OPENING_DIFFERS", lambda s: _opening(s, salt=b"\1" * 32)),
    "the proof is of another entry": ("PROOF_OF_ANOTHER", lambda s: _proof(s, "\nindex 5\n", "\nindex 4\n")),
    "the receipt promises another place than the proof": ("PROOF_OF_ANOTHER", lambda s: _reissued(s, index=4)),
    "a hash of the path was changed": ("PROOF_MISMATCH", lambda s: _proof(s, _line(s, 3), "A" * 43 + "=")),
    "a hash of the path is missing": ("PROOF_TOO_SHORT", lambda s: _proof(s, _line(s, 3) + "\n", "")),
    "the path has one hash more": ("PROOF_TOO_LONG", lambda s: _proof(s, _line(s, 3), "\n".join([_line(s, 3)] * 2))),
    "the head's size was changed": ("SIGNATURE_WRONG", lambda s: _proof(s, "\n12\n", "\n13\n")),
    "a stranger signed the head": ("NOTE_UNSIGNED", _unsigned_head),
    "the proof is cut off": ("NOTE_MALFORMED", lambda s: replace(s, proof=(s.proof or "")[:-1])),
    "the proof has another header": ("PROOF_HEADER", lambda s: _proof(s, "@v1", "@v2")),
    "the index has a leading zero": ("PROOF_INDEX", lambda s: _proof(s, "\nindex 5\n", "\nindex 05\n")),
    "the proof has no head": ("PROOF_NO_HEAD", lambda s: replace(s, proof=(s.proof or "").partition("\n\n")[0])),
    "a witness's line was changed": ("SIGNATURE_WRONG", lambda s: _flip_cosignature(s)),
}  # fmt: skip


def _flip_cosignature(saved: SavedReceipt) -> SavedReceipt:
    assert saved.proof is not None
    line = next(line for line in saved.proof.split("\n") if line.startswith("\u2014 witness.example/w0"))
    return _proof(saved, line, line[:-10] + ("B" if line[-10] != "B" else "C") + line[-9:])


@pytest.mark.parametrize("how", WRONG)
def test_every_way_of_being_wrong_has_its_code(saved: SavedReceipt, how: str) -> None:
    code, change = WRONG[how]
    verify_saved(saved, PINNED)  # the other arm: unchanged it holds
    with pytest.raises(ProofError) as caught:
        verify_saved(change(saved), replace(PINNED, receipt_vkey=""))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("code", "trust"),
    [
        ("HEAD_QUORUM", replace(PINNED, witness_vkeys=(*VKEYS, Signer("w9", b"\x99" * 32).witness.vkey()), quorum=4)),
        ("NOTE_UNSIGNED", replace(PINNED, log_vkey=STRANGER.verifier.vkey())),
        ("NOTE_UNSIGNED", replace(PINNED, receipt_vkey=Signer("receipts.example", b"\x67" * 32).verifier.vkey())),
        ("RECEIPT_ORIGIN", replace(PINNED, origin="other.example")),
    ],
)
def test_keys_from_outside_outweigh_those_beside_it(saved: SavedReceipt, code: str, trust: Trust) -> None:
    with pytest.raises(ProofError) as caught:
        verify_saved(saved, trust)
    assert caught.value.code == code


def test_a_quorum_needs_the_second_receipt(saved: SavedReceipt) -> None:
    with pytest.raises(ProofError, match="PROOF_MISSING"):
        verify_saved(replace(saved, proof=None), PINNED)
    verify_saved(_fewer_cosignatures(saved), PINNED)
    with pytest.raises(ProofError, match="HEAD_QUORUM: 2 of the 3"):
        verify_saved(_fewer_cosignatures(saved), replace(PINNED, quorum=3))


def test_a_broken_promise_convicts_the_validator(saved: SavedReceipt, tmp_path: Path) -> None:
    """T22: pair 6 was promised the place at which the log's signed tree holds pair 5."""
    submission = submission_of(make_entry(6))
    promised = replace(
        _decision(
            _reissued(saved, entry=6), opening=parse(Opening, submission.opening), embeddings=_embeddings(submission)
        ),
        envelope=parse(Envelope, submission.envelope),
    )
    verify_saved(replace(promised, proof=None))  # the receipt alone is as good as any
    file = write_saved(tmp_path / "broken.json", promised)
    with pytest.raises(ProofError, match=r"PROMISE_BROKEN: .*promises entry 5, and the log's signed tree of 12"):
        check_file(file, PINNED)
    # Nobody else can make it look so: a proof that does not hold, or that carries no entry, accuses nobody.
    leaf = make_entry(5).leaf
    for change, code in (
        (_proof(promised, _line(saved, 3), "A" * 43 + "="), "PROOF_MISMATCH"),
        (_proof(promised, _line(saved, 1), "extra " + base64.b64encode(leaf + b" ").decode()), "PROOF_MISMATCH"),
        (_proof(promised, _line(saved, 1) + "\n", ""), "PROOF_MISMATCH"),
        (_unsigned_head(promised), "NOTE_UNSIGNED"),
    ):
        with pytest.raises(ProofError) as caught:
            verify_saved(change, PINNED)
        assert caught.value.code == code


async def test_proofs_are_fetched_once_and_a_broken_promise_is_kept(saved: SavedReceipt, tmp_path: Path) -> None:
    asked: list[str] = []

    async def get(request: web.Request) -> web.Response:
        asked.append(request.query["index"])
        return web.Response(text=saved.proof)

    app = web.Application()
    app.router.add_get("/v1/proof/tlog", get)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    good = write_saved(tmp_path / "good.json", replace(saved, proof=None))
    submission = submission_of(make_entry(6))
    promised = _decision(
        _reissued(saved, entry=6), opening=parse(Opening, submission.opening), embeddings=_embeddings(submission)
    )
    promised = replace(promised, envelope=parse(Envelope, submission.envelope), proof=None)
    bad = write_saved(tmp_path / "promised.json", promised)
    try:
        async with ValidatorClient(f"http://127.0.0.1:{runner.addresses[0][1]}", patience_s=0.0) as client:
            assert [await fetch_proofs(client, [good], PINNED) for _ in range(2)] == [1, 0]
            # More of our witnesses than the proof has: it is fetched again, and held to the quorum.
            more = replace(PINNED, witness_vkeys=(*VKEYS, Signer("w9", b"\x99" * 32).witness.vkey()), quorum=4)
            with pytest.raises(ProofError, match="HEAD_QUORUM"):
                await fetch_proofs(client, [good], more)
            with pytest.raises(ProofError, match=r"PROMISE_BROKEN: .*kept as .*promised\.broken\.json"):
                await fetch_proofs(client, [bad], PINNED)
    finally:
        await runner.cleanup()
    assert asked == ["5", "5", "5"]
    assert proof_path(good).read_text() == saved.proof
    assert find_receipts([tmp_path]) == [good, bad]
    with pytest.raises(ProofError, match="PROMISE_BROKEN"):
        check_file(tmp_path / "promised.broken.json", PINNED)


def test_a_trust_that_nothing_can_satisfy_is_refused() -> None:
    twice = (VKEYS[0], Signer(WITNESSES[0].name, b"\x44" * 32).witness.vkey())
    for trust, code in (
        (replace(PINNED, quorum=4), "QUORUM_UNREACHABLE"),
        (replace(PINNED, witness_vkeys=twice), "QUORUM_UNREACHABLE"),  # one name is one witness
        (replace(PINNED, witness_vkeys=(LOG_VKEY,), quorum=0), "VKEY_UNUSABLE"),
        (replace(PINNED, log_vkey=VKEYS[0]), "VKEY_UNUSABLE"),
        (replace(PINNED, receipt_vkey="nonsense"), "VKEY_UNUSABLE"),
    ):
        with pytest.raises(ConfigError, match=code):
            trust.check()
    assert PINNED.check() is PINNED


# -- evidence, and the command


def test_evidence_is_checked_as_what_it_is(tmp_path: Path) -> None:
    log = Log(400)
    file = tmp_path / "fork.json"
    file.write_bytes(encode_evidence(collect(OTHER_ORIGIN, [OTHER_VKEY], log.head(), log.fork(3).head())))
    checked = check_file(file, Trust(log_vkey=OTHER_VKEY))
    assert (checked.facts["is_fork"], checked.facts["is_log_pinned"]) == (True, True)
    assert "as kept in the evidence" in check_file(file, Trust()).sentence
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        check_file(file, Trust(log_vkey=LOG_VKEY))
    with pytest.raises(ProofError, match="EVIDENCE_OF_ANOTHER"):
        check_file(file, Trust(origin="other.example"))


def test_no_bytes_of_a_file_can_do_more_than_be_refused(saved: SavedReceipt, tmp_path: Path) -> None:
    chance = random.Random(9)
    file = write_saved(tmp_path / "one.json", saved)
    for path in (file, proof_path(file)):
        whole = path.read_bytes()
        held = 0
        for _ in range(150):
            cut = chance.randrange(len(whole))
            changed = bytearray(whole)
            changed[cut] = chance.randrange(256)
            path.write_bytes(bytes(changed) if chance.random() < 0.8 else whole[:cut])
            try:
                check_file(path, PINNED)
                held += 1  # the byte that was there, or one that nobody signs
            except CuriosityError:
                pass
        assert held < 30
        path.write_bytes(whole)
    with pytest.raises(ProofError, match="RECEIPT_MALFORMED"):
        parse_saved(file, b"\xff")


def run(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node.cli", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_the_command_tells_one_sentence_and_ends_with_a_status(saved: SavedReceipt, tmp_path: Path) -> None:
    file = write_saved(tmp_path / "receipts" / "one.json", saved)
    witnesses = [word for vkey in VKEYS for word in ("--witness-vkey", vkey)]
    done = run(tmp_path, "verify", str(file), *witnesses, "--quorum", "3", "--log-vkey", LOG_VKEY, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["kind"], facts["tree_size"], facts["quorum"], len(facts["cosigners"])) == ("receipt", 12, 3, 3)
    assert (facts["is_pinned"], facts["is_log_pinned"]) == (False, True)
    proof = run(tmp_path, "verify", str(proof_path(file)), "--origin", ORIGIN, "--log-vkey", LOG_VKEY)
    assert proof.stdout.count("\n") == 1, proof.stderr
    assert "Entry 5 (pair" in proof.stdout
    for arguments, status, code in (
        (["--quorum", "1"], 6, "QUORUM_UNREACHABLE"),
        (["--log-vkey", STRANGER.verifier.vkey()], 5, "NOTE_UNSIGNED"),
        ([*witnesses[:2], "--quorum", "1", "--origin", "x"], 5, "RECEIPT_ORIGIN"),
        (["--leaf", str(tmp_path / "nowhere"), str(proof_path(file)), "--log-vkey", LOG_VKEY], 8, "RECEIPT_UNREADABLE"),
    ):
        wrong = run(tmp_path, "verify", *([] if str(proof_path(file)) in arguments else [str(file)]), *arguments)
        assert (wrong.returncode, wrong.stderr.split(":")[0]) == (status, code)
    encoded = encode(saved).decode().replace("ACCEPTED", "REJECTED").replace('"accepted"', '"rejected"', 1)
    (tmp_path / "receipts" / "two.json").write_text(encoded)
    both = run(tmp_path, "verify", "--json")
    assert (both.returncode, json.loads(both.stdout)["verified"]) == (5, 1)
