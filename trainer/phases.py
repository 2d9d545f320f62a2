"""The command that trains in phases. The work is in `trainer.phase_training`, which loads torch.

    python -m trainer.phases --pairs DIR [--pairs DIR] [--config FILE.yaml] [--out DIR] [--resume]
    torchrun --nproc_per_node=N -m trainer.phases --pairs DIR ...

On a terminal it shows a progress bar and a table; else, and with ``--json``, it prints one JSON object a line and at
last ``{"event": "done", ...}`` with the report, or ``{"event": "error", ...}``. docs/training.md says the rest.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from curiosity.host import console
from trainer.options import FOLDER, threads

_MAX_SEED: Final = 2**31 - 1
_NAME: Final = "python -m trainer.phases"


@click.command(
    context_settings=console.HELP,
    epilog=console.example("python -m trainer.phases --pairs sets/digits --out training --resume"),
)
@click.option("--config", type=FOLDER, help="YAML file; by default trainer/configs/tiny.yaml.")
@click.option("--pairs", type=FOLDER, multiple=True, required=True, help="Folder of a pair set; repeatable.")
@click.option("--out", type=FOLDER, default=Path("training"), show_default=True, help="Folder to write everything to.")
@click.option("--resume", is_flag=True, help="Go on from the state in --out, if there is one.")
@click.option("--seed", type=click.IntRange(0, _MAX_SEED), help="Seed, in place of the one in the YAML file.")
@threads
@console.logs_option
@click.option(
    "--save-steps", type=click.IntRange(min=1), default=500, show_default=True, help="Steps between two saved states."
)
@click.option(
    "--save-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds between two saved states.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on a terminal too; the last is the report.")
def phases(**options: Any) -> int:
    """Train in phases, with replay, and publish a checkpoint."""
    from trainer.phase_training import command

    return command(**options)


def writes_events(arguments: Sequence[str]) -> bool:
    """Return whether the command prints one JSON object a line."""
    return "--json" in arguments or not sys.stdout.isatty()


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(phases, arguments, _NAME, events=writes_events(arguments))


if __name__ == "__main__":
    console.main(phases, _NAME, events=writes_events(sys.argv))
