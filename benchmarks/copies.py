"""What a copy of somebody's pair earns: ``python -m benchmarks.copies [--seed N] [--json FILE]``.

In each set honest pairs come one after another; then copies of some of them, each judged as the first copy of its pair.
A row says what a copy earns in multiples of an honest pair of its set, if the judge accepts both: nothing if it is
refused as a copy, else the weight by the counts of its entry. ``undefended``: equal bytes are recognised, and nothing
else. ``defended``: sketches. A copy of a picture or a sound is changed in one form and has

- the same caption, in other bytes (upper case), or
- the caption with one more word ("beautiful ..."), or
- the caption of another pair, which is not a copy of the pair but one more caption of the picture.

Limits were chosen on one half of the concepts of each set (of the files, for digits), with seeds 1, 2 and 5; what is
printed is of the other half, unless ``--half tuned`` asks for the first. ``--cache`` holds the sets.
"""

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.copy_forms import CAPTIONS, PICTURES, SOUNDS, Form
from benchmarks.embedding import ROOT
from benchmarks.judge import MAKERS
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.protocol.vesting import WHOLE_WEIGHT, weight_of
from curiosity.serving.alike import FILTER_BITS
from curiosity.serving.crowds import Crowds
from curiosity.serving.near import MAX_ROWS, NearItems
from curiosity.sources.made.digits import make_digits
from curiosity.sources.made.emoji import DEFAULT_SEED
from curiosity.sources.pairset import SourceItem, SourcePair, read_pairs

SETS: Mapping[str, tuple[str, str]] = {
    "photos": ("photos", "image"),
    "clipart": ("clipart", "image"),
    "emoji": ("emoji", "image"),
    "digits": ("digits", "image"),
    "sounds": ("sounds", "audio"),
    "spoken emoji": ("emoji", "audio"),
    "spoken digits": ("digits", "audio"),
}
"""What the sets are called, and which kind of item stands beside the text."""

BARRED: Sequence[str] = ("photos", "clipart", "emoji")
"""Where the bars for what a copy earns are asked for."""

LABELS: Sequence[str] = ("digits", "spoken digits")
"""Ten names for all pairs: an honest pair earns a twentieth, so no multiple of it says anything; nothing is copied."""

ISSUED = (
    *("shift 2 px", "shift 6 px", "hflip", "vflip", "rot90", "rot5", "rot5 black", "rot7", "rot15"),
    *("crop 10 %", "crop 25 %", "crop 35 %", "recoded", "jpeg30", "jpeg90", "brighter", "darker", "resize48"),
)
"""The forms of pictures that the bars are for."""

BARS = {"average": 0.10, "worst": 0.30, "refused": 0.02}
EPSILON = 1e-9
SAME, MORE, OTHER = "same caption", "one more word", "another caption"
POWER = 2
ROWS = 64  # of one item, where a search among as many as are held is timed
PIECES = 60  # items that are embedded to compare costs


@dataclass(frozen=True)
class Honest:
    """One honest pair: the picture or sound, the caption, and the sketches of both."""

    array: Array
    words: str
    media: Sketch
    text: Sketch


@dataclass(frozen=True)
class Arm:
    """Crowds that hold the honest pairs which came, and what those earn."""

    crowds: Crowds
    refused: int
    kept: float  # mean weight of honest pairs, of 1

    @classmethod
    def of(cls, honest: Sequence[Honest], *, defended: bool) -> "Arm":
        """Let honest pairs come one after another."""
        crowds, refused, weights = Crowds(), 0, []
        for index, one in enumerate(honest):
            sketches = (one.media, one.text) if defended else ()
            found = crowds.find(contents_of(one.media, one.text), sketches)
            if found.copy_of is not None:
                refused += 1
                weights.append(0.0)
                continue
            weights.append(weight_of(found.crowd, POWER) / WHOLE_WEIGHT)
            packed = [(sketch.modality, sketch.pack()) for sketch in sketches]
            crowds.join(index, contents_of(one.media, one.text), packed, is_novel=True)
        return cls(crowds, refused, statistics.fmean(weights))

    def earns(self, media: Sketch, text: Sketch, *, defended: bool) -> float:
        """Return what a copy in bytes of its own earns in multiples of an honest pair."""
        contents = hashlib.sha256(media.canonical).digest(), text.canonical
        found = self.crowds.find(contents, (media, text) if defended else ())
        return 0.0 if found.copy_of is not None else weight_of(found.crowd, POWER) / WHOLE_WEIGHT / self.kept


