"""How many altered copies are found, at how many false alarms: ``python -m benchmarks.copy_recall [--json FILE]``.

Items of a set come one after another, as in ``benchmarks.copies``, and each is compared with all earlier ones. Every
two that have different captions are a pair of different items, and a false alarm if they differ in no more bits than a
limit. Then copies of some items come, each altered in one form. *Recall* is the share of them that differ from their
original in no more bits. Three limits are compared: ``item``, from which on the product counts two items as the same;
``pair``, the highest one for two pairs that share a caption of several words; and ``asked``, the highest at which no
more pairs of different items are false alarms than `FALSE_ALARMS` says. What is compared is what a validator
compares: rows of the bank, and the nearest few again; not the colours, which pairs are compared by as well.

The half of the material is not the one that the limits were chosen on. Items that are too plain or too short to have a
sketch are known by their bytes only: they are counted, and not copied.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.copies import SETS, Honest, gather
from benchmarks.copy_forms import PICTURES, SOUNDS, Form
from benchmarks.embedding import ROOT
from curiosity.embedding.sketch import Sketch, recheck, sketch_item
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.serving import alike
from curiosity.serving.near import NearItems

NAMES = ("photos", "clipart", "emoji", "sounds", "spoken emoji")
FALSE_ALARMS: Mapping[str, float] = {"image": 1e-4, "audio": 1e-3}
"""What share of the pairs of different items may be taken for copies at the limit that is asked for."""

FORMS: Mapping[str, Mapping[str, Form]] = {"image": PICTURES, "audio": SOUNDS}
BARS: Mapping[str, Mapping[str, float]] = {
    "image": dict.fromkeys(
        (*("jpeg30", "jpeg90", "resize48", "brighter", "darker", "grey", "hflip", "vflip", "rot90"),
         *("crop 10 %", "crop 25 %", "crop 35 %")), 0.99)
    | dict.fromkeys(("rot5", "rot5 black", "text box", "crop+flip+jpeg"), 0.90),
    "audio": dict.fromkeys(
        ("re-encode", "+1 semitone, faster", "-1 semitone, slower", "+1 semitone", "-1 semitone",
         "trim 10 % at the start", "trim 10 % at the end"), 0.95),
}  # fmt: skip
"""What share of the copies is asked to be found; of the other forms nothing is asked."""

EPSILON = 1e-9
NONE = -1  # a limit at which nothing is alike


def compare(later: Sketch, earlier: NearItems) -> dict[int, int]:
    """Return in how many bits an item differs from earlier ones, as `curiosity.serving.crowds` compares them."""
    bits = earlier.find(later.probes, alike.FILTER_BITS[later.modality])
    for item in sorted(bits, key=lambda item: (bits[item], item))[: alike.MAX_RECHECKED]:
        bits[item] = recheck(later, earlier.kept(item), bits[item])
    return bits


def come(honest: Sequence[Honest]) -> tuple[NearItems, list[int], int]:
    """Let items come one after another.

    Returns:
        Items that can be found; the bits in which two different items differ, of those that pass the filter; and how
        many pairs of different items there are.
    """
    near, bits, pairs = NearItems(), [], 0
    for number, one in enumerate(honest):
        others = [one.words != earlier.words for earlier in honest[:number]]
        pairs += sum(others)
        bits += [differ for item, differ in compare(one.media, near).items() if others[item]]
        near.add(number, one.media.bank, one.media.kept)
    return near, bits, pairs


def limit_for(bits: Sequence[int], pairs: int, share: float, most: int) -> int:
    """Return the highest limit, at most ``most``, at which no larger share of the pairs is within it."""
    within = [sum(one <= limit for one in bits) for limit in range(most + 1)]
    return max((limit for limit, count in enumerate(within) if count <= share * pairs), default=NONE)


def measure(honest: Sequence[Honest], modality: str, copies: int, seed: int) -> dict[str, Any]:
    """Return the false alarms of a set, and the recall of each form, at each limit."""
    near, bits, pairs = come(honest)
    highest = alike.media_bits(modality, 3)
    limits = {
        "item": alike.NEAR_BITS[modality],
        "pair": highest,
        "asked": limit_for(bits, pairs, FALSE_ALARMS[modality], alike.FILTER_BITS[modality]),
    }
    chosen = [(number, one) for number, one in enumerate(honest) if len(one.media.bank)][:copies]
    rows = []
    for form, change in FORMS[modality].items():
        random = np.random.default_rng(seed)
        differ = []
        for number, one in chosen:
            sketch = sketch_item(modality, np.ascontiguousarray(change(one.array, random)))
            differ.append(compare(sketch, near).get(number, alike.FILTER_BITS[modality] + 1))
        found = {name: sum(one <= limit for one in differ) / len(chosen) for name, limit in limits.items()}
        bar = BARS[modality].get(form)
        holds = None if bar is None else found["asked"] >= bar - EPSILON
        rows.append(
            {"form": form, **{name: round(share, 4) for name, share in found.items()}, "bar": bar, "holds": holds}
        )
    return {
        "items": len(honest),
        "plain": sum(not len(one.media.bank) for one in honest),
        "pairs": pairs,
        "copied": len(chosen),
        "limits": limits,
        "false_alarms": {name: sum(one <= limit for one in bits) for name, limit in limits.items()},
        "rows": rows,
    }


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return a table of the sets, and one of the forms of each modality."""
    sets = report["sets"]
    lines = [
        "| set | items | without a sketch | pairs of different items "
        "| limit, item | false alarms | limit, pair | false alarms | limit as asked | false alarms |",
        "|---" * 10 + "|",
    ]
    for name, one in sets.items():
        cells = [f"{one['limits'][limit]} | {one['false_alarms'][limit]}" for limit in ("item", "pair", "asked")]
        lines.append(f"| {name} | {one['items']} | {one['plain']} | {one['pairs']:,} | " + " | ".join(cells) + " |")
    for modality, forms in FORMS.items():
        names = [name for name in sets if SETS[name][1] == modality]
        if not names:
            continue
        lines += ["", f"| {modality}: found at item / pair / asked | " + " | ".join(names) + " | asked |"]
        lines.append("|---" * (len(names) + 2) + "|")
        for place, form in enumerate(forms):
            rows = [sets[name]["rows"][place] for name in names]
            cells = [f"{row['item']:.3f} / {row['pair']:.3f} / {row['asked']:.3f}" for row in rows]
            bar = "" if rows[0]["bar"] is None else f"{rows[0]['bar']:.2f}"
            missed = [name for name, row in zip(names, rows, strict=True) if row["holds"] is False]
            fails = f"; missed: {', '.join(missed)}" if missed else ""
            lines.append(f"| {form} | " + " | ".join(cells) + f" | {bar}{fails} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", choices=NAMES, default=list(NAMES), dest="names")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--half", choices=("reported", "tuned"), default="reported")
    parser.add_argument("--most", type=int, default=600, help="items of each set")
    parser.add_argument("--copies", type=int, default=100, help="items that are copied in each form")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="where sets are kept")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args(argv)
    report: dict[str, Any] = {"seed": asked.seed, "half": asked.half, "sets": {}}
    try:
        for name in asked.names:
            folder, modality = SETS[name]
            honest = gather(folder, modality, asked.cache, asked.seed, asked.most, asked.half)
            report["sets"][name] = measure(honest, modality, asked.copies, asked.seed)
            print(f"{name} is measured", file=sys.stderr)
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return ExitCode.FAILED
    print(to_markdown(report))
    if asked.json is not None:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
