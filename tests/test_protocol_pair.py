"""Signed pairs: our specialised EIP-712 encoder against two independent ones, and every way to break a submission."""

import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol.errors import Rejected
from curiosity.protocol.pair import (
    Item,
    Part,
    SignedPair,
    Submission,
    check_signature,
    network_id_of,
    read_envelope,
    read_items,
    sign_pair,
)
from curiosity.protocol.signing import SECP256K1_N, Domain, address_of, checksum, domain_separator, recover, sign

VECTORS = json.loads((Path(__file__).parent / "vectors" / "submission.json").read_text())
DOMAIN = Domain(31337, b"\x11" * 20)
NETWORK = b"\x22" * 32
KEY = b"\x33" * 32

TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "Submission": [
        {"name": "networkId", "type": "bytes32"},
        {"name": "contributor", "type": "address"},
        {"name": "nonce", "type": "bytes32"},
        {"name": "expiry", "type": "uint64"},
        {"name": "a", "type": "Part"},
        {"name": "b", "type": "Part"},
        {"name": "license", "type": "string"},
        {"name": "capturedAt", "type": "uint64"},
        {"name": "client", "type": "string"},
        {"name": "metaHash", "type": "bytes32"},
        {"name": "refs", "type": "bytes32[]"},
    ],
    "Part": [
        {"name": "modality", "type": "string"},
        {"name": "mediaType", "type": "string"},
        {"name": "size", "type": "uint64"},
        {"name": "sha256", "type": "bytes32"},
    ],
}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def part_of(value: dict[str, str]) -> Part:
    return Part(value["modality"], value["mediaType"], int(value["size"]), unhex(value["sha256"]))


def submission_of(message: dict[str, object]) -> Submission:
    m: dict[str, str] = message  # type: ignore[assignment]
    return Submission(
        network_id=unhex(m["networkId"]),
        contributor=unhex(m["contributor"]),
        nonce=unhex(m["nonce"]),
        expiry=int(m["expiry"]),
        a=part_of(m["a"]),  # type: ignore[arg-type]
        b=part_of(m["b"]),  # type: ignore[arg-type]
        license=m["license"],
        captured_at=int(m["capturedAt"]),
        client=m["client"],
        meta_hash=unhex(m["metaHash"]),
        refs=tuple(unhex(ref) for ref in m["refs"]),
    )


def make_pair(**changes: object) -> SignedPair:
    arguments: dict[str, object] = {
        "private_key": KEY,
        "domain": DOMAIN,
        "network_id": NETWORK,
        "nonce": secrets.token_bytes(32),
        "expiry": 1_800_000_000,
        "license": "CC-BY-4.0",
    } | changes
    a, b = Item("text", "text/plain", b"a cat"), Item("image", "image/png", b"\x89PNG...")
    return sign_pair(a, b, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_digest_and_signature_equal_ethers(vector: dict[str, object]) -> None:
    domain = Domain(int(str(vector["chain_id"])), unhex(str(vector["verifying_contract"])))
    submission = submission_of(vector["message"])  # type: ignore[arg-type]
    digest = submission.digest(domain)
    key = unhex(str(vector["private_key"]))
    assert "0x" + digest.hex() == vector["digest"]
    assert "0x" + sign(digest, key).hex() == vector["signature"]
    assert recover(digest, unhex(str(vector["signature"]))) == submission.contributor == address_of(key)
    assert checksum(submission.contributor) == vector["message"]["contributor"]  # type: ignore[index]


@settings(max_examples=60, deadline=None)
@given(
    key=st.binary(min_size=32, max_size=32).filter(lambda k: 0 < int.from_bytes(k, "big") < SECP256K1_N),
    chain_id=st.integers(0, 2**64 - 1),
    contract=st.binary(min_size=20, max_size=20),
    texts=st.tuples(*[st.text(max_size=40)] * 4),
    numbers=st.tuples(*[st.integers(0, 2**64 - 1)] * 4),
    refs=st.lists(st.binary(min_size=32, max_size=32), max_size=4),
)
def test_digest_equals_eth_account(
    key: bytes, chain_id: int, contract: bytes, texts: tuple[str, ...], numbers: tuple[int, ...], refs: list[bytes]
) -> None:
    part = Part(texts[0], texts[1], numbers[0], b"\x05" * 32)
    submission = Submission(
        NETWORK, address_of(key), b"\x07" * 32, numbers[1], part, replace(part, size=numbers[2]),
        texts[2], numbers[3], texts[3], b"\x09" * 32, tuple(refs),
    )  # fmt: skip
    domain = Domain(chain_id, contract)

    def as_message(p: Part) -> dict[str, object]:
        return {"modality": p.modality, "mediaType": p.media_type, "size": p.size, "sha256": p.sha256}

    signable = encode_typed_data(
        full_message={
            "types": TYPES,
            "primaryType": "Submission",
            "domain": {"name": "Curiosity", "version": "1", "chainId": chain_id, "verifyingContract": contract},
            "message": {
                "networkId": NETWORK,
                "contributor": submission.contributor,
                "nonce": submission.nonce,
                "expiry": submission.expiry,
                "a": as_message(submission.a),
                "b": as_message(submission.b),
                "license": submission.license,
                "capturedAt": submission.captured_at,
                "client": submission.client,
                "metaHash": submission.meta_hash,
                "refs": list(submission.refs),
            },
        }
    )
    assert signable.header == domain_separator(domain)
    assert signable.body == submission.struct_hash()
    signed = Account.sign_message(signable, key)
    digest = submission.digest(domain)
    assert bytes(signed.message_hash) == digest
    assert recover(digest, bytes(signed.signature)) == submission.contributor


def test_pair_survives_the_wire() -> None:
    pair = make_pair(refs=(b"\x01" * 32,))
    envelope, offset = read_envelope(pair.encode())
    assert read_items(pair.encode(), envelope, offset) == pair
    assert check_signature(envelope, DOMAIN) == pair.envelope.submission.digest(DOMAIN)
    assert pair.envelope.submission.modalities == "image-text"


def test_items_of_one_modality_are_no_pair() -> None:
    item = Item("text", "text/plain", b"x")
    with pytest.raises(Rejected, match="PAIR_SAME_MODALITY"):
        sign_pair(item, item, private_key=KEY, domain=DOMAIN, network_id=NETWORK, nonce=bytes(32), expiry=1, license="")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network_id", b"\x00" * 32),
        ("nonce", b"\x01" * 32),
        ("expiry", 5),
        ("license", "MIT"),
        ("captured_at", 7),
        ("client", "other"),
        ("meta_hash", b"\x02" * 32),
        ("refs", (b"\x03" * 32,)),
        ("contributor", b"\x04" * 20),
        ("a", Part("image", "image/png", 8, b"\x05" * 32)),
        ("b", Part("text", "text/html", 5, b"\x06" * 32)),
    ],
)
def test_a_signature_covers_every_field(field: str, value: object) -> None:
    envelope = make_pair().envelope
    changed = replace(envelope.submission, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="SIGNATURE_OF_ANOTHER"):
        check_signature(replace(envelope, submission=changed), DOMAIN)


