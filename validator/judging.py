"""What the entry of each pair of a batch will say: step 4 of the spine, on the writer thread.

`validator.batches` says what a batch is, and appends what is judged here. Pairs are judged in the order of their
entries: what is accepted is known to those behind it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from curiosity.protocol.errors import Rejected
from curiosity.protocol.judgement import Opinion
from curiosity.protocol.verdict import ItemMeasurement, Measurement, Opening, Outcome, Reason, Verdict
from curiosity.serving.crowds import Crowds, Likeness, Packed
from curiosity.serving.embedder import Embedder
from curiosity.serving.singles import count_new, judge_single
from validator.decided import fresh_salts, pack_embeddings, seal_entry
from validator.intake import Admitted
from validator.ledger import NewEntry
from validator.store import Store
from validator.turn import Turn

Judgement = tuple[NewEntry, Verdict, Opening]
_DETAIL_CHARS = 500


class StaleEmbeddings(Exception):
    """The checkpoint was switched between embedding and judging; embed again."""


class Judging:
    """Judges batches under the checkpoint in force, and keeps what was accepted where later pairs are compared.

    ``check_forgotten`` refuses a pair that was taken down, by Rejected. ``takes_items``: whether the rule of pay has a
    pool for new items.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: Store,
        crowds: Crowds,
        *,
        check_forgotten: Callable[[Admitted], None],
        takes_items: Callable[[], bool],
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._crowds = crowds
        self._check_forgotten = check_forgotten
        self._takes_items = takes_items
        self._salts = fresh_salts()  # the writer's

    def judge(self, batch: Sequence[Turn], first: int) -> tuple[dict[Turn, Judgement], list[tuple[Turn, Exception]]]:
        """Return what each pair's entry will say, and the pairs that cannot be judged now.

        ``first`` is the index of the entry of the first that can.
        """
        judged: dict[Turn, Judgement] = {}
        refused: list[tuple[Turn, Exception]] = []
        judge = self._embedder.in_force.judge
        pairs = [turn.admitted.pair for turn in batch if not isinstance(turn.embedded, Rejected)]
        accepted = self._store.known_contents([pair.contents for pair in pairs])
        opinions = {
            turn: judge.opine(turn.admitted.pair.envelope.submission.modalities, *turn.embedded)
            for turn in batch
            if not isinstance(turn.embedded, Rejected)
            and not turn.is_single
            and not turn.is_stale(judge.checkpoint)
            and turn.admitted.pair.contents not in accepted
        }
        judge.look_ahead(opinions.values())
        now = int(time.time())  # decides nothing but when items of refused pairs are let go
        for turn in batch:
            if turn.is_stale(judge.checkpoint):
                refused.append((turn, StaleEmbeddings()))
                continue
            try:
                self._check_forgotten(turn.admitted)  # again: it may have been taken down since it was admitted
            except Rejected as refusal:
                refused.append((turn, refusal))
                continue
            judged[turn] = self._judge_one(turn, opinions, accepted, first + len(judged), now)
        return judged, refused

    def _judge_one(
        self,
        turn: Turn,
        opinions: Mapping[Turn, Opinion],
        accepted: dict[tuple[bytes, bytes], int],
        index: int,
        now: int,
    ) -> Judgement:
        """Judge what may become entry ``index``. ``accepted`` grows with the contents of what is accepted."""
        judge, contents = self._embedder.in_force.judge, turn.admitted.pair.contents
        measurement: Measurement | None = None
        item: ItemMeasurement | None = None
        embeddings: bytes | None = None
        sketches: Packed = ()
        detail = ""
        if isinstance(turn.embedded, Rejected):
            verdict = judge.refuse(Reason.ITEM_UNDECODABLE)
            detail = f"{turn.embedded.code}: {turn.embedded.what}"[:_DETAIL_CHARS]
        elif (known := accepted.get(contents)) is not None:
            verdict, detail = judge.refuse(Reason.CONTENT_DUPLICATE), f"entry {known} holds the same two contents"
        elif turn.is_single:
            seen = turn.admitted.pair.a, turn.embedded[0], turn.sketches[0]
            verdict, detail, item = judge_single(*seen, judge, self._crowds)
            if verdict.is_accepted:
                accepted[contents], sketches = index, turn.packed()
                self._crowds.join_item(index, contents[0], sketches)
        elif (found := self._find(turn, opinions[turn])).copy_of is not None:
            verdict, detail = judge.refuse(Reason.PAIR_COPY, None), f"entry {found.copy_of} holds near copies of both"
        else:
            a, b = turn.embedded
            judged = judge.rank(opinions[turn], index, found.crowd)
            verdict, measurement, detail = judged.verdict, judged.measurement, judged.detail
            embeddings = pack_embeddings(a.whole, b.whole, judged.final_a, judged.final_b)
            if verdict.is_accepted:
                accepted[contents], sketches = index, turn.packed()
                self._crowds.join(index, contents, sketches, is_novel=verdict.novel)
                if self._takes_items():
                    verdict = replace(verdict, items=count_new(turn.embedded, opinions[turn].modalities, judge, found))
        if turn.is_single:
            verdict = replace(verdict, items=verdict.items or 0)
        opening = Opening(next(self._salts), *contents, detail, measurement, item)
        came = None if isinstance(turn.embedded, Rejected) else now
        return seal_entry(turn.admitted, verdict, opening, embeddings, came, sketches=sketches), verdict, opening

    def _find(self, turn: Turn, opinion: Opinion) -> Likeness:
        """Return what the pair shares with earlier ones; of a pair that is not accepted nobody asks."""
        if opinion.outcome is not Outcome.ACCEPTED:
            return Likeness()
        return self._crowds.find(turn.admitted.pair.contents, turn.sketches, opinion.point)

    def place(self, judged: dict[Turn, Judgement], first: int, indexes: Sequence[int | None]) -> None:
        """Tell the judge of novel pairs whose entries are not those from ``first`` on that they were ranked as."""
        for ranked, (turn, (_, verdict, _)) in enumerate(judged.items(), first):
            index, pair = indexes[ranked - first], turn.admitted.pair
            if not verdict.is_accepted or index == ranked:
                continue
            self._crowds.leave(ranked)
            if turn.is_single:
                if index is not None:
                    self._crowds.join_item(index, pair.a.digest, turn.packed())
                continue
            if index is not None:
                self._crowds.join(index, pair.contents, turn.packed(), is_novel=verdict.novel)
            if verdict.novel:
                self._embedder.in_force.judge.place(pair.envelope.submission.modalities, ranked, index)
