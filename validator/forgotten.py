"""What was taken down and must not come back, in memory: looking it up costs an honest pair next to nothing.

Contents are known by HMAC-SHA256 under a pepper that never leaves the validator's keys folder, so that neither the log
nor a copy of the database or of an export tells whether a guess is among them.
"""

import hmac
from collections.abc import Iterable

from curiosity.protocol.errors import Rejected
from curiosity.serving.paid import PaidContents


def pepper_id(pepper: bytes) -> bytes:
    """Return 32 bytes that name a pepper without telling it: lists of hashes under another are of no use."""
    return hmac.digest(pepper, b"curiosity/pepper/1\x00", "sha256")


class Forgotten:
    """Pairs and contents that were taken down. One writer, many readers; nothing is ever removed."""

    def __init__(self, pepper: bytes, blocked: Iterable[bytes] = ()) -> None:
        self._pepper = pepper
        self._entries: dict[bytes, int] = {}
        self._blocked = set(blocked)
        self.paid = PaidContents(pepper, self._blocked)

    @property
    def pepper_id(self) -> bytes:
        """Name of the pepper."""
        return pepper_id(self._pepper)

    def __contains__(self, pair: object) -> bool:
        """Return True if the pair of this digest is taken down."""
        return pair in self._entries

    def entry_of(self, pair: bytes) -> int | None:
        """Return the index of the entry that takes the pair down."""
        return self._entries.get(pair)

    def add(self, pair: bytes, entry: int) -> None:
        """Note that the ledger's ``entry`` takes the pair down."""
        self._entries[pair] = entry

    def block(self, keys: Iterable[bytes]) -> None:
        """Refuse contents of these keys from now on."""
        self._blocked.update(keys)

    def check_pair(self, pair: bytes) -> None:
        """Check that the pair is not taken down.

        Raises:
            Rejected: PAIR_TAKEN_DOWN (410).
        """
        entry = self._entries.get(pair)
        if entry is not None:
            raise Rejected(
                "PAIR_TAKEN_DOWN",
                f"pair 0x{pair.hex()} was taken down by entry {entry}",
                "Its content is erased; the entry of its decision and every proof of it still hold.",
                status=410,
            )

    def check_contents(self, contributor: bytes, a: bytes, b: bytes) -> None:
        """Check that items of these SHA-256 may come back as this pair.

        Raises:
            Rejected: CONTENT_TAKEN_DOWN (410).
        """
        if not self._blocked:
            return
        keys = (
            self.pair_key(a, b),
            self.pair_key(a, b, contributor),
            *(key for one in (a, b) for key in (self.item_key(one), self.item_key(one, contributor))),
        )
        if not self._blocked.isdisjoint(keys):
            raise Rejected(
                "CONTENT_TAKEN_DOWN",
                "this content was taken down here",
                "Submit something else; the validator's operator decides on objections.",
                status=410,
            )

    def pair_key(self, a: bytes, b: bytes, contributor: bytes = b"") -> bytes:
        """Return the key of two contents as a pair, from one contributor only if that is given."""
        return self._key(b"own pair", contributor, a, b) if contributor else self._key(b"pair", a, b)

    def item_key(self, digest: bytes, contributor: bytes = b"") -> bytes:
        """Return the key of one content in whatever pair, from one contributor only if that is given."""
        return self._key(b"own item" if contributor else b"item", contributor, digest)

    def _key(self, *parts: bytes) -> bytes:
        return hmac.digest(self._pepper, b"curiosity/taken-down/1\x00" + b"\x00".join(parts), "sha256")
