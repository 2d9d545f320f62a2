"""The command that trains a child of a checkpoint. The work is in `trainer.round_training`, which loads torch.

    python -m trainer.round --parent DIR --ledger DIR --trusted DIR [--trusted DIR] --out DIR

Prints one JSON object a line: ``{"event": "progress", "what", "done", "total", "loss"?}`` and at last
``{"event": "done", ...}`` or ``{"event": "error", ...}``. `trainer.round_training` says what they hold.
"""

from collections.abc import Sequence
from typing import Any

import click

from curiosity.host import console
from trainer.options import FOLDER, lines, threads
from trainer.recipe import ROUND_RECIPE, SAFETY_STOP_S


@click.command(
    context_settings=console.HELP,
    epilog=console.example(
        "curiosity trainer run --parent DIR --ledger mirror/ --trusted pairs/emoji --out next/",
    ),
)
@click.option("--parent", type=FOLDER, required=True, help="Folder of the checkpoint to start from.")
@click.option("--ledger", type=FOLDER, required=True, help="Folder that `curiosity ledger mirror` made.")
@click.option("--trusted", type=FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--out", type=FOLDER, required=True, help="Folder to write; must not exist.")
@click.option(
    "--license",
    "licenses",
    multiple=True,
    help="SPDX id, such as CC0-1.0: learn only from pairs that the ids given let you use; repeatable.",
)
@click.option("--steps", default=ROUND_RECIPE.steps, show_default=True, help="Steps of the training.")
@click.option(
    "--stop-after-s", default=SAFETY_STOP_S, show_default=True, help="Safety stop of the training, in seconds."
)
@click.option("--seed", default=ROUND_RECIPE.seed, show_default=True, help="Seed of the random numbers.")
@click.option(
    "--beliefs", is_flag=True, help="Publish beliefs, also if the parent has none; a child of one that has them does."
)
@click.option("--without-generated", is_flag=True, help="Leave out pairs that are declared as generated.")
@threads
@console.logs_option
@lines
def run(_as_json: bool, **options: Any) -> int:
    """Train a child of a checkpoint on the accepted pairs of a mirrored ledger."""
    from trainer.round_training import command

    return command(**options)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(run, arguments, "python -m trainer.round", events=True)


if __name__ == "__main__":
    console.main(run, "python -m trainer.round", events=True)
