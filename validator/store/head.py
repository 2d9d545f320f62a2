"""What is kept outside the database: the last signed tree head, and every leaf hash.

The head is what start-up trusts. The leaf hashes, 32 bytes each in one flat file, only serve to say *which* entry is
not as it was; they are synced with the head, and filled up again from a database that the head has confirmed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import ProofError, StoreError
from protocol.tlog import TreeHead, verify_checkpoint
from validator.store.blobs import sync_directory, write_durably
from validator.store.store import Store

_HASH_BYTES = 32
_PAGE = 4096


class KeptHead:
    """The files ``path`` (a signed note) and ``path`` + ".leaves" (leaf hashes)."""

    def __init__(self, path: Path, origin: str, log_vkey: str) -> None:
        self.path = path.absolute()
        self._leaves = self.path.with_name(self.path.name + ".leaves")
        self._origin = origin
        self._log_vkey = log_vkey

    def read(self) -> TreeHead | None:
        """Return the kept head, None if there is no file. Raises StoreError LEDGER_HEAD_INVALID."""
        try:
            note = self.path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._invalid(str(error)) from None
        try:
            return verify_checkpoint(note, self._origin, [self._log_vkey])
        except ProofError as error:
            raise self._invalid(f"{error.code}: {error.what}") from None

    def _invalid(self, why: str) -> StoreError:
        return StoreError(
            "LEDGER_HEAD_INVALID",
            f"{self.path} does not hold a tree head of {self._origin!r} signed by our key: {why}",
            "Start with the origin and the log key that this ledger was begun with, or restore the file.",
        )

    def write(self, note: str) -> None:
        """Replace the head, durably. Raises StoreError LEDGER_HEAD_UNWRITABLE."""
        try:
            write_durably(self.path, note.encode())
        except OSError as error:
            raise self._unwritable(error) from None

    def append_hashes(self, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes at the end, durably. Raises StoreError LEDGER_HEAD_UNWRITABLE."""
        try:
            with self._leaves.open("ab") as file:
                file.write(b"".join(hashes))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            "LEDGER_HEAD_UNWRITABLE",
            f"cannot keep the tree head in {self.path}: {error.strerror or error}",
            "Free space or make the folder writable, then start the validator again.",
        )

    def hashes(self, start: int, count: int) -> dict[int, bytes]:
        """Return the kept leaf hashes by index, as far as there are any."""
        try:
            with self._leaves.open("rb") as file:
                file.seek(start * _HASH_BYTES)
                data = file.read(count * _HASH_BYTES)
        except FileNotFoundError:
            return {}
        return {start + i: data[32 * i : 32 * i + 32] for i in range(len(data) // _HASH_BYTES)}

    def first_difference(self, store: Store, size: int) -> int:
        """Return the first index below ``size`` whose stored leaf hash is not the kept one; ``size`` if none is."""
        for start in range(0, size, _PAGE):
            count = min(_PAGE, size - start)
            stored = store.nodes_between(0, start, count)
            for index, hash_ in self.hashes(start, count).items():
                if stored.get(index) != hash_:
                    return index
        return size

    def refill(self, store: Store, trusted: int, size: int) -> None:
        """Make the file hold the ``size`` leaf hashes of the store; what it has below ``trusted`` stays.

        The store's root at ``trusted`` has been compared with the signed one; what lies above was written by a
        process that ended before it could keep its head.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._leaves.open("ab") as file:
                whole = min(file.tell() // _HASH_BYTES, trusted)
                file.truncate(whole * _HASH_BYTES)
                for start in range(whole, size, _PAGE):
                    file.write(b"".join(store.leaf_hashes(start, min(_PAGE, size - start))))
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
