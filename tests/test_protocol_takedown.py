"""What the log tells of a pair's content, and what it says when that is gone: guesses, tombstones, payouts."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from eth_account.messages import encode_typed_data

from curiosity.protocol.curiosity import curiosity_micro
from curiosity.protocol.entry import CheckpointEntry, PairEntry, TakedownEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.judgement import Judged, embedding_digest
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.scoring import MICRO, Gap, Quantised, quantise
from curiosity.protocol.signing import Domain, address_of, keccak, sign
from curiosity.protocol.takedown import Asker, TakedownReason, TakedownRequest, check_everywhere, sign_takedown
from curiosity.protocol.tombstones import check_takedowns
from curiosity.protocol.verdict import OPENING_TAG, Measurement, Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import canonical_json, to_plain
from tests.material.scoring import LIMITS, cloud, judged, near

D = 64
ALICE, BOB = b"\x0a" * 32, b"\x0b" * 32
DOMAIN, NETWORK = Domain(31_337, b"\x33" * 20), b"\x44" * 32
PARAMETERS = RewardParameters(top_n=5)


# -- guesses


def embed(text: bytes) -> Quantised:
    """A toy encoder whose weights everybody has: 16 bytes of a text's hash, as directions."""
    return quantise(np.frombuffer(sha256(b"weights" + text).digest() * 2, dtype=np.uint8).astype(float) - 127.5)


def guesses(count: int) -> list[bytes]:
    return [b"caption number %d" % number for number in range(count)]


def decide(text: bytes) -> tuple[PairEntry, Opening]:
    """An entry about a picture that everybody knows and a caption that is to be kept secret."""
    picture, vector = embed(b"picture"), embedding_digest(embed(text))
    other = embedding_digest(picture)
    measurement = Measurement(1, 2, 3, 4, 5, 6, 7, 8, 9, other, vector, other, vector)
    opening = Opening(
        secrets.token_bytes(32), sha256(b"picture").digest(), sha256(text).digest(), measurement=measurement
    )
    pair = secrets.token_bytes(32)  # EIP-712 digest of a submission with a random nonce
    verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), novel=True, curiosity_micro=98_304)
    entry = PairEntry(
        pair, address_of(ALICE), sign(pair, ALICE), "image-text", "CC0-1.0", verdict, opening.commitment()
    )
    return entry, opening


def search(leaf: bytes, entry: PairEntry, opening: Opening, dictionary: Sequence[bytes]) -> list[bytes]:
    """Return the guesses that the leaf confirms: some value that follows from the guess is in it.

    The attacker knows the picture, the weights and the format, and tries salts that he can think of.
    """
    text = leaf.decode()
    hidden = to_plain(replace(opening, salt=bytes(32)))
    del hidden["salt"]
    salts = (b"", bytes(32), entry.pair, entry.contributor.rjust(32, b"\0"), sha256(entry.pair).digest())
    found = []
    for guess in dictionary:
        digest, vector = sha256(guess).digest(), embedding_digest(embed(guess))
        hidden["b"] = "0x" + digest.hex()
        if opening.measurement is not None:
            hidden["measurement"]["embedding_b"] = hidden["measurement"]["final_b"] = "0x" + vector.hex()
        opened = canonical_json(hidden)
        values = [digest, keccak(guess), vector, sha256(opened).digest()]
        values += [sha256(OPENING_TAG + salt + opened).digest() for salt in salts]
        if any(value.hex() in text for value in values):
            found.append(guess)
    return found


