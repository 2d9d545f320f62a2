"""What crosses the border to the chain: configuration, addresses, settings, state, receipts. Values only, no web3."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from curiosity.chain.attestation import Attestation
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.rewards import RewardParameters

Finality = Literal["finalized", "depth"]
_UNSHOWN = "the RPC URL"
_LEAST_SECRET = 6  # shorter parts of a URL's path are words such as `v3` or `rpc`
_MAX_WAIT_S = 365 * 86_400  # `CuriosityRewards.MAX_WAIT`
_MAX_STAKE_PERIOD_S = 14 * 86_400 // 4  # `CuriosityStake.MAX_PERIOD`: a quarter of the exit's delay
MAX_WAITING_EPOCHS = 31  # posted and not active: `CuriosityRewards` keeps 32 records


@dataclass(frozen=True)
class Addresses:
    """Where the contracts are: 20 bytes each, on the chain of that id, deployed in that block.

    ``stake`` is empty for a network that was deployed without one, or for somebody who does not need it.
    """

    chain_id: int
    token: bytes
    rewards: bytes
    block: int = 0
    stake: bytes = b""

    def to_json(self) -> dict[str, object]:
        """Return the addresses with 0x-hex in place of bytes; `from_json` reads it back."""
        return {key: f"0x{value.hex()}" if isinstance(value, bytes) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Addresses":
        """Return the addresses that `to_json` gave.

        Raises:
            ConfigError: ``ADDRESSES_INVALID`` for anything else.
        """
        try:
            token, rewards = _hex(content["token"]), _hex(content["rewards"])
            chain_id, block = content["chain_id"], content.get("block", 0)
            stake = _hex(content.get("stake", "0x"))
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise _invalid_addresses(f"{type(error).__name__}: {error}") from error
        lengths = (len(token), len(rewards), len(stake))
        if lengths not in ((20, 20, 20), (20, 20, 0)) or type(chain_id) is not int or type(block) is not int:
            raise _invalid_addresses(f"addresses of {lengths} bytes, chain id {chain_id!r}, block {block!r}")
        return cls(chain_id, token, rewards, block, stake)


def _hex(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text of hex digits")
    return bytes.fromhex(value.removeprefix("0x"))


def _invalid_addresses(what: str) -> ConfigError:
    return ConfigError(
        "ADDRESSES_INVALID",
        f"the contract addresses cannot be read ({what})",
        "Give chain_id, token and rewards as `Addresses.to_json` writes them, 20 bytes of hex each.",
    )


@dataclass(frozen=True)
class ChainConfig:
    """How to reach a chain: JSON-RPC URL, the id it must have, the contracts on it, and how long to wait.

    ``other_rpc_urls``: endpoints that must not contradict the first on anything that decides about money;
    ``rpc_quorum`` of all must answer, 0 is more than half. ``finality``: a block counts as final when the chain says
    so, or when ``finality_depth`` others are on top of it (also where the chain has no word for it). ``journal``: file
    for transactions that are not final, so that a process that dies does not lose or repeat one. ``bump_after_s``: a
    transaction that is in no block by then is replaced by one with higher fees. ``max_fee_wei``: what one transaction
    may cost in gas at most; 0 means no limit.
    """

    rpc_url: str
    chain_id: int
    addresses: Addresses | None = None
    request_timeout_s: float = 10.0
    receipt_timeout_s: float = 60.0
    poll_interval_s: float = 0.1
    other_rpc_urls: tuple[str, ...] = ()
    rpc_quorum: int = 0
    finality: Finality = "finalized"
    finality_depth: int = 64
    journal: Path | None = None
    bump_after_s: float = 20.0
    max_fee_wei: int = 10**18


def show_endpoint(url: str) -> str:
    """Return what may be shown of an endpoint's URL: scheme, host and port. User, path and query often hold a key."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _UNSHOWN
    if not parts.scheme or not host:
        return _UNSHOWN
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def hide_secrets(words: str, url: str) -> str:
    """Return the words without what `show_endpoint` does not show of the URL: an endpoint may quote its own address."""
    shown = show_endpoint(url)
    words = words.replace(url, shown)
    rest = url.partition("://")[2] or url
    if shown == _UNSHOWN:
        hidden = rest
    else:
        before, _, place = rest.rpartition("@")
        hidden = f"{before} {re.sub(r'^[^/?#]*', '', place)}"
    for part in sorted(set(re.split(r"[^0-9A-Za-z_.~%-]+", hidden)), key=len, reverse=True):
        if len(part) >= _LEAST_SECRET:
            words = words.replace(part, "...")
    return words


def journal_path(folder: Path, addresses: Addresses) -> Path:
    """Return the journal of one network's transactions in a folder: no two networks share one."""
    return folder / f"transactions-{addresses.chain_id:d}-{addresses.rewards.hex()}.json"


