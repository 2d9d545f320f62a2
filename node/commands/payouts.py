"""`curiosity payouts`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from curiosity.host.console import example
from node.command import PATH, Session, chain_settings, ledger_source, session_options


@click.command(
    epilog=example(
        "curiosity payouts --derive",
        "curiosity payouts --derive --check",
        "curiosity payouts --derive --epoch 1 --entries mirror/ --json",
    )
)
@click.option(
    "--derive", "derived", is_flag=True, default=True, help="Derive from the ledger (the default and only way)."
)
@click.option("--epoch", type=click.IntRange(min=1), help="Only this epoch, with its pairs; by default all.")
@click.option(
    "--entries", type=PATH, help="A mirror's folder, or a file of one leaf a line; by default the validator's ledger."
)
@click.option("--check", is_flag=True, help="Compare each epoch with the chain, and say which leaf differs.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain, for --check.")
@session_options(network=True)
def payouts(
    session: Session, derived: bool, epoch: int | None, entries: Path | None, check: bool, rpc_url: str | None
) -> int:
    """Recompute amounts and reward roots from the ledger alone, trusting nobody.

    It recovers the signature of every paid pair, and compares every epoch's entry with what the pairs before it give.
    """
    from curiosity.chain.connect import connect
    from curiosity.rewards.check import recompute
    from node.payout_report import payouts_json, show_payouts
    from node.screen import Stages, tell_errors

    del derived
    source = ledger_source(session, entries)
    chain = partial(connect, chain_settings(session, rpc_url)) if check else None
    with Stages(session.screen) as progress:
        found = recompute(source, epoch=epoch, connect=chain, progress=progress)
    session.screen.finish(
        payouts_json(found, with_pairs=epoch is not None),
        lambda screen: show_payouts(screen, found, with_pairs=epoch is not None),
    )
    error = found.check.error if found.check is not None else None
    return tell_errors(session.screen, [], error)
