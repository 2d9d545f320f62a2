"""The accepted pairs of a copy of a ledger under one checkpoint: which lies nearest to a pair, and the history of all.

Pairs that were judged under the checkpoint bring their embeddings; the others are decoded and embedded again from the
copy's own items, as a validator does when it moves to a checkpoint.
"""

import base64
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from curiosity.embedding.sketch import Sketch
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.decision import ExportedPair, check_exported
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Embeddings
from curiosity.protocol.pair import Item
from curiosity.protocol.scoring import MICRO, SCALE, Quantised, cross_average, joint, pulls_micro
from curiosity.protocol.tiles import WIDTH, bundles_for
from curiosity.serving.crowds import Crowds
from curiosity.serving.judge import Judge

_SHOWN_CHARS = 200

Embed = Callable[[Item], Awaitable[Quantised]]
"""Returns the embedding int16[d] of an item under the checkpoint."""
Progress = Callable[[str, int, int], None]

Sketching = Callable[[Item], Awaitable[Sketch]]


@dataclass(frozen=True)
class NearestPair:
    """An accepted pair of the ledger and how far its joint point is, in millionths of the unit sphere's radius."""

    entry: int
    pair: str  # digest in hex
    distance_micro: int
    license: str
    text: str | None  # of its text, if it has one


@dataclass
class _Known:
    """The accepted pairs of one modality pair."""

    points: list[Quantised] = field(default_factory=list)
    pairs: list[tuple[int, ExportedPair]] = field(default_factory=list)


class KnownPairs:
    """What a copy of a ledger knows. Made by `read`."""

    def __init__(self, copy: LedgerCopy) -> None:
        self.size = copy.head.size
        self.contents: dict[tuple[bytes, bytes], int] = {}  # SHA-256 of both items of each accepted pair: its entry
        self.crowds = Crowds()
        self._copy = copy
        self._known: dict[str, _Known] = {}

    async def read(
        self, judge: Judge, embed: Embed, sketch: Sketching, tell: Progress = lambda *_: None
    ) -> "KnownPairs":
        """Read every accepted pair, and let the judge remember the novel ones as a validator's does.

        Raises:
            ProofError: If the copy does not hold what its head promises.
        """
        network = self._copy.network
        for bundle in bundles_for(self.size):
            leaves, first = self._copy.entries(bundle), bundle.index * WIDTH
            for index, pair in sorted(self._copy.pairs(bundle).items()):
                leaf = leaves[index - first]
                entry = parse_entry(leaf)
                if isinstance(entry, PairEntry) and entry.verdict.is_accepted and entry.modalities in judge.pairs:
                    check_exported(pair, leaf, network.domain, network.origin, network.receipt_vkey)
                    await self._add(judge, embed, index, entry, pair)
                    parts = pair.submission.a, pair.submission.b
                    packed = [
                        (one.modality, one.pack()) for one in [await sketch(self._copy.item(index, p)) for p in parts]
                    ]
                    contents = (parts[0].sha256, parts[1].sha256)
                    self.crowds.join(index, contents, packed, is_novel=entry.verdict.novel)
                elif isinstance(entry, PairEntry) and entry.verdict.is_accepted and entry.is_single:
                    check_exported(pair, leaf, network.domain, network.origin, network.receipt_vkey)
                    item = await sketch(self._copy.item(index, pair.submission.a))
                    self.crowds.join_item(index, pair.submission.a.sha256, [(item.modality, item.pack())])
                    self.contents[pair.submission.a.sha256, pair.submission.b.sha256] = index
            tell("Reading the copy", first + bundle.width, self.size)
        return self

    async def _add(self, judge: Judge, embed: Embed, index: int, entry: PairEntry, pair: ExportedPair) -> None:
        a, b = pair.submission.a, pair.submission.b
        if entry.verdict.checkpoint == judge.checkpoint and pair.decision.embeddings is not None:
            finals = _finals(pair.decision.embeddings)
        else:
            medians = judge.calibration.median_loss_micro
            try:
                one, other = [await embed(self._copy.item(index, part)) for part in (a, b)]
            except Rejected:  # this checkpoint's contract is another: a validator could not move to it either
                return
            finals = cross_average(one, other, *pulls_micro(medians[a.modality], medians[b.modality]))
        point, contents = joint(*finals), (a.sha256, b.sha256)
        known = self._known.setdefault(entry.modalities, _Known())
        known.points.append(point)
        known.pairs.append((index, pair))
        self.contents[contents] = index
        if entry.verdict.novel:
            judge.remember(entry.modalities, point, index)

    def nearest(self, modalities: str, point: Quantised) -> NearestPair | None:
        """Return the accepted pair nearest to a joint point int16[2d], None if there is none of these modalities."""
        known = self._known.get(modalities)
        if known is None:
            return None
        points = np.stack(known.points).astype(np.float64)
        squared = ((points - point.astype(np.float64)) ** 2).sum(axis=1)
        place = int(squared.argmin())
        index, pair = known.pairs[place]
        distance = round(MICRO * math.sqrt(float(squared[place])) / SCALE)
        entry = parse_entry(pair.decision.receipt.entry.encode())
        assert isinstance(entry, PairEntry), "only these were added"
        return NearestPair(index, entry.pair.hex(), distance, entry.license, self._text(index, pair))

    def _text(self, index: int, pair: ExportedPair) -> str | None:
        for part in (pair.submission.a, pair.submission.b):
            if part.modality == "text":
                return self._copy.item(index, part).data.decode(errors="replace")[:_SHOWN_CHARS]
        return None


def _finals(embeddings: Embeddings) -> tuple[Quantised, Quantised]:
    a, b = (
        np.frombuffer(base64.b64decode(text), dtype="<i2").astype(np.int16)
        for text in (embeddings.final_a, embeddings.final_b)
    )
    return a, b
