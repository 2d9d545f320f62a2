"""``python -m trainer run|genesis|phases|evaluate|report``."""

import sys

from curiosity.host import console
from trainer.cli import main

if __name__ == "__main__":
    words = sys.argv[1:2]
    console.main(
        main,
        "curiosity trainer" if words in (["run"], ["genesis"]) else "python -m trainer",
        events=words == ["run"] or (words == ["phases"] and ("--json" in sys.argv or not sys.stdout.isatty())),
        writes_json=words != ["evaluate"],
    )
