"""Signing an epoch as one of several validators.

What is signed follows from the ledger and the chain, not from whoever asks for it. A signature is worth money. It is
only given to what was derived here, once every earlier epoch was found to be what the ledger gives; and for an epoch, a
validator set and an attempt to one attestation only, whatever a forked ledger shows.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.chain.attestation import Attestation, sign_attestation
from curiosity.chain.chain import Addresses
from curiosity.host.files import make_folder, write_whole
from curiosity.host.paths import inside
from curiosity.ledger.source import LedgerSource, Progress, counted, untold
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.errors import (
    ChainError,
    ConfigError,
    CuriosityError,
    ProofError,
    Rejected,
    ServiceError,
    SourceError,
    StoreError,
)
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.merkle import root
from curiosity.protocol.messages import Network
from curiosity.protocol.payouts import derive
from curiosity.protocol.reward_messages import EpochAttestation, EpochSignature
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.rewards.payouts import check_closing, check_emission, check_epoch

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient
    from curiosity.client.client import ValidatorClient


JudgeAgain = Callable[[EpochPayout, Sequence[bytes]], None]
"""Judges the pairs that an epoch pays again, given all leaves."""


@dataclass(frozen=True)
class Attestant:
    """One of the contract's validators: its address, its key, and the folder that keeps what the key has signed.

    The key may be empty for who signs nothing.
    """

    signer: bytes
    key: bytes
    home: Path


@dataclass(frozen=True)
class Looked:
    """What one look came to. ``waiting``: the epoch that waits for signatures, None if none does."""

    waiting: EpochAttestation | None
    is_signed: bool = False
    was_signed_before: bool = False


def attest(
    source: LedgerSource,
    connect: "Callable[[Network], ChainClient]",
    attestant: Attestant,
    *,
    is_dry: bool = False,
    judge_again: JudgeAgain | None = None,
    progress: Progress = untold,
) -> Looked:
    """Sign the epoch that waits at the validator, if it is what follows from the ledger and the chain.

    1. Ask which epoch waits for signatures.
    2. Find the signer among the contract's validators.
    3. Derive the epoch, and compare all before it with the chain.
    4. Compare what is asked for with what was derived.
    5. Judge the epoch's paid pairs again, if ``judge_again`` does that.
    6. Note on disk what is about to be signed.
    7. Sign it and hand the signature in.

    Args:
        source: The ledger to derive from, and the validator that asks for signatures.
        connect: Makes the client of the chain.
        attestant: Who signs.
        is_dry: Stop after step 5.
        judge_again: Called with the epoch's payout and all leaves; raises ProofError for a verdict that differs.
        progress: Told how far it is.

    Raises:
        ConfigError: ATTEST_NOT_VALIDATOR.
        SourceError: COPY_BEHIND if the copy has not closed that epoch yet; what `LedgerSource.leaves` raises.
        ProofError: ATTESTATION_DIFFERS, ATTESTED_ANOTHER, what `derive` and `next_attestation` raise.
        StoreError: ATTESTED_UNREADABLE; then nothing was signed.
        ServiceError: If the validator cannot be reached.
        ChainError: CHAIN_ codes.
    """
    waiting = source.ask(_waiting)  # 1
    if waiting is None:
        return Looked(None)
    was_signed = attestant.signer in waiting.signers
    if was_signed and not is_dry:
        return Looked(waiting, was_signed_before=True)
    chain = connect(source.network())
    _check_signer(chain, attestant.signer)  # 2
    derived, leaves = _derive(source, waiting.epoch, progress)  # 3
    ours = next_attestation(derived, leaves, chain, RewardParameters())
    if ours is None:  # somebody posted it in the meantime
        return Looked(None)
    digest = ours.digest(chain.domain)
    compare(waiting, ours, digest)  # 4
    if judge_again is not None:
        judge_again(derived[ours.epoch - 1], leaves)  # 5
    if is_dry:
        return Looked(waiting, was_signed_before=was_signed)
    Attested(attestant.home, chain.addresses, attestant.signer).note(ours, digest)  # 6
    signature = EpochSignature(digest, sign_attestation(ours, chain.domain, attestant.key))
    return Looked(source.ask(lambda client: client.sign_attestation(signature)), is_signed=True)  # 7


def follow(look: Callable[[], Looked], every_s: float, away: Callable[[CuriosityError], None]) -> Iterator[Looked]:
    """Look again and again, and yield each look that signed an epoch.

    A validator, chain or copy that is away or behind is told to ``away``, and tried again after ``every_s`` seconds.

    Raises:
        ProofError: What `attest` raises: a lie ends it.
    """
    while True:
        try:
            looked = look()
        except (ServiceError, ChainError, SourceError) as error:
            away(error)
        else:
            if looked.is_signed:
                yield looked
        time.sleep(every_s)


async def _waiting(client: "ValidatorClient") -> EpochAttestation | None:
    try:
        return await client.attestation()
    except Rejected as refusal:
        if refusal.code != "ATTESTATION_NONE":
            raise
        return None


def _check_signer(chain: "ChainClient", signer: bytes) -> None:
    validators = chain.validators()
    if signer not in validators:
        raise ConfigError(
            "ATTEST_NOT_VALIDATOR",
            f"{checksum(signer)} is not one of the contract's validators "
            f"({', '.join(checksum(one) for one in validators)})",
            "Name the wallet of one that is.",
        )


def _derive(source: LedgerSource, epoch: int, progress: Progress) -> tuple[list[EpochPayout], list[bytes]]:
    leaves = source.leaves(progress)
    derived = list(derive(counted(leaves, progress), RewardParameters()))
    closed = sum(payout.entry is not None for payout in derived)
    if epoch > closed:
        what = f"epoch {epoch} waits for signatures, the copy that is derived from has closed {closed}"
        raise SourceError("COPY_BEHIND", what, "Bring it up to date (curiosity ledger mirror).")
    return derived, leaves


def next_attestation(
    derived: Sequence[EpochPayout], leaves: Sequence[bytes], chain: "ChainClient", parameters: RewardParameters
) -> Attestation | None:
    """Return the attestation that follows on what the chain holds; None if it holds every epoch that is closed.

    ``derived`` is what `curiosity.protocol.payouts.derive` yields of ``leaves``, entries checked.

    Raises:
        ProofError: What `check_epoch` finds in an epoch before, CHAIN_EPOCH_UNKNOWN for one that the ledger has not
            closed, CHAIN_EMISSION_DIFFERS.
    """
    closed = [payout for payout in derived if payout.entry is not None]
    state = chain.state()
    for payout in derived[: state.latest_epoch]:
        check = check_epoch(payout, parameters, chain.epoch(payout.epoch, state))
        if check.problems:
            raise check.problems[0]
    if state.latest_epoch > len(closed):
        raise ProofError(
            "CHAIN_EPOCH_UNKNOWN",
            f"the chain holds epochs up to {state.latest_epoch}, the ledger has closed {len(closed)}",
            "Bring the copy of the ledger up to date; if it is, the validators attested what no entry says.",
        )
    if state.latest_epoch == len(closed):
        return None
    payout = closed[state.latest_epoch]
    for problem in check_closing(payout, chain):
        raise problem
    for problem in check_emission(parameters, payout, chain.emission(payout.epoch)):
        raise problem
    return state.next_attestation(
        ledger_size=payout.size,
        ledger_root=root(leaves[: payout.size]),
        reward_root=payout.reward_root,
        cumulative_total_wei=payout.cumulative_total_wei,
    )


def compare(offered: EpochAttestation, ours: Attestation, digest: bytes) -> None:
    """Check that what is offered is what we derived.

    Raises:
        ProofError: ATTESTATION_DIFFERS, naming what differs.
    """
    if offered.digest == digest:
        return
    theirs = {name: getattr(offered, name) for name in vars(ours)}
    theirs["cumulative_total_wei"] = int(offered.cumulative_total_wei)
    differing = [
        f"{name} is {_show(theirs[name])}, the ledger and the chain give {_show(value)}"
        for name, value in vars(ours).items()
        if theirs[name] != value
    ]
    raise ProofError(
        "ATTESTATION_DIFFERS",
        f"epoch {ours.epoch}: {'; '.join(differing) or 'the digest belongs to other fields'}",
        "Nothing was signed. If it stays so when your copy and your chain are up to date, tell the other validators.",
    )


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


class Attested:
    """What a key has signed for a contract: one digest of each epoch, validator set and attempt, kept before it leaves.

    Raises:
        StoreError: ATTESTED_UNREADABLE.
    """

    def __init__(self, home: Path, addresses: Addresses, signer: bytes) -> None:
        name = f"{addresses.chain_id}-{checksum(addresses.rewards)}-{checksum(signer)}.json"
        self.path = inside(home / "attested", name, one=True, links=True)
        try:
            self._digests: dict[str, str] = read_json(self.path.read_text()) if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def note(self, attestation: Attestation, digest: bytes) -> None:
        """Keep that this is signed.

        Raises:
            ProofError: ATTESTED_ANOTHER if another one of that epoch was.
        """
        key = f"{attestation.epoch}-{attestation.set_id}-{attestation.attempt}"
        known = self._digests.setdefault(key, digest.hex())
        if known != digest.hex():
            raise ProofError(
                "ATTESTED_ANOTHER",
                f"0x{known} was signed of epoch {attestation.epoch} before, now it would be 0x{digest.hex()}",
                "The ledger was shown in two versions: keep both, and compare tree heads with the witnesses'.",
            )
        try:
            make_folder(self.path.parent, mode=0o700)
            write_whole(self.path, json.dumps(self._digests, indent=1).encode())
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            "ATTESTED_UNREADABLE",
            f"{self.path}, which holds what this key has signed, cannot be used: {error}",
            "Restore it or make it writable. Only if you know that the key has signed nothing, remove it.",
        )
