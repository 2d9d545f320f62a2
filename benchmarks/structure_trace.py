"""Run a command of Curiosity and write which product files its code enters: `benchmarks.structure` starts it.

    python structure_trace.py OUT TREE COMMAND...

Calls made while a module is loaded do not count, nor do generated functions.
"""

import json
import sys
import threading
from pathlib import Path
from types import FrameType


def main() -> None:
    """Trace the command in this process and its threads."""
    out, tree = Path(sys.argv[1]), sys.argv[2].rstrip("/") + "/"
    sys.path.insert(0, tree)
    way: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(tree) or code.co_name in ("<module>", "<lambda>"):
            return
        file = code.co_filename[len(tree) :]
        if file.split("/")[0] in (".venv", "benchmarks") or (code.co_name[:1].isupper() and not frame.f_locals):
            return
        if not way or way[-1] != file:
            way.append(file)

    from node.cli import main as run

    sys.argv = ["curiosity", *sys.argv[3:]]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        files = list(dict.fromkeys(way))
        out.write_text(json.dumps({"files": files, "returns": len(way) - len(files)}))


if __name__ == "__main__":
    main()
