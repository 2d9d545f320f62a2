"""Judging the pairs that an epoch pays again, before it is signed."""

from collections.abc import Sequence
from pathlib import Path

from curiosity.ledger.source import LedgerSource, Progress, untold
from curiosity.protocol.epoch_payout import EpochPayout


def judge_payout_again(
    source: LedgerSource, home: Path, payout: EpochPayout, leaves: Sequence[bytes], progress: Progress = untold
) -> None:
    """Repeat the verdict of every pair that an epoch pays. Loads torch.

    Args:
        source: The validator that gives out pairs, items and checkpoints.
        home: Folder below which checkpoints are kept.
        payout: What the epoch pays.
        leaves: All leaves of the ledger.
        progress: Told how far it is.

    Raises:
        ProofError: RESCORE_DIFFERS, or RESCORE_WITHHELD for a pair that nobody took down and that cannot be repeated.
        ServiceError: If the validator cannot be reached.
        CheckpointError: If it gives out other files than the checkpoint's.
    """
    from curiosity.ledger.rescore import Chosen, check_rescored, repeat

    chosen = Chosen(tuple(pair.index for pair in payout.paid), leaves)
    done = source.ask(
        lambda client: repeat(
            client, home, chosen, told=lambda _one, count, total: progress("Judging again", count, total)
        )
    )
    check_rescored(done, leaves)
