"""Keys that people bring along: a file with a key, a keystore or BIP-39 words."""

from collections.abc import Callable
from pathlib import Path

from curiosity.client.keystore import open_keystore
from curiosity.client.phrase import check_phrase
from curiosity.client.wallet import address_of_key
from curiosity.host.files import read_secret
from curiosity.protocol.errors import WalletError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.signing import checksum, parse_private_key


def read_key_file(path: Path, password: Callable[[], str]) -> bytes:
    """Return the private key in a file of 64 hex digits, or in a keystore v3 file.

    Args:
        path: The file.
        password: Gives the keystore's password; called only for a keystore.

    Raises:
        WalletError: WALLET_KEY_FILE, WALLET_KEY_INVALID; of a keystore what `open_keystore` raises.
    """
    text = _read_text(path)
    if text.startswith("{"):
        given = password()
        try:
            return open_keystore(read_json(text), given, path)
        except ValueError:
            raise WalletError("WALLET_KEY_FILE", f"{path} is not JSON", "Name a keystore v3 file.") from None
    try:
        return parse_private_key(text)
    except ValueError as error:
        raise WalletError(
            "WALLET_KEY_INVALID", f"{path} holds no private key: {error}", "Write 64 hex digits, nothing else."
        ) from None


def read_phrase_file(path: Path) -> str:
    """Return the BIP-39 words in a file.

    Raises:
        WalletError: WALLET_KEY_FILE, and what `curiosity.client.phrase.check_phrase` raises.
    """
    return check_phrase(_read_text(path))


def check_owner(private_key: bytes, address: bytes) -> None:
    """Check that a key belongs to an address.

    Raises:
        WalletError: WALLET_ADDRESS_DIFFERS.
    """
    found = address_of_key(private_key)
    if found != address:
        raise WalletError(
            "WALLET_ADDRESS_DIFFERS",
            f"it is the key of {checksum(found)}, not of {checksum(address)}",
            "Try another --account-index or --path, or the passphrase again: none of them is ever wrong, only another.",
        )


def _read_text(path: Path) -> str:
    try:
        return read_secret(path).strip()
    except OSError as error:
        raise WalletError("WALLET_KEY_FILE", f"{path}: {error.strerror}", "Name a readable file.") from None
    except ValueError as error:
        raise WalletError("WALLET_KEY_FILE", f"{path} {error}", "Name a text file.") from None
