"""Wrong partners for pairs that belong together: by chance, the nearest one, the best of many.

A judge is measured, and its beliefs are fitted, with pairs that do not belong together. A caption drawn by chance is
easy to refuse; somebody who cheats sends the one that scores best. What is wrong for a pair and what scores a partner
is given, because embeddings are not known here.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from curiosity.protocol.errors import SourceError
from curiosity.sources.words import content_words

WAYS: Final = ("swapped", "nearest", "searched")
CANDIDATES: Final = 64

WrongFor = Callable[[int], Sequence[int]]
"""Called with a pair's place: the places of all partners that are wrong for it."""
Score = Callable[[int, Sequence[int]], Sequence[float]]
"""Called as (pair, partners): how well each of these partners does for it, higher is better."""


def draw_wrong(
    pairs: Iterable[int], wrong_for: WrongFor, *, way: str, seed: int, score: Score | None = None, each: int = 1
) -> list[list[int]]:
    """Return for each of the pairs the places of wrong partners.

    Args:
        pairs: Places of the pairs.
        wrong_for: What is wrong for each.
        way: ``swapped``: ``each`` by chance, or all where there are fewer. ``nearest``: of all that are wrong the one
            with the highest score. ``searched``: of `CANDIDATES` drawn by chance the one with the highest score.
        seed: What is drawn by chance depends on it, on the place of the pair and on what is wrong for it.
        score: For ``nearest`` how like the pair's own partner, for ``searched`` how well with the pair's other item.
        each: How many partners ``swapped`` draws for a pair.

    Raises:
        SourceError: WRONG_WAY (no such way, or one that needs a score without one), WRONG_FEW (a pair for which nothing
            is wrong).
    """
    if way not in WAYS or (score is None) != (way == "swapped"):
        raise SourceError(
            "WRONG_WAY",
            f"wrong partners cannot be drawn as {way!r} {'without' if score is None else 'with'} a score",
            f"Use swapped without a score, or one of {', '.join(WAYS[1:])} with one.",
        )
    drawn = []
    for pair in pairs:
        wrong = list(wrong_for(pair))
        if not wrong:
            raise SourceError(
                "WRONG_FEW",
                f"no partner is wrong for pair {pair}",
                "Give pairs of more than one thing.",
            )
        if way != "nearest":
            count = min(CANDIDATES if way == "searched" else each, len(wrong))
            places = np.random.default_rng([seed, pair]).choice(len(wrong), size=count, replace=False)
            wrong = [wrong[place] for place in places]
        if score is not None:
            wrong = [wrong[int(np.argmax(score(pair, wrong)))]]
        drawn.append(wrong)
    return drawn


def wrong_captions(captions: Sequence[str]) -> WrongFor:
    """Return which captions are wrong for each: those that name another thing.

    A caption that says the same, or less, or more of the same ("an apple", "a red apple") is not wrong: captions whose
    content words are the same or a part of the other's are left out.
    """
    said = [(content_words(caption), caption.strip().casefold()) for caption in captions]

    def is_wrong(right: int, other: int) -> bool:
        (words, text), (other_words, other_text) = said[right], said[other]
        if not words or not other_words:  # no content word: what is left is the text
            return text != other_text
        return not (words <= other_words or other_words <= words)

    return lambda pair: [at for at in range(len(said)) if is_wrong(pair, at)]
