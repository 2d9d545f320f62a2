"""The wired service: what the routes work on, and the two things that touch all of it, switching and closing."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import curiosity.embedding.checkpoint
from curiosity.chain.chain import Addresses
from curiosity.embedding.checkpoint import Checkpoint
from curiosity.host.port.shares import Shares
from curiosity.protocol.comparison import check_comparison
from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.signing import Domain
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import InForce, put_on_device
from curiosity.serving.quotas import Quotas
from validator.audits import Audits
from validator.batches import Batches
from validator.blocking import BlockedItems
from validator.checkpoints import CHECKPOINT_PATH, keep_copy, note_of
from validator.config import ServiceSettings
from validator.epochs import Epochs
from validator.forgotten import Forgotten
from validator.held import HeldPairs
from validator.importer import MirrorRecord, check_checkpoint, last_checkpoint
from validator.intake import RateLimit
from validator.keys import Keys
from validator.ledger import Ledger, NewEntry
from validator.metrics import Metrics
from validator.pipeline import Pipeline
from validator.query import Search
from validator.refused_items import RefusedItems
from validator.reindex import Reindexer
from validator.store import Store
from validator.takedown import Takedowns
from validator.threads import Threads
from validator.witnesses import Witnesses

log = logging.getLogger(__name__)

_ROUNDS = 100  # of catching up with what is accepted during a switch


@dataclass(frozen=True)
class Service:
    """Everything that the routes need, wired."""

    settings: ServiceSettings
    data_dir: Path  # absolute
    keys: Keys
    store: Store
    ledger: Ledger
    decoder: Decoder
    embedder: Embedder
    threads: Threads
    batches: Batches
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
    answers: Shares
    forgotten: Forgotten
    takedowns: Takedowns
    refused_items: RefusedItems
    audits: Audits
    held: HeldPairs
    blocked_items: BlockedItems
    stake_vkey: str = ""  # of the signature on tree heads that the stake contract judges
    mirrored: MirrorRecord | None = None  # whose ledger this is a read-only copy of
    switching: asyncio.Lock = field(default_factory=asyncio.Lock)  # one switch of the checkpoint at a time

    @property
    def origin(self) -> str:
        """Return the ledger's origin, which a copy has from its owner."""
        return self.settings.validator.name if self.mirrored is None else self.mirrored.network.origin

    @property
    def receipt_vkey(self) -> str:
        """Return the key of the receipts that are served, which a copy has from its owner."""
        own = self.keys.receipt.verifier.vkey()
        return own if self.mirrored is None else self.mirrored.network.receipt_vkey


async def switch_checkpoint(s: Service, path: Path, *, force: bool = False) -> tuple[int, int]:
    """Judge under the checkpoint in ``path`` from now on; return the index of its entry and the pairs re-embedded.

    It is copied into the data folder first: ``path`` is not needed any more once this returns.
    All that is needed is built beside what is in force, under which pairs and searches go on meanwhile. If anything
    fails before the entry is written, nothing has changed. Only what was accepted last, at most a batch, is embedded
    while pairs wait. Orders are followed one after another. Held pairs are judged again afterwards, in the background.

    Raises:
        CheckpointError: CHECKPOINT_NOT_CHILD unless its parent is in force, CHECKPOINT_UNFIT if it is near chance by
            its own evaluation, CHECKPOINT_FORGETS if it judges fewer kinds of pairs than the one in force,
            CHECKPOINT_WORSE or CHECKPOINT_NOT_COMPARED unless ``force``, CHECKPOINT_BEHIND if pairs come faster than
            they are embedded again, CHECKPOINT_NOT_WRITTEN if there is no place for its copy, and what loading it
            raises.
        CuriosityError: What `Reindexer.fill` raises.
    """
    async with s.switching:
        loaded = await asyncio.to_thread(curiosity.embedding.checkpoint.load, path)
        _check_child(s, loaded, force=force)
        loaded = await asyncio.to_thread(keep_copy, s.data_dir, loaded)
        rule = s.settings.validator.curiosity_rule
        state = await asyncio.to_thread(put_on_device, loaded, s.embedder.device, rule)
        # Whoever repeats a verdict under the one in force until now needs its files.
        await asyncio.to_thread(keep_copy, s.data_dir, s.embedder.in_force.checkpoint)
        keep = (s.embedder.checkpoint, state.digest)
        await s.threads.on_writer(lambda: s.store.drop_finals(keep))
        with s.batches.building(state):
            index, count = await _fill_and_switch(s, state)
    s.held.wake()
    log.info("event=checkpoint_switched checkpoint=%s reindexed=%d", state.digest.hex(), count)
    return index, count


