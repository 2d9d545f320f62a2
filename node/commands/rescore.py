"""`curiosity rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ExitCode, ProofError
from node.command import PATH, Session, ledger_source, open_client, session_options
from node.completion import WALLET_NAME

if TYPE_CHECKING:
    from curiosity.ledger.rescore import Chosen
    from curiosity.ledger.rescored import Rescored


@click.command(
    epilog=example(
        "curiosity rescore ~/.curiosity/receipts/RECEIPT.json",
        "curiosity rescore --index 12",
        "curiosity rescore --sample 100 --json",
        "curiosity rescore photo.jpg --wallet alice",
    )
)
@click.argument("pair", required=False)
@click.option("--index", type=click.IntRange(min=0), help="The entry with this index in the ledger.")
@click.option("--sample", type=click.IntRange(min=1), help="So many accepted pairs, drawn by the ledger's root.")
@click.option("--checkpoint", type=PATH, help="Folder with the checkpoint; by default it is fetched and kept.")
@click.option("--entries", type=PATH, help="A mirror's folder to read the entries from; by default the validator's.")
@click.option("--wallet", "wallet_name", type=WALLET_NAME, help="Signs for items of pairs that were not accepted.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--device", help='Where the encoders run: "cpu", "cuda"; by default what is there.')
@session_options(network=True)
def rescore(
    session: Session,
    pair: str | None,
    index: int | None,
    sample: int | None,
    checkpoint: Path | None,
    entries: Path | None,
    wallet_name: str | None,
    password_file: Path | None,
    device: str | None,
) -> int:
    """Repeat a validator's verdict on this machine. PAIR is a digest, a receipt, or a file that you submitted.

    The items are decoded and embedded again under the checkpoint that the entry names, and every number is compared.
    Exit status 0: all agree. 5: one differs. 14: one cannot be repeated, for example because it was taken down.
    """
    import asyncio

    from curiosity.client.takedowns import find_digest
    from curiosity.client.wallet import find_wallet
    from curiosity.ledger.rescore import choose, repeat
    from node.prompts import unlock_wallet
    from node.rescore_report import result_of, show_rescored, to_json
    from node.screen import Stages

    if sum(one is not None for one in (pair, index, sample)) != 1:
        raise click.UsageError("Name one: PAIR, --index N or --sample N.")
    digest = find_digest(pair, session.home) if pair is not None else None
    key = unlock_wallet(find_wallet(session.home, wallet_name), password_file) if wallet_name is not None else None

    async def work(chosen: Chosen, progress: Stages) -> list[Rescored]:
        async with open_client(session) as client:
            return await repeat(
                client,
                session.home,
                chosen,
                own=checkpoint,
                private_key=key,
                device=device,
                told=lambda _one, done, total: progress("Repeating", done, total),
            )

    with Stages(session.screen) as progress:
        leaves = ledger_source(session, entries).leaves(progress)
        chosen = choose(leaves, pair=digest, index=index, sample=sample or 0)
        done = asyncio.run(work(chosen, progress))
    session.screen.finish(to_json(done), lambda screen: show_rescored(screen, done))
    return {"differs": int(ProofError.exit_code), "cannot tell": int(ExitCode.INCOMPLETE)}.get(
        result_of(done), int(ExitCode.OK)
    )
