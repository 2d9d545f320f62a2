"""Wallets: secp256k1 keys in Ethereum keystore v3 files, opened by a password that is never an argument."""

import json
import os
import resource
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from protocol.errors import WalletError
from protocol.signing import address_of, checksum

ENV_PASSWORD_FILE = "CURIOSITY_PASSWORD_FILE"  # noqa: S105 - the name of a variable that names a file
DEFAULT_SCRYPT_N = 2**18


@dataclass(frozen=True)
class Wallet:
    """A wallet file, still locked."""

    name: str
    address: bytes
    path: Path

    def describe(self) -> dict[str, str]:
        """Return name, address and path as shown to people."""
        return {"name": self.name, "address": checksum(self.address), "path": str(self.path)}


def wallet_path(home: Path, name: str) -> Path:
    """Return where a wallet of that name is kept. Raises WalletError WALLET_NAME for a name that is no file name."""
    if not name or name != Path(name).name or name.startswith("."):
        raise WalletError("WALLET_NAME", f"{name!r} is no name for a wallet", "Use letters, digits, - and _.")
    return home / "wallets" / f"{name}.json"


def create_wallet(
    home: Path, name: str, password: str, *, scrypt_n: int = DEFAULT_SCRYPT_N, private_key: bytes | None = None
) -> Wallet:
    """Write a new keystore v3 file, mode 0600, and return it. Makes a random key unless one is given.

    Raises WalletError: WALLET_NAME, WALLET_EXISTS, WALLET_PASSWORD_EMPTY, WALLET_KEY_INVALID, WALLET_NOT_WRITTEN.
    """
    from eth_keyfile.keyfile import create_keyfile_json

    path = wallet_path(home, name)
    if path.exists():
        raise WalletError("WALLET_EXISTS", f"{path} exists", "Choose another name; nothing was overwritten.")
    if not password:
        raise WalletError("WALLET_PASSWORD_EMPTY", "the password has 0 characters", "Choose one of 12 or more.")
    key = private_key or secrets.token_bytes(32)
    try:
        address = address_of(key)
    except ValueError:
        raise WalletError(
            "WALLET_KEY_INVALID", f"{len(key)} bytes are no private key", "Give 32 bytes of hex."
        ) from None
    keystore = create_keyfile_json(key, password.encode(), kdf="scrypt", iterations=scrypt_n)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(keystore, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WalletError(
            "WALLET_NOT_WRITTEN", f"{path}: {error.strerror}", "Free space or permissions there."
        ) from None
    return Wallet(name, address, path)


def find_wallet(home: Path, name: str) -> Wallet:
    """Return the wallet of that name. Raises WalletError: WALLET_MISSING (naming those there), WALLET_UNREADABLE."""
    path = wallet_path(home, name)
    try:
        content = json.loads(path.read_text())
        return Wallet(name, bytes.fromhex(content["address"].removeprefix("0x")), path)
    except FileNotFoundError:
        names = ", ".join(wallet.name for wallet in list_wallets(home)) or "none"
        raise WalletError(
            "WALLET_MISSING",
            f"no wallet {name!r} in {path.parent}; there: {names}",
            f"Try: curiosity wallet new {name}",
        ) from None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WalletError(
            "WALLET_UNREADABLE", f"{path} is no keystore ({type(error).__name__})", "Restore it from a backup."
        ) from None


def list_wallets(home: Path) -> list[Wallet]:
    """Return the wallets in ``home`` that can be read, by name."""
    found = []
    for path in sorted((home / "wallets").glob("*.json")):
        try:
            found.append(find_wallet(home, path.stem))
        except WalletError:
            continue
    return found


def unlock(wallet: Wallet, password: str) -> bytes:
    """Return the private key. Raises WalletError: WALLET_PASSWORD_WRONG, WALLET_UNREADABLE.

    From now on this process leaves no core dump, which would hold the key.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        key = open_keystore(json.loads(wallet.path.read_text()), password, wallet.path)
    except (OSError, ValueError) as error:
        raise WalletError(
            "WALLET_UNREADABLE", f"{wallet.path}: {type(error).__name__}", "Restore it from a backup."
        ) from None
    if address_of(key) != wallet.address:
        raise WalletError(
            "WALLET_UNREADABLE",
            f"{wallet.path} names {checksum(wallet.address)}, its key is of {checksum(address_of(key))}",
            "Restore it from a backup; the address in the file was changed.",
        )
    return key


def open_keystore(keystore: Any, password: str, path: Path) -> bytes:
    """Return the private key in a keystore v3 document. Raises WalletError as `unlock` does."""
    from eth_keyfile.keyfile import decode_keyfile_json

    try:
        return bytes(decode_keyfile_json(keystore, password.encode()))
    except ValueError as error:
        if "MAC" in str(error):
            raise WalletError("WALLET_PASSWORD_WRONG", f"the password does not open {path}", "Type it again.") from None
        raise WalletError("WALLET_UNREADABLE", f"{path}: {error}", "Restore it from a backup.") from None
    except (KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise WalletError("WALLET_UNREADABLE", f"{path}: {type(error).__name__}", "Restore it from a backup.") from None


def read_password(password_file: Path | None, *, prompt: str, confirm: bool = False) -> str:
    """Return the password from a file (argument or $CURIOSITY_PASSWORD_FILE), or ask for it.

    Raises WalletError: WALLET_PASSWORD_FILE if the file cannot be read, WALLET_PASSWORD_NEEDED if nobody can be asked.
    """
    named = password_file or (Path(os.environ[ENV_PASSWORD_FILE]) if os.environ.get(ENV_PASSWORD_FILE) else None)
    if named is not None:
        return _read_secret(named)
    if not sys.stdin.isatty():
        raise WalletError(
            "WALLET_PASSWORD_NEEDED",
            "the wallet's password is needed and nobody can be asked",
            f"Give --password-file, or set ${ENV_PASSWORD_FILE}.",
        )
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


def read_passphrase(passphrase_file: Path | None, *, ask: bool, confirm: bool = False) -> str:
    """Return the passphrase that stands beside BIP-39 words: from a file, or asked for, or none.

    Raises WalletError: WALLET_PASSWORD_FILE, WALLET_PASSWORD_NEEDED.
    """
    if passphrase_file is None and not ask:
        return ""
    if passphrase_file is None and not sys.stdin.isatty():
        raise WalletError(
            "WALLET_PASSWORD_NEEDED", "the passphrase is needed and nobody can be asked", "Give --passphrase-file."
        )
    if passphrase_file is None:
        return str(click.prompt("Passphrase of the words", hide_input=True, confirmation_prompt=confirm, err=True))
    return _read_secret(passphrase_file)


def _read_secret(path: Path) -> str:
    try:
        return path.read_text().rstrip("\r\n")
    except UnicodeDecodeError:  # its own words would show the bytes
        why = "no text"
    except OSError as error:
        why = str(error.strerror)
    raise WalletError("WALLET_PASSWORD_FILE", f"{path}: {why}", "Name a text file with it.")
