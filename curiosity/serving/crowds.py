"""What earlier accepted pairs share with a new one: its counts (`CrowdCounts`), and the pair that it is a copy of.

An item is *near* an earlier one if both decode to the same, or if their sketches differ in few bits. A pair is a *copy*
of an earlier one if both its items are like those of it (`curiosity.serving.alike`). Nothing here depends on a
checkpoint.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from curiosity.embedding.sketch import Sketch, recheck, unpack
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts
from curiosity.serving import alike
from curiosity.serving.near import MAX_FOUND, NearItems
from curiosity.serving.paid import PaidContents

Packed = Sequence[tuple[str, bytes]]
"""Of both items of a pair the modality and `Sketch.pack`; empty if they are to be found by their bytes only."""


_FAR = 257  # bits, of a text that is not near


@dataclass(frozen=True)
class Likeness:
    """What is known of a pair beside its embeddings. ``copy_of`` is the first entry that holds near copies of both.

    ``is_known`` says of each of its items whether an accepted entry holds it, or one did that was paid for its items.
    """

    crowd: CrowdCounts = field(default_factory=CrowdCounts)
    copy_of: int | None = None
    is_known: tuple[bool, ...] = ()


@dataclass(frozen=True)
class ItemLikeness:
    """Whether an item is known: an accepted entry holds it or a near copy (``entry``, the first), or one was paid."""

    is_known: bool
    entry: int | None


@dataclass(frozen=True)
class _Pair:
    items: tuple[int, int]
    is_novel: bool


class Crowds:
    """The accepted pairs and single items of the ledger by their items. Thread-safe; fed in commit order.

    Pairs that were paid and taken down count on (``paid``), and a near copy of one has the largest count there is.
    """

    def __init__(self, paid: PaidContents | None = None) -> None:
        self._paid = paid or PaidContents(b"")
        self._lock = threading.Lock()
        self._numbers: dict[bytes, int] = {}  # of items, by the SHA-256 of their bytes
        self._canonical: dict[bytes, dict[int, None]] = defaultdict(dict)
        self._entries: dict[int, dict[int, None]] = defaultdict(
            dict
        )  # of the pairs that hold an item, the oldest first
        self._novels: dict[int, dict[int, None]] = defaultdict(dict)  # the novel ones of these
        self._names: dict[int, tuple[str, bytes, bytes]] = {}  # modality, SHA-256 and canonical digest of an item
        self._near: dict[str, NearItems] = defaultdict(NearItems)
        self._alone: dict[int, dict[int, None]] = defaultdict(dict)  # entries about an item alone
        self._pairs: dict[int, _Pair] = {}  # by ledger index
        self._singles: dict[int, int] = {}  # items by ledger index
        self._next = 0

    def __contains__(self, entry: object) -> bool:
        """Return whether the pair or item of this ledger index can be found."""
        return entry in self._pairs or entry in self._singles

    def find(
        self, contents: tuple[bytes, bytes], sketches: Sequence[Sketch] = (), point: Quantised | None = None
    ) -> Likeness:
        """Return what earlier pairs share with that of two items.

        Args:
            contents: SHA-256 of item a and of item b.
            sketches: Of both, if they are to be found by more than their bytes.
            point: Their joint point int16[2d].
        """
        with self._lock:
            sides = [self._look(digest, *sketches[side : side + 1]) for side, digest in enumerate(contents)]
            near_ones = zip(sides, sketches or (None, None), strict=True)
            alike_ones = [self._near_ones(*one) for one in near_ones]
            same = [_first(one, self._novels, MAX_CROWD) for one in alike_ones]
            known = tuple(
                self._holder(one) is not None or self._paid.was_item(digest, *sketches[side : side + 1])
                for side, (one, digest) in enumerate(zip(alike_ones, contents, strict=True))
            )
            copies = self._copies(sketches, sides)
            near = sum(self._pairs[entry].is_novel for entry in copies)
            if (point is not None and self._paid.is_near(point)) or self._was_paid(sketches):
                near = MAX_CROWD
            a, b = (len(one) + self._paid.count(digest) for one, digest in zip(same, contents, strict=True))
            crowd = CrowdCounts.rounded(a, b, near)
            return Likeness(crowd, min(copies, default=None) if sketches else None, known)

    def find_item(self, digest: bytes, sketch: Sketch) -> ItemLikeness:
        """Return whether a single item is known, by its SHA-256 and its sketch."""
        with self._lock:
            holder = self._holder(self._near_ones(self._look(digest, sketch), sketch))
            return ItemLikeness(holder is not None or self._paid.was_item(digest, sketch), holder)

    def join_item(self, entry: int, digest: bytes, packed: Packed = ()) -> None:
        """Let the accepted single item of ledger index ``entry`` be found; it counts in no pair's crowd."""
        with self._lock:
            if entry not in self._singles:
                self._singles[entry] = item = self._take(digest, *packed[:1], alone=True)
                self._alone[item][entry] = None

    def join(self, entry: int, contents: tuple[bytes, bytes], packed: Packed = (), *, is_novel: bool) -> None:
        """Let the accepted pair of ledger index ``entry`` be found.

        Args:
            entry: Its index; of one that is there nothing changes.
            contents: SHA-256 of item a and of item b.
            packed: Both items' sketches.
            is_novel: Whether it counts in a crowd. Others are only what copies are copies of.
        """
        with self._lock:
            if entry in self._pairs:
                return
            a, b = (self._take(digest, *packed[side : side + 1]) for side, digest in enumerate(contents))
            self._pairs[entry] = _Pair((a, b), is_novel)
            for item in (a, b):
                self._entries[item][entry] = None
                if is_novel:
                    self._novels[item][entry] = None

    def leave(self, entry: int) -> None:
        """Let the pair of ledger index ``entry`` not be found any more."""
        with self._lock:
            pair = self._pairs.pop(entry, None)
            for item in set(pair.items) if pair is not None else ():
                self._entries[item].pop(entry, None)
                self._novels[item].pop(entry, None)
                self._drop_unheld(item)
            if (single := self._singles.pop(entry, None)) is not None:
                self._alone[single].pop(entry, None)
                self._drop_unheld(single)

    def _holder(self, items: Iterable[int]) -> int | None:
        """Return the first accepted entry that holds one of these items, a pair or an item alone."""
        held = [holders[item] for item in items for holders in (self._entries, self._alone) if item in holders]
        return min((next(iter(entries)) for entries in held if entries), default=None)

    def _look(self, digest: bytes, sketch: Sketch | None = None) -> dict[int, int]:
        """Return the items that may be the same as this one, the nearest first, and in how many bits they differ."""
        found: dict[int, int] = {}
        if sketch is not None:
            near = self._near[sketch.modality]
            passed = near.find(sketch.probes, alike.FILTER_BITS.get(sketch.modality, -1))
            for item in sorted(passed, key=lambda item: (passed[item], item))[: alike.MAX_RECHECKED]:
                passed[item] = recheck(sketch, near.kept(item), passed[item])
            found |= passed
            found |= dict.fromkeys(islice(self._canonical.get(sketch.canonical, ()), MAX_FOUND), 0)
        if (number := self._numbers.get(digest)) is not None:
            found[number] = 0
        return dict(sorted(found.items(), key=lambda one: (one[1], one[0])))

    def _was_paid(self, sketches: Sequence[Sketch]) -> bool:
        """Return whether a pair with a text is like one that was paid and taken down."""
        told = [sketch for sketch in sketches if sketch.modality == "text"]
        shown = [sketch for sketch in sketches if sketch.modality != "text"]
        return bool(told and shown) and self._paid.is_like(
            shown[0].modality, shown[0].probes, shown[0].kept, told[0].kept
        )

    def _near_ones(self, side: Mapping[int, int], sketch: Sketch | None) -> list[int]:
        """Return the items that are near this one by themselves."""
        if sketch is None:
            return list(side)
        limit, of_texts = alike.NEAR_BITS.get(sketch.modality, 0), self._near["text"]
        wording = alike.Wording(sketch.kept)
        return [
            item
            for item, bits in side.items()
            if bits <= limit and (not bits or sketch.modality != "text" or wording.is_of(of_texts.kept(item)))
        ]

    def _copies(self, sketches: Sequence[Sketch], sides: Sequence[Mapping[int, int]]) -> Collection[int]:
        """Return the entries that hold items like both, among the first `alike.MAX_ENTRIES` that hold one like one."""
        text = next((side for side, one in enumerate(sketches) if one.modality == "text"), None)
        if text is not None:
            return self._captioned(sketches[text], sides[text], sketches[1 - text], sides[1 - text])
        if sketches:
            limits = [alike.media_bits(one.modality, alike.UNNAMED) for one in sketches]
            sides = [
                {item: bits for item, bits in side.items() if bits <= limit}
                for side, limit in zip(sides, limits, strict=True)
            ]
        fewest = min((_first(side, self._entries, alike.MAX_ENTRIES) for side in sides), key=len)
        return [entry for entry in fewest if _are_two(self._pairs[entry].items, sides)]

    def _captioned(
        self, text: Sketch, told: Mapping[int, int], other: Sketch, shown: Mapping[int, int]
    ) -> Collection[int]:
        """Return the entries that hold items like a text and another item. Nearer texts are compared first."""
        media, of_texts, wording = self._near[other.modality], self._near["text"], alike.Wording(text.kept)
        level = alike.level_of(text.kept, len(_first(told, self._entries, alike.SHARED_BY_MOST)))
        named, reworded = alike.media_bits(other.modality, level), alike.reworded_bits(other.modality)
        close = [thing for thing, bits in shown.items() if bits <= max(named, reworded)]
        candidates = []
        for entry in _first(close, self._entries, alike.MAX_ENTRIES):
            first, second = self._pairs[entry].items
            for thing, words in ((first, second), (second, first)):
                if thing in shown and shown[thing] <= (named if words in told else reworded):
                    candidates.append((told.get(words, _FAR), entry, thing, words))
        copies = set()
        for bits, entry, thing, words in sorted(candidates):
            if (not bits or wording.is_of(of_texts.kept(words))) and not alike.is_other(other, media.kept(thing)):
                copies.add(entry)
        return copies

    def _take(self, digest: bytes, packed: tuple[str, bytes] | None = None, *, alone: bool = False) -> int:
        known = self._numbers.get(digest)
        if known is not None:
            if not alone and packed is not None:
                self._near[packed[0]].pair(known)
            return known
        number, self._next = self._next, self._next + 1
        self._numbers[digest] = number
        if packed is None:
            self._names[number] = ("", digest, b"")
            return number
        modality, sketch = packed[0], unpack(packed[1])
        self._names[number] = (modality, digest, sketch.canonical)
        self._canonical[sketch.canonical][number] = None
        self._near[modality].add(number, sketch.bank, sketch.kept, alone=alone)
        return number

    def _drop_unheld(self, item: int) -> None:
        if self._entries[item] or self._alone[item]:
            return
        modality, digest, canonical = self._names.pop(item)
        del self._numbers[digest], self._entries[item], self._alone[item]
        self._novels.pop(item, None)
        if canonical:
            self._canonical[canonical].pop(item, None)
            if not self._canonical[canonical]:
                del self._canonical[canonical]
            self._near[modality].remove(item)


def _first(items: Iterable[int], entries: Mapping[int, Iterable[int]], most: int) -> Collection[int]:
    """Return at most so many entries of items, in the items' order and then the oldest first."""
    found: dict[int, None] = {}
    for item in items:
        for entry in entries.get(item, ()):
            found[entry] = None
            if len(found) == most:
                return found
    return found


def _are_two(items: tuple[int, int], sides: Sequence[Mapping[int, int]]) -> bool:
    """Return whether one of two items is among those of one side and the other among those of the other."""
    (a, b), (first, second) = items, sides
    return (a in first and b in second) or (b in first and a in second)
