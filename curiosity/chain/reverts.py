"""The contracts' refusals in words for people: what each custom error means, and what to do about it."""

from typing import Final

from curiosity.chain.artifacts import Revert

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "RewardsNotActivatable": ("the epoch's veto delay is not over", "Wait for it to end, then activate."),
    "RewardsNothingToActivate": ("no epoch waits for its activation", "Nothing: it may be active already."),
    "RewardsNoSuchEpoch": ("the epoch is not active", "Claim it when its veto delay is over."),
    "RewardsNotPending": ("the epoch is not one that waits", "Read the state again; it may be active or vetoed."),
    "RewardsInvalidProof": (
        "the amount is not the one in the epoch's reward tree", "Derive it again: curiosity payouts --check.",
    ),
    "RewardsExpired": ("the permission is past its deadline", "Have the account sign a new one."),
    "RewardsInvalidRecipient": ("this recipient cannot be paid", "Name the address of a wallet."),
    "RewardsUnauthorized": ("this account may not do that", "Use the account that the contract names."),
    "RewardsPaused": ("claims and activations are paused", "Try again when the pause ends; it ends by itself."),
    "RewardsPauseCooldown": ("the last pause is too recent", "Wait until another is allowed."),
    "RewardsInvalidPause": ("the pause is too long, or none", "Choose a shorter one."),
    "RewardsWrongEpoch": ("another epoch is next", "Read the state again and attest the next epoch."),
    "RewardsWrongPreviousRoot": ("the epoch before has another root", "Derive the epochs again from the ledger."),
    "RewardsWrongSet": ("the validator set was replaced", "Attest again under the present set."),
    "RewardsWrongAttempt": ("an earlier attempt was vetoed or discarded", "Attest again under the present attempt."),
    "RewardsLedgerShrank": ("the ledger would get smaller", "Attest the ledger as it is now."),
    "RewardsTotalDecreased": ("the total would get smaller", "Derive the payouts again from the ledger."),
    "RewardsEmissionExceeded": ("the epoch would pay more than it may", "Derive the payouts again."),
    "RewardsEpochTooSoon": ("the last epoch was closed too recently", "Post it when the interval is over."),
    "RewardsTooManyWaiting": ("too many epochs wait for their activation", "Activate the oldest first."),
    "RewardsNotEnoughSignatures": ("too few validators signed", "Ask the others: curiosity attest."),
    "RewardsNotValidator": ("a signer is not in the validator set", "Leave its signature out."),
    "RewardsInvalidSignature": ("a signature is not of its signer", "Sign again for this chain and contract."),
    "StakeBanned": ("the validator was slashed and is banned", "Bond under another key."),
    "StakeFull": ("every place for a validator is taken", "Wait until one is free."),
    "StakeTooSmall": ("the bond is under the least stake", "Bond more."),
    "StakeExceeded": ("more was asked for than is bonded", "Ask for less."),
    "StakeNotWithdrawable": ("the exit's waiting time is not over", "Withdraw when it is."),
    "StakeNoFault": ("the evidence shows no fault", "Check the file: curiosity verify FILE."),
    "StakeAlreadyReported": ("this fault was reported before", "Nothing."),
    "StakeNothingToSlash": ("the validator has nothing at stake any more", "Nothing."),
}  # fmt: skip


def explain_revert(revert: Revert) -> tuple[str, str]:
    """Return what a refusal means, with the contract's own words behind it, and what to do."""
    what, remedy = _WORDS.get(revert.name, ("", "The error names the rule; the state says what would fit."))
    return (f"{what}: {revert}" if what else str(revert)), remedy
