"""Each value of the ledger's formats has one spelling: every change of a good text in one place is refused, or reads as
the other value that it spells. What a key or a signature binds is refused whatever the change."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from curiosity.protocol.errors import ProofError
from curiosity.protocol.subtrees import consistency_from, inclusion_from
from curiosity.protocol.tlog import (
    MLDSA44_COSIGNATURE,
    NoteSignature,
    Signer,
    Tile,
    TreeHead,
    Verifier,
    WitnessRequest,
    cosign,
    entry_bundle,
    make_proof,
    make_witness_request,
    open_note,
    parse_bundle,
    parse_note,
    parse_proof,
    parse_tile,
    parse_tile_path,
    parse_tree_head,
    parse_vkey,
    parse_witness_request,
    parse_witness_size,
    verify_checkpoint,
)
from tests.material.tlog import LOG_VKEY, ORIGIN, WITNESS_VKEYS, Log

LOGGED = Log([b"leaf %d" % index for index in range(20)])
PQ = Signer("pq.example", b"\x03" * 32, MLDSA44_COSIGNATURE)
PROOF = make_proof(7, inclusion_from(LOGGED.read, 7, 20), LOGGED.note, b"extra")
REQUEST = make_witness_request(5, consistency_from(LOGGED.read, 5, 20), LOGGED.note)
HEAD = TreeHead(ORIGIN, 20, LOGGED.head.root, ("an extension",))
CHARACTERS = "\n \t\r\x00\x7f09azAZ+/=-_.,x\u00a0\u0661\u2003\u2014\ud800\U0001f600"


def changes(text: str) -> Iterator[str]:
    """Every text that differs in one place: a character dropped, doubled, exchanged with the next, replaced, put in."""
    for at in range(len(text) + 1):
        yield text[:at] + text[at + 1 :]
        yield text[:at] + text[at : at + 1] * 2 + text[at + 1 :]
        yield text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
        for other in CHARACTERS:
            yield text[:at] + other + text[at + 1 :]
            yield text[:at] + other + text[at:]


def spell_note(value: tuple[str, tuple[NoteSignature, ...]]) -> str:
    return value[0] + "\n" + "".join(signature.line() for signature in value[1])


def spell_request(value: WitnessRequest) -> str:
    return make_witness_request(value.old_size, value.path, value.note)


@pytest.mark.parametrize(
    ("good", "parse", "spell"),
    [
        (LOG_VKEY, parse_vkey, Verifier.vkey),
        (LOGGED.cosigned(1), parse_note, spell_note),
        (HEAD.text(), parse_tree_head, TreeHead.text),
        (PROOF, parse_proof, lambda proof: make_proof(proof.index, proof.path, proof.note, proof.extra)),
        (REQUEST, parse_witness_request, spell_request),
        ("20852014\n", parse_witness_size, lambda size: f"{size}\n"),
        (Tile(7, 1_234_067, 85).path, parse_tile_path, lambda tile: tile.path),
    ],
    ids=["vkey", "note", "tree-head", "proof", "witness-request", "witness-size", "tile-path"],
)
def test_a_changed_text_is_refused_or_spells_another_value(
    good: str, parse: Callable[[str], Any], spell: Callable[[Any], str]
) -> None:
    value = parse(good)
    assert spell(value) == good
    refused = 0
    for changed in changes(good):
        if changed == good:
            continue
        try:
            other = parse(changed)
        except ProofError:
            refused += 1
            continue
        assert other != value
        assert spell(other) == changed
    assert refused > len(good)


@pytest.mark.parametrize("vkey", [LOG_VKEY, WITNESS_VKEYS[0]], ids=["log", "witness"])
def test_no_character_of_a_key_can_be_changed(vkey: str) -> None:
    for changed in changes(vkey):
        if changed != vkey:
            with pytest.raises(ProofError, match="VKEY_"):
                parse_vkey(changed)


def test_no_character_of_a_signed_head_can_be_changed() -> None:
    for changed in changes(LOGGED.note):
        if changed != LOGGED.note:
            with pytest.raises(ProofError):
                verify_checkpoint(changed, ORIGIN, [LOG_VKEY])
            with pytest.raises(ProofError):
                open_note(changed, [LOG_VKEY])


def test_no_character_of_an_ml_dsa_cosignature_can_be_changed() -> None:
    """Every 17th of its 3,243: each costs a verification."""
    note = cosign(LOGGED.note, PQ, 1_700_000_000)
    vkey = PQ.witness.vkey()
    for at in range(len(LOGGED.note), len(note), 17):
        other = "A" if note[at] != "A" else "B"
        with pytest.raises(ProofError):
            verify_checkpoint(note[:at] + other + note[at + 1 :], ORIGIN, [LOG_VKEY], [vkey], 1)


def test_a_changed_bundle_or_tile_is_refused_or_holds_other_entries() -> None:
    entries = [b"", b"one", b"x" * 256, b"four"]
    data = entry_bundle(entries)
    tile = b"".join(LOGGED.hashes[:3])
    for good, width, parse in ((data, 4, parse_bundle), (tile, 3, parse_tile)):
        value = parse(good, width)
        for at in range(len(good)):
            for bit in range(8):
                changed = good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :]
                try:
                    assert parse(changed, width) != value
                except ProofError as error:
                    assert error.code.startswith("BUNDLE_")  # noqa: PT017 - some lengths fit by chance
            for shorter in (good[:at], good[:at] + good[at + 1 :]):
                try:
                    assert parse(shorter, width) != value
                except ProofError as error:
                    assert error.code.startswith(("BUNDLE_", "TILE_"))  # noqa: PT017
