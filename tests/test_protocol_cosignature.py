"""Cosignatures of both kinds, the quorum that they make up, and what a log asks of a witness."""

import base64
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import EMPTY_ROOT
from curiosity.protocol.note_signature import cosigned_message, make_cosignature, make_signature
from curiosity.protocol.tlog import (
    COSIGNATURE_V1,
    MLDSA44_COSIGNATURE,
    NoteSignature,
    Signer,
    TreeHead,
    Verifier,
    WitnessRequest,
    add_signatures,
    cosign,
    make_witness_request,
    open_note,
    parse_note,
    parse_vkey,
    parse_witness_request,
    parse_witness_size,
    sign_note,
    verified_cosignatures,
    verify_checkpoint,
)
from tests.material.tlog import LOG, LOG_VKEY, ORIGIN, WITNESS_VKEYS, WITNESSES

NOW = 1_700_000_000
PQ = Signer("pq.example", b"\x03" * 32, MLDSA44_COSIGNATURE)
PQ_VKEY = PQ.witness.vkey()
HEAD = TreeHead(ORIGIN, 42, b"\xfe" * 32)
NOTE = sign_note(HEAD.text(), LOG)


def verify(note: str, witness_vkeys: list[str], quorum: int) -> TreeHead:
    return verify_checkpoint(note, ORIGIN, [LOG_VKEY], witness_vkeys, quorum)


# --- ML-DSA-44 ---


def test_an_ml_dsa_key_is_named_and_spelled_as_the_specification_says() -> None:
    verifier = parse_vkey(PQ_VKEY)
    assert (verifier.name, verifier.algorithm, len(verifier.public_key)) == ("pq.example", 0x06, 1312)
    key = MLDSA44PrivateKey.from_seed_bytes(b"\x03" * 32).public_key().public_bytes_raw()
    assert base64.b64decode(PQ_VKEY.split("+", 2)[2]) == b"\x06" + key
    assert PQ.witness == PQ.verifier == verifier


def test_an_ml_dsa_cosignature_signs_the_structure_of_the_specification() -> None:
    """Byte by byte from c2sp.org/tlog-cosignature, and the signature checked by the library alone."""
    expected = bytes.fromhex(
        "737562747265652f76310a00"  # label: subtree/v1, newline, zero
        + "0a" + b"pq.example".hex()  # cosigner_name
        + "000000006553f100"  # timestamp
        + "15" + b"log.example/curiosity".hex()  # log_origin
        + "0000000000000000"  # start
        + "000000000000002a"  # end
        + "fe" * 32  # hash
    )  # fmt: skip
    assert cosigned_message("pq.example", HEAD, NOW) == expected
    line = cosign(NOTE, PQ, NOW).removeprefix(NOTE)
    data = base64.b64decode(line.rsplit(" ", 1)[1])
    assert data[:4] == PQ.witness.key_id
    assert data[4:12] == struct.pack(">Q", NOW)
    assert len(data) == 4 + 8 + 2420
    MLDSA44PublicKey.from_public_bytes(PQ.witness.public_key).verify(data[12:], expected)


def test_cosignatures_of_both_kinds_make_a_quorum_and_tell_their_times() -> None:
    note = cosign(cosign(NOTE, PQ, NOW), WITNESSES[0], NOW + 1)
    vkeys = [WITNESS_VKEYS[0], PQ_VKEY]
    assert verify(note, vkeys, 2) == HEAD
    assert [(s.verifier.name, s.timestamp) for s in verified_cosignatures(note, vkeys)] == [
        ("pq.example", NOW),
        ("witness-0.example", NOW + 1),
    ]
    assert verify(note, [PQ_VKEY], 1) == HEAD
    with pytest.raises(ProofError, match="HEAD_QUORUM"):
        verify(note, [PQ_VKEY], 2)


