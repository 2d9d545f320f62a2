"""True pairs of two modalities by what they are of, and a choice of them that favours no concept."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.feed import FedItem, FedPair


@dataclass(frozen=True)
class Joined:
    """A trusted true pair: two items of one concept of one set."""

    set: str
    concept: str
    split: str
    a: FedItem
    b: FedItem


def join_by_concept(pairs: Sequence[FedPair], a: str, b: str) -> list[Joined]:
    """Return true pairs of two modalities: the given ones of each set, or items of one concept of one split.

    The items are joined where the modalities were never paired. Without given pairs an item is joined with one partner
    of each concept only, chosen by digest, so that many items of one concept do not count quadratically.
    """
    joined = [Joined(p.set, p.concept, p.split, p.a, p.b) for p in pairs if (p.a.modality, p.b.modality) == (a, b)]
    given = {pair.set for pair in joined}
    found: dict[tuple[str, str, str], dict[str, dict[str, FedItem]]] = {}
    for pair in pairs:
        for item in (pair.a, pair.b):
            if item.modality in (a, b) and pair.set not in given:
                key = (pair.set, pair.split, pair.concept)
                found.setdefault(key, {}).setdefault(item.modality, {})[item.digest] = item
    for (set_name, split, concept), items in sorted(found.items()):
        left, right = (sorted(items.get(m, {}).values(), key=lambda item: item.digest) for m in (a, b))
        if left and right:
            for turn in range(max(len(left), len(right))):
                one, other = left[turn % len(left)], right[turn % len(right)]
                joined.append(Joined(set_name, concept, split, one, other))
    return joined


def spread(pairs: Iterable[Joined], count: int) -> list[Joined]:
    """Return at most ``count`` pairs: one of every concept first, then the second of each.

    The order is that of digests.
    """
    by_concept: dict[tuple[str, str], list[Joined]] = {}
    for pair in sorted(pairs, key=_order):
        by_concept.setdefault((pair.set, pair.concept), []).append(pair)
    ordered = sorted(
        ((turn, _order(pair), pair) for group in by_concept.values() for turn, pair in enumerate(group)),
        key=lambda entry: entry[:2],
    )
    return [pair for _, _, pair in ordered[:count]]


def _order(pair: Joined) -> bytes:
    return hashlib.sha256(f"{pair.a.digest}{pair.b.digest}".encode()).digest()
