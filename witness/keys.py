"""The witness's own keys, made once.

Keys whose state was lost must not sign again: they would cosign a second history.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from curiosity.host.files import make_folder, read_secret, write_new
from curiosity.protocol.errors import ConfigError, StoreError
from curiosity.protocol.signing import parse_seed
from curiosity.protocol.tlog import MLDSA44_COSIGNATURE, Signer
from witness.heads import LOGS_FOLDER

_SEED_BYTES = 32
_NAME_FILE = "name"


@dataclass(frozen=True, repr=False)
class WitnessKeys:
    """Two keys of one name; every head is cosigned by both (c2sp.org/tlog-cosignature)."""

    ed25519: Signer
    ml_dsa: Signer  # ML-DSA-44, which a quantum computer does not break

    @property
    def signers(self) -> tuple[Signer, Signer]:
        """Both, in the order in which they sign."""
        return self.ed25519, self.ml_dsa

    @property
    def vkeys(self) -> tuple[str, str]:
        """The keys that verify the cosignatures, as text, in the same order."""
        return self.ed25519.witness.vkey(), self.ml_dsa.witness.vkey()


def load_keys(folder: Path, name: str) -> WitnessKeys:
    """Return the keys of the witness in ``folder``; the first call makes them and its state, mode 0600 and 0700.

    Raises:
        ConfigError: WITNESS_RENAMED if the keys were made under another name.
        StoreError: WITNESS_STATE_LOST if there is a key but no state, KEY_FILE if a key cannot be used.
    """
    paths, logs = [folder / "ed25519.key", folder / "ml-dsa-44.key"], folder / LOGS_FOLDER
    try:
        make_folder(folder, mode=0o700)
        if not any(path.exists() for path in paths):
            make_folder(logs, mode=0o700)  # first, so that a key without it means that it was lost
        for path in paths:
            if not path.exists():
                with suppress(FileExistsError):  # another process was first; its key counts
                    write_new(path, secrets.token_bytes(_SEED_BYTES).hex().encode(), mode=0o600)
        seeds = [_seed(path) for path in paths]
    except OSError as error:
        raise StoreError(
            "KEY_FILE",
            f"{folder}: {error}",
            "Free space there, and make the folder readable and writable for this user.",
        ) from None
    if not logs.is_dir():
        raise StoreError(
            "WITNESS_STATE_LOST",
            f"{paths[0]} is there, {logs} with the heads that it cosigned is not",
            "Restore the folder whole, or retire this key: start a new witness in an empty folder.",
        )
    _keep_name(folder, name)
    return WitnessKeys(Signer(name, seeds[0]), Signer(name, seeds[1], MLDSA44_COSIGNATURE))


def _keep_name(folder: Path, name: str) -> None:
    """Check that the keys have this name; keep it with them if none is kept yet, as by an earlier version.

    Raises:
        ConfigError: WITNESS_RENAMED. Under another name the same keys are others to everyone who pinned them.
        StoreError: KEY_FILE.
    """
    path = folder / _NAME_FILE
    try:
        with suppress(FileExistsError):
            write_new(path, name.encode())
        kept = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("KEY_FILE", f"{path}: {error}", "Make the file readable and writable for this user.") from None
    if kept != name:
        raise ConfigError(
            "WITNESS_RENAMED",
            f"the keys in {folder} are those of {kept!r}, not of {name!r}",
            f"Give --name {kept}, or another --data-dir. If nobody has pinned these keys, remove {path} instead.",
        )


def _seed(path: Path) -> bytes:
    try:
        return parse_seed(read_secret(path))
    except ValueError as error:
        raise StoreError(
            "KEY_FILE",
            f"{path} holds no 32-byte hex key: {error}",
            "Restore the file from a backup. Remove it only if this witness has never cosigned anything.",
        ) from None
