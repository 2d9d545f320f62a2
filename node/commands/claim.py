"""`curiosity claim`."""

import asyncio
from pathlib import Path

import click

from node.claims import Claimed, check_ticket, connect, fetch_ticket
from node.claims import claim as pay
from node.client import ValidatorClient
from node.command import PATH, Session, example, session_options
from node.mirror import fetch_leaves
from node.wallet import find_wallet, read_password, unlock
from protocol.errors import WalletError
from protocol.messages import ClaimTicket, Network
from protocol.payouts import derive
from protocol.rewards import RewardParameters


@click.command(epilog=example("curiosity claim --wallet alice --dry-run", "curiosity claim --wallet alice"))
@click.option("--wallet", "wallet_name", help="Wallet that earned.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--dry-run", is_flag=True, help="Say what would be paid, send nothing.")
@click.option("--derive", "derived", is_flag=True, help="First derive the amount from the ledger and compare.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain.")
@session_options(network=True)
def claim(
    session: Session,
    wallet_name: str | None,
    password_file: Path | None,
    dry_run: bool,
    derived: bool,
    rpc_url: str | None,
) -> None:
    """Claim what a wallet has earned: one transaction pays all epochs that are active."""
    from dataclasses import replace

    node = session.settings.node
    name = wallet_name or node.wallet
    if not name:
        raise WalletError("WALLET_NEEDED", "no wallet was named", "Give --wallet NAME, or set [node] wallet.")
    found = find_wallet(session.home, name)

    async def ask() -> tuple[Network, ClaimTicket]:
        async with ValidatorClient(node.validator_url, patience_s=min(node.patience_s, 10.0)) as client:
            network = await client.network()
            ticket = await fetch_ticket(client, found.address)
            if derived:
                check_ticket(ticket, derive(await fetch_leaves(client, node.log_vkey), RewardParameters()))
            return network, ticket

    network, ticket = asyncio.run(ask())
    chain_settings = session.settings.chain
    chain_settings = replace(chain_settings, rpc_url=rpc_url) if rpc_url else chain_settings
    chain = connect(chain_settings, network, session.home / "chain")
    key = b"" if dry_run else unlock(found, read_password(password_file, prompt=f"Password of {name}"))
    done = pay(chain, ticket, key, dry_run=dry_run)

    def show(_screen: object) -> None:
        if dry_run:
            session.screen.line(f"{name} would be paid {done.due_wei} wei ({_epochs(done)}); nothing was sent.")
        elif done.transaction is None:
            session.screen.line(f"Nothing is due: {done.earned_wei} wei were claimed before.")
        else:
            session.screen.line(
                f"Paid {done.paid_wei} wei ({_epochs(done)}) with {done.gas_used} gas in {done.transaction}; "
                f"balance {done.balance_before_wei} -> {done.balance_after_wei} wei."
            )
        if done.waiting_wei:
            session.screen.line(f"{done.waiting_wei} wei more wait for activation.")

    session.screen.finish(done.to_json(), show)


def _epochs(done: Claimed) -> str:
    if len(done.epochs) == 1:
        return f"epoch {done.epochs[0]}"
    return f"{len(done.epochs)} epochs, {done.epochs[0]} to {done.epochs[-1]}" if done.epochs else "no epoch"
