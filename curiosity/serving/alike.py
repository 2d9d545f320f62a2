"""How alike two items must be: limits in bits, and what a shared text says about the other item of a pair.

That two pairs have one text says much where the text is long and rare, and little where it is a label: ten names are
shared by all handwritten digits. So a pair is a copy at a limit for its picture or sound that is the stricter, the
fewer words the text has and the more accepted pairs have that text already.
"""

from collections.abc import Mapping

from curiosity.embedding.sketch import Sketch
from curiosity.embedding.sketch.pictures import is_recoloured
from curiosity.embedding.sketch.texts import is_reworded, words_of

FILTER_BITS: Mapping[str, int] = {"image": 80, "audio": 76, "text": 72}
"""In how many of 256 bits the bank of an earlier item may differ for a second look; for texts there is none."""

NEAR_BITS: Mapping[str, int] = {"image": 32, "audio": 40, "text": 56}
"""In how many bits a near copy of an item differs at most; docs/scoring.md says what was measured."""

MAX_RECHECKED = 8
"""Items that are looked at again, those with the fewest bits."""

MAX_ENTRIES = 4096
"""Entries with a like item that a pair is compared with: those with the nearest items, and of these the oldest."""

MAX_TEXTS = 32
"""Different texts that one text is compared with by their words, for the counts and once more for copies."""

UNNAMED = 1
"""The level of a pair without a text."""

_HIGHEST = 3

_PAIR_BITS: Mapping[str, tuple[int, ...]] = {"image": (40, 48, 56, 64), "audio": (12, 24, 40, 48)}
"""By level, the bits in which a picture or sound may differ where the other items are near."""

_REWORDED_BITS: Mapping[str, int] = {"image": 40, "audio": 32}
"""The same where one text says more than the other."""

SHARED_BY_MOST = 64
"""Pairs with a near text beyond which no level is left."""

_SHARED_BY = 4  # for each power of it that the pairs with a text number, the level is one lower


def level_of(text: bytes, pairs: int) -> int:
    """Return how much a shared text says, 0 to 3.

    Args:
        text: The later one's normal words.
        pairs: How many earlier accepted pairs have a text that is near it.
    """
    level = min(len(words_of(text)), _HIGHEST)
    pairs = min(pairs, SHARED_BY_MOST)
    while pairs >= _SHARED_BY and level > 0:
        pairs, level = pairs // _SHARED_BY, level - 1
    return level


def media_bits(modality: str, level: int) -> int:
    """Return in how many bits the other item may differ where a text of that level is shared; 0 has to be the same."""
    return _PAIR_BITS[modality][level] if modality in _PAIR_BITS else 0


def reworded_bits(modality: str) -> int:
    """Return in how many bits the other item may differ where one text says more than the other."""
    return _REWORDED_BITS.get(modality, 0)


class Wording:
    """Whether one of two texts is the other one in more words, for one later text and at most `MAX_TEXTS` earlier ones.

    Each earlier text is compared once, however many entries hold it; those beyond are taken for others.
    """

    def __init__(self, later: bytes) -> None:
        self._words = words_of(later)
        self._known: dict[bytes, bool] = {}

    def is_of(self, earlier: bytes) -> bool:
        """Return whether it says the same as a text of which these normal words were kept."""
        if (known := self._known.get(earlier)) is None:
            if len(self._known) == MAX_TEXTS:
                return False
            known = self._known[earlier] = is_reworded(self._words, words_of(earlier))
        return known


def is_other(later: Sketch, earlier: bytes) -> bool:
    """Return whether an item with few other bits is another one all the same: a picture in other colours."""
    return later.modality == "image" and bool(later.kept and earlier) and is_recoloured(later.kept, earlier)