@dataclass(frozen=True)
class DeploySettings:
    """What a new network fixes on the chain. An account of None is the deployer's.

    ``validators``: their addresses; ``threshold``: signatures that make a quorum, more than half. ``owner`` replaces
    validators (a timelock in production), ``guardian`` vetoes and pauses, ``treasury`` gets the premint and what
    faults cost. ``min_stake_wei``: least that a validator bonds; ``stake_period_s``: how often weights change.

    Raises:
        ConfigError: ``DEPLOY_SETTINGS_INVALID`` for what a constructor would refuse: the contracts are deployed one
            after the other, and the second must not fail once the first is paid for.
    """

    validators: tuple[bytes, ...]
    threshold: int
    parameters: RewardParameters = field(default_factory=RewardParameters)
    activation_delay_s: int = 7 * 86_400
    min_epoch_interval_s: int = 86_400
    owner: bytes | None = None
    guardian: bytes | None = None
    treasury: bytes | None = None
    min_stake_wei: int = 100 * 10**18
    stake_period_s: int = 86_400

    def __post_init__(self) -> None:
        limits = {
            "activation_delay_s": (0, _MAX_WAIT_S),
            "min_epoch_interval_s": (0, _MAX_WAIT_S),
            "min_stake_wei": (1, 2**96 - 1),
            "stake_period_s": (1, _MAX_STAKE_PERIOD_S),
        }
        for name, (lowest, highest) in limits.items():
            if not lowest <= getattr(self, name) <= highest:
                raise ConfigError(
                    "DEPLOY_SETTINGS_INVALID",
                    f"{name} is {getattr(self, name)}, the contracts take {lowest} to {highest}",
                    "Choose a value within these limits. Nothing was sent.",
                )


@dataclass(frozen=True)
class Terms:
    """What a deployed network can be held to: who signs, who may replace and delay, how long, and how much there is.

    ``emits_as_committed``: cap and emission are those of this program's parameters.
    """

    validators: tuple[bytes, ...]
    threshold: int
    activation_delay_s: int
    min_epoch_interval_s: int
    owner: bytes
    guardian: bytes
    cap_wei: int
    emits_as_committed: bool


@dataclass(frozen=True)
class Share:
    """What an account earned in one epoch, and the proof that leads to the epoch's reward root."""

    epoch: int
    amount_wei: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Pool:
    """An epoch that can be claimed: its root, what was minted for it and is not claimed yet, and the total until it.

    The root is zero, and so are the amounts, for an epoch that is not active.
    """

    reward_root: bytes
    unpaid_wei: int
    cumulative_total_wei: int
    attempt: int


@dataclass(frozen=True)
class EpochRecord:
    """What the rewards contract holds of one posted epoch.

    It keeps root and total for ever once the epoch is active. Of epochs that were posted long ago it has forgotten
    ``ledger_size`` and ``activates_at`` (when it may be activated, Unix seconds of the chain's clock): both None.
    """

    epoch: int
    reward_root: bytes
    cumulative_total_wei: int
    is_active: bool
    ledger_size: int | None
    activates_at: int | None


@dataclass(frozen=True)
class BlockHeader:
    """A block of the chain: its number, its time in Unix seconds and its hash."""

    number: int
    time: int
    hash: bytes


@dataclass(frozen=True)
class Standing:
    """How far the chain has come: the newest block and the newest final one, and what each says of the epochs.

    ``posted`` and ``active`` can still fall out of the chain; ``settled`` is the newest epoch whose activation cannot.
    """

    block: int
    final_block: int
    posted: int
    active: int
    settled: int


@dataclass(frozen=True)
class Balances:
    """Coins for gas and reward tokens of one account, both in wei."""

    eth_wei: int
    token_wei: int


@dataclass(frozen=True)
class Quote:
    """What a transaction would cost now: gas, the present price of a unit (base fee and tip), and both together in wei.

    ``most_wei``: what the sender must hold to send it, since fees may rise until it is in a block.
    """

    gas: int
    fee_wei: int
    most_wei: int

    @property
    def cost_wei(self) -> int:
        """What it costs at the present price."""
        return self.gas * self.fee_wei


@dataclass(frozen=True)
class TransactionReceipt:
    """A transaction that succeeded. ``contract``: address it created, else empty. ``paid_wei``: rewards it paid out."""

    hash: bytes
    block: int
    gas_used: int
    contract: bytes = b""
    paid_wei: int = 0


@dataclass(frozen=True)
class RewardsState:
    """What the rewards contract holds: the active epoch (claimable), the latest (posted), and the signers' numbers.

    All of it is of one block. Roots are 32 bytes, zero before the first epoch; totals are cumulative, in wei; times are
    Unix seconds of the chain's clock.
    """

    active_epoch: int
    active_root: bytes
    active_total_wei: int
    latest_epoch: int
    latest_root: bytes
    latest_total_wei: int
    latest_ledger_size: int
    set_id: int
    attempt: int
    threshold: int
    paused_until: int  # when the present or last pause ends
    activates_at: int  # when the oldest epoch that waits may be activated, 0 when none waits
    latest_activates_at: int  # when the latest may, 0 before the first epoch

    def next_attestation(
        self, *, ledger_size: int, ledger_root: bytes, reward_root: bytes, cumulative_total_wei: int
    ) -> Attestation:
        """Return the attestation that continues this state, unsigned."""
        return Attestation(
            epoch=self.latest_epoch + 1,
            ledger_size=ledger_size,
            ledger_root=ledger_root,
            reward_root=reward_root,
            cumulative_total_wei=cumulative_total_wei,
            previous_root=self.latest_root,
            set_id=self.set_id,
            attempt=self.attempt,
        )