@pytest.mark.parametrize("domain", [replace(DOMAIN, chain_id=1), replace(DOMAIN, verifying_contract=bytes(20))])
def test_a_signature_counts_for_one_chain_and_contract(domain: Domain) -> None:
    with pytest.raises(Rejected, match="SIGNATURE_OF_ANOTHER"):
        check_signature(make_pair().envelope, domain)


def twin(signature: bytes) -> bytes:
    """The malleable twin: same signer, other bytes."""
    s = SECP256K1_N - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def test_malleable_and_odd_signatures_are_refused() -> None:
    pair = make_pair()
    digest, signature = pair.envelope.submission.digest(DOMAIN), pair.envelope.signature
    assert Account._recover_hash(digest, signature=twin(signature)) == checksum(address_of(KEY))  # the twin is valid
    for bad, code in [
        (twin(signature), "SIGNATURE_HIGH_S"),
        (signature[:64], "SIGNATURE_LENGTH"),
        (signature + b"\0", "SIGNATURE_LENGTH"),
        (signature[:64] + b"\x00", "SIGNATURE_V"),
        (signature[:64] + b"\x1d", "SIGNATURE_V"),
        (bytes(64) + b"\x1b", "SIGNATURE_INVALID"),
    ]:
        with pytest.raises(Rejected) as caught:
            recover(digest, bad)
        assert (caught.value.code, caught.value.status) == (code, 401)


def test_bodies_that_are_not_what_was_signed() -> None:
    pair = make_pair()
    body = pair.encode()
    envelope, offset = read_envelope(body)
    for broken, code in [
        (b"", "BODY_TRUNCATED"),
        (body[:40], "BODY_TRUNCATED"),
        (b"\xff\xff\xff\xff" + body, "ENVELOPE_TOO_LARGE"),
        (b"\0\0\0\2{}", "MESSAGE_MALFORMED"),
        (b"\0\0\0\3\xff\xfe\xfd", "MESSAGE_MALFORMED"),
    ]:
        with pytest.raises(Rejected, match=code):
            read_envelope(broken)
    with pytest.raises(Rejected, match="BODY_SIZE"):
        read_items(body + b"x", envelope, offset)
    with pytest.raises(Rejected, match="ITEM_HASH"):
        read_items(body[:-1] + b"!", envelope, offset)


def test_envelope_refuses_unknown_fields_and_coercion() -> None:
    head = json.loads(make_pair().encode()[4:].split(b"\x89PNG")[0])
    for change in [{"extra": 1}, {"signature": "0x00"}, {"submission": head["submission"] | {"expiry": "5"}}]:
        data = json.dumps(head | change).encode()
        with pytest.raises(Rejected, match="MESSAGE_MALFORMED"):
            read_envelope(len(data).to_bytes(4, "big") + data)


def test_network_id_depends_on_all_that_names_a_network() -> None:
    ids = {
        network_id_of("a", DOMAIN, bytes(32)),
        network_id_of("b", DOMAIN, bytes(32)),
        network_id_of("a", replace(DOMAIN, chain_id=1), bytes(32)),
        network_id_of("a", replace(DOMAIN, verifying_contract=bytes(20)), bytes(32)),
        network_id_of("a", DOMAIN, b"\x01" * 32),
    }
    assert len(ids) == 5