def attack(count: int) -> None:
    dictionary = guesses(count)
    secret = dictionary[count // 3]
    entry, opening = decide(secret)
    leaf = encode_entry(entry)
    # The control arm: the format before this one held the measurement as it is, and the attack finds the caption.
    plain = canonical_json(to_plain(entry) | {"measurement": to_plain(opening.measurement)})
    assert search(plain, entry, opening, dictionary) == [secret]
    assert search(leaf, entry, opening, dictionary) == []
    # Whoever has the salt can show what was judged, and nothing else.
    assert replace(opening, b=sha256(secret).digest()).commitment() == entry.commitment
    for guess in dictionary[:500]:
        assert (replace(opening, b=sha256(guess).digest()).commitment() == entry.commitment) == (guess == secret)


def test_twenty_thousand_guesses_are_not_confirmed_by_the_log() -> None:
    attack(20_000)


@pytest.mark.slow
def test_a_million_guesses_are_not_confirmed_by_the_log() -> None:
    attack(1_000_000)


def test_what_stays_public_fits_many_guesses() -> None:
    """The control arm is the whole gap, which fits one guess in hundreds."""
    picture = cloud(1, 1)[0]
    results: list[Judged] = [judged(picture, near(picture, seed, 0.5), limits=LIMITS) for seed in range(300)]  # type: ignore[misc]
    secret = results[100]
    assert secret.verdict.novel
    whole = [one for one in results if (one.verdict.outcome, one.gap) == (secret.verdict.outcome, secret.gap)]
    public = [one for one in results if one.verdict == secret.verdict]
    assert len(whole) == 1
    assert len(public) >= 60
    for field in to_plain(secret.measurement):
        assert field not in to_plain(secret.verdict)


def test_a_score_has_two_bits_and_is_near_the_gap() -> None:
    for gap in (1, 5, 7, 77_558, 98_304, 159_156, 758_799, MICRO, 2 * MICRO):
        score = curiosity_micro(Gap(gap, 1, 1))
        assert gap * 2 // 3 <= score <= gap
        assert score.bit_count() <= 2
    octave = {curiosity_micro(Gap(gap, 1, 1)) for gap in range(65_536, 131_072)}
    assert octave == {65_536, 98_304}
    assert curiosity_micro(Gap(3 * MICRO, 1, 1)) == curiosity_micro(Gap(2 * MICRO, 1, 1))


def test_an_opening_opens_one_commitment_only() -> None:
    entry, opening = decide(b"caption")
    assert opening.commitment() == entry.commitment
    assert opening.measurement is not None
    for changed in (
        replace(opening, salt=bytes(32)),
        replace(opening, a=opening.b),
        replace(opening, detail="x"),
        replace(opening, measurement=None),
        replace(opening, measurement=replace(opening.measurement, csls_micro=-3)),
    ):
        assert changed.commitment() != entry.commitment
    # As docs/protocol.md spells it.
    spelled = canonical_json({name: value for name, value in to_plain(opening).items() if name != "salt"})
    assert entry.commitment == sha256(b"curiosity/opening/1\0" + opening.salt + spelled).digest()


# -- requests


def test_the_request_is_what_a_wallet_shows() -> None:
    """Our encoder against eth-account's generic one."""
    request = TakedownRequest(NETWORK, b"\x11" * 32, TakedownReason.RIGHTS, "image", 1_800_000_000)
    generic = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "Takedown": [
                    {"name": "networkId", "type": "bytes32"},
                    {"name": "pair", "type": "bytes32"},
                    {"name": "reason", "type": "string"},
                    {"name": "everywhere", "type": "string"},
                    {"name": "expiry", "type": "uint64"},
                ],
            },
            "primaryType": "Takedown",
            "domain": {
                "name": "Curiosity",
                "version": "1",
                "chainId": 31_337,
                "verifyingContract": "0x" + "33" * 20,
            },
            "message": {
                "networkId": NETWORK,
                "pair": b"\x11" * 32,
                "reason": "RIGHTS",
                "everywhere": "image",
                "expiry": 1_800_000_000,
            },
        }
    )
    assert request.digest(DOMAIN) == keccak(b"\x19\x01" + generic.header + generic.body)


def test_everywhere_names_items_of_the_pair() -> None:
    assert check_everywhere("", "image-text") == frozenset()
    assert check_everywhere("text", "image-text") == {"text"}
    assert check_everywhere("image-text", "image-text") == {"image", "text"}
    for wrong in ("audio", "text-image", "image-", "-", "image-text-audio", "Image"):
        with pytest.raises(Rejected, match="TAKEDOWN_EVERYWHERE"):
            check_everywhere(wrong, "image-text")


# -- tombstones


def pair_entry(key: bytes, score: int = 5, *, reason: Reason = Reason.BELONGS_TOGETHER) -> PairEntry:
    pair = secrets.token_bytes(32)
    accepted = reason is Reason.BELONGS_TOGETHER
    verdict = Verdict(
        Outcome.ACCEPTED if accepted else Outcome.REJECTED,
        reason,
        bytes(32),
        novel=accepted,
        curiosity_micro=score if accepted else 0,
    )
    return PairEntry(pair, address_of(key), sign(pair, key), "image-text", "MIT", verdict, secrets.token_bytes(32))


def tombstone(
    index: int, pair: PairEntry, *, named: PairEntry | None = None, key: bytes | None = ALICE, everywhere: str = ""
) -> TakedownEntry:
    first = (named or pair).pair
    expiry = 1_800_000_000 if key else 0
    request = TakedownRequest(NETWORK, first, TakedownReason.PRIVACY, everywhere, expiry)
    signature = sign_takedown(request, DOMAIN, key).signature if key else None
    asker = Asker.CONTRIBUTOR if key else Asker.OPERATOR
    return TakedownEntry(index, pair.pair, first, request.reason, everywhere, asker, expiry, signature)


PAIRS = (
    pair_entry(ALICE),
    pair_entry(BOB),
    pair_entry(ALICE),
    pair_entry(BOB, reason=Reason.CONTENT_DUPLICATE),
    pair_entry(BOB, reason=Reason.PAIR_TOO_FAR),
)
LEDGER = [encode_entry(CheckpointEntry(bytes(32), None)), *map(encode_entry, PAIRS)]


