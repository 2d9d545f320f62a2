"""What is kept outside the database: the last signed tree head, and every leaf hash.

The head is what start-up trusts. Its file has two places of 4 KiB that are written in turn, so that keeping a head is
one write and one sync over blocks that are there already, and a torn one leaves the head before it. The leaf hashes, 32
bytes each in one flat file, only serve to say *which* entry is not as it was; they are synced now and then, and filled
up again from a database that the head has confirmed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from curiosity.host.files import make_folder, sync_directory, write_whole
from curiosity.protocol.errors import ProofError, StoreError
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.tlog import TreeHead, verify_checkpoint
from validator.store.files import write_at
from validator.store.store import Store
from validator.store.tree import HASH_BYTES, split

_PLACE_BYTES = 4096
_PAGE = 4096  # leaf hashes read at a time, and after so many they are synced


class KeptHead:
    """The files ``path`` (signed notes, padded with newlines) and ``path`` + ".leaves" (leaf hashes)."""

    def __init__(self, path: Path, origin: str, log_vkey: str) -> None:
        self.path = path.absolute()
        self._leaves = self.path.with_name(self.path.name + ".leaves")
        self._origin = origin
        self._log_vkey = log_vkey
        self._next_place = 0

    def read(self) -> TreeHead | None:
        """Return the newest kept head, None if there is no file. A file with one plain note will do.

        Raises:
            StoreError: LEDGER_HEAD_INVALID if no head in it is ours.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._invalid(str(error)) from None
        heads: dict[int, TreeHead] = {}
        why = "the file is empty"
        for place in range(-(-len(data) // _PLACE_BYTES)):
            note = data[place * _PLACE_BYTES : (place + 1) * _PLACE_BYTES].rstrip(b"\n")
            if not note:
                continue
            try:
                heads[place] = verify_checkpoint(note.decode() + "\n", self._origin, [self._log_vkey])
            except UnicodeDecodeError as error:
                why = str(error)
            except ProofError as error:
                why = f"{error.code}: {error.what}"
        if not heads:
            raise self._invalid(why)
        newest = max(heads, key=lambda place: heads[place].size)
        self._next_place = 1 - newest % 2
        return heads[newest]

    def _invalid(self, why: str) -> StoreError:
        return StoreError(
            "LEDGER_HEAD_INVALID",
            f"{self.path} does not hold a tree head of {self._origin!r} signed by our key: {why}",
            "Start with the origin and the log key that this ledger was begun with, or restore the file.",
        )

    def begin(self, note: str) -> None:
        """Make the file anew with this head in both places, durably.

        Raises:
            StoreError: LEDGER_HEAD_UNWRITABLE.
        """
        try:
            make_folder(self.path.parent)
            write_whole(self.path, self._padded(note) * 2)
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, note: str) -> None:
        """Keep a newer head, durably.

        Raises:
            StoreError: LEDGER_HEAD_UNWRITABLE.
        """
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                write_at(file, self._padded(note), self._next_place * _PLACE_BYTES)
                os.fdatasync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._unwritable(error) from None
        self._next_place = 1 - self._next_place

    def _padded(self, note: str) -> bytes:
        data = note.encode()
        if len(data) > _PLACE_BYTES:
            raise ValueError(f"a tree head of {len(data)} bytes, at most {_PLACE_BYTES}")
        return data.ljust(_PLACE_BYTES, b"\n")

    def append_hashes(self, start: int, hashes: Sequence[bytes]) -> None:
        """Add leaf hashes from index ``start`` on.

        Synced at every multiple of 4,096 entries; `refill` writes the others again after a power cut.

        Raises:
            StoreError: LEDGER_HEAD_UNWRITABLE.
        """
        try:
            file = os.open(self._leaves, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                write_at(file, b"".join(hashes), start * HASH_BYTES)
                if start // _PAGE != (start + len(hashes)) // _PAGE:
                    os.fdatasync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            "LEDGER_HEAD_UNWRITABLE",
            f"cannot keep the tree head in {self.path}: {error.strerror or error}",
            "Free space or make the folder writable, then start the validator again.",
        )

    def hashes(self, start: int, count: int) -> list[bytes]:
        """Return the kept leaf hashes from ``start`` on, as far as there are any."""
        try:
            with self._leaves.open("rb") as file:
                file.seek(start * HASH_BYTES)
                data = file.read(count * HASH_BYTES)
        except FileNotFoundError:
            return []
        return split(data[: len(data) // HASH_BYTES * HASH_BYTES])

    def first_difference(self, store: Store, size: int) -> int:
        """Return the first index below ``size`` whose stored leaf hashes to another than the kept; ``size`` if none."""
        for start in range(0, size, _PAGE):
            count = min(_PAGE, size - start)
            leaves = dict(store.indexed_leaves(start, count))
            for index, hash_ in enumerate(self.hashes(start, count), start):
                if index not in leaves or leaf_hash(leaves[index]) != hash_:
                    return index
        return size

    def refill(self, store: Store, trusted: int, size: int) -> None:
        """Make the file hold the ``size`` leaf hashes of the store; what was synced below ``trusted`` stays.

        The store's root at ``trusted`` has been compared with the signed one; what lies above was written by a
        process that ended before it could keep its head.
        """
        try:
            make_folder(self.path.parent)
            with self._leaves.open("ab") as file:
                whole = min(file.tell() // HASH_BYTES, trusted) // _PAGE * _PAGE
                file.truncate(whole * HASH_BYTES)
                for start in range(whole, size, _PAGE):
                    leaves = store.leaves(start, min(_PAGE, size - start))
                    file.write(b"".join(leaf_hash(leaf) for leaf in leaves))
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self.path.parent)
        except OSError as error:
            raise self._unwritable(error) from None
