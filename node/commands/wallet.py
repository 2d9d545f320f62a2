"""`curiosity wallet`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from curiosity.client.amounts import show_coins
from curiosity.client.phrase import WORD_COUNTS
from curiosity.host.console import example
from node.command import Session, session_options
from node.commands.wallet_import import addresses, chosen_path, import_, password_file_option, phrase_options
from node.commands.wallet_money import balance, remove, send
from node.completion import WALLET_NAME


@click.group(epilog=example("curiosity wallet new alice", "curiosity wallet balance alice"))
def wallet() -> None:
    """Make, list, import, export and remove wallets (Ethereum keystore v3); show balances, send."""


wallet.add_command(addresses)
wallet.add_command(balance)
wallet.add_command(import_)
wallet.add_command(send)
wallet.add_command(remove)


@wallet.command(
    epilog=example(
        "curiosity wallet new alice",
        "curiosity wallet new alice --mnemonic",
        "curiosity wallet new alice --mnemonic --words 24 --passphrase",
    )
)
@click.argument("name")
@click.option("--mnemonic", is_flag=True, help="Make it from new BIP-39 words and show them once.")
@click.option("--words", type=click.Choice([str(count) for count in WORD_COUNTS]), default="12", show_default=True)
@phrase_options
@password_file_option
@session_options()
def new(
    session: Session,
    name: str,
    mnemonic: bool,
    words: str,
    ask: bool,
    passphrase_file: Path | None,
    account_index: int,
    path: str | None,
    password_file: Path | None,
) -> None:
    """Make a wallet NAME, encrypted with a password."""
    from curiosity.client.phrase import key_of_phrase, new_phrase
    from curiosity.client.wallet import create_wallet
    from curiosity.protocol.signing import checksum
    from node.prompts import read_passphrase, read_password

    where = chosen_path(path, account_index)
    phrase = new_phrase(int(words)) if mnemonic else ""
    passphrase = read_passphrase(passphrase_file, ask=ask, confirm=True) if mnemonic else ""
    key = key_of_phrase(phrase, passphrase, where) if mnemonic else None
    password = read_password(password_file, prompt=f"Password for {name}", confirm=True)
    made = create_wallet(session.home, name, password, scrypt_n=session.settings.node.scrypt_n, private_key=key)
    result = made.describe() | ({"mnemonic": phrase, "path": where} if mnemonic else {})

    def show(_screen: object) -> None:
        session.screen.line(f"{made.name}: {checksum(made.address)}")
        session.screen.line(f"Kept in {made.path}; without its password nobody can open it, not even you.")
        if mnemonic:
            beside = ", with the passphrase that you chose," if passphrase else ""
            session.screen.line(f"These words{beside} make the wallet again, at {where}. Write them down, they are not")
            session.screen.line(f"shown again: {phrase}")

    session.screen.finish(result, show)


@wallet.command("list", epilog=example("curiosity wallet list"))
@session_options()
def list_(session: Session) -> None:
    """List the wallets on this machine."""
    from curiosity.client.wallet import survey_wallets

    wallets, wrong = survey_wallets(session.home)
    found = [one.describe() for one in wallets]
    rows = [(one["name"], one["address"], one["path"]) for one in found]

    def show(_screen: object) -> None:
        session.screen.table("", ("name", "address", "file"), rows)
        for error in wrong:
            session.screen.line(str(error))

    session.screen.finish({"wallets": found, "unusable": [error.to_json() for error in wrong]}, show)


@wallet.command(epilog=example("curiosity wallet show alice"))
@click.argument("name", type=WALLET_NAME)
@session_options()
def show(session: Session, name: str) -> None:
    """Show a wallet's address and file."""
    from curiosity.client.wallet import find_wallet

    found = find_wallet(session.home, name).describe()
    session.screen.finish(found, lambda screen: screen.line(f"{found['name']}: {found['address']} ({found['path']})"))


@wallet.command(epilog=example("curiosity wallet export alice", "curiosity wallet export alice --private-key --yes"))
@click.argument("name", type=WALLET_NAME)
@click.option("--private-key", is_flag=True, help="Print the key itself. Whoever sees it owns the wallet.")
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@password_file_option
@session_options()
def export(session: Session, name: str, private_key: bool, yes: bool, password_file: Path | None) -> None:
    """Print where the keystore is, or the private key."""
    from curiosity.client.wallet import find_wallet
    from node.prompts import unlock_wallet

    found = find_wallet(session.home, name)
    if not private_key:
        session.screen.finish(found.describe(), lambda screen: screen.line(str(found.path)))
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("a shown key cannot be hidden again and there is no terminal to ask on; give --yes")
        if not click.confirm(f"Print the private key of {name} on this screen?", err=True):
            raise click.Abort
    key = "0x" + unlock_wallet(found, password_file).hex()
    session.screen.finish({**found.describe(), "private_key": key}, lambda screen: screen.line(key))


@wallet.command(epilog=example("curiosity wallet fund alice"))
@click.argument("name", type=WALLET_NAME)
@session_options()
def fund(session: Session, name: str) -> None:
    """Give a wallet coins for gas from the embedded chain's faucet (development chains only)."""
    from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
    from curiosity.chain.chain import ChainConfig
    from curiosity.chain.evm import ChainClient
    from curiosity.client.wallet import find_wallet
    from node.demo.stage import GAS_MONEY_WEI

    found = find_wallet(session.home, name)
    chain = ChainClient.connect(ChainConfig(session.settings.chain.rpc_url, DEFAULT_CHAIN_ID))
    chain.fund(DevChain().private_key(0), found.address, eth_wei=GAS_MONEY_WEI)
    session.screen.finish(
        {**found.describe(), "funded_wei": str(GAS_MONEY_WEI)},
        lambda screen: screen.line(f"{name} was given {show_coins(GAS_MONEY_WEI)} for gas."),
    )
