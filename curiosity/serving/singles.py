"""Items by themselves: what they say, and whether the ledger holds them (docs/protocol.md, step 9)."""

from collections.abc import Sequence

from curiosity.embedding.sketch import Sketch
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.pair import Item
from curiosity.protocol.verdict import ItemMeasurement, Outcome, Reason, Verdict
from curiosity.serving.crowds import Crowds, Likeness
from curiosity.serving.judge import Judge


def judge_single(
    item: Item, embedded: Embedded, sketch: Sketch, judge: Judge, crowds: Crowds
) -> tuple[Verdict, str, ItemMeasurement]:
    """Return the verdict about an item that came alone, its detail, and the numbers that it came from."""
    opinion = judge.opine_item(item.modality, embedded)
    if opinion.outcome is Outcome.ACCEPTED:
        found = crowds.find_item(item.digest, sketch)
        if found.is_known:
            detail = f"entry {found.entry} holds it or a near copy" if found.entry is not None else ""
            return judge.refuse(Reason.ITEM_COPY, None), detail, opinion.measurement
    return opinion.verdict(judge.checkpoint), opinion.detail, opinion.measurement


def count_new(embedded: Sequence[Embedded], modalities: str, judge: Judge, found: Likeness) -> int:
    """Return how many items of an accepted pair would be taken if they came alone."""
    items = zip(modalities.split("-"), embedded, found.is_known, strict=True)
    return sum(
        not is_known and judge.opine_item(name, item).outcome is Outcome.ACCEPTED for name, item, is_known in items
    )
