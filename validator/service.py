"""The wired service: what the routes work on, and the two things that touch all of it, switching and closing."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import embedding.checkpoint
from contracts.chain import Addresses
from ingress.shares import Shares
from protocol.comparison import check_comparison
from protocol.entry import CheckpointEntry, encode_entry
from protocol.errors import CheckpointError
from protocol.judgement import Anchors
from protocol.signing import Domain
from validator.config import Settings
from validator.decode import Decoder
from validator.embedder import Embedder
from validator.epochs import Epochs
from validator.forgotten import Forgotten
from validator.importer import Mirrored, check_checkpoint, last_checkpoint
from validator.intake import RateLimit
from validator.judge import Judge
from validator.keys import Keys
from validator.ledger import Ledger, NewEntry
from validator.metrics import Metrics
from validator.pipeline import Pipeline
from validator.query import Search
from validator.quotas import Quotas
from validator.refused_items import RefusedItems
from validator.reindex import Reindexer
from validator.store import Store
from validator.takedown import Takedowns
from validator.witnesses import Witnesses

log = logging.getLogger(__name__)

CHECKPOINT_PATH = "checkpoint_path"  # name of the store's note on where the checkpoint in force lies


@dataclass(frozen=True)
class Service:
    """Everything that the routes need, wired."""

    settings: Settings
    keys: Keys
    store: Store
    ledger: Ledger
    decoder: Decoder
    embedder: Embedder
    pipeline: Pipeline
    epochs: Epochs
    search: Search
    reindexer: Reindexer
    witnesses: Witnesses
    metrics: Metrics
    network_id: bytes
    domain: Domain
    addresses: Addresses
    query_limit: RateLimit
    quotas: Quotas
    bodies: Shares
    forgotten: Forgotten
    takedowns: Takedowns
    refused_items: RefusedItems
    stake_vkey: str = ""  # of the signature on tree heads that the stake contract judges
    mirrored: Mirrored | None = None  # whose ledger this is a read-only copy of


def make_judge(embedder: Embedder, rule: str) -> Judge:
    """Return a judge for the embedder's checkpoint, its history that of the checkpoint's anchors."""
    return Judge(embedder.checkpoint, embedder.calibration, Anchors.from_arrays(embedder.anchors), rule)


async def switch_checkpoint(s: Service, path: Path, *, force: bool = False) -> tuple[int, int]:
    """Judge under the checkpoint in ``path`` from now on; return the index of its entry and the pairs re-embedded.

    Pairs that arrive meanwhile wait. Raises CheckpointError: CHECKPOINT_NOT_CHILD unless its parent is in force,
    CHECKPOINT_UNFIT if it is near chance by its own evaluation, CHECKPOINT_FORGETS if it judges fewer kinds of pairs
    than the one in force, CHECKPOINT_WORSE or CHECKPOINT_NOT_COMPARED unless ``force``, and what loading it raises.
    """
    loaded = await asyncio.to_thread(embedding.checkpoint.load, path)
    if loaded.manifest.parent != s.embedder.checkpoint.hex():
        raise CheckpointError(
            "CHECKPOINT_NOT_CHILD",
            f"its parent is {loaded.manifest.parent or 'none'}, in force is {s.embedder.checkpoint.hex()}",
            "Train from the checkpoint in force.",
        )
    if not loaded.manifest.data.get("fit"):
        raise CheckpointError(
            "CHECKPOINT_UNFIT",
            "its evaluation on held-out pairs is near chance, by its own manifest",
            "Train longer, or on more pairs; judging under it would let anything pass.",
        )
    forgotten = s.pipeline.judge.pairs - set(loaded.calibration.pairs)
    if forgotten:
        raise CheckpointError(
            "CHECKPOINT_FORGETS",
            f"it cannot judge {', '.join(sorted(forgotten))}, which the checkpoint in force can",
            "Train on these too: accepted pairs of theirs are searched and must be embedded again.",
        )
    refuse_worse(loaded.manifest.evaluation, s.pipeline.judge.pairs, force=force)
    parent = s.embedder.checkpoint

    async def switch() -> tuple[int, int]:
        await s.embedder.swap(path)
        s.pipeline.judge = make_judge(s.embedder, s.settings.validator.curiosity_rule)
        s.pipeline.intake.take_pairs(s.pipeline.judge.pairs)
        count = await s.reindexer.rebuild()
        entry = encode_entry(CheckpointEntry(s.embedder.checkpoint, parent))
        # In this order: a start in between finds a child of the checkpoint that the ledger names, and logs it.
        await s.pipeline.on_writer(lambda: s.store.meta_set(CHECKPOINT_PATH, str(path.resolve())))
        (receipt,) = await s.pipeline.on_writer(lambda: s.ledger.append([NewEntry(entry, None)]))
        log.info("event=checkpoint_switched checkpoint=%s reindexed=%d", s.embedder.checkpoint.hex(), count)
        return receipt.index, count

    return await s.pipeline.paused(switch())


def refuse_worse(evaluation: Mapping[str, Any], judged: Iterable[str], *, force: bool) -> None:
    """Raise what `protocol.comparison.check_comparison` raises; ``force`` only logs it."""
    try:
        check_comparison(evaluation, judged)
    except CheckpointError as error:
        if not force:
            raise
        log.warning("event=checkpoint_forced code=%s what=%r", error.code, error.what)


def finish_switch(store: Store, ledger: Ledger, embedder: Embedder) -> None:
    """Log the checkpoint that was loaded if a process ended between choosing it and logging the switch.

    Raises ConfigError CHECKPOINT_NEEDED if it is neither the one that the ledger names nor a child of it.
    """
    named = last_checkpoint(store)
    if named != embedder.checkpoint and named == embedder.parent:
        ledger.append([NewEntry(encode_entry(CheckpointEntry(embedder.checkpoint, named)), None)])
    check_checkpoint(store, embedder.checkpoint)


async def close(service: Service) -> None:
    """Finish what was admitted and release everything."""
    await service.pipeline.close()
    await service.decoder.close()
    await asyncio.to_thread(service.embedder.close)
    service.store.close()