def contents_of(media: Sketch, text: Sketch) -> tuple[bytes, bytes]:
    """Return digests that differ wherever anything that was decoded differs."""
    return media.canonical, text.canonical


@lru_cache(100_000)
def sketch_words(words: str) -> Sketch:
    """Return the sketch of a caption."""
    return sketch_item("text", np.frombuffer(words.encode(), dtype=np.uint8))


def is_reported(name: str, pair: SourcePair, file: SourceItem) -> bool:
    """Return in which half a pair lies; pairs of one concept lie in one half, but for digits, which have ten."""
    concept = file.path.name if name == "digits" else pair.concept
    return bool(hashlib.sha256(f"tune:{concept}".encode()).digest()[0] & 1)


def gather(name: str, modality: str, cache: Path, seed: int, most: int, half: str) -> list[Honest]:
    """Return up to ``most`` pairs of one half of a set, in an order by the seed; one of each picture or sound."""
    folder = cache / f"set-{name}"
    if not (folder / "pairs.jsonl").exists():
        if name == "digits":
            make_digits(folder, seed=DEFAULT_SEED)
        else:
            MAKERS[name](folder, DEFAULT_SEED, cache, None)
    files: dict[Path, tuple[SourceItem, SourceItem]] = {}
    for pair in read_pairs(folder):
        sides = {file.modality: file for file in (pair.a, pair.b)}
        if set(sides) == {modality, "text"} and is_reported(name, pair, sides[modality]) is (half == "reported"):
            files.setdefault(sides[modality].path, (sides[modality], sides["text"]))
    order = np.random.default_rng(seed).permutation(len(files))[:most]
    found = list(files.values())
    honest = []
    for file, caption in (found[number] for number in order):
        array, words = BY_NAME[modality].decode(file.read(), file.media_type), caption.read().decode()
        honest.append(Honest(array, words, sketch_item(modality, array), sketch_words(words)))
    return honest


