"""`curiosity validator` and `curiosity trainer`: other roles' programs, run in place of this one.

The roles never import each other; what they share is the command's name.
"""

import os
import sys

import click

from node.command import example

_PASS = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


def _become(module: str, arguments: tuple[str, ...]) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own module


@click.group(epilog=example("curiosity validator run --config curiosity.toml"))
def validator() -> None:
    """Run a validator."""


@validator.command("run", context_settings=_PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_validator(arguments: tuple[str, ...]) -> None:
    """Take pairs, judge them, keep the ledger, close epochs, answer searches (see --help)."""
    _become("validator", ("run", *arguments))


@validator.command("keys", context_settings=_PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def validator_keys(arguments: tuple[str, ...]) -> None:
    """Show a validator's public keys, to pin and to register (see --help)."""
    _become("validator", ("keys", *arguments))


@validator.command("check", context_settings=_PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check_ledger(arguments: tuple[str, ...]) -> None:
    """Hash a validator's whole ledger again (see --help)."""
    _become("validator", ("check", *arguments))


@click.group(epilog=example("curiosity trainer run --parent DIR --ledger mirror/ --trusted pairs/emoji --out next/"))
def trainer() -> None:
    """Train checkpoints."""


@trainer.command("run", context_settings=_PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_trainer(arguments: tuple[str, ...]) -> None:
    """Train a child of a checkpoint on a mirrored ledger (see --help)."""
    _become("trainer.round", arguments)


@trainer.command("genesis", context_settings=_PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def genesis(arguments: tuple[str, ...]) -> None:
    """Make a genesis checkpoint from trusted pair sets (see --help)."""
    _become("trainer.genesis", arguments)
