"""Emission, allocation and the reward tree: who is owed how many wei for each epoch.

Everything here is integer arithmetic, so that each validator, each auditor and the contract reach the same numbers bit
for bit. The reward tree has the byte layout of OpenZeppelin's ``StandardMerkleTree`` over ``(address, uint256)``; the
contract checks claims with OpenZeppelin's ``MerkleProof``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from sha3 import keccak_256

from curiosity.protocol.errors import ConfigError, ProofError

ADDRESS_BYTES = 20
HASH_BYTES = 32
EMPTY_REWARD_ROOT = bytes(HASH_BYTES)
"""Reward root of an epoch in which nobody ever earned anything: no proof leads to it."""

SECONDS_PER_DAY = 86_400
_WEI = 10**18
_MAX_UINT256 = 2**256 - 1
_MAX_UINT64 = 2**64 - 1
NEWEST = 4
"""The newest version of the parameters."""

USUAL_BELIEF = 30
"""What a new network begins with as ``full_belief``: three quarters."""

_HALVES_UNTIL = 3  # the last version by which a pair one step below ``full_belief`` has half of its weight

_FIELDS_OF_VERSION = {1: 7, 2: 14}
_HIGHEST = {
    "version": NEWEST,
    "least_pairs": 1_000_000,
    "vest_epochs": 1_000,
    "crowd_power": 8,
    "audit_micro": 1_000_000,
    "beacon_blocks": 1_000_000,
    "min_epoch_s": 10 * 366 * SECONDS_PER_DAY,
    "unpaid_returns": 1,
    "generated_micro": 1_000_000,
    "spoken_micro": 1_000_000,
    "full_belief": 32,
    "item_micro": 50_000,
}
"""Whoever derives pay computes with these for ever: powers and loops stay small, and no epoch waits for centuries."""
_MAY_BE_ZERO = (
    *("premint_wei", "crowd_power", "audit_micro", "min_epoch_s", "unpaid_returns"),
    *("generated_micro", "spoken_micro", "full_belief", "item_micro"),
)


@dataclass(frozen=True)
class RewardParameters:
    """The whole reward policy of one network: fixed at its genesis, named by its digest.

    ``cap_wei``: largest supply there can ever be. ``premint_wei``: part of the cap that exists from the start (faucet
    and treasury). ``decay_numerator / decay_denominator``: share of the remaining pool that one *day* emits; 6.302e-4
    emits 90 % of it in ten years. ``epoch_length_s``: reward period in seconds; the share of an epoch is the day's,
    scaled linearly. ``top_n``: pairs paid in one epoch at most.

    The next fields are of version 2 (`curiosity.protocol.vesting`); version 1 does not read them, and its digest does
    not cover them. ``least_pairs``: one pair gets at most this part of an epoch, 100 being a hundredth.
    ``vest_epochs``: epochs over which pay vests. ``crowd_power``: a pair's weight is divided by this power of 1 and its
    largest crowd count. ``audit_micro``: share of the paid pairs that is judged again, in millionths.
    ``beacon_blocks``: blocks after the one that an epoch closes at until the one whose hash draws. ``min_epoch_s``:
    least seconds from one epoch's close to the next. ``unpaid_returns``: 1 where what is not paid stays in the pool of
    the next emissions, 0 under the contracts that lower it by number alone.

    Version 3 is version 2 with the fields that follow; each has a default under which both pay alike.
    ``generated_micro``: share of an epoch, in millionths, that generated pairs get together at most
    (`curiosity.protocol.pools`). ``spoken_micro``: the same of pairs of a sound and a text. ``full_belief``: belief in
    fortieths from which a pair has its whole weight; 0 where beliefs do not count
    (`curiosity.protocol.vesting.weigh_belief`). ``item_micro``: share of an epoch, in millionths, that goes to new
    items, alone or in pairs; 0 where single items are not taken.

    Version 4 has the same fields, and leaves a pair one step below ``full_belief`` a quarter, where version 3 leaves a
    half.

    Raises:
        ConfigError: ``REWARD_PARAMETER_INVALID`` when a value cannot work.
    """

    version: int = 1
    cap_wei: int = 1_000_000 * _WEI
    premint_wei: int = 10_000 * _WEI
    decay_numerator: int = 3_151
    decay_denominator: int = 5_000_000
    epoch_length_s: int = SECONDS_PER_DAY
    top_n: int = 1_024
    least_pairs: int = 100
    vest_epochs: int = 4
    crowd_power: int = 2
    audit_micro: int = 0
    beacon_blocks: int = 32
    min_epoch_s: int = SECONDS_PER_DAY
    unpaid_returns: int = 1
    generated_micro: int = 1_000_000
    spoken_micro: int = 1_000_000
    full_belief: int = 0
    item_micro: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name in _MAY_BE_ZERO else 1
            if type(value) is not int or not lowest <= value <= _MAX_UINT256:
                raise ConfigError(
                    "REWARD_PARAMETER_INVALID",
                    f"{field.name} is {value!r}",
                    f"Give a whole number from {lowest} to 2^256 - 1.",
                )
        for name, highest in _HIGHEST.items():
            if getattr(self, name) > highest:
                raise ConfigError(
                    "REWARD_PARAMETER_INVALID",
                    f"{name} is {getattr(self, name)}, at most {highest}",
                    "Give a smaller number, or use a program that knows a later version.",
                )
        if self.premint_wei >= self.cap_wei:
            raise ConfigError(
                "REWARD_PARAMETER_INVALID",
                f"premint_wei {self.premint_wei} leaves nothing of cap_wei {self.cap_wei}",
                "Give a premint below the cap.",
            )
        numerator, denominator = self.epoch_decay
        if numerator > denominator or denominator > _MAX_UINT64:
            raise ConfigError(
                "REWARD_PARAMETER_INVALID",
                f"an epoch would emit {numerator}/{denominator} of the remaining pool",
                "Give a share of at most 1 whose denominator, times 86400, fits in 64 bits.",
            )

    @property
    def step_below(self) -> int:
        """What the weight of a pair is divided by whose belief is a fortieth below ``full_belief``."""
        return 2 if self.version <= _HALVES_UNTIL else 4

    @property
    def pool_wei(self) -> int:
        """What will be emitted over all time: the cap without the premint."""
        return self.cap_wei - self.premint_wei

    @property
    def epoch_decay(self) -> tuple[int, int]:
        """Share of the remaining pool that one epoch emits, as (numerator, denominator), as the contract gets it."""
        return self.decay_numerator * self.epoch_length_s, self.decay_denominator * SECONDS_PER_DAY

    def emission(self, epoch: int) -> int:
        """Return the wei that the given epoch may pay at most; the first epoch is 1.

        Each epoch emits ``floor(remaining * numerator / denominator)`` and lowers ``remaining`` by it, whether or not
        it was paid out: the schedule of version 1. A contract that returns what is not paid allows at least as much.
        Takes time in proportion to the epoch number.

        Raises:
            ConfigError: ``EPOCH_INVALID`` for an epoch below 1.
        """
        return self._schedule(epoch)[0]

    def emitted_until(self, epoch: int) -> int:
        """Return the wei that the epochs from 1 to the given one may pay together; 0 for epoch 0."""
        if epoch == 0:
            return 0
        return self.pool_wei - self._schedule(epoch)[1]

    def emission_of(self, remaining_wei: int) -> int:
        """Return what an epoch may pay of what remains: ``floor(remaining * numerator / denominator)``."""
        numerator, denominator = self.epoch_decay
        return remaining_wei * numerator // denominator

    def _schedule(self, epoch: int) -> tuple[int, int]:
        if type(epoch) is not int or epoch < 1:
            raise ConfigError("EPOCH_INVALID", f"epoch is {epoch!r}", "The first epoch is 1.")
        numerator, denominator = self.epoch_decay
        remaining = self.pool_wei
        amount = 0
        for _ in range(epoch):
            amount = remaining * numerator // denominator
            remaining -= amount
        return amount, remaining

    def values(self) -> dict[str, int]:
        """Return the fields of its version by name, in the order of the digest."""
        names = [field.name for field in fields(self)]
        return {name: getattr(self, name) for name in names[: _FIELDS_OF_VERSION.get(self.version)]}

    def digest(self) -> bytes:
        """Return the Keccak-256 over a label and the fields in order, 32 bytes each, big-endian."""
        values = b"".join(value.to_bytes(32, "big") for value in self.values().values())
        return bytes(keccak_256(b"curiosity-reward-parameters\x00" + values).digest())


def allocate(scores: Iterable[tuple[bytes, int]], emission_wei: int) -> dict[bytes, int]:
    """Return the wei for each account, in proportion to its summed scores; in order of account.

    Every account gets the floor of its exact share; what is left goes wei by wei to the largest remainders, equal ones
    in order of account. So the sum is exactly ``emission_wei``, or nobody gets anything when all scores are zero. The
    order of the input does not matter. Accounts whose share is 0 wei are left out.

    Raises:
        ConfigError: ``REWARD_INPUT_INVALID`` for a negative score or emission or an account that is not 20 bytes.
    """
    _check_amount("emission_wei", emission_wei)
    totals: dict[bytes, int] = {}
    for account, score in scores:
        _check_account(account)
        _check_amount("score", score)
        totals[account] = totals.get(account, 0) + score
    whole = sum(totals.values())
    if whole == 0 or emission_wei == 0:
        return {}

    amounts: dict[bytes, int] = {}
    remainders: list[tuple[int, bytes]] = []
    for account in sorted(totals):
        amounts[account], remainder = divmod(totals[account] * emission_wei, whole)
        remainders.append((-remainder, account))
    left = emission_wei - sum(amounts.values())
    # The remainders add up to left * whole and each is below whole, so those served first all have one above zero.
    for _, account in sorted(remainders)[:left]:
        amounts[account] += 1
    return {account: amount for account, amount in amounts.items() if amount > 0}


def cumulate(previous: Mapping[bytes, int], new: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return the total wei earned by each account since the first epoch, this one included; by account.

    Raises:
        ConfigError: ``REWARD_INPUT_INVALID`` as `allocate` does.
    """
    totals: dict[bytes, int] = {}
    for amounts in (previous, new):
        for account, amount_wei in amounts.items():
            _check_account(account)
            _check_amount("amount_wei", amount_wei)
            totals[account] = totals.get(account, 0) + amount_wei
    return dict(sorted(totals.items()))


