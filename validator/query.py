"""Search: an item of one modality in, the nearest accepted items of another out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.work import Budget
from curiosity.protocol.errors import Fault, Rejected
from curiosity.protocol.floor import rounded_micro
from curiosity.protocol.messages import Answer, AnswerFloor, Found
from curiosity.protocol.pair import Envelope, Part
from curiosity.protocol.scoring import Quantised, quantise
from curiosity.protocol.wire import parse
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import INDEX_KEYS_PER_ENTRY, InForce
from curiosity.serving.quotas import OWN, Payer
from validator.blocking import BlockedItems
from validator.store import Store
from validator.threads import Threads

MAX_SHOWN_CHARS = 500
OVERSAMPLE = 8  # neighbours looked at for each result, because one content may be in several pairs


@dataclass(frozen=True)
class _Asked:
    """A query under one checkpoint: ``vector`` int16[d] as the encoder gave it, ``searched`` items looked at."""

    under: InForce
    modality: str
    to: str
    vector: Quantised
    searched: int

    def floor(self) -> AnswerFloor | None:
        """Return what a hit must reach."""
        bound = self.under.floor.bound(self.modality, self.to, self.searched)
        return None if bound is None else AnswerFloor(bound.measure, bound.least_micro)


class Search:
    """Answers queries from the index of final embeddings; reads captions and licences from the store."""

    def __init__(
        self,
        decoder: Decoder,
        embedder: Embedder,
        store: Store,
        threads: Threads,
        max_results: int,
        blocked: BlockedItems,
        budget: Budget | None = None,
    ) -> None:
        self._decoder = decoder
        self._embedder = embedder
        self._store = store
        self._threads = threads
        self._max_results = max_results
        self._blocked = blocked
        self._budget = budget

    async def embed(self, under: InForce, modality: str, media_type: str, data: bytes, payer: Payer = OWN) -> Any:
        """Return the query's embedding int16[d] under a checkpoint.

        Raises:
            Rejected: If the item cannot be decoded or costs too much; ITEM_BLOCKED.
            Overloaded: If decoder or device is busy.
        """
        (await self._blocked.current()).check_bytes([data])
        array = await self._decoder.decode(modality, media_type, data, payer, self._budget)
        await self._blocked.check_decoded(modality, array)
        return quantise(await self._embedder.embed_whole(modality, [array], under))[0]

    async def search(
        self,
        modality: str,
        media_type: str,
        data: bytes,
        to: str,
        k: int,
        payer: Payer = OWN,
    ) -> Answer:
        """Return the ``k`` accepted items of modality ``to`` nearest to the query.

        Raises:
            CuriosityError: What `check` and `embed` raise.
        """
        self.check(modality, to, k)
        under = self._embedder.in_force  # to the end, even if it is replaced meanwhile
        vector = await self.embed(under, modality, media_type, data, payer)
        nearest = under.index.search(to, vector, OVERSAMPLE * k, modality)
        asked = _Asked(under, modality, to, vector, under.index.count(to))
        found, floor = await self._threads.on_reader(
            lambda: (self._describe_distinct(asked, nearest, k), asked.floor())
        )
        return Answer(modality, to, under.digest, asked.searched, found, floor)

    def check(self, modality: str, to: str, k: int) -> None:
        """Refuse what is refused whatever the query's bytes are.

        Raises:
            Rejected: QUERY_INVALID for an unknown modality or a k outside 1 to the limit, MODALITY_UNSUPPORTED for a
                modality that the checkpoint in force does not embed.
        """
        known = self._embedder.modalities
        for name in (modality, to):
            if name not in BY_NAME:
                remedy = f"Search among {', '.join(sorted(known))}."
                raise Rejected("QUERY_INVALID", f"from {modality!r} to {to!r}", remedy)
            if name not in known:
                raise Rejected(
                    "MODALITY_UNSUPPORTED",
                    f"the checkpoint in force does not embed {name}, only {', '.join(sorted(known))}",
                    "Search among these, or wait for a checkpoint that knows more.",
                    status=422,
                    fault=Fault.INFRASTRUCTURE,
                )
        if not 1 <= k <= self._max_results:
            raise Rejected("QUERY_INVALID", f"k is {k}", f"Ask for 1 to {self._max_results} results.")

    def _describe_distinct(self, asked: _Asked, nearest: Sequence[tuple[int, int]], k: int) -> tuple[Found, ...]:
        """Return up to ``k`` items of different content: a caption that came with many pictures is one result."""
        found: dict[bytes, Found] = {}
        for key, cosine in nearest:
            one = self._describe(asked, key, cosine)
            if one is not None:
                found.setdefault(one.sha256, one)
            if len(found) == k:
                break
        return tuple(found.values())

    def _describe(self, asked: _Asked, key: int, cosine_micro: int) -> Found | None:
        """Return what is under a key of the index; None if it was taken down since it was found."""
        entry, side = divmod(key, INDEX_KEYS_PER_ENTRY)
        stored = next(iter(self._store.submissions(entry, 1)), None)
        if stored is None or stored.index != entry:
            return None
        submission = parse(Envelope, stored.envelope).submission
        part, partner = (submission.a, submission.b) if side == 0 else (submission.b, submission.a)
        hit = asked.under.original(key, submission.modalities)
        if hit is None:
            return None
        fit = asked.under.floor.fit(asked.modality, asked.to, asked.vector, hit, asked.searched)
        return Found(
            index=entry,
            sha256=part.sha256,
            modality=part.modality,
            media_type=part.media_type,
            cosine_micro=rounded_micro(cosine_micro),
            license=submission.license,
            text=self._text(part),
            partner_text=self._text(partner),
            fits=None if fit is None else fit.fits,
            belief_micro=None if fit is None or fit.belief_micro is None else rounded_micro(fit.belief_micro),
            probability_micro=(
                None if fit is None or fit.probability_micro is None else rounded_micro(fit.probability_micro)
            ),
        )

    def _text(self, part: Part) -> str | None:
        if part.modality != "text":
            return None
        content = self._store.blob(part.sha256)
        return None if content is None else content.decode(errors="replace")[:MAX_SHOWN_CHARS]