def check(*tombstones: TakedownEntry) -> dict[int, TakedownEntry]:
    return check_takedowns([*LEDGER, *map(encode_entry, tombstones)], NETWORK, DOMAIN)


def test_tombstones_that_hold() -> None:
    one, two, three, copy, far = PAIRS
    assert set(check(tombstone(1, one))) == {1}
    assert set(check(tombstone(5, far, key=BOB))) == {5}
    assert set(check(tombstone(1, one, key=None), tombstone(2, two, key=None))) == {1, 2}
    assert set(check(tombstone(1, one), tombstone(4, copy, named=one))) == {1, 4}
    wide = {"named": one, "everywhere": "image"}
    assert set(check(tombstone(1, one, everywhere="image"), tombstone(3, three, **wide))) == {1, 3}  # type: ignore[arg-type]
    first, other = tombstone(1, one, everywhere="image", key=None), tombstone(2, two, key=None, **wide)  # type: ignore[arg-type]
    assert set(check(first, other)) == {1, 2}
    assert parse_entry(encode_entry(first)) == first


ONE, TWO, THREE, COPY, _FAR = PAIRS
BAD: tuple[tuple[Callable[[], Sequence[TakedownEntry]], str], ...] = (
    (lambda: [tombstone(2, ONE)], "TAKEDOWN_OF_NOTHING"),
    (lambda: [tombstone(0, ONE)], "TAKEDOWN_OF_NOTHING"),
    (lambda: [tombstone(6, ONE)], "TAKEDOWN_OF_NOTHING"),
    (lambda: [tombstone(99, ONE)], "TAKEDOWN_OF_NOTHING"),
    (lambda: [tombstone(1, ONE), tombstone(1, ONE)], "TAKEDOWN_TWICE"),
    (lambda: [tombstone(2, TWO)], "TAKEDOWN_SIGNATURE"),
    (lambda: [replace(tombstone(1, ONE), signature=None)], "TAKEDOWN_SIGNATURE"),
    (lambda: [replace(tombstone(1, ONE), reason=TakedownReason.OTHER)], "TAKEDOWN_SIGNATURE"),
    (lambda: [replace(tombstone(1, ONE), everywhere="image")], "TAKEDOWN_SIGNATURE"),
    (lambda: [replace(tombstone(1, ONE), everywhere="sound")], "TAKEDOWN_SIGNATURE"),
    (lambda: [replace(tombstone(1, ONE), asker=Asker.OPERATOR)], "TAKEDOWN_SIGNATURE"),
    (lambda: [tombstone(3, THREE, named=ONE, everywhere="image")], "TAKEDOWN_REACH"),  # ONE is not taken down
    (lambda: [tombstone(1, ONE), tombstone(3, THREE, named=ONE)], "TAKEDOWN_REACH"),
    (lambda: [tombstone(1, ONE), tombstone(3, THREE, named=ONE, everywhere="image")], "TAKEDOWN_REACH"),
    (
        lambda: [tombstone(1, ONE, everywhere="image"), tombstone(2, TWO, named=ONE, everywhere="image")],
        "TAKEDOWN_REACH",
    ),
    (lambda: [tombstone(1, ONE), tombstone(4, COPY, named=ONE, key=None)], "TAKEDOWN_REACH"),
)


@pytest.mark.parametrize(("made", "code"), BAD)
def test_tombstones_that_do_not_hold(made: Callable[[], Sequence[TakedownEntry]], code: str) -> None:
    with pytest.raises(ProofError) as caught:
        check(*made())
    assert caught.value.code == code


def test_payouts_leave_out_what_was_taken_down_in_time() -> None:
    early, late = tombstone(1, ONE), tombstone(2, TWO, key=None)
    (open_,) = derive(LEDGER, PARAMETERS)
    assert [one.index for one in open_.paid] == [1, 2, 3]
    leaves = [*LEDGER, encode_entry(early)]
    (open_,) = derive(leaves, PARAMETERS)
    assert [one.index for one in open_.paid] == [2, 3]
    leaves += [encode_entry(open_.expected_entry(PARAMETERS)), encode_entry(late)]
    closed, open_ = derive(leaves, PARAMETERS)
    assert [one.index for one in closed.paid] == [2, 3]
    assert address_of(BOB) in closed.cumulative_wei  # paid stays paid
    assert open_.cumulative_total_wei == closed.cumulative_total_wei > 0
    wrong = encode_entry(replace(early, pair=TWO.pair))
    with pytest.raises(ProofError, match="PAYOUT_TAKEDOWN"):
        list(derive([*LEDGER, wrong], PARAMETERS))
