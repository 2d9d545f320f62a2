"""`curiosity wallet`."""

import sys
from pathlib import Path

import click

from curiosity.client.amounts import show_coins
from curiosity.client.keystore import open_keystore
from curiosity.client.phrase import WORD_COUNTS, account_path, check_path, check_phrase, key_of_phrase, new_phrase
from curiosity.client.wallet import address_of_key, create_wallet, find_wallet, survey_wallets
from curiosity.host.console import example
from curiosity.host.files import read_secret
from curiosity.protocol.errors import WalletError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.signing import address_of, checksum, parse_private_key
from curiosity.rewards.permits import parse_address
from node.command import PATH, Callback, Session, session_options
from node.commands.wallet_money import balance, remove, send
from node.prompts import read_passphrase, read_password, unlock_wallet

_password_file = click.option("--password-file", type=PATH, help="File with the password; else you are asked.")


def _phrase_options(command: Callback) -> Callback:
    """Which account below BIP-39 words is meant."""
    for option in reversed(
        [
            click.option(
                "--passphrase", "ask", is_flag=True, help="The words have a passphrase beside them: ask for it."
            ),
            click.option("--passphrase-file", type=PATH, help="File with that passphrase."),
            click.option(
                "--account-index", type=click.IntRange(0), default=0, show_default=True, help="Which account."
            ),
            click.option("--path", "path", help="Derivation path; by default m/44'/60'/0'/0/INDEX (BIP-44)."),
        ]
    ):
        command = option(command)
    return command


def _path(path: str | None, account_index: int) -> str:
    return check_path(path) if path is not None else account_path(account_index)


@click.group(epilog=example("curiosity wallet new alice", "curiosity wallet balance alice"))
def wallet() -> None:
    """Make, list, import, export and remove wallets (Ethereum keystore v3); show balances, send."""


wallet.add_command(balance)
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
@_phrase_options
@_password_file
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
    where = _path(path, account_index)
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
    wallets, wrong = survey_wallets(session.home)
    found = [one.describe() for one in wallets]
    rows = [(one["name"], one["address"], one["path"]) for one in found]

    def show(_screen: object) -> None:
        session.screen.table("", ("name", "address", "file"), rows)
        for error in wrong:
            session.screen.line(str(error))

    session.screen.finish({"wallets": found, "unusable": [error.to_json() for error in wrong]}, show)


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
    key = "0x" + unlock_wallet(found, password_file).hex()
    session.screen.finish({**found.describe(), "private_key": key}, lambda screen: screen.line(key))


@wallet.command(epilog=example("curiosity wallet fund alice"))
@click.argument("name")
@session_options()
def fund(session: Session, name: str) -> None:
    """Give a wallet coins for gas from the embedded chain's faucet (development chains only)."""
    from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
    from curiosity.chain.chain import ChainConfig
    from curiosity.chain.evm import ChainClient
    from node.demo.stage import GAS_MONEY_WEI

    found = find_wallet(session.home, name)
    chain = ChainClient.connect(ChainConfig(session.settings.chain.rpc_url, DEFAULT_CHAIN_ID))
    chain.fund(DevChain().private_key(0), found.address, eth_wei=GAS_MONEY_WEI)
    session.screen.finish(
        {**found.describe(), "funded_wei": str(GAS_MONEY_WEI)},
        lambda screen: screen.line(f"{name} was given {show_coins(GAS_MONEY_WEI)} for gas."),
    )


def _open(text: str, source: Path, password: str) -> bytes:
    try:
        return open_keystore(read_json(text), password, source)
    except ValueError:
        raise WalletError("WALLET_KEY_FILE", f"{source} is no JSON", "Name a keystore v3 file.") from None


