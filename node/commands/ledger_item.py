"""`curiosity ledger item`."""

from __future__ import annotations

from pathlib import Path

import click

from curiosity.host.console import example
from curiosity.host.files import write_whole
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import SourceError
from node.command import PATH, Session, session_options
from node.completion import WALLET_NAME


@click.command(
    "item",
    epilog=example(
        "curiosity ledger item ~/.curiosity/receipts/RECEIPT.json 0xSHA256 --out item.png --wallet alice",
    ),
)
@click.argument("pair")
@click.argument("sha256", metavar="SHA256")
@click.option("--out", type=PATH, required=True, help="File to write.")
@click.option(
    "--wallet",
    "wallet_name",
    type=WALLET_NAME,
    help="Wallet that submitted the pair, or an auditor's; for refused pairs.",
)
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@session_options(network=True)
def item(
    session: Session, pair: str, sha256: str, out: Path, wallet_name: str | None, password_file: Path | None
) -> None:
    """Fetch one item by its hash and check it. PAIR is a digest or a receipt, whose opening has both hashes.

    Anyone can fetch the items of accepted pairs. Those of refused pairs are kept for a while, for their contributor and
    for auditors: --wallet signs the request.
    """
    import asyncio

    from curiosity.client.client import ValidatorClient
    from curiosity.client.items import fetch_item
    from curiosity.client.takedowns import find_digest
    from curiosity.client.wallet import find_wallet
    from curiosity.protocol.wire import from_hex
    from node.prompts import unlock_wallet

    digest = find_digest(pair, session.home)
    try:
        wanted = from_hex(sha256 if sha256.startswith("0x") else "0x" + sha256, 32)
    except ValueError as error:
        raise click.UsageError(f"SHA256: {error}") from None
    key = None
    if wallet_name is not None:
        wallet = find_wallet(session.home, wallet_name)
        key = unlock_wallet(wallet, password_file)

    async def work() -> bytes:
        node = session.settings.node
        async with ValidatorClient(node.validator_url, patience_s=node.patience_s) as client:
            return await fetch_item(client, await client.network(), digest, wanted, private_key=key)

    data = asyncio.run(work())
    try:
        write_whole(out, data)
    except OSError as error:
        raise SourceError("ITEM_NOT_WRITTEN", f"{out}: {error.strerror}", "Choose another file.") from None
    session.screen.finish(
        {"pair": "0x" + digest.hex(), "sha256": "0x" + wanted.hex(), "bytes": len(data), "out": str(out)},
        lambda screen: screen.line(f"{number_of(len(data), 'byte')} with that hash in {out}."),
    )
