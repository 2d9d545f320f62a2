"""Signed notes, tree heads, cosignatures and receipts: round trips, other people's vectors, every kind of damage."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import EMPTY_ROOT, leaf_hash
from curiosity.protocol.note import _SMALL_ORDER
from curiosity.protocol.receipt import Receipt, issue_receipt, verify_receipt
from curiosity.protocol.tlog import (
    COSIGNATURE_V1,
    ED25519,
    NoteSignature,
    Signer,
    TreeHead,
    Verifier,
    cosign,
    open_note,
    parse_tree_head,
    parse_vkey,
    sign_note,
    verify_checkpoint,
)

# The example in the documentation of Go's golang.org/x/mod/sumdb/note, keys and all.
GO_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SUM_GOLANG_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

LOG = Signer("log.example", b"\x01" * 32)
OTHER = Signer("other.example", b"\x02" * 32)
WITNESSES = [Signer(f"witness-{number}", bytes([16 + number]) * 32) for number in range(3)]
WITNESS_VKEYS = [Verifier(w.name, COSIGNATURE_V1, w.verifier.public_key).vkey() for w in WITNESSES]
HEAD = TreeHead("log.example/curiosity", 42, b"\xfe" * 32)
NOTE = sign_note(HEAD.text(), LOG)
LOG_VKEY = LOG.verifier.vkey()


def test_the_go_example_opens_and_is_signed_alike() -> None:
    assert open_note(GO_NOTE, [GO_VKEY]) == GO_TEXT
    encoded = GO_SKEY.removeprefix("PRIVATE+KEY+PeterNeumann+c74f20a3+")
    signer = Signer("PeterNeumann", base64.b64decode(encoded)[1:])
    assert signer.verifier.vkey() == GO_VKEY
    assert sign_note(GO_TEXT, signer) == GO_NOTE


def test_the_key_of_the_go_checksum_database_parses() -> None:
    verifier = parse_vkey(SUM_GOLANG_VKEY)
    assert (verifier.name, verifier.key_id.hex()) == ("sum.golang.org", "033de0ae")
    assert verifier.vkey() == SUM_GOLANG_VKEY


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(lambda line: line + "\n")


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5).map("".join), st.binary(min_size=32, max_size=32))
def test_notes_round_trip_for_their_key_only(text: str, seed: bytes) -> None:
    signer = Signer("somebody", seed)
    note = sign_note(text, signer)
    assert open_note(note, [signer.verifier.vkey()]) == text
    assert open_note(note, [LOG_VKEY, signer.verifier.vkey()]) == text
    for stranger in ([], [LOG_VKEY], [Signer("somebody", b"\x09" * 32).verifier.vkey()]):
        with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
            open_note(note, stranger)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_no_character_of_a_tree_head_can_be_changed(position: int, character: str) -> None:
    assume(NOTE[position] != character)
    changed = NOTE[:position] + character + NOTE[position + 1 :]
    with pytest.raises(ProofError):
        verify_checkpoint(changed, HEAD.origin, [LOG_VKEY])


def test_tampered_text_is_a_wrong_signature() -> None:
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        open_note(NOTE.replace("\n42\n", "\n43\n"), [LOG_VKEY])


def test_a_note_with_two_signatures_opens_for_either_and_refuses_one_forged() -> None:
    first_line = NOTE.removeprefix(HEAD.text() + "\n")
    both = sign_note(HEAD.text(), OTHER, existing=first_line)
    for vkey in (LOG_VKEY, OTHER.verifier.vkey()):
        assert open_note(both, [vkey]) == HEAD.text()
    forged_line = sign_note("another text\n", LOG).removeprefix("another text\n\n")
    forged = sign_note(HEAD.text(), OTHER, existing=forged_line)
    assert open_note(forged, [OTHER.verifier.vkey()]) == HEAD.text()
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        open_note(forged, [OTHER.verifier.vkey(), LOG_VKEY])


def test_base64_must_be_canonical() -> None:
    line = NOTE.rstrip("\n").rsplit(" ", maxsplit=1)[1]
    data = base64.b64decode(line)
    assert len(data) == 68  # one padding sign, so that four bits of the last digit are unused
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = line[:-2] + digits[digits.index(line[-2]) ^ 1] + "="
    assert base64.b64decode(twin) == data
    for bad in (
        twin,
        line[:-1],
        line + "=",
        line[:10] + " " + line[10:],
        line.replace("/", "_").replace("+", "-") + "!",
    ):
        with pytest.raises(ProofError, match="NOTE_SIGNATURE_LINE"):
            open_note(NOTE.replace(line, bad), [LOG_VKEY])
    root64 = base64.b64encode(HEAD.root).decode()
    twin_root = root64[:-2] + digits[digits.index(root64[-2]) ^ 1] + "="
    assert base64.b64decode(twin_root) == HEAD.root
    with pytest.raises(ProofError, match="HEAD_ROOT"):
        parse_tree_head(HEAD.text().replace(root64, twin_root))


@pytest.mark.parametrize(
    "size", ["", "042", "+42", "-1", "4_2", " 42", "42 ", "0x2a", "4.2", "٤٢", "9" * 40, str(2**63)]
)
def test_sizes_are_canonical_decimals(size: str) -> None:
    note = sign_note(HEAD.text().replace("\n42\n", f"\n{size}\n"), LOG)
    with pytest.raises(ProofError, match="HEAD_SIZE" if size else "HEAD_MALFORMED"):
        verify_checkpoint(note, HEAD.origin, [LOG_VKEY])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("origin\n42\n", "HEAD_MALFORMED"),
        ("origin\n42\nAAAA\n", "HEAD_ROOT"),
        ("origin\n42\n" + base64.b64encode(bytes(33)).decode() + "\n", "HEAD_ROOT"),
        ("\n42\n" + base64.b64encode(bytes(32)).decode() + "\n", "HEAD_MALFORMED"),
        ("origin\n42\n" + base64.b64encode(bytes(32)).decode() + "\n\nextension\n", "HEAD_MALFORMED"),
        ("origin\n42\n" + base64.b64encode(bytes(32)).decode(), "HEAD_MALFORMED"),
    ],
)
def test_malformed_heads(text: str, code: str) -> None:
    with pytest.raises(ProofError, match=code):
        parse_tree_head(text)


def test_heads_round_trip_with_extensions() -> None:
    for head in (HEAD, TreeHead("o", 0, EMPTY_ROOT), TreeHead("o", 2**62, bytes(32), ("one", "two — three"))):
        assert parse_tree_head(head.text()) == head
        assert verify_checkpoint(sign_note(head.text(), LOG), head.origin, [LOG_VKEY]) == head


def test_another_logs_head_is_refused() -> None:
    with pytest.raises(ProofError, match="HEAD_ORIGIN"):
        verify_checkpoint(NOTE, "log.example/another", [LOG_VKEY])


@pytest.mark.parametrize(
    ("note", "code"),
    [
        ("", "NOTE_MALFORMED"),
        ("\n", "NOTE_MALFORMED"),
        (HEAD.text(), "NOTE_MALFORMED"),
        (HEAD.text() + "\n", "NOTE_MALFORMED"),
        (NOTE.removesuffix("\n"), "NOTE_MALFORMED"),
        (NOTE + "\n", "NOTE_MALFORMED"),
        (NOTE + "trailing\n", "NOTE_SIGNATURE_LINE"),
        (NOTE.replace("—", "-"), "NOTE_SIGNATURE_LINE"),
        (NOTE.replace("— log.example ", "—  "), "NOTE_SIGNATURE_LINE"),
        (NOTE.replace("— log.example ", "— log+example "), "NOTE_SIGNATURE_LINE"),
        (NOTE.replace("— log.example ", "— log\u2003example "), "NOTE_SIGNATURE_LINE"),
        (NOTE.replace("\n42\n", "\n42\r\n"), "NOTE_CHARACTERS"),
        (NOTE.replace("\n42\n", "\n42\x00\n"), "NOTE_CHARACTERS"),
        (NOTE.replace("log.example/", "\ud800"), "NOTE_CHARACTERS"),
        (NOTE + "— short AAAA\n", "NOTE_SIGNATURE_LINE"),
        (NOTE + "— many AAAAAAAA\n" * 100, "NOTE_SIGNATURES"),
        ("x" * 140_000 + "\n\n" + NOTE, "NOTE_TOO_LONG"),
    ],
)
def test_malformed_notes(note: str, code: str) -> None:
    with pytest.raises(ProofError, match=code):
        open_note(note, [LOG_VKEY])


LOG_ID = "+" + LOG.verifier.key_id.hex() + "+"


@pytest.mark.parametrize(
    ("vkey", "code"),
    [
        ("", "VKEY_MALFORMED"),
        ("log.example", "VKEY_MALFORMED"),
        (LOG_VKEY.replace("log.example", "log.exampl"), "VKEY_ID"),
        (LOG_VKEY.replace("log.example", "log example"), "VKEY_MALFORMED"),
        (LOG_VKEY.replace("log.example", ""), "VKEY_MALFORMED"),
        (LOG_VKEY.replace("log.example", "log\ud800"), "VKEY_MALFORMED"),
        (LOG_VKEY.replace("log.example", "log\x00"), "VKEY_MALFORMED"),
        (LOG_VKEY + "A", "VKEY_MALFORMED"),
        (LOG_VKEY[:-4], "VKEY_MALFORMED"),
        (LOG_VKEY + "\n", "VKEY_MALFORMED"),
        (LOG_VKEY + "A" * 5000, "VKEY_MALFORMED"),
        (LOG_VKEY.replace(LOG_ID, "++"), "VKEY_ID"),
        (LOG_VKEY.replace(LOG_ID, LOG_ID.upper()), "VKEY_ID"),
        (LOG_VKEY.replace(LOG_ID, "+0" + LOG_ID[1:]), "VKEY_ID"),
        (Verifier("log.example", 0x02, bytes(32)).vkey(), "VKEY_ALGORITHM"),
        ("log.example+00000000+", "VKEY_ALGORITHM"),
        (Verifier("log.example", 0x01, bytes(33)).vkey(), "VKEY_MALFORMED"),
        (Verifier("log.example", 0x06, bytes(32)).vkey(), "VKEY_MALFORMED"),
    ],
)
def test_malformed_keys(vkey: str, code: str) -> None:
    with pytest.raises(ProofError, match=code):
        open_note(NOTE, [vkey])


P = 2**255 - 19


def on_the_curve(y: int) -> tuple[int, int]:
    """The point with this y, from the equation of edwards25519 (RFC 8032 section 5.1)."""
    d = -121665 * pow(121666, -1, P) % P
    square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return x, y


def add_points(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, two
    k = -121665 * pow(121666, -1, P) * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def test_keys_under_which_anybody_can_sign_are_refused() -> None:
    """Eight times such a point is the neutral one, so that R = neutral, S = 0 fits: the library takes it, we do not."""
    ys = sorted(_SMALL_ORDER)
    assert len(ys) == 5
    for y in ys:
        point = on_the_curve(y)
        for _ in range(3):
            point = add_points(point, point)
        assert point == (0, 1)
    neutral = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"whatever was never signed")
    # The sign bit set, and the same points spelled a second time above the field's order.
    for value in [*ys, *(y | 1 << 255 for y in ys), P, P + 1, 2**255 - 1]:
        for algorithm in (ED25519, COSIGNATURE_V1):
            verifier = Verifier("weak.example", algorithm, value.to_bytes(32, "little"))
            forged = HEAD.text() + "\n" + NoteSignature("weak.example", verifier.key_id, neutral + bytes(32)).line()
            with pytest.raises(ProofError, match="VKEY_WEAK"):
                open_note(forged, [verifier.vkey()])


def test_texts_and_names_that_nobody_could_open_are_not_signed() -> None:
    for text in ("no newline", "tab\t\n", "return\r\n"):
        with pytest.raises(ValueError, match="newline"):
            sign_note(text, LOG)
    for name in ("", "two words", "a+b", "a\u00a0b"):
        with pytest.raises(ValueError, match="name"):
            sign_note("text\n", Signer(name, b"\x01" * 32))


def test_a_quorum_counts_different_witnesses_that_cosigned_this_head() -> None:
    one = cosign(NOTE, WITNESSES[0], 1_700_000_000)
    two = cosign(one, WITNESSES[1], 1_700_000_001)
    twice = cosign(one, WITNESSES[0], 1_700_000_002)
    for note, quorum in ((NOTE, 0), (one, 1), (two, 2), (twice, 1)):
        assert verify_checkpoint(note, HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, quorum) == HEAD
        with pytest.raises(ProofError, match="HEAD_QUORUM"):
            verify_checkpoint(note, HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, quorum + 1)
    with pytest.raises(ProofError, match="HEAD_QUORUM"):
        verify_checkpoint(two, HEAD.origin, [LOG_VKEY], WITNESS_VKEYS[1:], 2)
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        verify_checkpoint(HEAD.text() + "\n" + two.split("\n\n")[1].split("\n", 1)[1], HEAD.origin, [LOG_VKEY])


def test_a_cosignature_covers_time_and_text() -> None:
    cosigned = cosign(NOTE, WITNESSES[0], 1_700_000_000)
    line = cosigned.rstrip("\n").rsplit(" ", maxsplit=1)[1]
    data = bytearray(base64.b64decode(line))
    assert len(data) == 4 + 8 + 64
    assert int.from_bytes(data[4:12], "big") == 1_700_000_000
    data[11] ^= 1
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        verify_checkpoint(
            cosigned.replace(line, base64.b64encode(data).decode()), HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, 1
        )
    cut = base64.b64encode(bytes(data[:-1])).decode()
    with pytest.raises(ProofError, match="SIGNATURE_LENGTH"):
        verify_checkpoint(cosigned.replace(line, cut), HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, 1)
    other_head = sign_note(TreeHead(HEAD.origin, 43, HEAD.root).text(), LOG)
    moved = other_head + cosigned.removeprefix(NOTE)
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        verify_checkpoint(moved, HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, 1)


def test_a_plain_signature_is_not_a_cosignature() -> None:
    """The same key signing the head as a log must not count as a witness: the key id carries the algorithm."""
    both = sign_note(HEAD.text(), WITNESSES[0], existing=NOTE.removeprefix(HEAD.text() + "\n"))
    with pytest.raises(ProofError, match="HEAD_QUORUM"):
        verify_checkpoint(both, HEAD.origin, [LOG_VKEY], WITNESS_VKEYS, 1)


ENTRY = CheckpointEntry(checkpoint=b"\x07" * 32, parent=None)
LEAF = encode_entry(ENTRY)
RECEIPT = issue_receipt(LEAF, 7, "origin.example", 1_700_000_000, LOG)


def test_receipts_verify_with_the_key_alone() -> None:
    checked = verify_receipt(RECEIPT, "origin.example", LOG_VKEY)
    assert (checked.entry, checked.index, checked.leaf_hash) == (ENTRY, 7, leaf_hash(LEAF))
    assert checked.issued_at == 1_700_000_000


@pytest.mark.parametrize(
    ("receipt", "origin", "signer", "code"),
    [
        (RECEIPT, "another.example", LOG, "RECEIPT_ORIGIN"),
        (RECEIPT, "origin.example", OTHER, "NOTE_UNSIGNED"),
        (Receipt(RECEIPT.entry, 8, RECEIPT.note), "origin.example", LOG, "RECEIPT_INDEX"),
        (Receipt(RECEIPT.entry.replace("07", "08", 1), 7, RECEIPT.note), "origin.example", LOG, "RECEIPT_ENTRY"),
        (Receipt(RECEIPT.entry, 7, RECEIPT.note.replace("\n7\n", "\n8\n")), "origin.example", LOG, "SIGNATURE_WRONG"),
        (Receipt(RECEIPT.entry, 7, NOTE), "origin.example", LOG, "RECEIPT_VERSION"),
        (Receipt(RECEIPT.entry, 7, f"curiosity-receipt/v2\n\n{NOTE}"), "origin.example", LOG, "RECEIPT_LINES"),
    ],
)
def test_receipts_that_do_not_hold(receipt: Receipt, origin: str, signer: Signer, code: str) -> None:
    with pytest.raises(ProofError) as caught:
        verify_receipt(receipt, origin, signer.verifier.vkey())
    assert caught.value.code == code
