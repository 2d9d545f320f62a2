"""Asking a validator to forget a pair, and checking what it answers."""

import time
from dataclasses import dataclass
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.client.history import find, read_history
from curiosity.client.receipts import read_saved, receipt_path
from curiosity.client.submission import Rules, check_network
from curiosity.client.wallet import Wallet, list_wallets
from curiosity.host.files import make_folder, write_whole
from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import TakedownEntry
from curiosity.protocol.errors import ProofError, SourceError, WalletError
from curiosity.protocol.messages import Network, TakedownReport
from curiosity.protocol.receipt import CheckedReceipt, verify_receipt
from curiosity.protocol.signing import checksum
from curiosity.protocol.takedown import SignedTakedown, TakedownReason, TakedownRequest, sign_takedown
from curiosity.protocol.wire import encode, from_hex

_LIFETIME_S = 3600  # of a signed request


def find_digests(pair: str, home: Path) -> list[bytes]:
    """Return the digests of the pairs that are meant: by digest, by receipt file, or by a file that was submitted.

    Raises:
        SourceError: PAIR_UNKNOWN, and what `curiosity.client.receipts.read_saved` raises for a file of the receipts
            folder.
    """
    try:
        return [from_hex(pair if pair.startswith("0x") else "0x" + pair, 32)]
    except ValueError:
        pass
    path = Path(pair)
    if path.is_file() and path.suffix == ".json" and path.absolute().parent == (home / "receipts").absolute():
        return [read_saved(path).pair]
    records, _ = read_history(home)
    found = [bytes.fromhex(one.outcome.pair) for one in find(records, pair) if one.outcome.pair]
    if not found and path.is_file() and path.suffix == ".json":
        return [read_saved(path).pair]
    if not found:
        raise SourceError(
            "PAIR_UNKNOWN",
            f"{pair!r} is neither 64 hex digits, nor a receipt, nor a file that was submitted from here",
            "Look for it with `curiosity receipts`.",
        )
    return found


def find_digest(pair: str, home: Path) -> bytes:
    """Return the digest of the one pair that is meant.

    Raises:
        SourceError: PAIR_AMBIGUOUS where a file is in several, and what `find_digests` raises.
    """
    found = find_digests(pair, home)
    if len(found) > 1:
        raise SourceError(
            "PAIR_AMBIGUOUS",
            f"{pair!r} is in {number_of(len(found), 'pair')}: {', '.join('0x' + one.hex() for one in found[:5])}"
            + (", ..." if len(found) > 5 else ""),
            "Name one by its digest, or take the item from all your pairs: --everywhere image (or text, audio).",
        )
    return found[0]


def find_submitter(home: Path, pair: bytes) -> Wallet:
    """Return the wallet on this machine that submitted a pair, as its receipt says.

    Raises:
        WalletError: WALLET_NEEDED if there is no such receipt, or no wallet of its address.
    """
    path = receipt_path(home / "receipts", pair)
    if not path.is_file():
        raise WalletError(
            "WALLET_NEEDED", "no receipt here says which wallet submitted it", "Give --wallet NAME, or [node] wallet."
        )
    address = read_saved(path).envelope.submission.contributor
    for wallet in list_wallets(home):
        if wallet.address == address:
            return wallet
    raise WalletError(
        "WALLET_NEEDED",
        f"it was submitted by {checksum(address)}, and no wallet here has that address",
        "Import that wallet, or give --home with the folder that holds it.",
    )


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

    ``vkey`` is the pinned receipt key; empty trusts the one that the network shows.

    Raises:
        Rejected: With the validator's code.
        ProofError: What `verify_receipt` raises, TAKEDOWN_OF_ANOTHER.
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


@dataclass(frozen=True)
class Erased:
    """A takedown that was done: the signed report, its receipts, checked, and the file that keeps it."""

    report: TakedownReport
    receipts: tuple[CheckedReceipt, ...]
    kept: Path


async def erase(
    client: ValidatorClient,
    home: Path,
    pins: Rules,
    pair: bytes,
    reason: TakedownReason,
    everywhere: str = "",
    *,
    private_key: bytes | None = None,
    token: str = "",
) -> Erased:
    """Have a pair taken down and keep what the validator signed of it.

    Args:
        client: The validator.
        home: The report is kept below it.
        pins: Keys that the validator must have, as for submissions.
        pair: Digest of the pair.
        reason: Why; the log shows it.
        everywhere: Modality of an item to take from all pairs.
        private_key: The contributor's key.
        token: The admin token of the operator, who has no such key.

    Raises:
        Rejected: With the validator's code.
        ProofError: What `check_network` and `take_down` raise.
        SourceError: TAKEDOWN_NOT_WRITTEN; the pair is taken down then.
    """
    network = await client.network()
    check_network(network, pins)
    expiry = int(time.time()) + _LIFETIME_S
    signed = ask(network, pair, reason, everywhere, private_key=private_key, expiry=expiry)
    report, checked = await take_down(client, network, signed, vkey=pins.receipt_vkey, token=token)
    return Erased(report, tuple(checked), _keep(home / "takedowns" / f"{pair.hex()}.json", report))


def _keep(path: Path, report: TakedownReport) -> Path:
    try:
        make_folder(path.parent)
        write_whole(path, encode(report))
    except OSError as error:
        raise SourceError(
            "TAKEDOWN_NOT_WRITTEN",
            f"the pair is taken down, but {path} could not be written: {error.strerror}",
            "Free space there and ask again: the same receipt comes back.",
        ) from None
    return path
