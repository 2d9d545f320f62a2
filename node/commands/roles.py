"""`curiosity validator` and `curiosity trainer`: other roles' programs, run in place of this one.

The roles never import each other; what they share is the command's name.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from curiosity.client.amounts import show_tokens
from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, Rejected
from node.choices import REASONS
from node.command import PATH, Session, session_options
from node.commands.rule import rule
from node.commands.takedown import take_down_as_operator

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient
    from curiosity.protocol.orders import CheckpointReport

T = TypeVar("T")

_SWITCH_TIMEOUT_S = 6 * 3600.0  # a safety stop

PASS = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


def become(module: str, arguments: tuple[str, ...]) -> None:
    """Run one of our other programs in place of this one; does not return.

    Its help is shown by this process: a second start would cost as much again.
    """
    if {"-h", "--help"} & set(arguments):
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.stdout.flush()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else threads that wait keep busy cores from those that work
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module


@click.group(epilog=example("curiosity validator run --config curiosity.toml"))
def validator() -> None:
    """Run a validator, or tell a running one what to do."""


def _passed(name: str, words: str) -> click.Command:
    """Return a command of the validator's program; ``words`` say what it does."""

    def run(arguments: tuple[str, ...]) -> None:
        become("validator", (name, *arguments))

    rest = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    help_ = f"{words} (see --help)."
    return click.Command(name, callback=run, params=[rest], help=help_, context_settings=PASS, add_help_option=False)


for _name, _words in (
    ("run", "Take pairs, judge them, keep the ledger, close epochs, answer searches"),
    ("keys", "Show a validator's public keys, to pin and to register"),
    ("check", "Hash a validator's whole ledger again"),
    ("block", "Refuse items by their hashes: add, list and remove them"),
):
    validator.add_command(_passed(_name, _words))
validator.add_command(rule)
_token = click.option("--token-file", type=PATH, required=True, help="keys/admin.token in the validator's data folder.")


@validator.command("close-epoch", epilog=example("curiosity validator close-epoch --token-file keys/admin.token"))
@_token
@session_options(network=True)
def close_epoch(session: Session, token_file: Path) -> None:
    """Close the open epoch of a running validator and post its root."""
    import asyncio

    from curiosity.client.admin import read_token
    from curiosity.protocol.wire import to_plain

    report = asyncio.run(_ask(session, lambda client: client.close_epoch(read_token(token_file))))
    session.screen.finish(
        to_plain(report),
        lambda screen: screen.line(
            f"Epoch {report.epoch}: {number_of(report.paid_pairs, 'pair')} paid, "
            f"{show_tokens(int(report.emission_wei))} in all; entry {report.entry}."
        ),
    )


@validator.command("expire", epilog=example("curiosity validator expire --token-file keys/admin.token"))
@_token
@session_options(network=True)
def expire(session: Session, token_file: Path) -> None:
    """Have a running validator delete now the items of refused pairs that were kept long enough."""
    import asyncio

    from curiosity.client.admin import read_token
    from curiosity.protocol.wire import to_plain

    report = asyncio.run(_ask(session, lambda client: client.expire(read_token(token_file))))
    session.screen.finish(
        to_plain(report),
        lambda screen: screen.line(
            f"Deleted the items of {number_of(report.pairs, 'refused pair')}: {number_of(report.items, 'file')}, "
            f"{number_of(report.bytes, 'byte')}."
        ),
    )


@validator.command(epilog=example("curiosity validator switch next/ --token-file keys/admin.token"))
@click.argument("checkpoint", type=PATH)
@click.option(
    "--force", is_flag=True, help="Switch even if it is worse than its parent, or if nothing shows that it is not."
)
@_token
@session_options(network=True)
def switch(session: Session, checkpoint: Path, force: bool, token_file: Path) -> None:
    """Have a running validator on this machine judge under the checkpoint in a folder from now on.

    It is refused if it finds more than five points less than its parent in any direction on held-out pairs.
    """
    import asyncio

    from curiosity.client.admin import read_token
    from curiosity.protocol.wire import to_plain

    path, token = str(checkpoint.resolve()), read_token(token_file)

    # Everything is embedded again first: however long that takes, a time-out here would only hide the answer.
    async def order(client: ValidatorClient) -> tuple[CheckpointReport, CuriosityError | None]:
        try:
            return await client.switch_checkpoint(token, path), None
        except Rejected as refusal:  # asked without force first, so that what was overridden can be told
            if not force or refusal.code not in ("CHECKPOINT_WORSE", "CHECKPOINT_NOT_COMPARED"):
                raise
            return await client.switch_checkpoint(token, path, force=True), refusal

    report, doubt = asyncio.run(_ask(session, order, timeout_s=_SWITCH_TIMEOUT_S))
    forced = f" Forced in spite of {doubt.code}: {doubt.what}." if doubt else ""
    session.screen.finish(
        to_plain(report) | {"overridden": doubt.to_json() if doubt else None},
        lambda screen: screen.line(
            f"Judging under 0x{report.checkpoint.hex()}; {number_of(report.reindexed, 'pair')} embedded again, entry "
            f"{report.entry}.{forced}"
        ),
    )


@validator.command(
    "takedown", epilog=example("curiosity validator takedown 0xPAIR --reason illegal --token-file keys/admin.token")
)
@click.argument("pair")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why; the log shows it.")
@click.option("--everywhere", default="", help="Modality of an item (or both: image-text) to take from all pairs.")
@click.option("--block", default="", help="Modality of an item (or both: image-text) to list and refuse from now on.")
@_token
@session_options(network=True)
def take_down(session: Session, pair: str, reason: str, everywhere: str, block: str, token_file: Path) -> None:
    """Have a running validator take down anyone's pair; PAIR is its digest or a receipt."""
    from curiosity.client.admin import read_token

    take_down_as_operator(session, pair, reason, everywhere, read_token(token_file), block=block)


async def _ask(session: Session, question: Callable[[ValidatorClient], Awaitable[T]], *, timeout_s: float = 0.0) -> T:
    from curiosity.client.client import ValidatorClient

    node = session.settings.node
    limit_s = max(node.request_timeout_s, timeout_s)
    async with ValidatorClient(node.validator_url, patience_s=0.0, timeout_s=limit_s) as client:
        return await question(client)


@click.group(epilog=example("curiosity trainer run --parent DIR --ledger mirror/ --trusted pairs/emoji --out next/"))
def trainer() -> None:
    """Train checkpoints."""


@trainer.command("run", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_trainer(arguments: tuple[str, ...]) -> None:
    """Train a child of a checkpoint on a mirrored ledger (see --help)."""
    become("trainer", ("run", *arguments))


@trainer.command("genesis", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def genesis(arguments: tuple[str, ...]) -> None:
    """Make a genesis checkpoint from trusted pair sets (see --help)."""
    become("trainer", ("genesis", *arguments))
