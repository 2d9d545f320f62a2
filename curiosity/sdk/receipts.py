"""Receipts for programs: the decision about a pair as soon as there is one, and what a saved receipt proves."""

import asyncio
import time
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.client.receipts import Proved, read_saved, verify_saved
from curiosity.client.trust import KEPT_KEYS, Trust
from curiosity.protocol.decision import check_decided
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Decision

_POLL_S = 0.5


async def fetch_decision(validator: ValidatorClient, pair: bytes, origin: str, vkey: str, wait_s: float) -> Decision:
    """Return the decision about a pair, checked; wait at most ``wait_s`` for it if it was not made yet.

    Args:
        validator: Who decides.
        pair: The pair's digest, 32 bytes.
        origin: Of the ledger that the receipt must name.
        vkey: The key that signs its receipts.
        wait_s: How long to wait for a decision.

    Raises:
        Rejected: NOT_FOUND if there is none after ``wait_s``.
        ProofError: If the receipt does not hold, or is about another pair.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            decision = await validator.receipt(pair)
            break
        except Rejected as refusal:
            if refusal.code != "NOT_FOUND" or time.monotonic() + _POLL_S > deadline:
                raise
        await asyncio.sleep(_POLL_S)
    check_decided(decision, pair, origin, vkey)
    return decision


def verify_receipt(path: Path | str, trust: Trust = KEPT_KEYS) -> Proved:
    """Check a saved receipt, with no network, and return what it proves.

    Args:
        path: The receipt's file.
        trust: Keys that you have from elsewhere; empty ones are taken from the file.

    Raises:
        SourceError: RECEIPT_UNREADABLE.
        ProofError: With a code for every way of being wrong.
    """
    return verify_saved(read_saved(Path(path)), trust.check())
