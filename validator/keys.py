"""The validator's own keys: made at the first start, kept in files that only its user can read."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import StoreError
from protocol.tlog import Signer

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


def read_or_make(path: Path, make: bytes) -> bytes:
    """Return the content of a secret file; write ``make`` to it first, mode 0600, if there is none.

    Raises StoreError KEY_FILE if it can be neither read nor written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_bytes()
        with os.fdopen(descriptor, "wb") as file:
            file.write(make)
            file.flush()
            os.fsync(file.fileno())
        return make
    except OSError as error:
        raise StoreError(
            "KEY_FILE", f"{path}: {error.strerror}", "Make the data folder readable and writable for this user."
        ) from None


def load_keys(folder: Path, origin: str) -> Keys:
    """Return the validator's keys from ``folder``, made now if this is the first start.

    ``origin`` is the ledger's name and so the name of the log key.
    """

    def seed(name: str) -> bytes:
        content = read_or_make(folder / name, secrets.token_bytes(SEED_BYTES).hex().encode())
        try:
            value = bytes.fromhex(content.decode().strip())
        except ValueError:
            value = b""
        if len(value) != SEED_BYTES:
            raise StoreError("KEY_FILE", f"{folder / name} holds no 32-byte hex key", "Restore the file from a backup.")
        return value

    return Keys(
        receipt=Signer(f"{origin}/receipt", seed("receipt.key")),
        log=Signer(origin, seed("log.key")),
        attestation=seed("attestation.key"),
        admin_token=seed("admin.token").hex(),
        pepper=seed("takedown.pepper"),
    )