def changed_line(note: str, signer: Signer, at: int) -> str:
    """Flip a bit of a signer's line, counted in bytes of the signature from the timestamp on."""
    text, signatures = parse_note(note)
    lines = ""
    for signature in signatures:
        data = bytearray(signature.signature)
        if signature.name == signer.name:
            data[at] ^= 1
        lines += NoteSignature(signature.name, signature.key_id, bytes(data)).line()
    return text + "\n" + lines


@pytest.mark.parametrize("witness", [PQ, WITNESSES[0]], ids=["ml-dsa", "ed25519"])
def test_a_cosignature_holds_for_its_text_time_key_and_name_only(witness: Signer) -> None:
    vkey = witness.witness.vkey()
    note = cosign(NOTE, witness, NOW)
    for at in (0, 7, 8, 20, -1):
        with pytest.raises(ProofError, match=r"SIGNATURE_(WRONG|TIME)"):
            verify(changed_line(note, witness, at), [vkey], 1)
    line = note.removeprefix(NOTE)
    for other in (TreeHead(ORIGIN, 43, HEAD.root), TreeHead(ORIGIN, 42, b"\xff" * 32)):
        with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
            verify(sign_note(other.text(), LOG) + line, [vkey], 1)
    stranger = Signer(witness.name, b"\x77" * 32, witness.algorithm)
    with pytest.raises(ProofError, match="HEAD_QUORUM"):
        verify(note, [stranger.witness.vkey()], 1)


def test_the_name_is_signed_by_ml_dsa_and_not_by_ed25519() -> None:
    """Under another name with a fitting id the one fails and the other does not, as the specification warns."""
    for witness, holds in ((PQ, False), (WITNESSES[0], True)):
        signature = make_cosignature(HEAD.text(), witness, NOW)
        alias = Verifier("alias.example", witness.witness.algorithm, witness.witness.public_key)
        note = NOTE + NoteSignature(alias.name, alias.key_id, signature.signature).line()
        if holds:
            assert verify(note, [alias.vkey()], 1) == HEAD
        else:
            with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
                verify(note, [alias.vkey()], 1)


def test_lengths_and_times_that_cannot_be() -> None:
    for witness in (PQ, WITNESSES[0]):
        verifier, signature = witness.witness, make_cosignature(HEAD.text(), witness, NOW)
        late = struct.pack(">Q", 2**63) + signature.signature[8:]
        for data, code in (
            (signature.signature[:-1], "LENGTH"),
            (signature.signature + b"\0", "LENGTH"),
            (late, "TIME"),
        ):
            note = NOTE + NoteSignature(verifier.name, verifier.key_id, data).line()
            with pytest.raises(ProofError, match=f"SIGNATURE_{code}"):
                verify(note, [verifier.vkey()], 1)
        for timestamp in (-1, 2**63):
            with pytest.raises(ValueError, match="time"):
                cosign(NOTE, witness, timestamp)
        assert verify(cosign(NOTE, witness, 2**63 - 1), [verifier.vkey()], 1) == HEAD


def test_names_that_the_structure_cannot_hold() -> None:
    long = TreeHead("o" * 256, 1, bytes(32))
    with pytest.raises(ProofError, match="COSIGNATURE_NAMES"):
        cosign(sign_note(long.text(), LOG), PQ, NOW)
    signed = sign_note(long.text(), LOG) + NoteSignature(PQ.name, PQ.witness.key_id, bytes(8 + 2420)).line()
    with pytest.raises(ProofError, match="COSIGNATURE_NAMES"):
        verified_cosignatures(signed, [PQ_VKEY])
    with pytest.raises(ProofError, match="COSIGNATURE_NAMES"):
        cosign(NOTE, Signer("w" * 256, b"\x01" * 32, MLDSA44_COSIGNATURE), NOW)
    longest = TreeHead("é" * 127, 1, bytes(32))  # bytes count, not characters
    note = cosign(sign_note(longest.text(), LOG), PQ, NOW)
    assert verify_checkpoint(note, longest.origin, [LOG_VKEY], [PQ_VKEY], 1) == longest


