"""Offline proofs: they prove one leaf at one index under a head that the right keys signed, and nothing else."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import node_hash
from curiosity.protocol.note import to_base64
from curiosity.protocol.subtrees import inclusion_from
from curiosity.protocol.tlog import ProvenEntry, Signer, TreeHead, make_proof, parse_proof, sign_note, verify_proof
from tests.material.tlog import LOG, LOG_VKEY, ORIGIN, WITNESS_VKEYS, Log

LOGGED = Log([b"leaf %d" % index for index in range(300)])
INDEX = 137
PATH = inclusion_from(LOGGED.read, INDEX, 300)
PROOF = make_proof(INDEX, PATH, LOGGED.cosigned(2))
HEAD_LINE = 1 + 1 + len(PATH) + 1  # lines before the head: header, index, path, empty


def verify(text: str, leaf: bytes = LOGGED.leaves[INDEX], quorum: int = 2) -> ProvenEntry:
    return verify_proof(text, leaf, ORIGIN, [LOG_VKEY], WITNESS_VKEYS, quorum)


def refuse(code: str, text: str, leaf: bytes = LOGGED.leaves[INDEX], quorum: int = 2) -> None:
    with pytest.raises(ProofError, match=f"^{code}: "):
        verify(text, leaf, quorum)


def without_line(text: str, number: int) -> str:
    lines = text.split("\n")
    return "\n".join(lines[:number] + lines[number + 1 :])


def test_a_proof_has_the_lines_of_the_specification() -> None:
    lines = PROOF.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 137"]
    assert lines[2 : 2 + len(PATH)] == [to_base64(hash_) for hash_ in PATH]
    assert "\n".join(lines[HEAD_LINE:]) == LOGGED.cosigned(2)
    extra = make_proof(INDEX, PATH, LOGGED.note, b"\x00\xff")
    assert extra.split("\n")[1:3] == ["extra AP8=", "index 137"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.data())
def test_every_leaf_of_every_tree_is_proved(size: int, data: st.DataObject) -> None:
    log = Log(LOGGED.leaves[:size])
    index = data.draw(st.integers(0, size - 1))
    extra = data.draw(st.binary(max_size=20))
    text = make_proof(index, inclusion_from(log.read, index, size), log.cosigned(3), extra)
    assert verify_proof(text, log.leaves[index], ORIGIN, [LOG_VKEY], WITNESS_VKEYS, 3) == ProvenEntry(
        index, log.head, extra
    )
    for other in {0, index - 1, index + 1, size - 1} - {index, -1, size}:
        with pytest.raises(ProofError, match="PROOF_MISMATCH"):
            verify_proof(text, log.leaves[other], ORIGIN, [LOG_VKEY], WITNESS_VKEYS, 3)


def changes(text: str) -> Iterator[tuple[int, str]]:
    """Every text that differs in one character: dropped, doubled, or another in its place."""
    for at, character in enumerate(text):
        yield at, text[:at] + text[at + 1 :]
        for other in "A0= \n/\u2014é\x00":
            if other != character:
                yield at, text[:at] + other + text[at + 1 :]
            yield at, text[:at] + other + text[at:]


def test_no_character_of_a_proof_can_be_changed() -> None:
    """Without a quorum: a line of a key that nobody knows is to be ignored. The next test demands both witnesses."""
    text = make_proof(INDEX, PATH, LOGGED.note)
    verify(text, quorum=0)
    tried = 0
    for _, changed in changes(text):
        if changed == text:
            continue
        with pytest.raises(ProofError):
            verify(changed, quorum=0)
        tried += 1
    assert tried > 10_000


def test_no_character_of_the_cosignatures_can_be_changed_where_both_are_demanded() -> None:
    start = PROOF.index("\u2014 witness-0")
    for at in range(start, len(PROOF)):
        for other in "A0= \n":
            if PROOF[at] != other:
                with pytest.raises(ProofError):
                    verify(PROOF[:at] + other + PROOF[at + 1 :])


def test_extra_data_is_nobodys_word() -> None:
    """It can be changed by anybody, as the specification says; what was proved stays the same."""
    one, two = (make_proof(INDEX, PATH, LOGGED.note, extra) for extra in (b"one", b"two"))
    assert verify(one, quorum=0).extra == b"one"
    assert verify(two, quorum=0).head == verify(one, quorum=0).head == LOGGED.head


HASH = to_base64(PATH[0])
INNER_NODE = b"".join(LOGGED.hashes[:2])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "PROOF_HEADER"),
        (PROOF.replace("@v1", "@v2"), "PROOF_HEADER"),
        (PROOF.replace("c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\r\n"), "PROOF_HEADER"),
        ("\ufeff" + PROOF, "PROOF_HEADER"),
        (PROOF.replace("\n\n", "\n"), "PROOF_NO_HEAD"),
        (PROOF[: PROOF.index("\n\n")], "PROOF_NO_HEAD"),
        (without_line(PROOF, 1), "PROOF_INDEX"),
        ("c2sp.org/tlog-proof@v1\n\n" + LOGGED.note, "PROOF_INDEX"),
        *((PROOF.replace("index 137", f"index {bad}"), "PROOF_INDEX") for bad in
          ("0137", "+137", "-1", "", " 137", "137 ", "1_37", "١٣٧", "0x89", str(2**63), "9" * 100)),
        (PROOF.replace("index 137", "Index 137"), "PROOF_INDEX"),
        (PROOF.replace("index 137", "index\t137"), "PROOF_INDEX"),
        (PROOF.replace("index 137", "index 137\nindex 137"), "PROOF_HASH"),
        (PROOF.replace("index 137", "extra \nindex 137"), "PROOF_EXTRA"),
        (PROOF.replace("index 137", "extra AA\nindex 137"), "PROOF_EXTRA"),
        (PROOF.replace("index 137", "extra AB==\nindex 137"), "PROOF_EXTRA"),
        (PROOF.replace("index 137", "extra AA==\nextra AA==\nindex 137"), "PROOF_INDEX"),
        (PROOF.replace("index 137", "index 137\nextra AA=="), "PROOF_HASH"),
        (PROOF.replace(HASH, HASH[:-1]), "PROOF_HASH"),
        (PROOF.replace(HASH, HASH + " "), "PROOF_HASH"),
        (PROOF.replace(HASH, to_base64(PATH[0][:31])), "PROOF_HASH"),
        (PROOF.replace(HASH, to_base64(PATH[0] + b"\0")), "PROOF_HASH"),
        (PROOF.replace(HASH, HASH + ("\n" + HASH) * 63), "PROOF_TOO_LONG"),
        (PROOF.replace(HASH, HASH + "\n" + HASH), "PROOF_TOO_LONG"),
        (without_line(PROOF, 2), "PROOF_TOO_SHORT"),
        (PROOF.replace("index 137", "index 136"), "PROOF_MISMATCH"),
        (PROOF.replace("index 137", "index 300"), "PROOF_INDEX_OUT_OF_RANGE"),
        (PROOF + "\n", "NOTE_MALFORMED"),
        (PROOF + "x", "NOTE_MALFORMED"),
        (PROOF.replace("\n300\n", "\n301\n"), "SIGNATURE_WRONG"),
        (PROOF.replace(f"\n{ORIGIN}\n300", "\nanother.example\n300"), "SIGNATURE_WRONG"),
        (PROOF + "x" * 1_000_000, "PROOF_TEXT_TOO_LONG"),
    ],
)  # fmt: skip
def test_every_way_of_being_wrong_has_its_code(text: str, code: str) -> None:
    refuse(code, text)


def test_the_size_is_that_of_the_head_and_the_keys_are_the_verifiers() -> None:
    refuse("PROOF_MISMATCH", PROOF, b"never logged")
    refuse("HEAD_QUORUM", PROOF, quorum=3)
    with pytest.raises(ProofError, match="HEAD_ORIGIN"):
        verify_proof(PROOF, LOGGED.leaves[INDEX], "another.example", [LOG_VKEY])
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        verify_proof(PROOF, LOGGED.leaves[INDEX], ORIGIN, [Signer(ORIGIN, b"\x66" * 32).verifier.vkey()])
    # A path of a smaller tree under the head of a larger one, and the other way round.
    smaller = Log(LOGGED.leaves[:200])
    refuse("PROOF_TOO_SHORT", make_proof(INDEX, inclusion_from(smaller.read, INDEX, 200), LOGGED.cosigned(2)))
    refuse("PROOF_TOO_LONG", make_proof(INDEX, PATH, smaller.cosigned(2)))
    # An inner node cannot be passed off as an entry.
    refuse("PROOF_TOO_SHORT", make_proof(0, inclusion_from(LOGGED.read, 0, 300)[1:], LOGGED.cosigned(2)), INNER_NODE)
    lying = TreeHead(ORIGIN, 2, node_hash(LOGGED.hashes[0], LOGGED.hashes[0]))
    text = make_proof(1, [LOGGED.hashes[0]], sign_note(lying.text(), LOG))
    assert verify(text, LOGGED.leaves[0], quorum=0).head == lying  # the log vouches for what it signs; witnesses do not
    refuse("HEAD_QUORUM", text, LOGGED.leaves[0], quorum=1)


def test_what_cannot_be_written_is_not() -> None:
    for index, path, extra in (
        (-1, PATH, b""),
        (2**63, PATH, b""),
        (0, [b"short"], b""),
        (0, [bytes(32)] * 64, b""),
        (0, PATH, bytes(262_145)),
    ):
        with pytest.raises(ValueError, match="proof"):
            make_proof(index, path, LOGGED.note, extra)
    with pytest.raises(ProofError, match="NOTE_MALFORMED"):
        make_proof(0, PATH, "no note")
    largest = make_proof(2**63 - 1, [bytes(32)] * 63, LOGGED.note, bytes(262_144))
    assert parse_proof(largest).extra == bytes(262_144)
    largest = make_proof(0, [bytes(32)] * 63, sign_note("x" * 130_000 + "\n", LOG), bytes(262_144))
    assert parse_proof(largest).note.startswith("xxx")
    with pytest.raises(ProofError, match="PROOF_TOO_LONG"):
        parse_proof(largest.replace("index 0\n", f"index 0\n{HASH}\n"))
    assert make_proof(0, [], LOGGED.note).split("\n")[:3] == ["c2sp.org/tlog-proof@v1", "index 0", ""]
