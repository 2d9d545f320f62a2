"""The command that prints a checkpoint's operating figures. The work is in `trainer.operating_figures`.

python -m trainer.report --checkpoint DIR --trusted DIR [--trusted DIR] [--json]
"""

from typing import Any

import click

from curiosity.host import console
from trainer.options import FOLDER, threads


@click.command(context_settings=console.HELP, epilog=console.example("python -m trainer.report --trusted pairs/emoji"))
@click.option("--checkpoint", type=FOLDER, help="Folder of the checkpoint; by default the genesis checkpoint.")
@click.option("--trusted", type=FOLDER, multiple=True, required=True, help="Folder of a trusted pair set; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="JSON in place of Markdown.")
@threads
@console.logs_option
def report(**options: Any) -> int:
    """Print the operating figures of a checkpoint."""
    from trainer.operating_figures import command

    return command(**options)


if __name__ == "__main__":
    console.main(report, "python -m trainer.report")
