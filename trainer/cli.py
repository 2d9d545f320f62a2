"""The trainer's commands as one group. Each is a program of its own too, such as ``python -m trainer.round``."""

import click

from curiosity.host.console import HELP, example
from trainer.evaluate import evaluate
from trainer.genesis import genesis
from trainer.phases import phases
from trainer.report import report
from trainer.round import run


@click.group(context_settings=HELP, epilog=example("python -m trainer run --help"))
def main() -> None:
    """Train checkpoints, and measure them."""


for _command in (run, genesis, phases, evaluate, report):
    main.add_command(_command)
