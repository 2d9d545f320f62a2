"""What was paid and then taken down: it is known under a key, counts on, and earns nothing a second time.

Beside each keyed hash of an item lie *sketches* of the pair: the signs of 256 projections whose directions follow from
the key. One is of the pair's joint point, and holds under the checkpoint of the takedown. Up to three are of the bits
of its picture or sound, mixed with a keyed hash of the text's words and of colours, and hold under any. Near copies
have near sketches; without the key none of it tells anything of a guess.
"""

import hmac
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from curiosity.embedding.sketch import Bits, Kept, Sketch
from curiosity.embedding.sketch.pictures import colour_cells
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import MAX_CROWD

_BITS = 256
_NEAR_BITS = 29
"""At most so many signs differ between sketches of near copies; of unrelated pairs half of them do."""

_LIKE_BITS: Mapping[str, int] = {"image": 60, "audio": 30}
"""The same for sketches of bits: where so many signs differ, about 33 and 9 of 256 bits do.

How many pairs had the text is not known any more, so every text counts as a label does among accepted pairs
(`curiosity.serving.alike`: 40 and 12 bits), less what projections err by. Who is taken for a copy here is never paid.
"""

LIKE_ROWS = 3
"""Rows of an item's bank of which a sketch is kept: the whole of it comes first."""

_ALONE = b"\x00"
"""In the place of a text's words, of which none has such, in sketches of an item by itself."""

_WORDS_TAG = b"curiosity/words/1\x00"
_ITEM_TAG = b"curiosity/paid-item/1\x00"
_ALONE_TAG = b"curiosity/paid-alone/1\x00"
_SKETCH_TAG = b"curiosity/sketch/1\x00"

Signs = npt.NDArray[np.uint8]


class PaidContents:
    """Keyed hashes and sketches, 32 bytes each, of what was paid and is erased. One writer, many readers.

    ``keys`` may hold other hashes: none of them is a hash of these or near a sketch but by a chance of one in 2**100.
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

    def item_keys(self, item: bytes, sketch: tuple[str, Kept] | None) -> set[bytes]:
        """Return what is to be kept of one item that was paid for by itself: hashes, and sketches of its bits.

        Args:
            item: Its SHA-256.
            sketch: Its modality and what is left of its sketch, where there is one.
        """
        keys = {self._alone_key(item)}
        if sketch is not None:
            modality, kept = sketch
            keys.add(self._alone_key(kept.canonical))
            keys.update(self.likeness(modality, kept.bank[:LIKE_ROWS], kept.kept, _ALONE))
        return keys

    def was_item(self, item: bytes, sketch: Sketch | None = None) -> bool:
        """Return whether an item was paid for and taken down: by its SHA-256, by what it decodes to, or a near copy."""
        if self.count(item) or self._alone_key(item) in self._keys:
            return True
        if sketch is None:
            return False
        return self._alone_key(sketch.canonical) in self._keys or self.is_like(
            sketch.modality, sketch.probes, sketch.kept, _ALONE
        )

    def count(self, item: bytes, besides: Collection[bytes] = ()) -> int:
        """Return how many pairs with the item of this SHA-256 are known, or among the keys ``besides``, up to 4,095."""
        count = 0
        while count < MAX_CROWD and ((key := self._item_key(item, count)) in self._keys or key in besides):
            count += 1
        return count

    def is_near(self, point: Quantised) -> bool:
        """Return whether a joint point is that of a known pair or of a near copy."""
        if not len(self._sketches):
            return False
        sketch = np.frombuffer(self._sketch(point), dtype=np.uint8)
        different = np.bitwise_count(self._sketches ^ sketch).sum(axis=1)
        return bool(different.min() <= _NEAR_BITS)

    def likeness(self, modality: str, rows: Bits, kept: bytes, words: bytes) -> list[bytes]:
        """Return sketches of a pair by its picture or sound and its text.

        Args:
            modality: Of the picture or sound.
            rows: Its rows, uint64[n, 4].
            kept: What is kept of it.
            words: The text's normal words.
        """
        drawn = self._drawn(rows)
        return [row.tobytes() for row in drawn ^ self._mixed(words, _cells(modality, kept)[0])]

    def is_like(self, modality: str, probes: Bits, kept: bytes, words: bytes) -> bool:
        """Return whether a pair has the words of a known pair, and a picture or sound that is near that one's.

        A picture in other colours is none: those it may have are mixed into the sketches as the words are.
        """
        known, limit = self._sketches.view(np.uint64), _LIKE_BITS.get(modality, -1)
        if not len(known) or not len(probes):
            return False
        drawn = self._drawn(probes)
        return any(
            np.bitwise_count(known ^ sketch).sum(axis=1).min() <= limit
            for cell in _cells(modality, kept)
            for sketch in (drawn ^ self._mixed(words, cell)).view(np.uint64)
        )

    def _drawn(self, rows: Bits) -> Signs:
        if not len(rows):
            return np.zeros((0, _BITS // 8), dtype=np.uint8)
        signs = 2.0 * np.unpackbits(rows.astype("<u8").view(np.uint8), axis=1).astype(np.float32) - 1
        return np.packbits(signs @ self._directions_for(_BITS).T > 0, axis=1)

    def _mixed(self, words: bytes, cell: bytes) -> Signs:
        digest = hmac.digest(self._secret, _WORDS_TAG + bytes((len(cell),)) + cell + words, "sha256")
        return np.frombuffer(digest, dtype=np.uint8)

    def _item_key(self, item: bytes, order: int) -> bytes:
        return hmac.digest(self._secret, _ITEM_TAG + order.to_bytes(8, "big") + item, "sha256")

    def _alone_key(self, digest: bytes) -> bytes:
        return hmac.digest(self._secret, _ALONE_TAG + digest, "sha256")

    def _sketch(self, point: Quantised) -> bytes:
        return np.packbits(self._directions_for(len(point)) @ point.astype(np.float32) > 0).tobytes()

    def _directions_for(self, components: int) -> npt.NDArray[np.float32]:
        directions = self._directions.get(components)
        if directions is None:
            seed = int.from_bytes(hmac.digest(self._secret, _SKETCH_TAG, "sha256"), "big")
            directions = np.random.default_rng(seed).standard_normal((_BITS, components), dtype=np.float32)
            self._directions[components] = directions
        return directions


def _cells(modality: str, kept: bytes) -> list[bytes]:
    return colour_cells(kept) if modality == "image" and kept else [b""]


def _rows(keys: Iterable[bytes]) -> Signs:
    return np.array([list(key) for key in sorted(keys)], dtype=np.uint8).reshape(-1, _BITS // 8)
