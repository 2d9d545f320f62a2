"""What must hold around a switch of the checkpoint, and the fault that a test puts in its way."""

from curiosity.ledger.rules import LedgerRules
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import StoreError
from curiosity.protocol.messages import Answer
from tests.material.service import Running

FAULT = StoreError("BROKEN", "something broke here", "Try again.")


async def audited(live: Running) -> LedgerRules:
    """The rules of an audit after every entry. Raises BadEntry."""
    leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
    rules = LedgerRules(lambda index: leaves[index])
    for leaf in leaves:
        rules.take(leaf)
    return rules


async def search(live: Running) -> Answer:
    return await live.client.query("text", "text/plain", b"three", "image", 50)


async def is_right(live: Running) -> LedgerRules:
    """Everything that is in force says the same checkpoint, which the ledger names, about all that is accepted."""
    rules = await audited(live)
    judge, network, answer = live.service.embedder.in_force.judge, await live.client.network(), await search(live)
    assert rules.checkpoint == judge.checkpoint == network.checkpoint == answer.checkpoint
    rows = list(live.service.store.accepted())
    assert answer.indexed == len(rows)
    trusted = len(judge.anchors.history["image-text"])
    assert judge.known("image-text") == trusted + sum(_is_novel(row.leaf) for row in rows)
    return rules


def _is_novel(leaf: bytes) -> bool:
    entry = parse_entry(leaf)
    assert isinstance(entry, PairEntry)
    return entry.verdict.novel
