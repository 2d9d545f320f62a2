"""Asking a validator to forget a pair, and checking what it answers."""

from pathlib import Path

from node.client import ValidatorClient
from node.receipts import read_saved
from protocol.entry import TakedownEntry
from protocol.errors import ProofError, SourceError
from protocol.messages import Network, TakedownReport
from protocol.receipt import CheckedReceipt, verify_receipt
from protocol.takedown import SignedTakedown, TakedownReason, TakedownRequest, sign_takedown
from protocol.wire import from_hex


def find_digest(pair: str) -> bytes:
    """Return the digest of a pair that is named by it or by a receipt file.

    Raises SourceError PAIR_UNKNOWN, and what `node.receipts.read_saved` raises.
    """
    try:
        return from_hex(pair if pair.startswith("0x") else "0x" + pair, 32)
    except ValueError:
        pass
    path = Path(pair)
    if not path.is_file():
        raise SourceError(
            "PAIR_UNKNOWN",
            f"{pair!r} is neither 64 hex digits nor a receipt file",
            "Name a file of the receipts folder, or the digest that `curiosity verify` shows.",
        )
    return read_saved(path).pair


def ask(
    network: Network,
    pair: bytes,
    reason: TakedownReason,
    everywhere: str,
    *,
    private_key: bytes | None,
    expiry: int = 0,
) -> SignedTakedown:
    """Return the request, signed by a contributor's key; unsigned for the operator, who has the admin token."""
    request = TakedownRequest(network.network_id, pair, reason, everywhere, expiry if private_key else 0)
    return sign_takedown(request, network.domain, private_key) if private_key else SignedTakedown(request, None)


async def take_down(
    client: ValidatorClient, network: Network, signed: SignedTakedown, *, vkey: str = "", token: str = ""
) -> tuple[TakedownReport, list[CheckedReceipt]]:
    """Send a request and return the report with its receipts, each checked to be of a takedown that this one reaches.

    ``vkey`` is the pinned receipt key; empty trusts the one that the network shows. Raises Rejected with the
    validator's code, ProofError: what `verify_receipt` raises, TAKEDOWN_OF_ANOTHER.
    """
    report = await client.takedown(signed, token)
    checked = [verify_receipt(one, network.origin, vkey or network.receipt_vkey) for one in report.receipts]
    entries = [one.entry for one in checked]
    if not entries or not isinstance(entries[0], TakedownEntry) or entries[0].pair != signed.request.pair:
        raise ProofError("TAKEDOWN_OF_ANOTHER", f"no receipt takes down pair 0x{signed.request.pair.hex()}")
    for entry in entries:
        if not isinstance(entry, TakedownEntry) or entry.named != entries[0].named:
            raise ProofError("TAKEDOWN_OF_ANOTHER", "a receipt is of something else than this request")
    return report, checked
