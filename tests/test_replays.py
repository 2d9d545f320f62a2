"""A signed pair counts once, as it was signed, for one chain, contract and network; twins of its signature do not."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pytest
from eth_account import Account

from curiosity.chain.attestation import Attestation, RewardsDomain, recover_signer, sign_attestation
from curiosity.embedding.modalities import BY_NAME
from curiosity.host.port.address import UNKNOWN
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.pair import Envelope, Item, SignedPair, Submission, sign_pair
from curiosity.protocol.signing import SECP256K1_N, Domain, address_of, checksum
from curiosity.protocol.wire import encode
from curiosity.serving.quotas import Payer
from tests.material.service import code_of, pictures, running
from validator.intake import Intake, IntakeRules

T = TypeVar("T")
NOW = 1_800_000_000
LICENSES = ("CC0-1.0", "MIT")


@dataclass(frozen=True)
class World:
    """A validator of one network, on one chain, for one contract."""

    chain_id: int
    contract: bytes
    network_id: bytes

    @property
    def domain(self) -> Domain:
        return Domain(self.chain_id, self.contract)

    def intake(self) -> Intake:
        rules = IntakeRules(
            self.network_id, self.domain, BY_NAME, lambda: frozenset({"image-text"}), frozenset(LICENSES)
        )
        return Intake(rules, clock=lambda: NOW)

    def sign(self, number: int) -> SignedPair:
        return sign_pair(
            Item("image", "image/png", b"picture %d" % number),
            Item("text", "text/plain", b"caption %d" % number),
            private_key=sha256(b"wallet %d" % (number % 7)).digest(),
            domain=self.domain,
            network_id=self.network_id,
            nonce=sha256(b"nonce %d" % number).digest(),
            expiry=NOW + 3600,
            license=LICENSES[number % 2],
            captured_at=NOW - number,
            client="test",
        )


CHAINS, CONTRACTS, NETWORKS = (1, 31_337), (b"\x33" * 20, b"\x34" * 20), (b"\x44" * 32, b"\x45" * 32)
WORLDS = [World(*one) for one in itertools.product(CHAINS, CONTRACTS, NETWORKS)]


def other(values: tuple[T, T], value: T) -> T:
    return values[1 - values.index(value)]


def of_submission(
    change: Callable[[Submission], Submission],
) -> Callable[[World, SignedPair], tuple[World, SignedPair]]:
    def changed(world: World, pair: SignedPair) -> tuple[World, SignedPair]:
        envelope = Envelope(change(pair.envelope.submission), pair.envelope.signature)
        return world, SignedPair(envelope, pair.a, pair.b)

    return changed


def with_other(item: Item) -> Item:
    return replace(item, data=item.data + b"!")


def with_item(world: World, pair: SignedPair, side: str) -> tuple[World, SignedPair]:
    """The items are what the submission says they are; only the signature is of others."""
    changed = with_other(getattr(pair, side))
    submission = pair.envelope.submission
    if side == "a":
        submission, pair = replace(submission, a=changed.part()), replace(pair, a=changed)
    else:
        submission, pair = replace(submission, b=changed.part()), replace(pair, b=changed)
    return world, replace(pair, envelope=replace(pair.envelope, submission=submission))


FIELDS: dict[str, Callable[[World, SignedPair], tuple[World, SignedPair]]] = {
    "chain id": lambda world, pair: (replace(world, chain_id=other(CHAINS, world.chain_id)), pair),
    "contract": lambda world, pair: (replace(world, contract=other(CONTRACTS, world.contract)), pair),
    "network": of_submission(lambda s: replace(s, network_id=other(NETWORKS, s.network_id))),
    "contributor": of_submission(lambda s: replace(s, contributor=address_of(sha256(s.nonce).digest()))),
    "nonce": of_submission(lambda s: replace(s, nonce=sha256(s.nonce).digest())),
    "expiry": of_submission(lambda s: replace(s, expiry=s.expiry + 60)),
    "item a": lambda world, pair: with_item(world, pair, "a"),
    "item b": lambda world, pair: with_item(world, pair, "b"),
    "licence": of_submission(lambda s: replace(s, license=other(LICENSES, s.license))),
    "captured at": of_submission(lambda s: replace(s, captured_at=s.captured_at + 1)),
}


def replayed_to(name: str, world: World, pair: SignedPair) -> tuple[World, SignedPair]:
    """Return the changed message and the validator that it is sent to."""
    to, changed = FIELDS[name](world, pair)
    return (
        (replace(to, network_id=changed.envelope.submission.network_id), changed)
        if name == "network"
        else (to, changed)
    )


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_changed_message_is_accepted(count: int) -> None:
    """Each of ten fields of so many messages, over two chains, two contracts and two networks."""
    intakes = {world: world.intake() for world in WORLDS}
    codes, undefended = Counter[str](), 0
    for number in range(count // len(FIELDS)):
        world = WORLDS[number % len(WORLDS)]
        pair = world.sign(number)
        body = pair.encode()
        checked = intakes[world].check_envelope(body)
        intakes[world].admit(body, *checked)  # as it was signed it is taken
        for name in FIELDS:
            to, changed = replayed_to(name, world, pair)
            sent = changed.encode()
            try:
                intakes[to].check_envelope(sent)
            except Rejected as refusal:
                codes[refusal.code] += 1
            # Without the signature nothing would stop it: the message is well formed, in time and of this network.
            submission = changed.envelope.submission
            assert submission.network_id == to.network_id
            intakes[to].admit(sent, changed.envelope, checked_offset(sent), submission.digest(to.domain), PAYER)
            undefended += 1
    assert codes.total() == undefended == count
    # Of another message the key that fits is a stranger's; for a few no key fits at all.
    assert set(codes) <= {"SIGNATURE_OF_ANOTHER", "SIGNATURE_INVALID"}


PAYER = Payer(UNKNOWN, "0x")


def checked_offset(body: bytes) -> int:
    return 4 + int.from_bytes(body[:4], "big")


def twins(signature: bytes) -> dict[str, bytes]:
    """Other spellings of a signature that the same key made, by mathematics or by another standard."""
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    high = (SECP256K1_N - s).to_bytes(32, "big")
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")  # EIP-2098
    return {
        "high s": r + high + bytes([55 - v]),
        "compact": compact,
        "compact, padded": compact + b"\0",
        "v 0 or 1": signature[:64] + bytes([v - 27]),
        "v of EIP-155": signature[:64] + bytes([v - 27 + 37]),
    }


@pytest.mark.parametrize("count", [40, pytest.param(1_000, marks=pytest.mark.slow)])
def test_no_twin_of_a_signature_is_accepted(count: int) -> None:
    intakes = {world: world.intake() for world in WORLDS}
    for number in range(count):
        world = WORLDS[number % len(WORLDS)]
        pair = world.sign(number)
        digest = pair.envelope.submission.digest(world.domain)
        signer = checksum(pair.envelope.submission.contributor)
        made = twins(pair.envelope.signature)
        # A program that takes every signature that recovers, as ecrecover does, would count these again.
        assert Account._recover_hash(digest, signature=made["high s"]) == signer
        assert Account._recover_hash(digest, signature=made["v 0 or 1"]) == signer
        for name, twin in made.items():
            head = encode(pair.envelope).replace(pair.envelope.signature.hex().encode(), twin.hex().encode())
            body = len(head).to_bytes(4, "big") + head + pair.a.data + pair.b.data
            with pytest.raises(Rejected) as caught:
                intakes[world].check_envelope(body)
            assert caught.value.code.startswith(("SIGNATURE_", "MESSAGE_MALFORMED")), (name, caught.value.code)


async def test_nothing_that_is_sent_again_counts_again_in_a_later_epoch(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        signed = [live.sign(pair) for pair in pictures(4)]
        first = [await live.client.post_pair(one.encode()) for one in signed]
        for epoch in (1, 2):
            assert (await live.client.close_epoch(live.service.keys.admin_token)).epoch == epoch
            size = live.service.ledger.size
            for one, decided in zip(signed, first, strict=True):
                again = await live.client.post_pair(one.encode())
                assert (again.replayed, again.receipt) == (True, decided.receipt)
                for twin in twins(one.envelope.signature).values():
                    head = encode(one.envelope).replace(one.envelope.signature.hex().encode(), twin.hex().encode())
                    body = len(head).to_bytes(4, "big") + head + one.a.data + one.b.data
                    code, _ = await code_of(live.client.post_pair(body))
                    assert code.startswith(("SIGNATURE_", "MESSAGE_MALFORMED"))
                # The same contents under a fresh nonce are another message, and a copy.
                copied = await live.client.post_pair(live.sign((one.a, one.b)).encode())
                assert copied.verdict.is_accepted is False
            assert live.service.ledger.size == size + len(signed)
        async with running(tmp_path / "w", name="another-network") as elsewhere:
            for one in signed:
                assert (await code_of(elsewhere.client.post_pair(one.encode())))[0] == "WRONG_NETWORK"


# -- what a validator signs to close an epoch

ATTESTED: dict[str, Callable[[Attestation, RewardsDomain], tuple[Attestation, RewardsDomain]]] = {
    "chain id": lambda made, to: (made, replace(to, chain_id=other(CHAINS, to.chain_id))),
    "contract": lambda made, to: (made, replace(to, rewards=other(CONTRACTS, to.rewards))),
    "epoch": lambda made, to: (replace(made, epoch=3 - made.epoch), to),
    "ledger size": lambda made, to: (replace(made, ledger_size=made.ledger_size + 1), to),
    "ledger root": lambda made, to: (replace(made, ledger_root=sha256(made.ledger_root).digest()), to),
    "reward root": lambda made, to: (replace(made, reward_root=sha256(made.reward_root).digest()), to),
    "total": lambda made, to: (replace(made, cumulative_total_wei=made.cumulative_total_wei + 1), to),
    "previous root": lambda made, to: (replace(made, previous_root=made.reward_root), to),
    "set of validators": lambda made, to: (replace(made, set_id=1 - made.set_id), to),
    "attempt": lambda made, to: (replace(made, attempt=made.attempt + 1), to),
}


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_changed_attestation_has_its_signer(count: int) -> None:
    """Each of ten fields, over two chains, two contracts, two epochs, two sets, and the keys of two validators."""
    grid = list(itertools.product(CHAINS, CONTRACTS, (1, 2), (0, 1), (b"\x0a" * 32, b"\x0b" * 32)))
    refused = 0
    for number in range(count // len(ATTESTED)):
        chain_id, contract, epoch, set_id, key = grid[number % len(grid)]
        roots = [sha256(b"root %d of %d" % (n, number)).digest() for n in range(3)]
        made = Attestation(epoch, 100 + number, roots[0], roots[1], 10**18 + number, roots[2], set_id, 0)
        to = RewardsDomain(chain_id, contract)
        signature = sign_attestation(made, to, key)
        assert recover_signer(made.digest(to), signature) == address_of(key)
        for name, change in ATTESTED.items():
            changed, where = change(made, to)
            assert (changed, where) != (made, to)
            try:
                signer = recover_signer(changed.digest(where), signature)
            except ProofError:  # no key at all made it
                signer = b""
            assert signer != address_of(key), name
            refused += 1
        with pytest.raises(ProofError):
            recover_signer(made.digest(to), twins(signature)["high s"])
    assert refused == count
