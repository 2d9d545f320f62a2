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

UNNAMED = 1
"""The level of a pair without a text."""

_HIGHEST = 3

_PAIR_BITS: Mapping[str, tuple[int, ...]] = {"image": (40, 48, 56, 64), "audio": (12, 24, 40, 48)}
"""By level, the bits in which a picture or sound may differ where the other items are near."""

_REWORDED_BITS: Mapping[str, int] = {"image": 40, "audio": 32}
"""The same where one text says more than the other."""

_SHARED_BY = 4  # for each power of it that the pairs with a text number, the level is one lower


def level_of(text: bytes, pairs: int) -> int:
    """Return how much a shared text says, 0 to 3.

    Args:
        text: The later one's normal words.
        pairs: How many earlier accepted pairs have a text that is near it.
    """
    level = min(len(words_of(text)), _HIGHEST)
    while pairs >= _SHARED_BY and level > 0:
        pairs, level = pairs // _SHARED_BY, level - 1
    return level


def media_bits(modality: str, level: int) -> int:
    """Return in how many bits the other item may differ where a text of that level is shared; 0 has to be the same."""
    return _PAIR_BITS[modality][level] if modality in _PAIR_BITS else 0


def reworded_bits(modality: str) -> int:
    """Return in how many bits the other item may differ where one text says more than the other."""
    return _REWORDED_BITS.get(modality, 0)


def says_the_same(later: bytes, earlier: bytes) -> bool:
    """Return whether one of two texts, of which the normal words were kept, is the other one in more words."""
    return is_reworded(words_of(later), words_of(earlier))


def is_other(later: Sketch, earlier: bytes) -> bool:
    """Return whether an item with few other bits is another one all the same: a picture in other colours."""
    return later.modality == "image" and bool(later.kept and earlier) and is_recoloured(later.kept, earlier)
