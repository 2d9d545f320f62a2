"""`curiosity wallet balance`, `send` and `remove`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.client.amounts import COIN, parse_amount, show_coins, show_tokens
from curiosity.host.console import example
from node.command import PATH, Session, ledger_source, session_options
from node.completion import WALLET_NAME

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient
    from node.screen import Screen

_JOURNALS = "chain"  # below the home, as for claims


@click.command(epilog=example("curiosity wallet balance alice", "curiosity wallet balance alice --json"))
@click.argument("name", type=WALLET_NAME)
@session_options(network=True)
def balance(session: Session, name: str) -> None:
    """Show what a wallet holds: tokens, and coins for gas. Needs no password.

    It asks the validator for the chain and the contracts: both must run.
    """
    from curiosity.client.wallet import find_wallet
    from curiosity.protocol.signing import checksum

    found = find_wallet(session.home, name)
    chain = _chain(session)
    held = chain.balances(found.address)
    result = found.describe() | {
        "token_wei": str(held.token_wei),
        "coins_wei": str(held.eth_wei),
        "token": "0x" + chain.addresses.token.hex(),
    }

    def show(screen: Screen) -> None:
        screen.line(f"{name} ({checksum(found.address)})")
        screen.line(f"  {show_tokens(held.token_wei)}")
        screen.line(f"  {show_coins(held.eth_wei)} for gas")

    session.screen.finish(result, show)


@click.command(
    epilog=example(
        "curiosity wallet send alice 0xADDRESS 12.5",
        "curiosity wallet send alice 0xADDRESS 0.01 --coins",
        "curiosity wallet send alice 0xADDRESS 12.5 --dry-run",
    )
)
@click.argument("name", type=WALLET_NAME)
@click.argument("recipient")
@click.argument("amount")
@click.option("--coins", is_flag=True, help="Send coins for gas; else tokens are sent.")
@click.option("--dry-run", is_flag=True, help="Show what it would cost; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@click.option("--password-file", type=PATH, help="File with the password; else you are asked.")
@session_options(network=True)
def send(
    session: Session,
    name: str,
    recipient: str,
    amount: str,
    coins: bool,
    dry_run: bool,
    yes: bool,
    password_file: Path | None,
) -> None:
    """Send AMOUNT tokens, in whole units such as 12.5, from wallet NAME to an address."""
    from curiosity.client.transfer import plan_transfer, send_transfer
    from curiosity.client.wallet import find_wallet
    from curiosity.protocol.signing import checksum
    from curiosity.rewards.permits import parse_address
    from node.prompts import unlock_wallet

    found = find_wallet(session.home, name)
    to = parse_address(recipient)
    try:
        amount_wei = parse_amount(amount)
    except ValueError as error:
        raise click.UsageError(f"AMOUNT: {error}") from None
    chain = _chain(session)
    plan = plan_transfer(chain, found, to, amount_wei, is_coins=coins)
    shown, quote = plan.shown, plan.quote
    cost = f"It costs about {show_coins(quote.cost_wei)} in gas, at most {show_coins(quote.most_wei)}"
    result = {
        "from": checksum(found.address),
        "to": checksum(to),
        "amount_wei": str(amount_wei),
        "unit": COIN if coins else "tokens",
        "gas": {"gas": quote.gas, "cost_wei": str(quote.cost_wei), "most_wei": str(quote.most_wei)},
        "sent": not dry_run,
    }
    if dry_run:
        session.screen.finish(
            result, lambda screen: screen.line(f"Would send {shown} to {checksum(to)}. {cost}. Nothing was sent.")
        )
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("sending cannot be undone and there is no terminal to ask on; give --yes")
        if not click.confirm(f"Send {shown} to {checksum(to)}? {cost}", err=True):
            raise click.Abort
    left = send_transfer(chain, plan, unlock_wallet(found, password_file))
    result |= {"token_wei": str(left.token_wei), "coins_wei": str(left.eth_wei)}
    session.screen.finish(
        result,
        lambda screen: screen.line(
            f"Sent {shown} to {checksum(to)}. {name} holds {show_tokens(left.token_wei)} and "
            f"{show_coins(left.eth_wei)} for gas."
        ),
    )


@click.command(epilog=example("curiosity wallet remove alice"))
@click.argument("name", type=WALLET_NAME)
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@session_options()
def remove(session: Session, name: str, yes: bool) -> None:
    """Delete a wallet's key from this machine. Without a copy of it, what the wallet holds is lost."""
    from curiosity.client.wallet import find_wallet, remove_wallet
    from curiosity.protocol.signing import checksum

    found = find_wallet(session.home, name)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("a deleted key cannot be had back and there is no terminal to ask on; give --yes")
        typed = click.prompt(f"This deletes the key of {checksum(found.address)}. Type {name} to continue", err=True)
        if typed != name:
            raise click.Abort
    remove_wallet(found)
    session.screen.finish(
        found.describe() | {"removed": True},
        lambda screen: screen.line(f"Removed {name} ({checksum(found.address)}). Its receipts are kept."),
    )


def _chain(session: Session) -> ChainClient:
    from curiosity.chain.connect import connect

    network = ledger_source(session, None).network()
    return connect(session.settings.chain, network, session.home / _JOURNALS)
