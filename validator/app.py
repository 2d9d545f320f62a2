"""The composition root: `build` is the only place that picks implementations, and hands them to whoever needs them."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

import curiosity.embedding.checkpoint
import curiosity.host.port.listen
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import Addresses
from curiosity.chain.connect import connect_to
from curiosity.chain.evidence import StakeDomain
from curiosity.chain.stake_note import StakeKey, sign_head
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.work import Budget
from curiosity.host.files import make_folder
from curiosity.host.port.guard import Guard, GuardLimits
from curiosity.host.port.shares import Shares
from curiosity.host.settings.chain import LOCAL_CHAIN_ID
from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.pair import network_id_of
from curiosity.protocol.rewards import NEWEST, RewardParameters
from curiosity.protocol.signing import Domain
from curiosity.serving.crowds import Crowds
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.quotas import QuotaLimits, Quotas
from validator.audits import Audits, judge_by, load_auditor
from validator.batches import Batches
from validator.blocking import BlockedItems, find_list
from validator.checkpoints import adopt, find_checkpoint, find_first
from validator.config import ServiceSettings
from validator.contributor_routes import straight_to_pairs
from validator.edge import SERVICE, edge
from validator.epochs import Epochs
from validator.held import HeldPairs
from validator.importer import check_checkpoint, read_mark
from validator.intake import Intake, IntakeRules, RateLimit
from validator.keys import load_keys
from validator.ledger import Ledger, NewEntry
from validator.log_routes import read_only
from validator.metrics import Metrics
from validator.pipeline import Pipeline
from validator.query import Search
from validator.refused_items import DAY_S, Auditors, RefusedItems, parse_auditors
from validator.reindex import Reindexer
from validator.routes import ROUTES
from validator.service import Service, close, finish_switch
from validator.store import Store
from validator.takedown import Takedowns, load_forgotten
from validator.threads import Threads
from validator.witnesses import Witnesses, parse_witnesses

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

log = logging.getLogger(__name__)

_YOUNG_OBJECTS = 10_000  # allocated before they are looked through; 700 is Python's default


def connect_chain(settings: ServiceSettings) -> tuple["ChainClient | None", Addresses]:
    """Return a client of the configured chain, None without one, and the contracts' addresses.

    Raises:
        ConfigError: If an RPC URL is given without addresses.
        ChainError: If the chain is not the one expected.
    """
    chain = settings.chain
    if chain.addresses is not None:
        try:
            text = chain.addresses.expanduser().read_text()
        except OSError as error:
            raise ConfigError(
                "ADDRESSES_MISSING",
                f"{chain.addresses}: {error.strerror}",
                "Deploy the contracts first, or correct [chain] addresses.",
            ) from None
        addresses = read_addresses(text)
    elif chain.rpc_url:
        raise ConfigError(
            "ADDRESSES_MISSING", "an RPC URL is set, but no contract addresses", "Set [chain] addresses to their file."
        )
    else:
        return None, Addresses(chain.chain_id or LOCAL_CHAIN_ID, bytes(20), bytes(20))
    if not chain.rpc_url:
        return None, addresses
    return connect_to(chain, addresses, settings.validator.data_dir.expanduser().resolve()), addresses


def read_addresses(text: str) -> Addresses:
    """Return the contract addresses from the JSON that the deployment wrote.

    Raises:
        ConfigError: If it is not that.
    """
    try:
        return Addresses.from_json(read_json(text))
    except ValueError as error:
        raise ConfigError("ADDRESSES_INVALID", f"not JSON: {error}", "Deploy again, or restore the file.") from None


async def build(settings: ServiceSettings) -> Service:
    """Return the wired service, its ledger checked and its index rebuilt; nothing listens yet.

    Raises:
        StoreError, ConfigError, CheckpointError, ChainError: If something cannot be used as it is.
    """
    config = settings.validator
    witness_addresses = parse_witnesses(config.witnesses, config.quorum)
    named_auditors = parse_auditors(config.auditors)
    data_dir = config.data_dir.expanduser().resolve()
    make_folder(data_dir, mode=0o700)
    mirrored = read_mark(data_dir)
    if mirrored is not None:
        config = replace(config, name=mirrored.network.name, witnesses=(), quorum=0)
        settings, witness_addresses = replace(settings, validator=config), ()
    keys = load_keys(data_dir / "keys", config.name)
    chain, addresses = await asyncio.to_thread(connect_chain, settings)
    store = Store.open(config.url)
    ledger = Ledger(
        store,
        origin=config.name,
        log_signer=keys.log,
        receipt_signer=keys.receipt,
        head_path=data_dir / "tree-head.txt",
        clock=lambda: int(time.time()),
    )
    genesis_path = find_first(store, config.genesis)
    genesis = curiosity.embedding.checkpoint.load(genesis_path)
    domain = Domain(addresses.chain_id, addresses.rewards)
    network_id = network_id_of(config.name, domain, bytes.fromhex(genesis.digest))
    current = find_checkpoint(store, data_dir, genesis_path)
    log.info("event=starting step=encoders checkpoint=%s", current)
    embedder = await asyncio.to_thread(Embedder.load, current, config.device or None, config.curiosity_rule)
    auditor = None
    if config.audit_checkpoint is not None and mirrored is None:
        folder = curiosity.embedding.checkpoint.find_genesis(config.audit_checkpoint)
        auditor = await asyncio.to_thread(load_auditor, folder, config.device or None, config.curiosity_rule)
    stake_key, stake_vkey = None, ""
    if mirrored is not None:
        domain, network_id = mirrored.network.domain, mirrored.network.network_id
        stake_vkey = mirrored.network.stake_vkey
    elif addresses.stake:
        stake_domain = StakeDomain(addresses.chain_id, addresses.stake)
        stake_key = StakeKey(f"{config.name}/stake", stake_domain, address_of(keys.attestation))
        stake_vkey = stake_key.vkey()
    if ledger.size == 0:
        ledger.append([NewEntry(encode_entry(CheckpointEntry(embedder.checkpoint, None)), None)])
    if mirrored is not None:
        check_checkpoint(store, embedder.checkpoint)
    else:
        finish_switch(store, ledger, embedder)
    await asyncio.to_thread(adopt, store, data_dir, embedder.in_force.checkpoint)
    quotas = Quotas(
        QuotaLimits(
            config.bytes_per_hour,
            config.work_per_hour,
            config.quota_address_share,
            config.quota_network_share,
            work_margin=2 * config.pair_budget[2],
        )
    )
    threads = Threads()
    blocked = BlockedItems(find_list(config), threads, must_exist=config.blocked_items is not None)
    decoder = Decoder(config.decode_workers, quotas=quotas, is_fair=config.fair_queues)
    await decoder.start()
    intake = Intake(
        IntakeRules(
            network_id=network_id,
            domain=domain,
            modalities=BY_NAME,
            pairs=lambda: embedder.in_force.judge.pairs,
            takes_items=lambda: epochs.item_micro > 0,
            licenses=frozenset(config.licenses),
            pairs_per_minute=config.pairs_per_minute,
        ),
        quotas=quotas,
    )
    forgotten = await asyncio.to_thread(load_forgotten, store, ledger, keys.pepper)
    metrics, crowds = Metrics(), Crowds(forgotten.paid)
    epochs = await asyncio.to_thread(
        lambda: Epochs(
            store=store,
            ledger=ledger,
            threads=threads,
            parameters=RewardParameters(),
            chain=chain if mirrored is None else None,  # a copy attests nothing
            attestation_key=keys.attestation,
        )
    )
    batches = Batches(
        threads=threads,
        embedder=embedder,
        ledger=ledger,
        store=store,
        forgotten=forgotten,
        crowds=crowds,
        places=Shares(config.max_queue_pairs, is_fair=config.fair_queues),
        max_batch_pairs=config.max_batch_pairs,
        is_fair=config.fair_queues,
        takes_items=lambda: epochs.item_micro > 0,
        on_decision=metrics.count_decision,
    )
    pipeline = Pipeline(
        intake=intake,
        decoder=decoder,
        embedder=embedder,
        batches=batches,
        forgotten=forgotten,
        blocked=blocked,
        threads=threads,
        budget=Budget(*config.pair_budget),
    )
    reindexer = Reindexer(store, decoder, embedder, threads, forgotten, crowds)
    log.info("event=starting step=index entries=%d", ledger.size)
    await reindexer.fill(embedder.in_force)
    if mirrored is None and config.rule2_epoch:
        rule = RewardParameters(
            version=NEWEST,
            min_epoch_s=config.min_epoch_s,
            audit_micro=config.audit_micro,
            unpaid_returns=config.unpaid_returns,
            generated_micro=config.generated_micro,
            spoken_micro=config.spoken_micro,
            full_belief=config.full_belief,
        )
        await epochs.name_rule(config.rule2_epoch, rule)
    return Service(
        settings=settings,
        data_dir=data_dir,
        keys=keys,
        store=store,
        ledger=ledger,
        decoder=decoder,
        embedder=embedder,
        threads=threads,
        batches=batches,
        pipeline=pipeline,
        epochs=epochs,
        search=Search(decoder, embedder, store, threads, config.max_results, blocked, Budget(*config.search_budget)),
        blocked_items=blocked,
        reindexer=reindexer,
        witnesses=Witnesses(
            ledger,
            origin=config.name,
            log_vkey=keys.log.verifier.vkey(),
            addresses=witness_addresses,
            quorum=config.quorum,
            path=data_dir / "cosigned-head.txt",
            interval_s=config.witness_interval_s,
            read=threads.on_reader,
            published=mirrored.note if mirrored is not None else "",
            seal=partial(sign_head, key=stake_key, private_key=keys.attestation) if stake_key else lambda note: note,
        ),
        stake_vkey=stake_vkey,
        metrics=metrics,
        network_id=network_id,
        domain=domain,
        addresses=addresses,
        query_limit=RateLimit(config.queries_per_minute),
        quotas=quotas,
        bodies=Shares(config.max_body_bytes, is_fair=config.fair_queues),
        answers=Shares(config.max_answer_bytes, is_fair=config.fair_queues),
        forgotten=forgotten,
        takedowns=Takedowns(
            store=store,
            ledger=ledger,
            threads=threads,
            batches=batches,
            embedder=embedder,
            forgotten=forgotten,
            was_paid=epochs.was_paid,
            network_id=network_id,
            domain=domain,
        ),
        refused_items=RefusedItems(
            store=store,
            threads=threads,
            forgotten=forgotten,
            auditors=Auditors(
                named_auditors | {address_of(keys.attestation)}, chain.validators if chain is not None else None
            ),
            network_id=network_id,
            domain=domain,
            keep_s=config.keep_refused_days * DAY_S,
            most_held=config.max_held_bytes,
        ),
        audits=Audits(
            store=store,
            threads=threads,
            epochs=epochs,
            judge=judge_by(store, threads, decoder, embedder, auditor),
            auditor=auditor,
        ),
        held=HeldPairs(
            store=store,
            ledger=ledger,
            decoder=decoder,
            embedder=embedder,
            threads=threads,
            batches=batches,
            forgotten=forgotten,
            blocked=blocked,
            on_decision=metrics.count_decision,
        ),
        mirrored=mirrored,
    )


def make_application(service: Service) -> web.Application:
    """Return the aiohttp application over a wired service; it starts and stops the service's tasks."""
    app = web.Application(
        middlewares=[edge] if service.mirrored is None else [edge, read_only], client_max_size=1 << 30
    )
    app[SERVICE] = service
    for operation, handler in ROUTES:
        path = operation.pattern or operation.path
        if operation.method == "GET":
            app.router.add_get(path, handler)  # and HEAD
        else:
            app.router.add_route(operation.method, path, handler)

    async def run(_app: web.Application) -> AsyncIterator[None]:
        service.batches.start()
        config = service.settings.validator
        epoch_s = config.epoch_s if service.mirrored is None else 0
        rounds = asyncio.create_task(service.epochs.run(epoch_s=epoch_s, poll_s=config.activation_poll_s))
        cosigning = asyncio.create_task(service.witnesses.run())
        tasks = [rounds, cosigning, asyncio.create_task(service.refused_items.run(config.expiry_interval_s))]
        if service.mirrored is None:
            tasks.append(asyncio.create_task(service.audits.run(config.expiry_interval_s)))
            tasks.append(asyncio.create_task(service.held.run()))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close(service)

    app.cleanup_ctx.append(run)
    return app


async def listen(service: Service) -> web.AppRunner:
    """Listen at the configured address and return the runner; its ``cleanup`` finishes what was admitted.

    Raises:
        ConfigError: PORT_TAKEN.
    """
    config = service.settings.validator
    guard = Guard(GuardLimits.of(config), service.metrics.count_cut)
    runner = await curiosity.host.port.listen.listen(
        make_application(service), guard, config.host, config.port, "validator"
    )
    if service.mirrored is None and runner.server is not None:
        runner.server.request_handler = straight_to_pairs(service, runner.server.request_handler)
    return runner


def settle_memory() -> None:
    """Tell the garbage collector that what is loaded by now stays. For a process that is one validator and no more.

    Looking through it again and again (torch alone is a million objects) took a tenth of the processor under load; and
    a pair makes few cycles, so the young are looked through less often too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
