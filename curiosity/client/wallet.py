"""Wallets: secp256k1 keys in Ethereum keystore v3 files, opened by a password that is never an argument."""

import json
import os
import pwd
import re
import resource
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curiosity.client.keystore import MAX_SCRYPT_WORK, open_keystore
from curiosity.host.files import make_folder, read_secret, write_new
from curiosity.host.paths import PathRefused, inside
from curiosity.protocol.errors import WalletError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.signing import address_of, checksum

DEFAULT_SCRYPT_N = 2**18
MAX_SCRYPT_N = MAX_SCRYPT_WORK // 8
MIN_PASSWORD_CHARACTERS = 8
"""Source: NIST SP 800-63B-3, section 5.1.1.2, for secrets that a person chooses."""

_ADDRESS = re.compile(r"(0x)?[0-9a-fA-F]{40}")


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
    """Return where a wallet of that name is kept.

    Raises:
        WalletError: WALLET_NAME for a name that is not a file name.
    """
    wrong = WalletError(
        "WALLET_NAME",
        f"{name!r} cannot be the name of a wallet's file",
        "Choose a name without slashes and backslashes, which does not begin with a dot.",
    )
    if not name or name.startswith("."):
        raise wrong
    try:
        return inside(home / "wallets", f"{name}.json", one=True, links=True)
    except PathRefused:
        raise wrong from None


def create_wallet(
    home: Path, name: str, password: str, *, scrypt_n: int = DEFAULT_SCRYPT_N, private_key: bytes | None = None
) -> Wallet:
    """Write a new keystore v3 file, mode 0600, and return it. Makes a random key unless one is given.

    Raises:
        WalletError: WALLET_NAME, WALLET_EXISTS, WALLET_PASSWORD_EMPTY, WALLET_PASSWORD_SHORT, WALLET_SCRYPT_N,
            WALLET_KEY_INVALID, WALLET_NOT_WRITTEN, after which there is no file.
    """
    from eth_keyfile.keyfile import create_keyfile_json

    path = wallet_path(home, name)
    if path.exists():
        raise _exists(path)
    check_password(password)
    if not 2 <= scrypt_n <= MAX_SCRYPT_N or scrypt_n & (scrypt_n - 1):
        raise WalletError(
            "WALLET_SCRYPT_N",
            f"scrypt_n is {scrypt_n}, and not a power of two of 2 to {MAX_SCRYPT_N}",
            f"Set it to {DEFAULT_SCRYPT_N} in the settings, or leave it out.",
        )
    key = secrets.token_bytes(32) if private_key is None else private_key
    address = address_of_key(key)
    keystore = create_keyfile_json(key, password.encode(), kdf="scrypt", iterations=scrypt_n)
    try:
        make_folder(path.parent, mode=0o700)
        write_new(path, json.dumps(keystore).encode(), mode=0o600)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise WalletError(
            "WALLET_NOT_WRITTEN",
            f"{path}: {error.strerror}",
            "Free space there, or make the folder writable for this user, and run the command again.",
        ) from None
    return Wallet(name, address, path)


def check_password(password: str) -> None:
    """Check that a new wallet may have this password.

    Raises:
        WalletError: WALLET_PASSWORD_EMPTY or WALLET_PASSWORD_SHORT.
    """
    if not password:
        raise WalletError("WALLET_PASSWORD_EMPTY", "the password has 0 characters", "Choose one of 12 or more.")
    if len(password.strip()) < MIN_PASSWORD_CHARACTERS:
        raise WalletError(
            "WALLET_PASSWORD_SHORT",
            f"the password has {len(password.strip())} characters, a wallet's has at least {MIN_PASSWORD_CHARACTERS}",
            "Choose one of 12 or more: whoever gets the file can try passwords without end.",
        )


def address_of_key(key: bytes) -> bytes:
    """Return the address of a private key.

    Raises:
        WalletError: WALLET_KEY_INVALID.
    """
    try:
        return address_of(key)
    except ValueError as error:
        raise WalletError(
            "WALLET_KEY_INVALID", f"this is not a private key: {error}", "Give the 64 hex digits of a key."
        ) from None


def _exists(path: Path) -> WalletError:
    if path.is_file() and path.stat().st_size == 0:
        return WalletError(
            "WALLET_EXISTS", f"{path} exists and is empty", "Remove that file: it holds no key; then try again."
        )
    return WalletError("WALLET_EXISTS", f"{path} exists", "Choose another name; nothing was overwritten.")


