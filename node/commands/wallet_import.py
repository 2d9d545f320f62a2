"""`curiosity wallet import` and `addresses`: keys and words that somebody has already."""

from __future__ import annotations

from pathlib import Path

import click

from curiosity.host.console import example
from node.command import PATH, Callback, Session, session_options

password_file_option = click.option("--password-file", type=PATH, help="File with the password; else you are asked.")


def phrase_options(command: Callback) -> Callback:
    """Add the options that say which account below BIP-39 words is meant."""
    for option in reversed(
        [
            click.option("--passphrase", "ask", is_flag=True, help="Ask for the passphrase of the words."),
            click.option("--passphrase-file", type=PATH, help="File with the passphrase of the words."),
            click.option(
                "--account-index", type=click.IntRange(0), default=0, show_default=True, help="Which account."
            ),
            click.option("--path", "path", help="Derivation path; by default m/44'/60'/0'/0/INDEX (BIP-44)."),
        ]
    ):
        command = option(command)
    return command


def chosen_path(path: str | None, account_index: int) -> str:
    """Return the derivation path that these options name."""
    from curiosity.client.phrase import account_path, check_path

    return check_path(path) if path is not None else account_path(account_index)


@click.command(
    epilog=example("curiosity wallet addresses --mnemonic-file words.txt", "curiosity wallet addresses --count 20")
)
@click.option("--mnemonic-file", type=PATH, help="File with BIP-39 words; else you are asked for them.")
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many accounts.")
@click.option("--passphrase", "ask", is_flag=True, help="Ask for the passphrase of the words.")
@click.option("--passphrase-file", type=PATH, help="File with the passphrase of the words.")
@session_options()
def addresses(
    session: Session, mnemonic_file: Path | None, count: int, ask: bool, passphrase_file: Path | None
) -> None:
    """Show the first accounts below BIP-39 words, to find the one that you mean; nothing is kept."""
    from curiosity.client.phrase import list_accounts
    from curiosity.protocol.signing import checksum
    from node.prompts import read_passphrase, read_phrase

    phrase = read_phrase(mnemonic_file)
    accounts = list_accounts(phrase, read_passphrase(passphrase_file, ask=ask), count)
    rows = [(index, path, checksum(address)) for index, (path, address) in enumerate(accounts)]
    found = [{"index": index, "path": path, "address": address} for index, path, address in rows]
    session.screen.finish({"addresses": found}, lambda screen: screen.table("", ("index", "path", "address"), rows))


@click.command(
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
@phrase_options
@password_file_option
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
    from curiosity.client.key_files import check_owner, read_key_file
    from curiosity.client.phrase import key_of_phrase
    from curiosity.client.wallet import create_wallet
    from curiosity.protocol.signing import checksum
    from curiosity.rewards.permits import parse_address
    from node.prompts import read_passphrase, read_password, read_phrase

    if [key_file is not None, mnemonic_file is not None, mnemonic].count(True) != 1:
        raise click.UsageError("give one of --key-file, --mnemonic-file and --mnemonic")
    where = "" if key_file is not None else chosen_path(path, account_index)
    if key_file is not None:
        key = read_key_file(key_file, lambda: read_password(password_file, prompt=f"Password of {key_file}"))
    else:
        phrase = read_phrase(mnemonic_file)
        key = key_of_phrase(phrase, read_passphrase(passphrase_file, ask=ask), where)
    if address is not None:
        check_owner(key, parse_address(address))
    password = read_password(password_file, prompt=f"Password for {name}", confirm=True)
    made = create_wallet(session.home, name, password, scrypt_n=session.settings.node.scrypt_n, private_key=key)
    beside = f" ({where})" if where else ""
    session.screen.finish(
        made.describe() | ({"path": where} if where else {}),
        lambda screen: screen.line(f"{made.name}: {checksum(made.address)}{beside}"),
    )