@wallet.command(
    epilog=example("curiosity wallet addresses --mnemonic-file words.txt", "curiosity wallet addresses --count 20")
)
@click.option("--mnemonic-file", type=PATH, help="File with BIP-39 words; else you are asked for them.")
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many accounts.")
@click.option("--passphrase", "ask", is_flag=True, help="The words have a passphrase beside them: ask for it.")
@click.option("--passphrase-file", type=PATH, help="File with that passphrase.")
@session_options()
def addresses(
    session: Session, mnemonic_file: Path | None, count: int, ask: bool, passphrase_file: Path | None
) -> None:
    """Show the first accounts below BIP-39 words, to find the one that you mean; nothing is kept."""
    phrase = _read_phrase(mnemonic_file)
    passphrase = read_passphrase(passphrase_file, ask=ask)
    found = []
    for index in range(count):
        path = account_path(index)
        found.append(
            {"index": index, "path": path, "address": checksum(address_of(key_of_phrase(phrase, passphrase, path)))}
        )
    rows = [tuple(one.values()) for one in found]
    session.screen.finish({"addresses": found}, lambda screen: screen.table("", ("index", "path", "address"), rows))


def _read_phrase(source: Path | None) -> str:
    """Return BIP-39 words from a file, or typed in without being shown."""
    if source is not None:
        return check_phrase(_read_text(source))
    if not sys.stdin.isatty():
        raise WalletError(
            "WALLET_PASSWORD_NEEDED", "the words are needed and nobody can be asked", "Give --mnemonic-file."
        )
    return check_phrase(str(click.prompt("Words", hide_input=True, err=True)))


def _read_text(source: Path) -> str:
    try:
        return read_secret(source).strip()
    except OSError as error:
        raise WalletError("WALLET_KEY_FILE", f"{source}: {error.strerror}", "Name a readable file.") from None
    except ValueError as error:
        raise WalletError("WALLET_KEY_FILE", f"{source} {error}", "Name a text file.") from None


@wallet.command(
    "import",
    epilog=example(
        "curiosity wallet import bob --key-file bob.key",
        "curiosity wallet import carol --mnemonic --account-index 2",
        "curiosity wallet import carol --mnemonic-file words.txt --passphrase --address 0xADDRESS",
    ),
)
@click.argument("name")
@click.option("--key-file", type=PATH, help="File with 64 hex digits, or a keystore v3 file.")
@click.option("--mnemonic-file", type=PATH, help="File with BIP-39 words.")
@click.option("--mnemonic", is_flag=True, help="Ask for BIP-39 words.")
@click.option("--address", help="Address that the wallet must have; any other is refused.")
@_phrase_options
@_password_file
@session_options()
def import_(
    session: Session,
    name: str,
    key_file: Path | None,
    mnemonic_file: Path | None,
    mnemonic: bool,
    address: str | None,
    ask: bool,
    passphrase_file: Path | None,
    account_index: int,
    path: str | None,
    password_file: Path | None,
) -> None:
    """Make a wallet from a key, a keystore (with its password) or words that you have."""
    if [key_file is not None, mnemonic_file is not None, mnemonic].count(True) != 1:
        raise click.UsageError("give one of --key-file, --mnemonic-file and --mnemonic")
    where = "" if key_file is not None else _path(path, account_index)
    if key_file is not None:
        key = _read_key(key_file, password_file)
    else:
        phrase = _read_phrase(mnemonic_file)
        key = key_of_phrase(phrase, read_passphrase(passphrase_file, ask=ask), where)
    if address is not None and (meant := parse_address(address)) != address_of_key(key):
        raise WalletError(
            "WALLET_ADDRESS_DIFFERS",
            f"it is the key of {checksum(address_of_key(key))}, not of {checksum(meant)}",
            "Try another --account-index or --path, or the passphrase again: none of them is ever wrong, only another.",
        )
    password = read_password(password_file, prompt=f"Password for {name}", confirm=True)
    made = create_wallet(session.home, name, password, scrypt_n=session.settings.node.scrypt_n, private_key=key)
    beside = f" ({where})" if where else ""
    session.screen.finish(
        made.describe() | ({"path": where} if where else {}),
        lambda screen: screen.line(f"{made.name}: {checksum(made.address)}{beside}"),
    )


def _read_key(source: Path, password_file: Path | None) -> bytes:
    text = _read_text(source)
    if text.startswith("{"):
        return _open(text, source, read_password(password_file, prompt=f"Password of {source}"))
    try:
        return parse_private_key(text)
    except ValueError as error:
        raise WalletError(
            "WALLET_KEY_INVALID", f"{source} holds no private key: {error}", "Write 64 hex digits, nothing else."
        ) from None
