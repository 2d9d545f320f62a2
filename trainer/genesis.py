"""The command that makes a genesis checkpoint. The work is in `trainer.genesis_training`, which loads torch.

python -m trainer.genesis --pairs DIR [--pairs DIR] --out DIR [--seed N]
"""

from typing import Any

import click

from curiosity.host import console
from trainer.options import FOLDER, threads
from trainer.recipe import GENESIS_RECIPE


@click.command(
    context_settings=console.HELP,
    epilog=console.example("curiosity trainer genesis --pairs pairs/emoji --out genesis/ --seed 1"),
)
@click.option("--pairs", type=FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--out", type=FOLDER, required=True, help="Folder to write; must not exist.")
@click.option(
    "--preset",
    default="tiny",
    show_default=True,
    help="Preset, which names the towers and their sizes (docs/encoders.md).",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Start from the published weights that the preset names, and leave them as they are; they are downloaded.",
)
@click.option(
    "--beliefs/--no-beliefs",
    default=True,
    show_default=True,
    help="Publish beliefs: accept and reject at a stated precision, and hold what lies between (docs/scoring.md).",
)
@click.option("--seed", default=GENESIS_RECIPE.seed, show_default=True, help="Seed of the random numbers.")
@click.option("--steps", default=GENESIS_RECIPE.steps, show_default=True, help="Steps of the training.")
@click.option(
    "--junk-pool",
    default=GENESIS_RECIPE.junk_pool,
    show_default=True,
    help="Items of each junk family that teach the null gate; pictures of them cost time with the preset offline.",
)
@threads
@console.logs_option
@click.option("--json", "_as_json", is_flag=True, help="One JSON object on standard output, as always.")
def genesis(_as_json: bool, **options: Any) -> int:
    """Make a genesis checkpoint from trusted pair sets."""
    from trainer.genesis_training import command

    return command(**options)


if __name__ == "__main__":
    console.main(genesis, "python -m trainer.genesis")