class RewardTree:
    """The Merkle tree over ``(account, wei earned in it)`` that one epoch publishes.

    Layout (OpenZeppelin merkle-tree, ``core.ts``): an array of 2n - 1 hashes, the root first, the children of i at
    2i + 1 and 2i + 2, the leaves sorted by hash and stored from the end backwards. Inner nodes hash their children in
    sorted order, so that a proof carries no directions.

    Raises:
        ConfigError: ``REWARD_INPUT_INVALID`` for an account that appears twice or an amount outside uint256.
    """

    def __init__(self, leaves: Sequence[tuple[bytes, int]]) -> None:
        self._amounts_wei: dict[bytes, int] = {}
        hashed: list[tuple[bytes, bytes]] = []
        for account, amount_wei in leaves:
            hashed.append((leaf_hash(account, amount_wei), account))
            if account in self._amounts_wei:
                raise ConfigError(
                    "REWARD_INPUT_INVALID",
                    f"account 0x{account.hex()} has two leaves",
                    "Add up what an account earned before making the tree.",
                )
            self._amounts_wei[account] = amount_wei
        hashed.sort()
        count = len(hashed)
        nodes = [EMPTY_REWARD_ROOT] * max(2 * count - 1, 1)
        self._positions: dict[bytes, int] = {}
        for order, (leaf, account) in enumerate(hashed):
            position = 2 * count - 2 - order
            nodes[position] = leaf
            self._positions[account] = position
        for position in range(count - 2, -1, -1):
            nodes[position] = _hash_pair(nodes[2 * position + 1], nodes[2 * position + 2])
        self._nodes = nodes

    def __len__(self) -> int:
        return len(self._amounts_wei)

    @property
    def root(self) -> bytes:
        """The reward root, 32 bytes; all zero when there are no leaves."""
        return self._nodes[0]

    @property
    def total_wei(self) -> int:
        """Sum of all amounts: what the epoch adds to the attestation's ``cumulativeTotal``."""
        return sum(self._amounts_wei.values())

    @property
    def accounts(self) -> list[bytes]:
        """Every account that has a leaf, in the order in which they were given."""
        return list(self._amounts_wei)

    def amount_wei(self, account: bytes) -> int:
        """Return the wei in the account's leaf; 0 when it has none."""
        return self._amounts_wei.get(account, 0)

    def proof(self, account: bytes) -> list[bytes]:
        """Return sibling hashes from the account's leaf up to the root.

        Raises:
            ProofError: ``REWARD_NO_LEAF`` when the account has no leaf.
        """
        position = self._positions.get(account)
        if position is None:
            raise ProofError(
                "REWARD_NO_LEAF",
                f"account 0x{bytes(account).hex()} is not among the {len(self)} that earned rewards",
                "Check the account; a pair is paid only when its epoch has closed.",
            )
        siblings: list[bytes] = []
        while position > 0:
            # Odd positions are left children.
            siblings.append(self._nodes[position + 1 if position % 2 else position - 1])
            position = (position - 1) // 2
        return siblings


