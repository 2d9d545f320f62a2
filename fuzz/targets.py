"""What is fuzzed, and what must hold.

A parser gives a value or a CuriosityError; a value spells what was read; what a signature or a hash vouches for is
never anything that was not signed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from hashlib import sha256
from random import Random

from eth_account.hdaccount.deterministic import HDPath

from curiosity.chain.attestation import ClaimPermission
from curiosity.chain.chain import Addresses
from curiosity.chain.slashing import check_stake_evidence, parse_stake_evidence
from curiosity.chain.stake_note import parse_stake_vkey
from curiosity.client.phrase import check_path
from curiosity.protocol import messages
from curiosity.protocol.entry import Entry, encode_entry, parse_entry
from curiosity.protocol.errors import CuriosityError, ProofError
from curiosity.protocol.evidence import encode_evidence
from curiosity.protocol.pair import Item, read_envelope, read_items, sign_pair
from curiosity.protocol.receipt import Receipt, issue_receipt, verify_receipt
from curiosity.protocol.reward_messages import ClaimShare
from curiosity.protocol.rewards import leaf_hash
from curiosity.protocol.signing import Domain, address_of, checksum
from curiosity.protocol.takedown import Blocked
from curiosity.protocol.tlog import (
    Signer,
    TileReader,
    TreeHead,
    add_signatures,
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
    sign_note,
    verify_checkpoint,
    verify_proof,
)
from curiosity.protocol.wire import encode, parse, to_plain
from curiosity.rewards.permits import Permit, make_permit, parse_address
from fuzz import given, log
from fuzz.mutate import mutate, mutate_json
from fuzz.samples import samples


@dataclass(frozen=True)
class Target:
    """One parser; if it is broken, ``check`` fails with an AssertionError or with whatever the parser let through."""

    name: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    mutate: Callable[[bytes, Random], bytes] | None = None  # in its own structure, beside that of bytes


def mutated(target: Target, chance: Random) -> bytes:
    """Return a seed of the target changed, in its own structure half of the time if it has one."""
    seed = chance.choice(target.seeds)
    if target.mutate is not None and chance.randrange(2):
        return target.mutate(seed, chance)
    return mutate(seed, target.seeds, chance)


def text_of(data: bytes) -> str:
    """Return ``data`` as text: bytes that are no UTF-8 become lone surrogates, which a parser must survive too."""
    return data.decode("utf-8", "surrogateescape")


def check_vkey(data: bytes) -> None:
    """Check that a key that parses is spelled in one way."""
    text = text_of(data)
    try:
        verifier = parse_vkey(text)
    except ProofError:
        return
    assert verifier.vkey() == text


def check_stake_vkey(data: bytes) -> None:
    """Check that a key of heads for a stake contract that parses is spelled in one way."""
    text = text_of(data)
    with suppress(ProofError):
        assert parse_stake_vkey(text).vkey() == text


def check_slash(data: bytes) -> None:
    """Check that evidence for the stake contract that holds names a signer who signed both heads."""
    with suppress(ProofError):
        fault = check_stake_evidence(parse_stake_evidence(data))
        assert fault.key == log.STAKE_KEY
        assert {fault.first, fault.second} == log.FORKED_HEADS


def check_note(data: bytes) -> None:
    """Check that a note falls into text and lines only, that only signed texts open, and that merging keeps text."""
    note = text_of(data)
    try:
        text, signatures = parse_note(note)
    except ProofError:
        return
    assert text + "\n" + "".join(signature.line() for signature in signatures) == note
    try:
        assert open_note(note, [log.LOG_VKEY, *log.WITNESS_VKEYS]) == log.HEAD.text()
    except ProofError as error:
        if not error.code.startswith(("NOTE_", "SIGNATURE_", "HEAD_", "COSIGNATURE_")):
            raise
    lines = "".join(signature.line() for signature in signatures)
    try:
        merged = add_signatures(log.NOTE, lines, log.WITNESS_VKEYS)
    except ProofError:
        return
    assert verify_checkpoint(merged, log.ORIGIN, [log.LOG_VKEY], log.WITNESS_VKEYS, 1) == log.HEAD


def check_checkpoint(data: bytes) -> None:
    """Check that only the head that the log signed is verified, whatever is around it; a quorum of two needs both."""
    note = text_of(data)
    for quorum in range(3):
        try:
            head = verify_checkpoint(note, log.ORIGIN, [log.LOG_VKEY], log.WITNESS_VKEYS, quorum)
        except ProofError:
            return
        assert head == log.HEAD


def check_tree_head(data: bytes) -> None:
    """Check that a head is spelled in one way, and survives being signed and cosigned."""
    text = text_of(data)
    try:
        head = parse_tree_head(text)
    except ProofError:
        return
    assert head.text() == text
    assert isinstance(head, TreeHead)
    try:
        note = sign_note(text, log.LOG)
    except ValueError:
        return  # characters that no note may hold
    try:
        assert verify_checkpoint(note, head.origin, [log.LOG_VKEY]) == head
    except ProofError as error:
        if error.code not in ("HEAD_EMPTY_ROOT", "NOTE_TOO_LONG"):
            raise


def check_proof(data: bytes) -> None:
    """Check that a proof is spelled in one way, and proves nothing but the leaf that is at its index."""
    text = text_of(data)
    try:
        proof = parse_proof(text)
    except ProofError:
        return
    assert make_proof(proof.index, proof.path, proof.note, proof.extra) == text
    for leaf in (log.LEAVES[log.INDEX], b"never logged"):
        try:
            proven = verify_proof(text, leaf, log.ORIGIN, [log.LOG_VKEY], log.WITNESS_VKEYS)
        except ProofError:
            continue
        assert (proven.index, proven.head, leaf) == (log.INDEX, log.HEAD, log.LEAVES[log.INDEX])


def check_tile(data: bytes) -> None:
    """Check that a tile falls into hashes only; a client that is served it reads the true entries or refuses."""
    width = (data[0] if data else 0) + 1
    try:
        hashes = parse_tile(data[1:], width)
    except ProofError:
        pass
    else:
        assert len(hashes) == width
        assert b"".join(hashes) == data[1:]
    _read_served(("tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2")[width % 3], data[1:])


def check_bundle(data: bytes) -> None:
    """Check that a bundle falls into entries only; a client that is served it reads the true entries or refuses."""
    width = (data[0] if data else 0) + 1
    try:
        entries = parse_bundle(data[1:], width)
    except ProofError:
        pass
    else:
        assert len(entries) == width
        assert entry_bundle(entries) == data[1:]
    _read_served(("tile/entries/001", "tile/entries/002.p/88")[width % 2], data[1:])


def _read_served(path: str, data: bytes) -> None:
    reader = TileReader(log.HEAD, {**log.FILES, path: data}.get)
    index = 2 if "002" in path else 1
    try:
        entries = reader.entries(index)
    except ProofError:
        return
    assert entries == log.LEAVES[index * 256 : (index + 1) * 256]


def check_tile_path(data: bytes) -> None:
    """Check that a path is spelled in one way."""
    path = text_of(data)
    try:
        found = parse_tile_path(path)
    except ProofError:
        return
    assert found.path == path


def check_witness(data: bytes) -> None:
    """Check that a request to a witness and its answer of a size are spelled in one way."""
    text = text_of(data)
    with suppress(ProofError):
        assert f"{parse_witness_size(text)}\n" == text
    try:
        request = parse_witness_request(text)
    except ProofError:
        return
    assert make_witness_request(request.old_size, request.path, request.note) == text


def check_entry(data: bytes) -> None:
    """Check that an entry that parses is spelled in one way."""
    try:
        entry = parse_entry(data)
    except CuriosityError:
        return
    assert encode_entry(entry) == data


def check_receipt(data: bytes) -> None:
    """Check that a receipt verifies for nothing but the entry and the index that were signed."""
    try:
        receipt = parse(Receipt, data)
        checked = verify_receipt(receipt, log.ORIGIN, _RECEIPT_VKEY)
    except CuriosityError:
        return
    assert (receipt.entry.encode(), checked.index) == (_LEAF, 7)


def check_receipt_text(data: bytes) -> None:
    """Check that whatever text a validator signs as a batch, it proves the entry at its index or is refused."""
    try:
        note = sign_note(text_of(data), _RECEIPT_SIGNER)
    except ValueError:
        return  # no text that a note can hold
    with suppress(CuriosityError):
        receipt = Receipt(_LEAF.decode(), 7, _RECEIPT.note.replace(_RECEIPT_NOTE, note))
        checked = verify_receipt(receipt, log.ORIGIN, _RECEIPT_VKEY)
        assert (checked.index, str(checked.issued_at)) == (7, text_of(data).split("\n")[5])


def check_envelope(data: bytes) -> None:
    """Check that a request body gives two items of the signed sizes and hashes, to its last byte, or nothing."""
    try:
        envelope, offset = read_envelope(data)
        pair = read_items(data, envelope, offset)
    except CuriosityError:
        return
    assert data[offset:] == pair.a.data + pair.b.data
    for item, part in ((pair.a, envelope.submission.a), (pair.b, envelope.submission.b)):
        assert (len(item.data), sha256(item.data).digest()) == (part.size, part.sha256)
    assert read_envelope(pair.encode())[0] == envelope


_PERMIT = make_permit(
    Addresses(31337, b"\x01" * 20, b"\x02" * 20),
    ClaimPermission(address_of(b"\x07" * 32), b"\x03" * 20, 4, 1_900_000_000),
    (ClaimShare(1, "5", (), leaf_hash(address_of(b"\x07" * 32), 5)),),
).signed_with(b"\x07" * 32)


def check_permit(data: bytes) -> None:
    """Check that a permission that holds says what was signed, and that its shares are the account's."""
    with suppress(CuriosityError):
        permit = parse(Permit, data)
        permit.check()
        if permit.account == _PERMIT.account:  # else somebody else's, which nobody signed here
            assert (permit.permission, permit.chain_id, permit.rewards) == (
                _PERMIT.permission, _PERMIT.chain_id, _PERMIT.rewards
            )  # fmt: skip
        assert all(int(share.amount_wei) == 5 for share in permit.shares if share.reward_root == _ROOT)


