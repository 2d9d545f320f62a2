"""`curiosity wallet`."""

import json
from pathlib import Path

import click

from node.command import PATH, Session, example, session_options
from node.wallet import (
    create_wallet,
    find_wallet,
    key_of_mnemonic,
    list_wallets,
    new_mnemonic,
    open_keystore,
    read_password,
    unlock,
)
from protocol.errors import WalletError

_password_file = click.option("--password-file", type=PATH, help="File with the password; else you are asked.")


@click.group(epilog=example("curiosity wallet new alice"))
def wallet() -> None:
    """Make, list, import and export wallets (Ethereum keystore v3)."""


@wallet.command(epilog=example("curiosity wallet new alice", "curiosity wallet new alice --mnemonic"))
@click.argument("name")
@click.option("--mnemonic", is_flag=True, help="Make it from twelve BIP-39 words and show them once.")
@_password_file
@session_options()
def new(session: Session, name: str, mnemonic: bool, password_file: Path | None) -> None:
    """Make a wallet NAME, encrypted with a password."""
    words, key = new_mnemonic() if mnemonic else ("", None)
    password = read_password(password_file, prompt=f"Password for {name}", confirm=True)
    made = create_wallet(session.home, name, password, scrypt_n=session.settings.node.scrypt_n, private_key=key)
    result = made.describe() | ({"mnemonic": words} if mnemonic else {})

    def show(_screen: object) -> None:
        session.screen.line(f"{made.name}: {result['address']}")
        session.screen.line(f"Kept in {made.path}; without its password nobody can open it, not even you.")
        if mnemonic:
            session.screen.line(f"Write these words down, they are not shown again: {words}")

    session.screen.finish(result, show)


@wallet.command("list", epilog=example("curiosity wallet list"))
@session_options()
def list_(session: Session) -> None:
    """List the wallets on this machine."""
    found = [one.describe() for one in list_wallets(session.home)]
    rows = [(one["name"], one["address"], one["path"]) for one in found]
    session.screen.finish({"wallets": found}, lambda screen: screen.table("", ("name", "address", "file"), rows))


@wallet.command(epilog=example("curiosity wallet show alice"))
@click.argument("name")
@session_options()
def show(session: Session, name: str) -> None:
    """Show a wallet's address and file."""
    found = find_wallet(session.home, name).describe()
    session.screen.finish(found, lambda screen: screen.line(f"{found['name']}: {found['address']} ({found['path']})"))


@wallet.command(epilog=example("curiosity wallet export alice", "curiosity wallet export alice --private-key --yes"))
@click.argument("name")
@click.option("--private-key", is_flag=True, help="Print the key itself. Whoever sees it owns the wallet.")
@click.option("--yes", is_flag=True, help="Do not ask whether you mean it.")
@_password_file
@session_options()
def export(session: Session, name: str, private_key: bool, yes: bool, password_file: Path | None) -> None:
    """Print where the keystore is, or the private key."""
    found = find_wallet(session.home, name)
    if not private_key:
        session.screen.finish(found.describe(), lambda screen: screen.line(str(found.path)))
        return
    if not yes and not click.confirm(f"Print the private key of {name} on this screen?", err=True):
        raise click.Abort
    key = "0x" + unlock(found, read_password(password_file, prompt=f"Password of {name}")).hex()
    session.screen.finish({**found.describe(), "private_key": key}, lambda screen: screen.line(key))


@wallet.command(epilog=example("curiosity wallet fund alice"))
@click.argument("name")
@session_options()
def fund(session: Session, name: str) -> None:
    """Give a wallet coins for gas from the embedded chain's faucet (development chains only)."""
    from contracts.chain import ChainConfig
    from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
    from contracts.evm import ChainClient
    from node.demo.stage import GAS_MONEY_WEI

    found = find_wallet(session.home, name)
    chain = ChainClient.connect(ChainConfig(session.settings.chain.rpc_url, DEFAULT_CHAIN_ID))
    chain.fund(DevChain().private_key(0), found.address, eth_wei=GAS_MONEY_WEI)
    session.screen.finish(
        {**found.describe(), "funded_wei": str(GAS_MONEY_WEI)},
        lambda screen: screen.line(f"{name} was given {GAS_MONEY_WEI / 1e18:g} coins for gas."),
    )


def _open(text: str, source: Path, password: str) -> bytes:
    try:
        return open_keystore(json.loads(text), password, source)
    except ValueError:
        raise WalletError("WALLET_KEY_FILE", f"{source} is no JSON", "Name a keystore v3 file.") from None


@wallet.command("import", epilog=example("curiosity wallet import bob --key-file bob.key"))
@click.argument("name")
@click.option("--key-file", type=PATH, help="File with 64 hex digits, or a keystore v3 file.")
@click.option("--mnemonic-file", type=PATH, help="File with BIP-39 words.")
@_password_file
@session_options()
def import_(
    session: Session, name: str, key_file: Path | None, mnemonic_file: Path | None, password_file: Path | None
) -> None:
    """Make a wallet from a key, a keystore (with its password) or words that you have."""
    if (key_file is None) == (mnemonic_file is None):
        raise click.UsageError("give either --key-file or --mnemonic-file")
    source = key_file or mnemonic_file
    assert source is not None
    try:
        text = source.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WalletError("WALLET_KEY_FILE", f"{source}: {error}", "Name a readable text file.") from None
    if mnemonic_file is not None:
        key = key_of_mnemonic(text)
    elif text.startswith("{"):
        key = _open(text, source, read_password(password_file, prompt=f"Password of {source}"))
    else:
        try:
            key = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            raise WalletError("WALLET_KEY_INVALID", f"{source} holds no hex key", "Write 64 hex digits.") from None
    password = read_password(password_file, prompt=f"Password for {name}", confirm=True)
    made = create_wallet(session.home, name, password, scrypt_n=session.settings.node.scrypt_n, private_key=key)
    session.screen.finish(made.describe(), lambda screen: screen.line(f"{made.name}: {made.describe()['address']}"))
