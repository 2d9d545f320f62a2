"""The trainer's commands: what they parse. The work stands in the module of each, which loads torch; help does not.

python -m trainer run|genesis|phases|evaluate|report
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from curiosity.host.console import HELP, example
from trainer.recipe import GENESIS_RECIPE, ROUND_RECIPE, SAFETY_STOP_S

_FOLDER: Final = click.Path(path_type=Path)
_MAX_SEED: Final = 2**31 - 1
_threads = click.option("--threads", default=0, help="Processor threads; 0 leaves the choice to torch.")
_lines = click.option("--json", "_as_json", is_flag=True, help="JSON lines on standard output, as always.")

Callback = Callable[..., Any]


@click.group(context_settings=HELP, epilog=example("python -m trainer run --help"))
def main() -> None:
    """Train checkpoints, and measure them."""


@main.command(
    context_settings=HELP,
    epilog=example("curiosity trainer run --parent DIR --ledger mirror/ --trusted pairs/emoji --out next/"),
)
@click.option("--parent", type=_FOLDER, required=True, help="Folder of the checkpoint to start from.")
@click.option("--ledger", type=_FOLDER, required=True, help="Folder that `curiosity ledger mirror` made.")
@click.option("--trusted", type=_FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write; must not exist.")
@click.option("--steps", default=ROUND_RECIPE.steps, show_default=True, help="Steps of the training.")
@click.option(
    "--stop-after-s", default=SAFETY_STOP_S, show_default=True, help="Safety stop of the training, in seconds."
)
@click.option("--seed", default=ROUND_RECIPE.seed, show_default=True, help="What chance is drawn by.")
@_threads
@_lines
def run(_as_json: bool, **options: Any) -> int:
    """Train a child of a checkpoint on the accepted pairs of a mirrored ledger."""
    from trainer.round import command

    return command(**options)


@main.command(
    context_settings=HELP, epilog=example("curiosity trainer genesis --pairs pairs/emoji --out genesis/ --seed 1")
)
@click.option("--pairs", type=_FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write; must not exist.")
@click.option("--preset", default="tiny", show_default=True, help="Which towers, of which size (docs/encoders.md).")
@click.option("--seed", default=GENESIS_RECIPE.seed, show_default=True, help="What chance is drawn by.")
@click.option("--steps", default=GENESIS_RECIPE.steps, show_default=True, help="Steps of the training.")
@_threads
@click.option("--json", "_as_json", is_flag=True, help="One JSON object on standard output, as always.")
def genesis(_as_json: bool, **options: Any) -> int:
    """Make a genesis checkpoint from trusted pair sets."""
    from trainer.genesis import command

    return command(**options)


@main.command(
    context_settings=HELP, epilog=example("python -m trainer.phases --pairs sets/digits --out training --resume")
)
@click.option("--config", type=_FOLDER, help="YAML file; by default trainer/configs/tiny.yaml.")
@click.option("--pairs", type=_FOLDER, multiple=True, required=True, help="Folder of a pair set; repeatable.")
@click.option(
    "--out", type=_FOLDER, default=Path("training"), show_default=True, help="Folder for all that is written."
)
@click.option("--resume", is_flag=True, help="Go on from the state in --out, if there is one.")
@click.option("--seed", type=click.IntRange(0, _MAX_SEED), help="Instead of the seed in the YAML file.")
@_threads
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
    from trainer.phases import command

    return command(**options)


@main.command(context_settings=HELP, epilog=example("python -m trainer.evaluate --held-out sets/digits --map map.png"))
@click.option("--checkpoint", type=_FOLDER, help="Folder of the checkpoint; by default the genesis checkpoint.")
@click.option("--held-out", type=_FOLDER, multiple=True, required=True, help="Folder of a pair set; repeatable.")
@click.option("--json", "json_file", type=_FOLDER, help="JSON file to write.")
@click.option("--map", "map_file", type=_FOLDER, help="Picture of the space to write (PNG).")
@_threads
def evaluate(**options: Any) -> int:
    """Measure a checkpoint on held-out pairs; the status is 9 when it is not fit."""
    from trainer.evaluate import command

    return command(**options)


@main.command(context_settings=HELP, epilog=example("python -m trainer.report --trusted pairs/emoji"))
@click.option("--checkpoint", type=_FOLDER, help="Folder of the checkpoint; by default the genesis checkpoint.")
@click.option("--trusted", type=_FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of Markdown.")
@_threads
def report(**options: Any) -> int:
    """Print the operating figures of a checkpoint."""
    from trainer.report import command

    return command(**options)
