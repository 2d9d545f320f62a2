"""`curiosity attest`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, ExitCode
from node.command import PATH, Session, chain_settings, ledger_source, session_options, wallet_named
from node.completion import WALLET_NAME

if TYPE_CHECKING:
    from curiosity.rewards.attest import Looked
    from node.screen import Screen


@click.command(
    epilog=example(
        "curiosity attest --wallet validator-2 --dry-run",
        "curiosity attest --wallet validator-2 --rescore",
        "curiosity attest --wallet validator-2 --follow --entries mirror/",
    )
)
@click.option(
    "--wallet",
    "wallet_name",
    type=WALLET_NAME,
    help="Wallet of a validator that the rewards contract names.",
)
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option(
    "--entries", type=PATH, help="A mirror's folder, or a file of one leaf a line; by default the validator's ledger."
)
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain: best a node of your own.")
@click.option("--rescore", is_flag=True, help="Also judge the epoch's paid pairs again, here, before it is signed.")
@click.option("--dry-run", is_flag=True, help="Derive and compare; sign nothing.")
@click.option("--follow", is_flag=True, help="Keep running and sign every epoch that waits, until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
              help="Seconds between two looks with --follow.")  # fmt: skip
@session_options(network=True)
def attest(
    session: Session,
    wallet_name: str | None,
    password_file: Path | None,
    entries: Path | None,
    rpc_url: str | None,
    rescore: bool,
    dry_run: bool,
    follow: bool,
    every_s: float,
) -> int:
    """Sign the next epoch as one of several validators, once it follows from the ledger.

    It derives amounts, root and total from the ledger alone, and compares every earlier epoch with the chain. If the
    validator wants anything else signed, it signs nothing.
    """
    from curiosity.chain.connect import connect
    from curiosity.rewards import attest as rewards
    from curiosity.rewards.attest import Attestant
    from curiosity.rewards.judge_again import judge_payout_again
    from node.prompts import unlock_wallet
    from node.screen import Stages

    if follow and dry_run:
        raise click.UsageError("--dry-run looks once: leave --follow out")
    wallet = wallet_named(session, wallet_name)
    key = b"" if dry_run else unlock_wallet(wallet, password_file)
    source, chain = ledger_source(session, entries), partial(connect, chain_settings(session, rpc_url))
    attestant = Attestant(wallet.address, key, session.home)

    def look() -> Looked:
        with Stages(session.screen) as progress:
            again = partial(judge_payout_again, source, session.home, progress=progress) if rescore else None
            return rewards.attest(source, chain, attestant, is_dry=dry_run, judge_again=again, progress=progress)

    if not follow:
        looked = look()
        session.screen.finish(_to_json(looked), lambda screen: _show(screen, looked))
        return 0
    signed = 0

    def away(error: CuriosityError) -> None:
        session.screen.say(f"{error.code}: {error.what}. Trying again in {every_s:g} s.")

    try:
        for looked in rewards.follow(look, every_s, away):
            signed += 1
            _show(session.screen, looked)
    except KeyboardInterrupt:  # the way to end it: told with what was done
        session.screen.finish({"signed": signed}, lambda screen: screen.line(f"Signed {number_of(signed, 'epoch')}."))
    return int(ExitCode.INTERRUPTED)


def _to_json(looked: Looked) -> dict[str, object]:
    from curiosity.protocol.signing import checksum

    waiting = looked.waiting
    if waiting is None:
        return {"waits": False, "signed": False}
    return {
        "waits": True,
        "epoch": waiting.epoch,
        "digest": "0x" + waiting.digest.hex(),
        "reward_root": "0x" + waiting.reward_root.hex(),
        "cumulative_total_wei": waiting.cumulative_total_wei,
        "ledger_size": waiting.ledger_size,
        "signers": [checksum(one) for one in waiting.signers],
        "threshold": waiting.threshold,
        "signed": looked.is_signed,
        "signed_before": looked.was_signed_before,
    }


def _show(screen: Screen, looked: Looked) -> None:
    waiting = looked.waiting
    if waiting is None:
        screen.line("No epoch waits for signatures.")
        return
    has = f"{len(waiting.signers)} of {number_of(waiting.threshold, 'signature')}"
    if looked.is_signed:
        screen.line(f"Signed epoch {waiting.epoch}, root 0x{waiting.reward_root.hex()}: it has {has}.")
    elif looked.was_signed_before:
        screen.line(f"Epoch {waiting.epoch} was signed before: it has {has}.")
    else:
        screen.line(f"Epoch {waiting.epoch} follows from the ledger and can be signed: it has {has}.")
