"""How well a list of pictures keeps their forms out: ``python -m benchmarks.blocked [--set NAME...] [--json FILE]``.

Of each set some pictures are listed (`curiosity.serving.block_list.describe_item`); each comes back in its eight turns
and mirror images, as it is, recoded and smaller. A row says how many of these are refused with the list, and how many
of the set's other pictures are. Without the list none is. ``check`` is what comparing one picture with 100,000 rows
takes, in multiples of making its sketch.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.copies import gather
from benchmarks.embedding import ROOT
from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.protocol.errors import CuriosityError, ExitCode, Rejected
from curiosity.serving.block_list import BlockedItem, BlockList, describe_item

RECODED: Mapping[str, tuple[str, int, float]] = {
    "PNG": ("PNG", 0, 1.0),
    "JPEG 85": ("JPEG", 85, 1.0),
    "JPEG 50": ("JPEG", 50, 1.0),
    "JPEG 20": ("JPEG", 20, 1.0),
    "half": ("PNG", 0, 0.5),
    "third": ("PNG", 0, 1 / 3),
}
"""Format, quality and share of the sides, by name."""

LONG = 100_000


def recode(picture: Image.Image, form: str) -> Array:
    """Return the pixels of a picture after it was written in a form."""
    kind, quality, share = RECODED[form]
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    file = io.BytesIO()
    (picture.resize(size) if share < 1 else picture).save(file, kind, **({"quality": quality} if quality else {}))
    return np.asarray(Image.open(file).convert("RGB"))


def is_refused(listed: BlockList, sketch: Sketch) -> bool:
    """Return whether the list refuses an item."""
    try:
        listed.check_sketches([sketch])
    except Rejected:
        return True
    return False


def measure(pictures: Sequence[Array], listed: int) -> dict[str, Any]:
    """List the first ``listed`` pictures and return how many of their forms, and of the others, are refused."""
    each = [describe_item(picture.tobytes(), "image", picture) for picture in pictures[:listed]]
    alone, refused = [BlockList.of(items) for items in each], dict.fromkeys(RECODED, 0)
    for one, picture in zip(alone, pictures, strict=False):
        for turn in (None, *Image.Transpose):
            turned = Image.fromarray(picture) if turn is None else Image.fromarray(picture).transpose(turn)
            for form in RECODED:
                refused[form] += is_refused(one, sketch_item("image", recode(turned, form)))
    started = time.process_time()
    others = [sketch_item("image", picture) for picture in pictures[listed:]]
    sketching = time.process_time() - started
    whole = BlockList.of([item for items in each for item in items])
    long = BlockList.of([BlockedItem("picture", np.random.default_rng(n).bytes(32)) for n in range(LONG)])
    started = time.process_time()
    for sketch in others[:10]:
        is_refused(long, sketch)
    checking = (time.process_time() - started) / min(10, len(others))
    return {
        "listed": listed,
        "rows_each": round(sum(len(one.pictures) for one in alone) / listed, 2),
        "forms": 8 * listed,
        "refused": refused,
        "others": len(others),
        "others_refused": sum(is_refused(whole, sketch) for sketch in others),
        "check_to_sketch": round(checking / (sketching / len(others)), 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", choices=("photos", "clipart", "emoji"), default=["photos"], dest="names")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--most", type=int, default=300, help="pictures of each set")
    parser.add_argument("--listed", type=int, default=60, help="pictures that are listed")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="where sets are kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(argv)
    sets = {}
    print(f"{'set':9}{'listed':>7}" + "".join(f"{form:>11}" for form in RECODED) + f"{'others':>11}{'check':>7}")
    try:
        for name in asked.names:
            honest = gather(name, "image", asked.cache, asked.seed, asked.most, "reported")
            sets[name] = one = measure([each.array for each in honest], asked.listed)
            found = "".join(f"{one['refused'][form]:>5} / {one['forms']:<3}" for form in RECODED)
            print(f"{name:9}{one['listed']:>7}{found}{one['others_refused']:>5} / {one['others']:<3}"
                  f"{one['check_to_sketch']:>7}", flush=True)  # fmt: skip
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    if asked.json is not None:
        head = {"seed": asked.seed, "most": asked.most, "listed": asked.listed}
        asked.json.write_text(json.dumps(head | {"sets": sets}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
