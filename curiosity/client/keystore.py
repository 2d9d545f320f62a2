"""Keystore v3 documents of whatever program wrote them: checked whole before the password meets them.

A file says itself how dear its key derivation is. The library that opens it takes any number: ``r`` of zero ends in a
division by zero, ``r`` of a million takes minutes and gigabytes. So everything in it is checked first.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from curiosity.protocol.errors import WalletError

MAX_SCRYPT_WORK: Final = 2**24
"""The most n x r x p, and n x r, which takes 128 bytes of memory each: ten seconds and 2 GiB. Wallets have 2**21."""
MAX_SCRYPT_BLOCKS: Final = 1024
"""The most r x p, of 128 bytes each, which the library derives one by one in Python. Wallets have 8."""
MAX_PBKDF2_ROUNDS: Final = 2**24
"""The most rounds of PBKDF2 for each 32 bytes: about ten seconds. Wallets of other programs have 2**18."""
_CIPHER: Final = "aes-128-ctr"
_PRFS: Final = ("hmac-sha256", "hmac-sha512")
_MAX_BYTES: Final = {"salt": 1024, "iv": 16, "mac": 32, "ciphertext": 1024}
_KEY_BYTES: Final = range(32, 65)  # of the derivation: 16 for the cipher, 16 for the MAC, and what nobody reads
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)")


def open_keystore(keystore: object, password: str, path: Path) -> bytes:
    """Return the private key in a keystore v3 document.

    Args:
        keystore: What its JSON spells.
        password: What opens it.
        path: Where it lies, for messages.

    Raises:
        WalletError: WALLET_PASSWORD_WRONG; WALLET_UNREADABLE for what is not a keystore, or a dearer one than
            `MAX_SCRYPT_WORK` and `MAX_PBKDF2_ROUNDS` allow.
    """
    from eth_keyfile.keyfile import decode_keyfile_json

    plain = _lower(keystore)
    _check(plain, path)
    try:
        return bytes(decode_keyfile_json(plain, password.encode()))
    except ValueError as error:
        if "MAC" in str(error):
            raise WalletError("WALLET_PASSWORD_WRONG", f"the password does not open {path}", "Type it again.") from None
        raise WalletError("WALLET_UNREADABLE", f"{path}: {error}", "Restore it from a backup.") from None
    except MemoryError:
        raise WalletError(
            "WALLET_UNREADABLE", f"{path}: this machine has too little memory free to open it", "Free some memory."
        ) from None
    except (LookupError, TypeError, AttributeError, NotImplementedError, ArithmeticError, AssertionError) as error:
        _refuse(path, type(error).__name__)


def _lower(value: object) -> Any:
    """Return it with the names in its objects in lower case: some programs write ``Crypto``."""
    if not isinstance(value, dict):
        return value
    return {str(name).lower(): _lower(one) for name, one in value.items()}


def _check(keystore: Any, path: Path) -> None:
    crypto = _part(keystore, "crypto", path) if isinstance(keystore, Mapping) else _refuse(path, "it is not an object")
    if type(keystore.get("version")) is not int or keystore["version"] != 3:
        _refuse(path, "its version is not 3")
    if crypto.get("cipher") != _CIPHER:
        _refuse(path, f"its cipher is not {_CIPHER}")
    for part, name in ((crypto, "ciphertext"), (crypto, "mac"), (_part(crypto, "cipherparams", path), "iv")):
        _check_hex(part, name, path)
    derivation = crypto.get("kdf")
    check = _DERIVATIONS.get(derivation) if isinstance(derivation, str) else None
    if check is None:
        _refuse(path, f"its kdf is not one of {', '.join(_DERIVATIONS)}")
    parameters = _part(crypto, "kdfparams", path)
    _check_hex(parameters, "salt", path)
    if _number(parameters, "dklen", path) not in _KEY_BYTES:
        _refuse(path, f"its dklen is not {_KEY_BYTES.start} to {_KEY_BYTES.stop - 1}")
    check(parameters, path)


def _check_scrypt(parameters: Mapping[str, Any], path: Path) -> None:
    n, r, p = (_number(parameters, name, path) for name in "nrp")
    if n < 2 or n & (n - 1):
        _refuse(path, "its n is not a power of two")
    if r * p > MAX_SCRYPT_BLOCKS:
        _refuse(path, f"its r x p is over {MAX_SCRYPT_BLOCKS}, the most that is worked for")
    if n * r * p > MAX_SCRYPT_WORK:
        _refuse(path, f"its n x r x p is over {MAX_SCRYPT_WORK}, the most that is worked for")


def _check_pbkdf2(parameters: Mapping[str, Any], path: Path) -> None:
    if parameters.get("prf") not in _PRFS:
        _refuse(path, f"its prf is not one of {', '.join(_PRFS)}")
    if _number(parameters, "c", path) > MAX_PBKDF2_ROUNDS:
        _refuse(path, f"its c is over {MAX_PBKDF2_ROUNDS}, the most that is worked for")


_DERIVATIONS: Final[Mapping[str, Callable[[Mapping[str, Any], Path], None]]] = {
    "scrypt": _check_scrypt,
    "pbkdf2": _check_pbkdf2,
}


def _part(whole: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    part = whole.get(name)
    if not isinstance(part, Mapping):
        _refuse(path, f"it has no {name}")
    return part


def _number(parameters: Mapping[str, Any], name: str, path: Path) -> int:
    number = parameters.get(name)
    if type(number) is not int or number < 1:
        _refuse(path, f"its {name} is not a whole number above 0")
    return number


def _check_hex(part: Mapping[str, Any], name: str, path: Path) -> None:
    text, most = part.get(name), _MAX_BYTES[name]
    match = _HEX.fullmatch(text) if isinstance(text, str) and len(text) <= 2 + 2 * most else None
    if match is None or len(match[1]) > 2 * most:
        _refuse(path, f"its {name} is not at most {most} bytes of hex")


def _refuse(path: Path, why: str) -> NoReturn:
    raise WalletError("WALLET_UNREADABLE", f"{path}: {why}", "Name a keystore v3 file, or restore it from a backup.")