def test_only_tree_heads_are_cosigned() -> None:
    for witness in (PQ, WITNESSES[0]):
        with pytest.raises(ProofError, match="HEAD_MALFORMED"):
            cosign(sign_note("no head\n", LOG), witness, NOW)
        with pytest.raises(ProofError, match="NOTE_MALFORMED"):
            cosign("no note", witness, NOW)
        with pytest.raises(ValueError, match="name"):
            cosign(NOTE, Signer("two words", b"\x01" * 32, witness.algorithm), NOW)
    with pytest.raises(ValueError, match="cosigns"):
        make_signature(HEAD.text(), PQ)


def test_extension_lines_that_nobody_signed_are_not_believed() -> None:
    """ML-DSA-44 leaves them out: a head under such a key alone is refused with extensions, not without."""
    pq_log = Signer(ORIGIN, b"\x05" * 32, MLDSA44_COSIGNATURE)
    vkey = pq_log.verifier.vkey()
    bare = HEAD.text() + "\n" + make_cosignature(HEAD.text(), pq_log, NOW).line()
    assert verify_checkpoint(bare, ORIGIN, [vkey]) == HEAD
    assert open_note(bare, [vkey]) == HEAD.text()
    forged = TreeHead(ORIGIN, 42, HEAD.root, ("never signed",)).text()
    note = forged + "\n" + bare.split("\n\n")[1]
    for check in (lambda: verify_checkpoint(note, ORIGIN, [vkey]), lambda: open_note(note, [vkey])):
        with pytest.raises(ProofError, match="NOTE_PARTLY_SIGNED"):
            check()
    both = sign_note(forged, LOG, existing=note.split("\n\n")[1])
    assert verify_checkpoint(both, ORIGIN, [vkey, LOG_VKEY]).extensions == ("never signed",)  # the Ed25519 key did sign


# --- Quorum ---


def test_one_operator_counts_once_however_many_keys_and_names_he_has() -> None:
    ed, pq = Signer("w.example", b"\x21" * 32), Signer("w.example", b"\x22" * 32, MLDSA44_COSIGNATURE)
    note = cosign(cosign(NOTE, ed, NOW), pq, NOW)
    vkeys = [ed.witness.vkey(), pq.witness.vkey()]
    assert verify(note, vkeys, 1) == HEAD
    with pytest.raises(ProofError, match="HEAD_QUORUM: 1 of the 2"):
        verify(note, vkeys, 2)
    alias = Signer("alias.example", b"\x21" * 32)  # the Ed25519 key again, under a name of its own
    linked = cosign(note, alias, NOW)
    with pytest.raises(ProofError, match="HEAD_QUORUM: 1 of the 2"):
        verify(linked, [*vkeys, alias.witness.vkey()], 2)
    with pytest.raises(ProofError, match="HEAD_QUORUM: 1 of the 2"):
        verify(linked, [alias.witness.vkey(), *reversed(vkeys)], 2)
    assert verify(cosign(linked, WITNESSES[0], NOW), [*vkeys, WITNESS_VKEYS[0]], 2) == HEAD


def test_a_log_is_no_witness_of_itself() -> None:
    note = cosign(NOTE, LOG, NOW)
    with pytest.raises(ProofError, match="HEAD_QUORUM: 0 of the 1"):
        verify(note, [LOG.witness.vkey()], 1)


def test_a_key_that_signs_notes_is_no_witness() -> None:
    with pytest.raises(ProofError, match="VKEY_NOT_A_WITNESS"):
        verify(cosign(NOTE, WITNESSES[0], NOW), [WITNESSES[0].verifier.vkey()], 1)


def test_unknown_witnesses_are_ignored_and_a_wrong_known_one_is_not() -> None:
    note = cosign(cosign(NOTE, WITNESSES[0], NOW), PQ, NOW)
    damaged = changed_line(note, PQ, 100)
    assert verify(damaged, [WITNESS_VKEYS[0]], 1) == HEAD
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        verify(damaged, [WITNESS_VKEYS[0], PQ_VKEY], 1)