def _check_child(s: Service, loaded: Checkpoint, *, force: bool) -> None:
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
    forgotten = s.embedder.in_force.judge.pairs - set(loaded.calibration.pairs)
    if forgotten:
        raise CheckpointError(
            "CHECKPOINT_FORGETS",
            f"it cannot judge {', '.join(sorted(forgotten))}, which the checkpoint in force can",
            "Train on these too: accepted pairs of theirs are searched and must be embedded again.",
        )
    in_force = s.embedder.in_force.checkpoint.manifest.evaluation
    refuse_worse(loaded.manifest.evaluation, s.embedder.in_force.judge.pairs, in_force, force=force)


async def _fill_and_switch(s: Service, state: InForce) -> tuple[int, int]:
    """Catch up with what is accepted meanwhile, a round after another, until little enough is left to do it in a pause.

    To embed a pair again is less work than to take it, so that each round has fewer pairs than the one before.
    """
    most = s.settings.validator.max_batch_pairs
    start = count = 0

    async def finish() -> tuple[int, int] | None:
        if len(await s.reindexer.after(start, most + 1)) > most:
            return None
        _, last = await s.reindexer.fill(state, start)
        return await s.threads.on_writer(lambda: _commit(s, state)), count + last

    for _ in range(_ROUNDS):
        start, caught_up = await s.reindexer.fill(state, start)
        count += caught_up
        done = await s.batches.paused(finish())
        if done is not None:
            return done
    raise CheckpointError(
        "CHECKPOINT_BEHIND",
        f"after {_ROUNDS} rounds over {most} accepted pairs were still to be embedded again",
        "Order the switch again when fewer pairs come in.",
    )


def _commit(s: Service, state: InForce) -> int:
    """Log the switch, put the state in force, and return the entry's index. On the writer: nothing comes in between.

    The note on where the checkpoint lies comes first: a start in between finds a child of the checkpoint that the
    ledger names, and logs it.
    """
    before = s.store.meta_get(CHECKPOINT_PATH) or ""
    s.store.meta_set(CHECKPOINT_PATH, note_of(state.digest))
    try:
        entry = encode_entry(CheckpointEntry(state.digest, s.embedder.checkpoint))
        (receipt,) = s.ledger.append([NewEntry(entry, None)])
    except BaseException:
        if not s.ledger.is_stopped:  # if it is, the entry may be durable, and the next start finds out
            s.store.meta_set(CHECKPOINT_PATH, before)
        raise
    try:
        s.embedder.switch(state)
    except BaseException as error:  # the log names a checkpoint that is not in force: nothing may be judged any more
        s.batches.stop(error)
        raise
    return receipt.index


def refuse_worse(
    evaluation: Mapping[str, Any], judged: Iterable[str], in_force: Mapping[str, Any], *, force: bool
) -> None:
    """Refuse a checkpoint that is worse than its parent; ``force`` only logs it.

    Raises:
        CheckpointError: What `curiosity.protocol.comparison.check_comparison` raises.
    """
    try:
        check_comparison(evaluation, judged, in_force)
    except CheckpointError as error:
        if not force:
            raise
        log.warning("event=checkpoint_forced code=%s what=%r", error.code, error.what)


def finish_switch(store: Store, ledger: Ledger, embedder: Embedder) -> None:
    """Log the checkpoint that was loaded if a process ended between choosing it and logging the switch.

    Raises:
        ConfigError: CHECKPOINT_NEEDED if it is neither the one that the ledger names nor a child of it.
    """
    named = last_checkpoint(store)
    if named != embedder.checkpoint and named == embedder.parent:
        ledger.append([NewEntry(encode_entry(CheckpointEntry(embedder.checkpoint, named)), None)])
    check_checkpoint(store, embedder.checkpoint)


async def close(service: Service) -> None:
    """Finish what was admitted and release everything."""
    await service.pipeline.finish()
    await service.batches.close()
    service.threads.close()
    await service.decoder.close()
    await asyncio.to_thread(service.embedder.close)
    await asyncio.to_thread(service.audits.close)
    service.store.close()