def leaf_hash(account: bytes, amount_wei: int) -> bytes:
    """Return ``keccak256(keccak256(abi.encode(account, amount)))``.

    It is hashed twice, so that no inner node can pass for a leaf.
    """
    _check_account(account)
    _check_amount("amount_wei", amount_wei)
    encoded = bytes(12) + account + amount_wei.to_bytes(32, "big")
    return bytes(keccak_256(keccak_256(encoded).digest()).digest())


def verify_claim(root: bytes, account: bytes, amount_wei: int, proof: Sequence[bytes]) -> None:
    """Check that the reward root commits to exactly this amount for this account.

    Raises:
        ProofError: ``REWARD_PROOF_INVALID`` when the proof leads elsewhere or a hash is not 32 bytes.
        ConfigError: ``REWARD_INPUT_INVALID`` for a malformed account or amount.
    """
    node = leaf_hash(account, amount_wei)
    for order, sibling in enumerate(proof):
        if len(sibling) != HASH_BYTES:
            raise ProofError("REWARD_PROOF_INVALID", f"hash {order} of the proof has {len(sibling)} bytes, not 32")
        node = _hash_pair(node, sibling)
    if node != root:
        raise ProofError(
            "REWARD_PROOF_INVALID",
            f"{amount_wei} wei for 0x{account.hex()} lead to 0x{node.hex()}, the reward root is 0x{root.hex()}",
        )


def _hash_pair(left: bytes, right: bytes) -> bytes:
    return bytes(keccak_256(left + right if left < right else right + left).digest())


def _check_account(account: bytes) -> None:
    if not isinstance(account, bytes) or len(account) != ADDRESS_BYTES:
        raise ConfigError("REWARD_INPUT_INVALID", f"account is {account!r}", "Give an address as 20 bytes.")


def _check_amount(name: str, value: int) -> None:
    if type(value) is not int or not 0 <= value <= _MAX_UINT256:
        raise ConfigError("REWARD_INPUT_INVALID", f"{name} is {value!r}", "Give a whole number from 0 to 2^256 - 1.")
