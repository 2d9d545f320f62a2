"""What the trainer's commands share: a type of option and options."""

from pathlib import Path
from typing import Final

import click

FOLDER: Final = click.Path(path_type=Path)
threads = click.option("--threads", default=0, help="Processor threads; 0 leaves the choice to torch.")
lines = click.option("--json", "_as_json", is_flag=True, help="JSON lines on standard output, as always.")
