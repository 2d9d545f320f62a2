"""`curiosity takedown`, and `curiosity validator takedown` for the operator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from node.choices import REASONS
from node.command import PATH, Session, open_client, session_options
from node.completion import WALLET_NAME

if TYPE_CHECKING:
    from curiosity.client.takedowns import Erased


@click.command(
    epilog=example(
        "curiosity takedown photo.jpg",
        "curiosity takedown ~/.curiosity/receipts/RECEIPT.json --wallet alice --reason privacy",
        "curiosity takedown 0xPAIR --wallet alice --reason rights --everywhere image",
    )
)
@click.argument("pair")
@click.option(
    "--wallet",
    "wallet_name",
    type=WALLET_NAME,
    help="Wallet that submitted the pair; else the receipt says which.",
)
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option(
    "--reason", type=click.Choice(REASONS), default="withdrawn", show_default=True, help="Why; the log shows it."
)
@click.option("--everywhere", default="", help="Modality of an item (or both: image-text) to take from all your pairs.")
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@session_options(network=True)
def takedown(
    session: Session,
    pair: str,
    wallet_name: str | None,
    password_file: Path | None,
    reason: str,
    everywhere: str,
    yes: bool,
) -> None:
    """Erase a pair of yours: its items, its embeddings and all that could reveal them.

    PAIR is a file that you submitted, a receipt, or the pair's digest.

    The entry of the decision and its proofs stay, and a new entry says that the pair was taken down. A takedown cannot
    be undone, and the same content cannot be submitted again. What was paid stays paid; a pair that is not paid yet is
    not paid later.
    """
    from curiosity.client.takedowns import find_digest, find_digests, find_submitter
    from curiosity.client.wallet import find_wallet
    from node.prompts import unlock_wallet

    # With --everywhere any pair of the file names the item.
    digest = find_digests(pair, session.home)[0] if everywhere else find_digest(pair, session.home)
    node = session.settings.node
    name = wallet_name or node.wallet
    wallet = find_wallet(session.home, name) if name else find_submitter(session.home, digest)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("erasing cannot be undone and there is no terminal to ask on; give --yes")
        if not click.confirm(f"Erase pair 0x{digest.hex()} ({pair}) for good?", err=True):
            raise click.Abort
    key = unlock_wallet(wallet, password_file)
    _run(session, digest, reason, everywhere, key=key)


def take_down_as_operator(
    session: Session, pair: str, reason: str, everywhere: str, token: str, *, block: str = ""
) -> None:
    """Take down anybody's pair with the admin token; list its items of the modalities ``block`` before."""
    from curiosity.client.takedowns import find_digest

    _run(session, find_digest(pair, session.home), reason, everywhere, token=token, block=block)


def _run(
    session: Session,
    digest: bytes,
    reason: str,
    everywhere: str,
    *,
    key: bytes | None = None,
    token: str = "",
    block: str = "",
) -> None:
    import asyncio

    from curiosity.client.submission import Rules
    from curiosity.client.takedowns import erase
    from curiosity.protocol.entry import TakedownEntry
    from curiosity.protocol.takedown import TakedownReason
    from curiosity.protocol.wire import to_plain

    node = session.settings.node
    pins = Rules(receipt_vkey=node.receipt_vkey, log_vkey=node.log_vkey, origin=node.origin)
    why = TakedownReason(reason.upper())

    async def work() -> tuple[Erased, int]:
        async with open_client(session) as client:
            listed = (await client.block_items(token, digest, block)).added if block else 0
            done = await erase(client, session.home, pins, digest, why, everywhere, private_key=key, token=token)
            return done, listed

    done, listed = asyncio.run(work())
    report = done.report
    pairs = [one.entry.pair for one in done.receipts if isinstance(one.entry, TakedownEntry)]
    result = {**to_plain(report), "entries": [one.index for one in done.receipts], "kept": str(done.kept)}
    if block:
        result["listed"] = listed
    entries = ", ".join(str(one.index) for one in done.receipts)
    before = " before" if report.replayed else ""
    session.screen.finish(
        result,
        lambda screen: screen.line(
            f"Took down {number_of(len(pairs), 'pair')}{before}: entries {entries}. "
            f"Signed by the validator, kept in {done.kept}."
            + (f" {number_of(listed, 'line')} added to the list of refused items." if block else "")
        ),
    )