def find_wallet(home: Path, name: str) -> Wallet:
    """Return the wallet of that name.

    Raises:
        WalletError: WALLET_MISSING (naming those there), WALLET_FORBIDDEN, WALLET_UNREADABLE.
    """
    path = wallet_path(home, name)
    try:
        content = _read_keystore(path)
    except FileNotFoundError:
        names = ", ".join(wallet.name for wallet in list_wallets(home)) or "none"
        raise WalletError(
            "WALLET_MISSING",
            f"no wallet {name!r} in {path.parent}; there: {names}",
            f"Try: curiosity wallet new {name}.",
        ) from None
    address = content.get("address")
    if not isinstance(address, str) or _ADDRESS.fullmatch(address) is None:
        raise WalletError(
            "WALLET_UNREADABLE",
            f"{path} is JSON without an address, and not a wallet of ours",
            "Move it out of that folder. If it is a keystore: curiosity wallet import NAME --key-file FILE.",
        )
    return Wallet(name, bytes.fromhex(address.removeprefix("0x")), path)


def _read_keystore(path: Path) -> dict[str, Any]:
    """Return the document in a wallet's file.

    Raises:
        FileNotFoundError: WalletError WALLET_FORBIDDEN, WALLET_UNREADABLE.
    """
    try:
        text = read_secret(path)
        content = read_json(text) if text else None
    except FileNotFoundError:
        raise
    except PermissionError:
        raise _forbidden(path) from None
    except OSError as error:
        raise WalletError("WALLET_UNREADABLE", f"{path}: {error.strerror}", "Check the disk and the path.") from None
    except ValueError as error:
        why = "is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise WalletError("WALLET_UNREADABLE", f"{path} {why}", "Restore it from a backup.") from None
    if content is None:
        raise WalletError("WALLET_UNREADABLE", f"{path} is empty", "Restore it from a backup, or remove it.")
    if not isinstance(content, dict):
        raise WalletError("WALLET_UNREADABLE", f"{path} is not a keystore", "Move it out of that folder.")
    return content


def _forbidden(path: Path) -> WalletError:
    return WalletError(
        "WALLET_FORBIDDEN",
        f"{path} {_owner(path)}",
        "Run this as its owner, or name another folder (--home, in a program home).",
    )


def _owner(path: Path) -> str:
    """Say whose file or folder it is that this user may not read."""
    try:
        user = path.stat().st_uid
    except OSError:  # not even its folder may be entered
        return "may not be read by this user"
    if user == os.geteuid():
        return f"has the mode {path.stat().st_mode & 0o777:03o}: you may not read it"
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return f"belongs to user {name} and may not be read by this one"


def remove_wallet(wallet: Wallet) -> None:
    """Delete a wallet's file. Without a copy of it, what the wallet holds is lost.

    Raises:
        WalletError: WALLET_NOT_REMOVED.
    """
    try:
        wallet.path.unlink()
    except OSError as error:
        raise WalletError(
            "WALLET_NOT_REMOVED", f"{wallet.path}: {error.strerror}", "Check the permissions of its folder."
        ) from None


def list_wallets(home: Path) -> list[Wallet]:
    """Return the wallets in ``home`` that can be read, by name."""
    return survey_wallets(home)[0]


def survey_wallets(home: Path) -> tuple[list[Wallet], list[WalletError]]:
    """Return the wallets in ``home`` by name, and what is wrong with each other JSON file that is there.

    Raises:
        WalletError: WALLET_FORBIDDEN if this user may not look into the folder.
    """
    found, wrong, folder = [], [], home / "wallets"
    try:
        names = sorted(path.stem for path in folder.iterdir() if path.suffix == ".json" and path.stem[:1] != ".")
    except FileNotFoundError:
        names = []
    except PermissionError:
        raise _forbidden(folder) from None
    for name in names:
        try:
            found.append(find_wallet(home, name))
        except WalletError as error:
            wrong.append(error)
    return found, wrong


def unlock(wallet: Wallet, password: str) -> bytes:
    """Return the private key.

    From now on this process leaves no core dump, which would hold the key.

    Raises:
        WalletError: WALLET_PASSWORD_WRONG, WALLET_FORBIDDEN, WALLET_UNREADABLE.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        key = open_keystore(_read_keystore(wallet.path), password, wallet.path)
    except FileNotFoundError:
        raise WalletError("WALLET_MISSING", f"{wallet.path} is gone", "Restore it from a backup.") from None
    if (address := address_of_key(key)) != wallet.address:
        raise WalletError(
            "WALLET_UNREADABLE",
            f"{wallet.path} names {checksum(wallet.address)}, its key is of {checksum(address)}",
            "Restore it from a backup; the address in the file was changed.",
        )
    return key


def read_password_file(path: Path) -> str:
    """Return the password, or passphrase, in a file, without the line's end.

    Raises:
        WalletError: WALLET_PASSWORD_FILE if the file cannot be read.
    """
    try:
        return read_secret(path)
    except OSError as error:
        raise WalletError(
            "WALLET_PASSWORD_FILE", f"{path}: {error.strerror}", "Name a readable file with it."
        ) from None
    except ValueError as error:
        raise WalletError("WALLET_PASSWORD_FILE", f"{path} {error}", "Name a text file with it.") from None
