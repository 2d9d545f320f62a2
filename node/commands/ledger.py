"""`curiosity ledger`."""

import asyncio
from pathlib import Path

import click

from node.client import ValidatorClient
from node.command import PATH, Session, example, session_options
from node.mirror import Mirrored, mirror


@click.group(epilog=example("curiosity ledger mirror --out mirror/"))
def ledger() -> None:
    """Look at a ledger without trusting who keeps it."""


@ledger.command("mirror", epilog=example("curiosity ledger mirror --out mirror/"))
@click.option("--out", type=PATH, required=True, help="Folder to copy to; goes on from what is there.")
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one, else what is shown.")
@session_options(network=True)
def mirror_(session: Session, out: Path, log_vkey: str) -> None:
    """Copy leaves, submissions and items, and verify all of it against the signed tree head."""

    async def work() -> Mirrored:
        node = session.settings.node
        async with ValidatorClient(node.validator_url, patience_s=node.patience_s) as client:
            with session.screen.progress("Mirroring", None) as meter:
                return await mirror(
                    client,
                    out,
                    log_vkey=log_vkey or node.log_vkey,
                    progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}"),
                )

    done = asyncio.run(work())
    result = {**vars(done), "root": "0x" + done.root.hex(), "out": str(out)}
    session.screen.finish(
        result,
        lambda screen: screen.line(
            f"{done.size} entries lead to root 0x{done.root.hex()}; {done.accepted} accepted pairs with "
            f"{done.items} items in {out} ({done.fetched} fetched now); {done.taken_down} pairs are taken down."
        ),
    )
