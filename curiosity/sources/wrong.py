"""Wrong captions for pairs that belong together: by chance, the nearest one, the best of many.

A judge is measured with pairs that do not belong together. A caption drawn by chance is easy to refuse; somebody who
cheats sends the one that scores best. What scores a caption is given, because embeddings are not known here.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.words import content_words

WAYS: Final = ("swapped", "nearest", "best-of-64")
CANDIDATES: Final = 64

Score = Callable[[int, Sequence[int]], Sequence[float]]
"""Called as (pair, captions): how well each of these captions does for it, higher is better."""
_Said = tuple[frozenset[str], str]  # content words of a caption, and its text without case


def draw_wrong(captions: Sequence[str], *, way: str, seed: int, score: Score | None = None) -> list[int]:
    """Return for each pair the place of a wrong caption among ``captions``.

    The pair's own caption has the pair's place.

    A caption that says the same, or less, or more of the same ("an apple", "a red apple") is not wrong: captions whose
    content words are the same or a part of the other's are never drawn.

    Args:
        captions: Caption of each pair.
        way: ``swapped``: one by chance. ``nearest``: of all captions the one with the highest score. ``best-of-64``:
            of `CANDIDATES` captions drawn by chance the one with the highest score.
        seed: What is drawn by chance depends on it and on the place of the pair.
        score: For ``nearest`` how like the pair's own caption, for ``best-of-64`` how well with the pair's other item.

    Raises:
        SourceError: WRONG_WAY (no such way, or one that needs a score without one), WRONG_FEW (a pair for which every
            caption says the same).
    """
    if way not in WAYS or (score is None) != (way == "swapped"):
        raise SourceError(
            "WRONG_WAY",
            f"wrong captions cannot be drawn as {way!r} {'without' if score is None else 'with'} a score",
            f"Use swapped without a score, or one of {', '.join(WAYS[1:])} with one.",
        )
    said = [(content_words(caption), caption.strip().casefold()) for caption in captions]
    chosen = []
    for pair in range(len(captions)):
        if way == "nearest":
            wrong = [at for at in range(len(captions)) if _is_wrong(said[pair], said[at])]
        else:
            wrong = _draw(said, pair, seed, 1 if way == "swapped" else CANDIDATES)
        if not wrong:
            raise SourceError(
                "WRONG_FEW",
                f"none of {len(captions)} captions is wrong for {captions[pair]!r}",
                "Give captions of more than one thing.",
            )
        scores = [0.0] if score is None else score(pair, wrong)
        chosen.append(max(zip(wrong, scores, strict=True), key=lambda one: one[1])[0])
    return chosen


def _draw(said: Sequence[_Said], pair: int, seed: int, count: int) -> list[int]:
    """Return the places of ``count`` wrong captions for a pair, or all where there are fewer, drawn by SHA-256."""
    wrong: list[int] = []
    seen = set()
    for turn in range(4 * count):
        number = hashlib.sha256(f"{seed}:{pair}:{turn}".encode()).digest()
        at = int.from_bytes(number[:8], "big") % len(said)
        if at not in seen and _is_wrong(said[pair], said[at]):
            wrong.append(at)
        seen.add(at)
        if len(wrong) == count:
            return wrong
    # Few are left that are wrong: look at all.
    others = [at for at in range(len(said)) if at not in seen and _is_wrong(said[pair], said[at])]
    others.sort(key=lambda at: hashlib.sha256(f"{seed}:{pair}:all:{at}".encode()).digest())
    return wrong + others[: count - len(wrong)]


def _is_wrong(right: _Said, other: _Said) -> bool:
    if not right[0] or not other[0]:  # no content word: what is left is the text
        return right[1] != other[1]
    return not (right[0] <= other[0] or other[0] <= right[0])