def measure(honest: Sequence[Honest], modality: str, copies: int, seed: int) -> dict[str, Any]:
    """Return what copies of pairs earn in each form, with and without the defence, and what honest people lose."""
    arms = {defended: Arm.of(honest, defended=defended) for defended in (False, True)}
    chosen = [one for one in honest if len(one.media.bank)][:copies]
    others = [honest[(number + len(honest) // 2) % len(honest)].words for number in range(len(chosen))]
    captions = {
        SAME: [one.words.upper() for one in chosen],
        MORE: [f"beautiful {one.words}" for one in chosen],
        OTHER: others,
    }
    rows = []

    def row(form: str, caption: str, media: Sequence[Sketch], words: Sequence[str]) -> None:
        sides: dict[bool, float] = {}
        for defended, arm in arms.items():
            earned = [arm.earns(a, sketch_words(b), defended=defended) for a, b in zip(media, words, strict=True)]
            sides[defended] = statistics.fmean(earned)
        rows.append({"form": form, "caption": caption, "undefended": sides[False], "defended": sides[True]})

    forms: Mapping[str, Form] = (PICTURES if modality == "image" else SOUNDS) if chosen else {}
    for form, change in forms.items():
        random = np.random.default_rng(seed)
        changed = [sketch_item(modality, np.ascontiguousarray(change(one.array, random))) for one in chosen]
        for caption, words in captions.items():
            row(form, caption, changed, words)
    for form, reword in CAPTIONS.items() if chosen else ():
        row("recoded", form, [one.media for one in chosen], [reword(one.words) for one in chosen])
    return {
        "pairs": len(honest),
        "copied": len(chosen),
        "refused": arms[True].refused,
        "refused_share": arms[True].refused / len(honest),
        "pay_kept": arms[True].kept / arms[False].kept,
        "rows": rows,
    }


def sum_up(name: str, modality: str, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the report: average and worst over the forms for each caption, and honest pairs refused."""
    result = []
    for caption in (SAME, MORE, OTHER) if measured["rows"] else ():
        chosen = [one for one in measured["rows"] if one["caption"] == caption]
        if modality == "image":
            chosen = [one for one in chosen if one["form"] in ISSUED]
        means = {side: statistics.fmean(one[side] for one in chosen) for side in ("undefended", "defended")}
        worst = max(chosen, key=lambda one: one["defended"])
        barred = name in BARRED and caption != OTHER
        result += [
            report(f"{name}, {caption}, average", means, BARS["average"] if barred else None),
            report(f"{name}, {caption}, worst: {worst['form']}", worst, BARS["worst"] if barred else None),
        ]
    share = {"undefended": 0.0, "defended": measured["refused_share"]}
    return [*result, report(f"{name}, honest pairs refused", share, BARS["refused"])]


def report(attack: str, sides: Mapping[str, Any], bar: float | None) -> dict[str, Any]:
    """Return one row."""
    undefended, defended = (round(sides[side], 4) for side in ("undefended", "defended"))
    holds = None if bar is None else defended <= bar + EPSILON
    return {"attack": attack, "undefended": undefended, "defended": defended, "bar": bar, "holds": holds}


def costs(honest: Sequence[Honest], modality: str, space: EmbeddingSpace) -> dict[str, float]:
    """Return processor time of sketching items, and of searching among all, as ratios to embedding the same items."""
    some = [one.array for one in honest[:PIECES]]
    crowds = Arm.of(honest, defended=True).crowds
    space.embed(modality, some[:4])  # the first call sets things up

    def timed(work: Any) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    embedding = timed(lambda: [space.embed(modality, [array]) for array in some])
    sketching = timed(lambda: [sketch_item(modality, array) for array in some])
    looked = [(contents_of(one.media, one.text), (one.media, one.text)) for one in honest[:PIECES]]
    searching = timed(lambda: [crowds.find(*one) for one in looked])
    full = NearItems()
    rows = np.random.default_rng(0).integers(0, 2**63, (MAX_ROWS, 4), dtype=np.uint64)
    for start in range(0, MAX_ROWS, ROWS):
        full.add(start, rows[start : start + ROWS])
    scanning = timed(lambda: [full.find(one.media.probes, FILTER_BITS[modality]) for one in honest[:PIECES]])
    return {
        "sketch_to_embed": sketching / embedding,
        "search_to_embed": searching / embedding,
        "full_search_to_embed": scanning / embedding,
        "held": len(honest),
    }


def print_set(name: str, measured: Mapping[str, Any]) -> None:
    """Print the table of one set."""
    print(f"\n{name}: {measured['pairs']} honest pairs, {measured['refused']} refused as copies")
    print(f"  honest pairs keep {100 * measured['pay_kept']:.1f} % of their pay; {measured['copied']} are copied")
    print(f"  {'form':24}{'caption':20}{'undefended':>12}{'defended':>12}")
    for one in measured["rows"]:
        print(f"  {one['form']:24}{one['caption']:20}{one['undefended']:12.3f}{one['defended']:12.3f}")


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the report."""
    print(f"\n{'attack':62}{'undefended':>12}{'defended':>10}{'bar':>7}")
    for one in rows:
        bar = "" if one["bar"] is None else f"{one['bar']:7.2f}  {'holds' if one['holds'] else 'DOES NOT HOLD'}"
        print(f"{one['attack']:62}{one['undefended']:12.3f}{one['defended']:10.3f}{bar}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS), dest="names")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--half", choices=("reported", "tuned"), default="reported")
    parser.add_argument("--most", type=int, default=300, help="honest pairs of each set")
    parser.add_argument("--copies", type=int, default=60, help="pairs that are copied in each form")
    parser.add_argument("--preset", default="offline", help="encoders that costs are compared with")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="where sets are kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(argv)
    try:
        space = EmbeddingSpace(asked.preset, seed=0, modalities=["image", "text", "audio"]).to(pick_device())
        sets, rows = {}, []
        for name in asked.names:
            folder, modality = SETS[name]
            honest = gather(folder, modality, asked.cache, asked.seed, asked.most, asked.half)
            copies = 0 if name in LABELS else asked.copies
            measured = measure(honest, modality, copies, asked.seed) | costs(honest, modality, space)
            print_set(name, measured)
            sets[name] = measured
            rows += sum_up(name, modality, measured)
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    print_rows(rows)
    for name, one in sets.items():
        print(f"{name}: sketch {one['sketch_to_embed']:.2f} of embedding, search among {one['held']} pairs "
              f"{one['search_to_embed']:.2f}, among {MAX_ROWS:,} rows {one['full_search_to_embed']:.2f}")  # fmt: skip
    if asked.json is not None:
        head = {"seed": asked.seed, "half": asked.half, "most": asked.most, "copies": asked.copies}
        asked.json.write_text(json.dumps(head | {"rows": rows, "sets": sets}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
