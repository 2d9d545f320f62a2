"""Secrets that a command needs: from a file where one is named, else typed by a person, and never an argument."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from curiosity.client.key_files import read_phrase_file
from curiosity.client.phrase import check_phrase
from curiosity.client.wallet import Wallet, read_password_file, unlock
from curiosity.protocol.errors import WalletError

ENV_PASSWORD_FILE: Final = "CURIOSITY_PASSWORD_FILE"  # noqa: S105 - the name of a variable that names a file


def read_password(password_file: Path | None, *, prompt: str, confirm: bool = False) -> str:
    """Return the password from a file (argument or $CURIOSITY_PASSWORD_FILE), or ask for it.

    Raises:
        WalletError: WALLET_PASSWORD_FILE if the file cannot be read, WALLET_PASSWORD_NEEDED if nobody can be asked.
    """
    named = password_file or (Path(os.environ[ENV_PASSWORD_FILE]) if os.environ.get(ENV_PASSWORD_FILE) else None)
    if named is not None:
        return read_password_file(named)
    return _ask(prompt, confirm, "the wallet's password", f"Give --password-file, or set ${ENV_PASSWORD_FILE}.")


def read_passphrase(passphrase_file: Path | None, *, ask: bool, confirm: bool = False) -> str:
    """Return the passphrase of BIP-39 words: from a file, or typed if ``ask``, else the empty one.

    Raises:
        WalletError: WALLET_PASSWORD_FILE, WALLET_PASSWORD_NEEDED.
    """
    if passphrase_file is not None:
        return read_password_file(passphrase_file)
    if not ask:
        return ""
    return _ask("Passphrase of the words", confirm, "the passphrase", "Give --passphrase-file.")


def read_phrase(phrase_file: Path | None) -> str:
    """Return BIP-39 words from a file, or typed in without being shown.

    Raises:
        WalletError: WALLET_KEY_FILE, WALLET_PASSWORD_NEEDED, and what `curiosity.client.phrase.check_phrase` raises.
    """
    if phrase_file is not None:
        return read_phrase_file(phrase_file)
    if not sys.stdin.isatty():
        raise WalletError(
            "WALLET_PASSWORD_NEEDED", "the words are needed and there is no terminal to ask on", "Give --mnemonic-file."
        )
    return check_phrase(str(click.prompt("Words", hide_input=True, err=True)))


def unlock_wallet(wallet: Wallet, password_file: Path | None) -> bytes:
    """Return the wallet's private key, with the password from a file or typed.

    Raises:
        WalletError: What `read_password` and `curiosity.client.wallet.unlock` raise.
    """
    return unlock(wallet, read_password(password_file, prompt=f"Password of {wallet.name}"))


def _ask(prompt: str, confirm: bool, what: str, remedy: str) -> str:
    if not sys.stdin.isatty():
        raise WalletError("WALLET_PASSWORD_NEEDED", f"{what} is needed and there is no terminal to ask on", remedy)
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
