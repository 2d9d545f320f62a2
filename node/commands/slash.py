"""`curiosity ledger slash`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from curiosity.client.amounts import show_tokens
from curiosity.host.console import example
from node.command import PATH, Session, chain_settings, session_options, wallet_named
from node.completion import WALLET_NAME


@click.command("slash", epilog=example("curiosity ledger slash slash-0123.json --wallet alice --dry-run"))
@click.argument("file", type=PATH)
@click.option(
    "--wallet",
    "wallet_name",
    type=WALLET_NAME,
    help="Wallet that pays the gas and gets the reporter's hundredth.",
)
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain.")
@click.option("--stake-vkey", default="", help="Key of the heads' stake lines, for evidence that a witness kept.")
@click.option(
    "--dry-run", is_flag=True, help="Check the evidence and show what it would cost the signer; send nothing."
)
@session_options()
def slash(
    session: Session,
    file: Path,
    wallet_name: str | None,
    password_file: Path | None,
    rpc_url: str | None,
    stake_vkey: str,
    dry_run: bool,
) -> None:
    """Submit evidence of a fork, as the audit wrote it, to the stake contract: the signer loses its stake."""
    from curiosity.chain.connect import connect_stake
    from curiosity.ledger.slash import read_fault, report_fault
    from node.prompts import unlock_wallet

    fault = read_fault(file, stake_vkey)
    wallet = wallet_named(session, wallet_name) if not dry_run else None
    domain = fault.key.domain
    journal = session.home / "chain" / f"reports-{domain.chain_id:d}.json"
    client = connect_stake(chain_settings(session, rpc_url), domain.chain_id, domain.stake, journal)
    done = report_fault(client, fault, partial(unlock_wallet, wallet, password_file) if wallet is not None else None)
    receipt = done.receipt
    facts = {
        "fault": fault.fault.value,
        "signer": "0x" + fault.key.signer.hex(),
        "chain_id": domain.chain_id,
        "stake": "0x" + domain.stake.hex(),
        "sizes": [fault.first.size, fault.second.size],
        "index": fault.index,
        "at_stake_wei": str(done.at_stake_wei),
        "left_wei": str(done.left_wei),
        "is_banned": done.is_banned,
        "gas_used": receipt.gas_used if receipt else 0,
        "transaction": "0x" + receipt.hash.hex() if receipt else None,
    }

    def show(_screen: object) -> None:
        session.screen.line(fault.sentence())
        if receipt is None:
            has = show_tokens(done.at_stake_wei) if done.at_stake_wei else "nothing"
            session.screen.line(f"It has {has} at stake in 0x{domain.stake.hex()}; nothing was sent.")
        else:
            session.screen.line(
                f"It lost {show_tokens(done.at_stake_wei - done.left_wei)} of {show_tokens(done.at_stake_wei)}, "
                f"with {receipt.gas_used} gas in 0x{receipt.hash.hex()}."
            )

    session.screen.finish(facts, show)