_ROOT = _PERMIT.shares[0].reward_root


def check_address(data: bytes) -> None:
    """Check that an address is spelled in one case or by its checksum."""
    text = text_of(data)
    with suppress(CuriosityError):
        address = parse_address(text)
        assert text in ("0x" + address.hex(), "0x" + address.hex().upper(), checksum(address))


def check_derivation_path(data: bytes) -> None:
    """Check that a path is taken as it is, and leads to a key of the library that derives it."""
    text = text_of(data)
    with suppress(CuriosityError):
        assert check_path(text) == text
        assert HDPath(text).encode().replace("H", "'") == text


MESSAGES = [
    type_
    for name, type_ in sorted(vars(messages).items())
    if isinstance(type_, type) and is_dataclass(type_) and hasattr(type_, "__pydantic_config__")
] + [Blocked]


def check_message(data: bytes) -> None:
    """Check that a message survives being encoded and parsed again; the first byte chooses which message it is."""
    type_ = MESSAGES[data[0] % len(MESSAGES)] if data else MESSAGES[0]
    try:
        value = parse(type_, data[1:])
    except CuriosityError:
        return
    assert parse(type_, encode(value)) == value
    assert to_plain(value) is not None


_PAIR = sign_pair(
    Item("audio", "audio/wav", b"a sound"),
    Item("text", "text/plain", b"a word"),
    private_key=b"\x07" * 32,
    domain=Domain(31_337, b"\x33" * 20),
    network_id=b"\x44" * 32,
    nonce=b"\x55" * 32,
    expiry=1_800_000_000,
    license="CC0-1.0",
    refs=(b"\x66" * 32,),
)
_LEAF = next(leaf for leaf in samples(Entry) if b'"kind":"checkpoint"' in leaf)
_RECEIPT_SIGNER = Signer("receipts.example", b"\x09" * 32)
_RECEIPT_VKEY = _RECEIPT_SIGNER.verifier.vkey()
_RECEIPT = issue_receipt(_LEAF, 7, log.ORIGIN, log.TIME, _RECEIPT_SIGNER)
_RECEIPT_NOTE = _RECEIPT.note.partition("\n\n")[2]


