"""Signing an epoch as one of several validators: what is signed follows from the ledger and the chain, not from whoever
asks for it.

A signature is worth money. So it is given to what was derived here, once every earlier epoch was found to be what the
ledger gives; and of an epoch, a validator set and an attempt to one attestation only, whatever a forked ledger shows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.chain.attestation import Attestation
from curiosity.chain.chain import Addresses
from curiosity.host.files import write_whole
from curiosity.host.paths import inside
from curiosity.protocol.errors import ProofError, StoreError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.merkle import root
from curiosity.protocol.messages import EpochAttestation
from curiosity.protocol.payouts import EpochPayout
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.rewards.payouts import check_emission, check_epoch

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient


def next_attestation(
    derived: Sequence[EpochPayout], leaves: Sequence[bytes], chain: "ChainClient", parameters: RewardParameters
) -> Attestation | None:
    """Return the attestation that follows on what the chain holds; None if it holds every epoch that is closed.

    ``derived`` is what `curiosity.protocol.payouts.derive` yields of ``leaves``, entries checked. Raises ProofError:
    what `check_epoch` finds in an epoch before, CHAIN_EPOCH_UNKNOWN for one that the ledger has not closed,
    CHAIN_EMISSION_DIFFERS.
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
    for problem in check_emission(parameters, payout.epoch, chain.emission(payout.epoch)):
        raise problem
    return state.next_attestation(
        ledger_size=payout.size,
        ledger_root=root(leaves[: payout.size]),
        reward_root=payout.reward_root,
        cumulative_total_wei=payout.cumulative_total_wei,
    )


def compare(offered: EpochAttestation, ours: Attestation, digest: bytes) -> None:
    """Raise ProofError ATTESTATION_DIFFERS, naming what differs, unless what is offered is what we derived."""
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

    Raises StoreError ATTESTED_UNREADABLE.
    """

    def __init__(self, home: Path, addresses: Addresses, signer: bytes) -> None:
        name = f"{addresses.chain_id}-{checksum(addresses.rewards)}-{checksum(signer)}.json"
        self.path = inside(home / "attested", name, one=True, links=True)
        try:
            self._digests: dict[str, str] = read_json(self.path.read_text()) if self.path.exists() else {}
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def note(self, attestation: Attestation, digest: bytes) -> None:
        """Keep that this is signed. Raises ProofError ATTESTED_ANOTHER if another one of that epoch was."""
        key = f"{attestation.epoch}-{attestation.set_id}-{attestation.attempt}"
        known = self._digests.setdefault(key, digest.hex())
        if known != digest.hex():
            raise ProofError(
                "ATTESTED_ANOTHER",
                f"0x{known} was signed of epoch {attestation.epoch} before, now it would be 0x{digest.hex()}",
                "The ledger was shown in two versions: keep both, and compare tree heads with the witnesses'.",
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self.path, json.dumps(self._digests, indent=1).encode())
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            "ATTESTED_UNREADABLE",
            f"{self.path}, which holds what this key has signed, cannot be used: {error}",
            "Restore it or make it writable. Only if you know that the key has signed nothing, remove it.",
        )
