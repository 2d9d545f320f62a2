"""`curiosity claim`."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ExitCode
from node.command import PATH, Session, chain_settings, ledger_source, session_options, wallet_named
from node.completion import WALLET_NAME

_JOURNALS = "chain"  # below the home


@click.command(
    epilog=example(
        "curiosity claim --wallet alice --dry-run",
        "curiosity claim --wallet alice",
        "curiosity claim --wallet alice --to 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "curiosity claim --wallet alice --permit alice.permit",
        "curiosity claim --wallet bob --relay alice.permit",
    )
)
@click.option(
    "--wallet",
    "wallet_name",
    type=WALLET_NAME,
    help="Wallet that earned; with --relay or --account the one that pays the gas.",
)
@click.option("--account", help="Address that earned, if it is not the wallet's: it is paid, the wallet pays the gas.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--dry-run", is_flag=True, help="Say what would be paid and what it costs; send nothing.")
@click.option(
    "--derive/--no-derive",
    "derived",
    default=None,
    help="Derive the amounts from the ledger or fail; or use the validator's ticket. By default, derive if possible.",
)
@click.option(
    "--entries",
    type=PATH,
    help="A mirror's folder, or a file of one leaf a line, to derive from without the validator.",
)
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain.")
@click.option("--to", "to", metavar="ADDRESS", help="Pay it to another address, such as a cold wallet's.")
@click.option(
    "--permit", type=PATH, metavar="FILE", help="Write a signed permission that anybody can relay; costs no gas."
)
@click.option(
    "--valid-days",
    type=click.IntRange(1, 365),
    default=30,
    show_default=True,
    help="Days until the permission expires.",
)
@click.option("--relay", type=PATH, metavar="FILE", help="Send somebody's permission and pay its gas.")
@click.option("--signature", help="The account's signature, for a permission that was written unsigned.")
@click.option("--activate", is_flag=True, help="First activate epochs whose delay is over, if nobody has.")
@click.option("--as-posted", is_flag=True, help="Also claim epochs whose root differs from the ledger's.")
@click.option("--all", "everything", is_flag=True, help="Show every epoch with its pairs, claimed ones too.")
@session_options(network=True)
def claim(
    session: Session,
    wallet_name: str | None,
    account: str | None,
    password_file: Path | None,
    dry_run: bool,
    derived: bool | None,
    entries: Path | None,
    rpc_url: str | None,
    to: str | None,
    permit: Path | None,
    valid_days: int,
    relay: Path | None,
    signature: str | None,
    activate: bool,
    as_posted: bool,
    everything: bool,
) -> int:
    """Show what a wallet earned, for which pairs, and whether it is paid; claim what is due in one transaction."""
    from curiosity.chain.connect import connect
    from curiosity.rewards import claim as rewards
    from curiosity.rewards.claim import ClaimOrder
    from curiosity.rewards.permits import parse_address
    from node.claim_report import claim_json, show_claim
    from node.prompts import unlock_wallet
    from node.screen import Stages, tell_errors

    if relay is not None and (account or to or permit or activate):
        raise click.UsageError("--relay sends a permission as it is; leave --account, --to, --permit, --activate out")
    if account is not None and to and permit is None:
        raise click.UsageError("only the account itself can say where its money goes: write a --permit for it to sign")
    if permit is not None and dry_run:
        raise click.UsageError("--permit sends nothing as it is; leave --dry-run out")
    if signature is not None and relay is None:
        raise click.UsageError("--signature belongs to a permission: give --relay")
    chain = partial(connect, chain_settings(session, rpc_url), journal_folder=session.home / _JOURNALS)
    if relay is not None:
        return _relay(session, rpc_url, wallet_name, password_file, relay, _signature(signature), dry_run=dry_run)
    sends = not dry_run and (permit is None or activate)
    needs_wallet = account is None or sends or bool(wallet_name or session.settings.node.wallet)
    wallet = wallet_named(session, wallet_name) if needs_wallet else None
    order = ClaimOrder(
        account=parse_address(account) if account is not None else wallet_named(session, wallet_name).address,
        payer=wallet.address if wallet is not None else None,
        recipient=parse_address(to) if to is not None else None,
        is_dry=dry_run,
        activates=activate,
        derives=derived,
        as_posted=as_posted,
    )
    source = ledger_source(session, entries)
    with Stages(session.screen) as progress:

        @cache
        def key() -> bytes:
            progress.close()
            return unlock_wallet(wallet or wallet_named(session, wallet_name), password_file)

        if permit is not None:
            done = rewards.permit(source, chain, order, key, permit, valid_days, progress=progress)
        else:
            done = rewards.claim(source, chain, order, key, progress=progress)
    name = wallet.name if wallet is not None else None
    session.screen.finish(
        claim_json(done, order, name, permit),
        lambda screen: show_claim(screen, done, order, name, permit, everything=everything, with_pairs=dry_run),
    )
    return tell_errors(session.screen, done.problems, done.error)


def _relay(
    session: Session,
    rpc_url: str | None,
    wallet_name: str | None,
    password_file: Path | None,
    path: Path,
    signature: bytes | None,
    *,
    dry_run: bool,
) -> int:
    from curiosity.chain.connect import connect_to
    from curiosity.rewards import relay as relaying
    from curiosity.rewards.permits import read_permit
    from node.claim_report import relay_json, show_relayed
    from node.prompts import unlock_wallet

    wallet = wallet_named(session, wallet_name)
    chain = partial(connect_to, chain_settings(session, rpc_url), journal_folder=session.home / _JOURNALS)
    done = relaying.relay(
        chain,
        read_permit(path, signature),
        wallet.address,
        lambda: unlock_wallet(wallet, password_file),
        is_dry=dry_run,
    )
    session.screen.finish(relay_json(done, wallet, path), lambda screen: show_relayed(screen, done, wallet.name))
    return int(ExitCode.OK)


def _signature(text: str | None) -> bytes | None:
    from curiosity.protocol.wire import from_hex

    if text is None:
        return None
    try:
        return from_hex(text.lower(), 65)
    except ValueError as error:
        raise click.UsageError(f"--signature: {error}") from None
