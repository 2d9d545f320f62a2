"""What a training in phases reports: recall of every pair after every phase, and what earlier pairs have lost."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curiosity.embedding.modalities import pair_name
from curiosity.embedding.retrieval import Recall
from curiosity.host.files import make_folder, write_whole
from trainer.evaluation import UNKNOWN_VOICE

PlainRecalls = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By set and direction the fields of a ``Recall``; shares of 1."""


def to_plain(recall: Mapping[str, Mapping[str, Recall]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return recalls as plain JSON values, nothing rounded."""
    return {
        name: {direction: dict(vars(found)) for direction, found in directions.items()}
        for name, directions in recall.items()
    }


def from_plain(plain: PlainRecalls) -> dict[str, dict[str, Recall]]:
    """Return what ``to_plain`` was given."""
    return {
        name: {direction: Recall(**found) for direction, found in directions.items()}
        for name, directions in plain.items()
    }


def measure_falls(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how much recall at 10 each earlier pair has lost, in points of 100, by set and direction.

    ``from_own`` counts from the end of the last phase that trained the pair, ``from_best`` from the best end of that
    phase or a later one; both to the end of the last phase. Negative: it has gained. ``largest`` is the largest
    ``from_own``, None where no phase came after.
    """
    falls: dict[str, dict[str, dict[str, float]]] = {}
    for number, report in enumerate(reports[:-1]):
        later = {name for other in reports[number + 1 :] for name in other["pairs"]}
        for set_name, directions in report["recall"].items():
            for direction in directions:
                name = pair_name(*direction.split("@")[0].split("-"))
                if name not in report["pairs"] or name in later or direction not in reports[-1]["recall"][set_name]:
                    continue
                ends = [100 * other["recall"][set_name][direction]["r10"] for other in reports[number:]]
                fall = {"from_own": round(ends[0] - ends[-1], 2), "from_best": round(max(ends) - ends[-1], 2)}
                falls.setdefault(set_name, {})[direction] = fall
    own = [fall["from_own"] for directions in falls.values() for fall in directions.values()]
    return {"largest": max(own) if own else None, "pairs": falls}


def make_table(reports: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Recall at 10 in percent: a row for every set and direction, a column for every phase; the first row has titles.

    Directions never trained as a pair are marked with a star.
    """
    last = reports[-1]["recall"]
    falls = measure_falls(reports)["pairs"]
    rows = [["set", "direction", *(str(report["name"]) for report in reports), "lost", "chance", "gallery"]]
    for set_name, directions in last.items():
        for direction, found in sorted(directions.items(), key=lambda entry: (entry[1]["emergent"], entry[0])):
            ends = [report["recall"].get(set_name, {}).get(direction) for report in reports]
            fall = falls.get(set_name, {}).get(direction)
            rows.append(
                [
                    set_name,
                    direction.replace(UNKNOWN_VOICE, "new voice") + (" *" if found["emergent"] else ""),
                    *(f"{100 * end['r10']:.1f}" if end else "" for end in ends),
                    f"{fall['from_own']:+.1f}" if fall else "",
                    f"{100 * found['chance10']:.1f}",
                    str(found["gallery"]),
                ]
            )
    return rows


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all."""
    make_folder(path.parent)
    write_whole(path, json.dumps(finite_only(value), indent=1).encode() + b"\n")


def finite_only(value: Any) -> Any:
    """Return the same with None for infinity and NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite_only(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