def test_sixteen_of_the_largest_signatures_are_accepted() -> None:
    """What every reader must take (c2sp.org/signed-note, "Format")."""
    note, vkeys = NOTE, []
    for number in range(16):
        witness = Signer(f"pq-{number}.example", bytes([64 + number]) * 32, MLDSA44_COSIGNATURE)
        note = cosign(note, witness, NOW)
        vkeys.append(witness.witness.vkey())
    assert verify(note, vkeys, 16) == HEAD


def test_an_empty_tree_has_the_root_of_an_empty_tree() -> None:
    assert verify_checkpoint(sign_note(TreeHead(ORIGIN, 0, EMPTY_ROOT).text(), LOG), ORIGIN, [LOG_VKEY]).size == 0
    with pytest.raises(ProofError, match="HEAD_EMPTY_ROOT"):
        verify_checkpoint(sign_note(TreeHead(ORIGIN, 0, bytes(32)).text(), LOG), ORIGIN, [LOG_VKEY])


# --- The witness protocol ---


def test_what_witnesses_answer_is_merged_once_and_checked() -> None:
    answers = [cosign(NOTE, witness, NOW).removeprefix(NOTE) for witness in (WITNESSES[0], PQ)]
    vkeys = [WITNESS_VKEYS[0], PQ_VKEY]
    merged = add_signatures(add_signatures(NOTE, answers[0], vkeys), answers[1] + answers[0], vkeys)
    assert merged == NOTE + answers[0] + answers[1]
    assert verify(merged, vkeys, 2) == HEAD
    stranger = cosign(NOTE, WITNESSES[1], NOW).removeprefix(NOTE)
    assert add_signatures(NOTE, stranger + answers[0], vkeys) == NOTE + answers[0]
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        add_signatures(NOTE, stranger, vkeys)
    other = cosign(sign_note(TreeHead(ORIGIN, 43, HEAD.root).text(), LOG), WITNESSES[0], NOW).rsplit("\n", 2)[1] + "\n"
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        add_signatures(NOTE, other, vkeys)
    for bad in ("", "\n", answers[0][:-1], answers[0] + "\n", "text\n", answers[0] * 101):
        with pytest.raises(ProofError, match="NOTE_SIGNATURE"):
            add_signatures(NOTE, bad, vkeys)


def test_of_each_key_the_newest_signature_stays() -> None:
    def answer(signer: Signer, second: int) -> str:
        return cosign(NOTE, signer, second).removeprefix(NOTE)

    one, other = WITNESSES[:2]
    many = "".join(answer(one, NOW + second % 99) for second in range(40, 139))
    merged = add_signatures(NOTE, many, [WITNESS_VKEYS[0]])
    assert merged == NOTE + answer(one, NOW + 98)
    merged = add_signatures(merged, answer(other, NOW), [WITNESS_VKEYS[1]])
    assert merged == NOTE + answer(one, NOW + 98) + answer(other, NOW)
    for again in (answer(one, NOW), answer(one, NOW + 98)):
        assert add_signatures(merged, again, [WITNESS_VKEYS[0]]) == merged
    newer = add_signatures(merged, answer(one, NOW + 99), WITNESS_VKEYS)
    assert newer == NOTE + answer(other, NOW) + answer(one, NOW + 99)
    assert verify(newer, WITNESS_VKEYS, 2) == HEAD
    newest = answer(PQ, 7)  # ML-DSA signs differently each time
    lines = newest + answer(one, 5) + answer(PQ, 6) + answer(one, 4)
    assert add_signatures(NOTE, lines, [WITNESS_VKEYS[0], PQ_VKEY]) == NOTE + newest + answer(one, 5)


