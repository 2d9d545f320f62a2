"""`curiosity witness`: the witness's own program, run in place of this one."""

import click

from curiosity.host.console import example
from node.commands.roles import PASS, become


@click.group(epilog=example("curiosity witness run --name example.org/witness --log VKEY"))
def witness() -> None:
    """Run a witness, which cosigns logs that only grow."""


@witness.command("run", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_witness(arguments: tuple[str, ...]) -> None:
    """Cosign tree heads of trusted logs over HTTP (see --help)."""
    become("witness", ("run", *arguments))


@witness.command("keys", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def witness_keys(arguments: tuple[str, ...]) -> None:
    """Show the witness's public keys (see --help)."""
    become("witness", ("keys", *arguments))


@witness.command("evidence", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def witness_evidence(arguments: tuple[str, ...]) -> None:
    """List or export evidence of forks (see --help)."""
    become("witness", ("evidence", *arguments))
