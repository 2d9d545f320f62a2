"""The `curiosity` command: sub-commands load when they are called, errors end in one line and a status of their own."""

import importlib
from collections.abc import Sequence

import click

from curiosity.host import console

COMMANDS = {
    "demo": "node.commands.demo:demo",
    "up": "node.commands.demo:up",
    "wallet": "node.commands.wallet:wallet",
    "check": "node.commands.check:check",
    "submit": "node.commands.submit:submit",
    "receipts": "node.commands.receipts:receipts",
    "prove": "node.commands.verify:prove",
    "verify": "node.commands.verify:verify",
    "rescore": "node.commands.rescore:rescore",
    "takedown": "node.commands.takedown:takedown",
    "query": "node.commands.query:query",
    "claim": "node.commands.claim:claim",
    "payouts": "node.commands.payouts:payouts",
    "attest": "node.commands.attest:attest",
    "ledger": "node.commands.ledger:ledger",
    "data": "node.commands.data:data",
    "validator": "node.commands.roles:validator",
    "witness": "node.commands.witness:witness",
    "trainer": "node.commands.roles:trainer",
    "config": "node.commands.config:config",
    "doctor": "node.commands.doctor:doctor",
}


class LazyGroup(click.Group):
    """A group that imports a sub-command only when it is used: `curiosity verify` never loads what it need not."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Return the sub-command, None if there is none of that name."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the sub-commands with their first line of help, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in COMMANDS])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the sub-command; names the nearest one where there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            # click compares with the commands that are loaded, and of these none is.
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=list(COMMANDS), ctx=ctx) from None


SUMMARIES = {
    "demo": "Run the whole network end to end on real pairs.",
    "up": "Keep a network up on this machine: a chain and a validator.",
    "wallet": "Make, list, import and export wallets; show balances, send.",
    "check": "Say what the judge would say of files, before anything is sent.",
    "submit": "Submit files, a folder, a manifest, shards, Parquet or a pair set.",
    "receipts": "List what you submitted, by file: verdict, reason, remedy, pay.",
    "prove": "Fetch inclusion proofs for saved receipts.",
    "verify": "Check receipts offline.",
    "rescore": "Repeat a validator's verdict on this machine.",
    "takedown": "Erase one of your pairs.",
    "query": "Search by text, or by a file of any modality.",
    "claim": "Claim rewards with a wallet.",
    "payouts": "Derive payouts from the ledger alone.",
    "attest": "Sign epochs as one of several validators.",
    "ledger": "Mirror a ledger and check all of it.",
    "data": "Make pair sets to try the network with, show and check them.",
    "validator": "Run a validator.",
    "witness": "Run a witness, which cosigns logs that only grow.",
    "trainer": "Train a checkpoint.",
    "config": "Show or write the settings file.",
    "doctor": "Look for what is missing or wrong.",
}


@click.group(cls=LazyGroup, context_settings=console.HELP)
@click.version_option(package_name="curiosity", prog_name="curiosity")
def curiosity() -> None:
    """Submit pairs of things that belong together; verify, search, claim, train.

    \b
    Example:
      curiosity demo
    """  # noqa: D301 - click reads the character, not the backslash


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; prints every error, raises none."""
    return console.run(curiosity, arguments, "curiosity")


def main() -> None:
    """Run the command; its entry point."""
    console.main(curiosity, "curiosity")


if __name__ == "__main__":
    main()
