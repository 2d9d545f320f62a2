"""The command that measures a checkpoint: a table, JSON, a map. The work is in `trainer.evaluation`, which loads torch.

    python -m trainer.evaluate --checkpoint DIR --held-out DIR [--held-out DIR] [--json FILE] [--map FILE.png]

Prints recall in every direction for every set, pairs that were never trained marked, and the alignment of every two
modalities. The exit status says whether the checkpoint is fit: 0, or 9 when it is near chance.
"""

from collections.abc import Sequence
from typing import Any

import click

from curiosity.host import console
from trainer.options import FOLDER, threads


@click.command(
    context_settings=console.HELP,
    epilog=console.example("python -m trainer.evaluate --held-out sets/digits --map map.png"),
)
@click.option("--checkpoint", type=FOLDER, help="Folder of the checkpoint; by default the genesis checkpoint.")
@click.option("--held-out", type=FOLDER, multiple=True, required=True, help="Folder of a pair set; repeatable.")
@click.option("--json", "json_file", type=FOLDER, help="JSON file to write.")
@click.option("--map", "map_file", type=FOLDER, help="PNG file to write a map of the space to.")
@threads
@console.logs_option
def evaluate(**options: Any) -> int:
    """Measure a checkpoint on held-out pairs; the status is 9 when it is not fit."""
    from trainer.evaluation import command

    return command(**options)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(evaluate, arguments, "python -m trainer.evaluate", writes_json=False)


if __name__ == "__main__":
    console.main(evaluate, "python -m trainer.evaluate", writes_json=False)