def test_answers_of_witnesses_cannot_make_a_note_that_nobody_opens() -> None:
    full = NOTE + "".join(NoteSignature(f"w{n}", b"four", b"signature").line() for n in range(99))
    assert open_note(full, [LOG_VKEY]) == HEAD.text()
    answer = cosign(NOTE, WITNESSES[0], NOW).removeprefix(NOTE)
    with pytest.raises(ProofError, match="NOTE_SIGNATURES"):
        add_signatures(full, answer, WITNESS_VKEYS)
    with pytest.raises(ProofError, match="NOTE_TOO_LONG"):
        add_signatures(NOTE, "x" * 140_000 + "\n", WITNESS_VKEYS)


def test_what_strangers_call_themselves_is_shown_escaped() -> None:
    note = HEAD.text() + "\n" + NoteSignature("\x9b31m", b"four", b"signature").line()
    with pytest.raises(ProofError, match="NOTE_UNSIGNED") as caught:
        open_note(note, [LOG_VKEY])
    assert "\x9b" not in str(caught.value)


def test_requests_to_a_witness_round_trip_and_are_strict() -> None:
    path = [bytes([number]) * 32 for number in range(3)]
    body = make_witness_request(20, path, NOTE)
    assert body.startswith("old 20\nAAAA")
    assert parse_witness_request(body) == WitnessRequest(20, tuple(path), NOTE)
    assert parse_witness_request(make_witness_request(0, [], NOTE)).path == ()
    hash_ = body.split("\n")[1]
    for bad, code in (
        (body.replace("old 20", "old 020"), "WITNESS_REQUEST_OLD"),
        (body.replace("old 20", "old"), "WITNESS_REQUEST_OLD"),
        (body.replace("old 20", "size 20"), "WITNESS_REQUEST_OLD"),
        (body.replace("old 20", f"old {2**63}"), "WITNESS_REQUEST_OLD"),
        (body.replace(hash_, hash_[:-1]), "WITNESS_REQUEST_HASH"),
        (body.replace(hash_, "AAAA"), "WITNESS_REQUEST_HASH"),
        (body.replace(hash_, "\n".join([hash_] * 62)), "PROOF_TOO_LONG"),
        (body.replace("\n\n", "\n"), "WITNESS_REQUEST_MALFORMED"),
        (body + "\n", "NOTE_MALFORMED"),
        ("", "WITNESS_REQUEST_MALFORMED"),
        (body + "x" * 140_000, "WITNESS_REQUEST_TOO_LONG"),
    ):
        with pytest.raises(ProofError, match=f"^{code}: "):
            parse_witness_request(bad)
    longest = make_witness_request(2**63 - 1, [bytes(32)] * 63, NOTE)
    assert (parse_witness_request(longest).old_size, len(parse_witness_request(longest).path)) == (2**63 - 1, 63)
    for old, hashes in ((-1, []), (2**63, []), (0, [b"short"]), (0, [bytes(32)] * 64)):
        with pytest.raises(ValueError, match="request"):
            make_witness_request(old, hashes, NOTE)
    with pytest.raises(ProofError, match="NOTE_MALFORMED"):
        make_witness_request(0, [], "no note")


def test_the_size_that_a_witness_has_is_one_canonical_line() -> None:
    assert parse_witness_size("20852014\n") == 20_852_014
    for bad in ("", "\n", "5", "05\n", "5\n\n", " 5\n", "5\r\n", "-1\n", f"{2**63}\n", "٥\n"):
        with pytest.raises(ProofError, match="WITNESS_SIZE"):
            parse_witness_size(bad)


def test_key_ids_carry_the_kind_of_signature() -> None:
    """One Ed25519 key has two ids, so that its plain signature can never stand for a cosignature."""
    assert LOG.verifier.key_id != LOG.witness.key_id
    assert LOG.witness.algorithm == COSIGNATURE_V1
    assert Signer("w", b"\x01" * 32, COSIGNATURE_V1).witness == Signer("w", b"\x01" * 32).witness


def test_a_signer_does_not_show_its_secret() -> None:
    for signer in (LOG, PQ):
        assert signer.verifier.name in repr(signer)
        assert repr(signer.seed) not in repr(signer)
        assert "seed" not in repr(signer)
