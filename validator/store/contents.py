"""Which contents a store cannot hold, known without asking it."""

from collections.abc import Iterable


class SeenContents:
    """Hashes of the digests of all contents that were ever stored, 65 bytes each: what is not among them is new.

    Nearly every content of a pair is new, and to learn that from the database took 10 us a pair. The hashes are
    Python's own, under a key of the process: two that are equal can be neither foreseen nor do more than a query.
    Only for the one process that writes the ledger; it notes a content before it can be found.
    """

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._hashes = set(map(hash, digests))

    def note(self, digests: Iterable[bytes]) -> None:
        """Note that from now on these may be stored."""
        self._hashes.update(map(hash, digests))

    def may_hold(self, digest: bytes) -> bool:
        """Say whether the store may hold the content; False is certain."""
        return hash(digest) in self._hashes
