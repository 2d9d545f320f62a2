"""What was paid and then taken down: it is known under a key, counts on, and earns nothing a second time.

Beside each keyed hash of an item lies a *sketch* of the pair's joint point: the signs of 256 projections whose
directions follow from the key. Near copies have near sketches; without the key neither tells anything of a guess.
"""

import hmac
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

from curiosity.protocol.scoring import Quantised

_BITS = 256
_NEAR_BITS = 29
"""At most so many signs differ between sketches of near copies; of unrelated pairs half of them do."""

_ITEM_TAG = b"curiosity/paid-item/1\x00"
_SKETCH_TAG = b"curiosity/sketch/1\x00"

Signs = npt.NDArray[np.uint8]


class PaidContents:
    """Keyed hashes and sketches, 32 bytes each, of what was paid and is erased. One writer, many readers.

    ``keys`` may hold other hashes: none of them is a hash of these or near a sketch but by a chance of one in 2**100.
    A sketch is of an embedding: it finds near copies only under the checkpoint that was in force at the takedown.
    """

    def __init__(self, secret: bytes, keys: Iterable[bytes] = ()) -> None:
        self._secret = secret
        self._keys = set(keys)
        self._sketches = _rows(self._keys)
        self._directions: dict[int, npt.NDArray[np.float32]] = {}  # by components

    def add(self, keys: Iterable[bytes]) -> None:
        """Take in what `keys_of` returned."""
        new = set(keys) - self._keys
        self._keys |= new
        self._sketches = np.concatenate([self._sketches, _rows(new)])

    def keys_of(
        self, contents: tuple[bytes, bytes], point: Quantised | None, besides: Collection[bytes] = ()
    ) -> set[bytes]:
        """Return what is to be kept of a pair: a hash for each item, and the sketch of its joint point int16[2d].

        ``besides`` is what was returned for others that are to be taken in with it.
        """
        keys = {self._item_key(one, self.count(one, besides)) for one in contents}
        if point is not None:
            keys.add(self._sketch(point))
        return keys

    def count(self, item: bytes, besides: Collection[bytes] = ()) -> int:
        """Return how many pairs with the item of this SHA-256 are known, or among the keys ``besides``."""
        count = 0
        while (key := self._item_key(item, count)) in self._keys or key in besides:
            count += 1
        return count

    def is_near(self, point: Quantised) -> bool:
        """Return whether a joint point is that of a known pair or of a near copy."""
        if not len(self._sketches):
            return False
        sketch = np.frombuffer(self._sketch(point), dtype=np.uint8)
        different = np.bitwise_count(self._sketches ^ sketch).sum(axis=1)
        return bool(different.min() <= _NEAR_BITS)

    def _item_key(self, item: bytes, order: int) -> bytes:
        return hmac.digest(self._secret, _ITEM_TAG + order.to_bytes(8, "big") + item, "sha256")

    def _sketch(self, point: Quantised) -> bytes:
        directions = self._directions.get(len(point))
        if directions is None:
            seed = int.from_bytes(hmac.digest(self._secret, _SKETCH_TAG, "sha256"), "big")
            directions = np.random.default_rng(seed).standard_normal((_BITS, len(point)), dtype=np.float32)
            self._directions[len(point)] = directions
        return np.packbits(directions @ point.astype(np.float32) > 0).tobytes()


def _rows(keys: Iterable[bytes]) -> Signs:
    return np.array([list(key) for key in sorted(keys)], dtype=np.uint8).reshape(-1, _BITS // 8)
