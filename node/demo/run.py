"""The demo, step by step: chain, material, contributors, decisions, receipts, epoch, round, searches."""

import asyncio
import secrets
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curiosity.client.amounts import show_tokens
from curiosity.client.client import ValidatorClient
from curiosity.client.receipts import check_proof, read_saved, verify_saved
from curiosity.embedding.checkpoint import SHIPPED
from curiosity.ledger.copy import copy_ledger
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError
from curiosity.protocol.receipt import verify_receipt
from node.demo.judging import judge_again, submit
from node.demo.material import Cast, DemoMaterial, choose, make_cast, make_material
from node.demo.pay import PaySteps
from node.demo.processes import run_json_lines
from node.demo.report import Report
from node.demo.searches import search, show_searches
from node.demo.stage import Stage, open_stage
from node.screen import Screen

RUN = "run"  # below the demo's folder; made anew by every run
PLAYED = "played"  # this file marks a run that came to its end
CHECKPOINTS = "checkpoints"  # below the demo's folder; kept, for networks that go on under them
GENESIS = "offline"  # what a new network begins with

_POLL_S = 0.5  # between two looks at what is waited for
_REFUSALS = ("CHECKPOINT_WORSE", "CHECKPOINT_UNFIT")  # what a training can come to that learned too little
VOICES = 2  # for each name of an emoji
LIMIT = 3_000  # honest pairs at most, drawn alike from all
STEPS = 320  # of the training round: what a checkpoint learns is bounded by steps, never by a clock
SAFETY_STOP_S = 6 * 3600.0  # of everything that is waited for; far above what it takes on a busy machine


@dataclass(frozen=True)
class Options:
    """How to run: where to keep everything, where to write the figures, how much to do."""

    folder: Path
    out: Path
    seed: int = 1
    voices: int = VOICES
    emoji: bool = True
    steps: int = STEPS
    stop_after_s: float = SAFETY_STOP_S
    limit: int = LIMIT
    port: int = 0
    chain_port: int | None = None


def run(options: Options, screen: Screen) -> dict[str, Any]:
    """Run all steps, stop everything that was started, and return the figures; they are written to ``options.out``.

    What should hold and does not is in ``checks``.

    Raises:
        CuriosityError: If a step cannot be done.
    """
    report = Report(screen)
    shutil.rmtree(options.folder / RUN, ignore_errors=True)
    with open_stage(
        options.folder / RUN, report, port=options.port, chain_port=options.chain_port, genesis=GENESIS
    ) as made:
        play(made, options)
    (options.folder / RUN / PLAYED).touch()  # chain and ledger are written: `curiosity up` can go on with them
    return finish(report, options.out)


def finish(report: Report, out: Path) -> dict[str, Any]:
    """Write the figures and show the summary."""
    content = report.write(out)
    held = len(report.checks) - len(report.failed)
    report.screen.say(
        f"\n{content['accepted']} pairs accepted, {sum(content['rejected'].values())} rejected, "
        f"{content['receipts_verified']} receipts verified, {show_tokens(int(content['claimed_wei']))} claimed, "
        f"{show_tokens(int(content['derived_wei']))} derived; {held} of {len(report.checks)} checks hold. "
        f"Figures in {out}."
    )
    return content


def play(made: Stage, options: Options) -> None:
    """Play the steps after the chain on a stage."""
    report = made.report
    with report.step("material", "Pairs from installed packages: digits, emoji, their names, written and spoken"):
        with made.screen.progress("   Making pair sets", None) as meter:
            material = make_material(
                options.folder / "pairs", emoji=options.emoji, voices=options.voices,
                progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}"),
            )  # fmt: skip
        report.figures["material"] = _describe(material)
        rows = [
            (name, split, count["pairs"], count["concepts"])
            for name, card in report.figures["material"].items()
            for split, count in card["counts"].items()
        ]
        made.screen.note_table("", ("set", "split", "pairs", "concepts"), rows)
    with report.step("validator", "A validator with the genesis checkpoint"):
        facts = made.validator.start()
        made.screen.say(f"   {facts['url']} on {facts['device']}, judging under {facts['checkpoint'][:14]}...")
    with report.step("wallets", "Three contributors with encrypted wallets"):
        cast = make_cast(made.folder)
        for one in cast:
            made.fund(one.wallet.address)
            made.screen.say(f"   {one.wallet.name}: {one.wallet.describe()['address']}")
    asyncio.run(_while_validator_runs(made, _network_steps(made, options, material, cast)))


async def _while_validator_runs(made: Stage, steps: Coroutine[Any, Any, None]) -> None:
    """Await the steps, which wait for the validator as long as it takes: so end them if its process has ended."""

    async def watch() -> None:
        while True:
            made.validator.check()
            await asyncio.sleep(_POLL_S)

    tasks = {asyncio.create_task(steps), asyncio.create_task(watch())}
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


def _describe(material: DemoMaterial) -> dict[str, Any]:
    return {
        name: {key: card[key] for key in ("counts", "licenses", "digest", "missing") if key in card}
        for name, card in material.cards.items()
    }


