"""The validator's own keys: made at the first start, kept in files that only its user can read."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.files import make_folder, read_secret, write_new
from curiosity.protocol.errors import StoreError
from curiosity.protocol.signing import address_of, parse_seed
from curiosity.protocol.tlog import Signer

SEED_BYTES = 32


@dataclass(frozen=True, repr=False)
class Keys:
    """Five secrets with one purpose each, so that one that leaks does not open the others."""

    receipt: Signer  # Ed25519, signs receipts
    log: Signer  # Ed25519, signs tree heads
    attestation: bytes  # secp256k1, signs reward attestations and pays their gas
    admin_token: str  # bearer token of the admin routes
    pepper: bytes  # keys the hashes of contents that were taken down

    def __repr__(self) -> str:
        return f"Keys(receipt={self.receipt.verifier.vkey()!r}, log={self.log.verifier.vkey()!r})"


def load_keys(folder: Path, origin: str) -> Keys:
    """Return the validator's keys from ``folder``, made now if this is the first start.

    ``origin`` is the ledger's name and so the name of the log key.

    Raises:
        StoreError: KEY_FILE if one can be neither read nor written, or holds no key; then none was made by halves.
    """
    attestation = _seed(folder / "attestation.key")
    try:
        address_of(attestation)
    except ValueError as error:
        raise _no_key(folder / "attestation.key", str(error)) from None
    return Keys(
        receipt=Signer(f"{origin}/receipt", _seed(folder / "receipt.key")),
        log=Signer(origin, _seed(folder / "log.key")),
        attestation=attestation,
        admin_token=_seed(folder / "admin.token").hex(),
        pepper=_seed(folder / "takedown.pepper"),
    )


def _seed(path: Path) -> bytes:
    """Return the 32 bytes that a file spells; make it with new ones first, mode 0600, if there is none."""
    try:
        make_folder(path.parent, mode=0o700)
        if not path.exists():
            with suppress(FileExistsError):  # another process was first; its key counts
                write_new(path, secrets.token_bytes(SEED_BYTES).hex().encode(), mode=0o600)
        return parse_seed(read_secret(path))
    except OSError as error:
        raise StoreError(
            "KEY_FILE",
            f"{path}: {error.strerror}",
            "Free space there, and make the data folder readable and writable for this user.",
        ) from None
    except ValueError as error:
        raise _no_key(path, str(error)) from None


def _no_key(path: Path, why: str) -> StoreError:
    return StoreError(
        "KEY_FILE",
        f"{path} holds no 32-byte hex key: {why}",
        "Restore the file from a backup. Remove it only if this validator has never signed anything.",
    )
