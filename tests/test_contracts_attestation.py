"""Typed data of the rewards contract: the same digests as eth-account's generic encoder, strict signatures."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.chain.attestation import (
    Attestation,
    ClaimPermission,
    RewardsDomain,
    address_of,
    order_signatures,
    recover_signer,
    sign_attestation,
    sign_digest,
)
from curiosity.protocol.errors import ConfigError, ProofError, WalletError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = bytes(range(1, 33))
DOMAIN = RewardsDomain(31337, b"\x11" * 20)
ATTESTATION = Attestation(1, 10, b"\x01" * 32, b"\x02" * 32, 5, bytes(32), 1, 0)

uint64s = st.integers(0, 2**64 - 1)
words = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
domains = st.builds(RewardsDomain, st.integers(0, 2**256 - 1), addresses)
attestations = st.builds(
    Attestation, uint64s, uint64s, words, words, st.integers(0, 2**256 - 1), words, uint64s, st.integers(0, 2**32 - 1)
)
permissions = st.builds(ClaimPermission, addresses, addresses, st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1))


def generic(domain: RewardsDomain, name: str, types: list[tuple[str, str]], message: dict[str, Any]) -> Any:
    return encode_typed_data(
        domain_data={
            "name": "CuriosityRewards",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": "0x" + domain.rewards.hex(),
        },
        message_types={name: [{"type": kind, "name": field} for kind, field in types]},
        message_data=message,
    )


@settings(max_examples=60, deadline=None)
@given(attestations, domains, keys)
def test_attestations_sign_as_eth_account_does(attestation: Attestation, domain: RewardsDomain, key: bytes) -> None:
    message = generic(
        domain,
        "Attestation",
        [
            ("uint64", "epoch"),
            ("uint64", "ledgerSize"),
            ("bytes32", "ledgerRoot"),
            ("bytes32", "rewardRoot"),
            ("uint256", "cumulativeTotal"),
            ("bytes32", "previousRoot"),
            ("uint64", "setId"),
            ("uint32", "attempt"),
        ],
        {
            "epoch": attestation.epoch,
            "ledgerSize": attestation.ledger_size,
            "ledgerRoot": attestation.ledger_root,
            "rewardRoot": attestation.reward_root,
            "cumulativeTotal": attestation.cumulative_total_wei,
            "previousRoot": attestation.previous_root,
            "setId": attestation.set_id,
            "attempt": attestation.attempt,
        },
    )
    signed = Account.sign_message(message, key)
    assert attestation.digest(domain) == bytes(signed.message_hash)
    signature = sign_attestation(attestation, domain, key)
    assert signature == bytes(signed.signature)
    assert recover_signer(attestation.digest(domain), signature) == address_of(key)
    assert "0x" + address_of(key).hex() == Account.from_key(key).address.lower()


@settings(max_examples=40, deadline=None)
@given(permissions, domains, keys)
def test_permissions_sign_as_eth_account_does(permission: ClaimPermission, domain: RewardsDomain, key: bytes) -> None:
    message = generic(
        domain,
        "ClaimTo",
        [("address", "account"), ("address", "recipient"), ("uint256", "nonce"), ("uint256", "deadline")],
        {
            "account": "0x" + permission.account.hex(),
            "recipient": "0x" + permission.recipient.hex(),
            "nonce": permission.nonce,
            "deadline": permission.deadline,
        },
    )
    signed = Account.sign_message(message, key)
    assert permission.digest(domain) == bytes(signed.message_hash)
    assert sign_digest(permission.digest(domain), key) == bytes(signed.signature)


@settings(max_examples=60, deadline=None)
@given(attestations, keys, st.integers(0, 7))
def test_every_field_is_bound(attestation: Attestation, key: bytes, position: int) -> None:
    name = list(Attestation.__dataclass_fields__)[position]
    value = getattr(attestation, name)
    other: Any = value ^ 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    changed = replace(attestation, **{name: other})
    signature = sign_attestation(attestation, DOMAIN, key)
    assert recover_signer(attestation.digest(DOMAIN), signature) == address_of(key)
    # About one changed digest in two has no key at all that fits the signature.
    with contextlib.suppress(ProofError):
        assert recover_signer(changed.digest(DOMAIN), signature) != address_of(key)


def test_strange_signatures_are_refused() -> None:
    digest = ATTESTATION.digest(DOMAIN)
    good = sign_digest(digest, KEY)
    twin = good[:32] + (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
    for bad, words_expected in (
        (good[:64], "64 bytes"),
        (good + b"\x00", "66 bytes"),
        (good[:64] + b"\x00", "v is 0"),
        (twin, "upper half"),
        (b"\xff" * 32 + good[32:], "no key"),
        (bytes(64) + b"\x1b", "no key"),
    ):
        with pytest.raises(ProofError) as failure:
            recover_signer(digest, bad)
        assert failure.value.code == "SIGNATURE_INVALID"
        assert words_expected in failure.value.what


def test_signatures_are_ordered_by_signer_once_each() -> None:
    keyring = [bytes([number]) * 32 for number in range(1, 9)]
    signatures = [sign_attestation(ATTESTATION, DOMAIN, key) for key in keyring]
    ordered = order_signatures(ATTESTATION, DOMAIN, [*signatures, *signatures])
    assert [signer for signer, _ in ordered] == sorted(address_of(key) for key in keyring)
    for signer, signature in ordered:
        assert recover_signer(ATTESTATION.digest(DOMAIN), signature) == signer


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"epoch": 2**64},
        {"attempt": 2**32},
        {"reward_root": b"\x01" * 31},
        {"ledger_root": "0x00"},
        {"cumulative_total_wei": 1.0},
        {"set_id": True},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as failure:
        replace(ATTESTATION, **change).digest(DOMAIN)
    assert failure.value.code == "ATTESTATION_INVALID"
    assert next(iter(change)) in failure.value.what


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"", b"\x01" * 33])
def test_a_bad_key_is_refused_without_showing_it(key: bytes) -> None:
    with pytest.raises(WalletError) as failure:
        sign_digest(bytes(32), key)
    assert failure.value.code == "KEY_INVALID"
    assert not key or key.hex() not in str(failure.value)