async def _network_steps(made: Stage, options: Options, material: DemoMaterial, cast: list[Cast]) -> None:
    report = made.report
    # A busy machine may be slow in everything: the client waits as long as the validator runs.
    limit_s = options.stop_after_s
    async with ValidatorClient(made.validator.facts["url"], patience_s=limit_s, timeout_s=limit_s) as client:
        made.network = await client.network()
        with report.step("submit", "Contributors sign and submit; some pairs are bad on purpose"):
            sent = await submit(made, cast, client, choose(material.submit, options.limit, options.seed), options.seed)
        with report.step("verify", "Every receipt again, offline, and one inclusion proof"):
            await _verify(made, cast, client)
        pay = PaySteps(made, cast, client, limit_s)
        with report.step("close", "A day passes and the first epoch closes; a block to come draws whom it pays"):
            await pay.close_first()
        with report.step("searches_before", "Searches before the training round"):
            before = await search(client)
        with report.step("training", "A trainer learns from the mirrored ledger"):
            result = await _train(made, options, material, client)
        with report.step("switch", "The validator switches to the new checkpoint and embeds everything again"):
            await switch(report, client, made.admin_token(), result)
        with report.step("held", "Held pairs are judged again under the new checkpoint; nobody sends them again"):
            await judge_again(made, client, sent, limit_s)
        with report.step("searches_after", "The same searches afterwards, and recall on held-out material"):
            after = await search(client)
            show_searches(made, before, after, result)
        with report.step("rewards", "Days pass: awards vest and are claimed, and a takedown stops what has not vested"):
            await pay.pay_out()


async def _verify(made: Stage, cast: list[Cast], client: ValidatorClient) -> None:
    files = [file for one in cast for file in sorted((one.home / "receipts").glob("*.json"))]
    assert made.network is not None
    network = made.network
    with made.screen.progress("   Verifying", len(files)) as meter:
        verified = 0
        for file in files:
            verify_saved(read_saved(file))
            verified += 1
            meter.advance()
    made.report.figures["receipts_verified"] = verified
    saved = read_saved(files[len(files) // 2])
    checked = verify_receipt(saved.decision.receipt, saved.origin, saved.receipt_vkey)
    size = check_proof(await client.inclusion(checked.index), checked, network.origin, network.log_vkey)
    made.screen.say(f"   entry {checked.index} is in the signed tree of {number_of(size, 'entry')}")
    made.report.check("every receipt that was handed out verifies", verified == made.report.figures["receipts_at_once"])


async def _train(made: Stage, options: Options, material: DemoMaterial, client: ValidatorClient) -> dict[str, Any]:
    folder = made.folder
    with made.screen.progress("   Mirroring", None) as meter:
        copy = await copy_ledger(
            client, folder / "mirror", progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}")
        )
    made.screen.say(
        f"   {number_of(copy.size, 'entry')} verified against the tree head, "
        f"{number_of(copy.accepted, 'pair')} to learn from"
    )
    arguments = ["--ledger", str(folder / "mirror"), "--out", str(options.folder / CHECKPOINTS / secrets.token_hex(4))]
    arguments += ["--parent", str(SHIPPED[GENESIS])]
    arguments += ["--steps", str(options.steps), "--stop-after-s", str(options.stop_after_s)]
    arguments += ["--seed", str(options.seed)]
    for pair_set in material.folders:
        arguments += ["--trusted", str(pair_set)]
    return await asyncio.to_thread(_follow_training, made, arguments, folder / "trainer.log")


def _follow_training(made: Stage, arguments: list[str], log: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with made.screen.progress("   Training", None) as meter:
        for told in run_json_lines("trainer.round", arguments, log):
            if told["event"] == "progress":
                loss = f", loss {told['loss']:.3f}" if told.get("loss") is not None else ""
                meter.advance(0, f"{told['what']} {told['done']}/{told['total']}{loss}")
            else:
                result = told
    made.screen.say(
        f"   {result['pairs']} pairs, {result['steps']} of {result['of_steps']} steps, {result['cpu_s']} CPU-seconds; "
        f"checkpoint {result['digest'][:12]}..."
    )
    keys = ("digest", "parent", "pairs", "complete", "steps", "of_steps", "loss", "cpu_s", "seconds")
    made.report.figures["training"] = {key: result[key] for key in keys}
    made.report.check(f"the training took all of its {result['of_steps']} steps", result["complete"])
    if result["uncompared"] and result["complete"] and result["fit"] and not result["worse"]:
        sets = ", ".join(sorted({name.split()[0] for name in result["uncompared"]}))
        made.screen.say(
            f"   Its parent was evaluated on {sets} too, which the demo does not make: the switch is by force."
        )
    elif result["problem"]:
        made.screen.say(f"   NOT RECOMMENDED: {result['problem']}. {result['remedy']}")
    made.report.check("the new checkpoint is nowhere worse than its parent by over 5 points", not result["worse"])
    return result


async def switch(report: Report, client: ValidatorClient, token: str, result: dict[str, Any]) -> None:
    """Have the validator take the checkpoint. One that is unfit or worse it refuses, and keeps the one that it has."""
    refused, force = "", bool(result["uncompared"]) and not result["worse"]  # --no-emoji: emoji cannot be compared
    try:
        told = await client.switch_checkpoint(token, result["path"], force=force)
        report.screen.say(
            f"   checkpoint 0x{told.checkpoint.hex()[:12]}..., {number_of(told.reindexed, 'pair')}, entry {told.entry}"
            f"{', by force' if force else ''}"
        )
    except CuriosityError as error:
        if error.code not in _REFUSALS:
            raise
        refused = error.code
        report.screen.say(f"   {error.code}: {error.what}. {error.remedy}")
    in_force = (await client.network()).checkpoint.hex()
    if refused:
        report.screen.say(f"   The validator and the searches keep its parent, 0x{in_force[:12]}....")
    report.figures["switch"] = {"in_force": in_force, "refused": refused}
    report.check("the validator judges under the trainer's checkpoint", in_force == result["digest"])