def _mutate_envelope(data: bytes, chance: Random) -> bytes:
    """Change a field of the envelope and write its length anew."""
    end = 4 + int.from_bytes(data[:4], "big")
    envelope = mutate_json(data[4:end], chance)
    return len(envelope).to_bytes(4, "big") + envelope + data[end:]


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


TARGETS = {
    target.name: target
    for target in (
        Target("vkey", check_vkey, _texts(log.LOG_VKEY, *log.WITNESS_VKEYS, Signer("a", bytes(32)).verifier.vkey())),
        Target("stake-vkey", check_stake_vkey, _texts(log.STAKE_KEY.vkey())),
        Target("slash", check_slash, (log.SLASH,), mutate_json),
        Target("note", check_note, _texts(log.NOTE, log.COSIGNED)),
        Target("checkpoint", check_checkpoint, _texts(log.NOTE, log.COSIGNED)),
        Target(
            "tree-head",
            check_tree_head,
            _texts(log.HEAD.text(), TreeHead("o", 0, sha256(b"").digest(), ("one", "two")).text()),
        ),
        Target("proof", check_proof, _texts(log.PROOF, log.PROOF_WITH_EXTRA)),
        Target("tile", check_tile, (b"\xff" + log.FILES["tile/0/001"], b"\x01" + log.FILES["tile/1/000.p/2"])),
        Target("bundle", check_bundle, (b"\x57" + log.FILES["tile/entries/002.p/88"], b"\x02\0\0\0\1x\0\2xy")),
        Target("tile-path", check_tile_path, _texts("tile/10/x001/x234/067.p/85", "tile/entries/000")),
        Target("witness", check_witness, _texts(make_witness_request(300, log.PATH, log.COSIGNED), "600\n")),
        Target("entry", check_entry, tuple(samples(Entry)), mutate_json),
        Target("receipt", check_receipt, (encode(_RECEIPT),), mutate_json),
        Target("receipt-text", check_receipt_text, _texts(open_note(_RECEIPT_NOTE, [_RECEIPT_VKEY]))),
        Target("evidence", given.check_fork, tuple(map(encode_evidence, given.FORKS)), mutate_json),
        Target("takedown", given.check_takedown_request, (encode(given.TAKEDOWN),), mutate_json),
        Target("exported", given.check_exported_line, (encode(given.EXPORTED),), mutate_json),
        Target("envelope", check_envelope, (_PAIR.encode(),), _mutate_envelope),
        Target("permit", check_permit, (encode(_PERMIT),), mutate_json),
        Target("address", check_address, _texts("0x" + "ab" * 20, checksum(b"\xab" * 20))),
        Target("derivation-path", check_derivation_path, _texts("m/44'/60'/0'/0/7", "m/2147483647'")),
        Target(
            "message",
            check_message,
            tuple(bytes([number]) + sample for number, type_ in enumerate(MESSAGES) for sample in samples(type_)),
            lambda data, chance: data[:1] + mutate_json(data[1:], chance),
        ),
    )
}
