"""What the pair sets of Debian packages hold: ``python -m benchmarks.material --json FILE``.

Makes photos, clipart and sounds (the packages are fetched into the cache, or read with ``--from``) and prints the
figures of docs/data.md: concepts and pairs of each split, what was left out and why, licences, languages of the
captions, and over ten seeds how many captions the strict split loses. The last table says how many captions of one set
may be trained on when another's held-out captions are judged, because they share no content word with any.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from curiosity.sources import load_source
from curiosity.sources.made.debian import default_package_cache, list_files, open_package
from curiosity.sources.made.photos import STAMPS, is_photo, read_captions
from curiosity.sources.made.sounds import list_spoken
from curiosity.sources.pairset import SPLITS, read_pairs
from curiosity.sources.words import content_words, find_shared, leave_out, split_by_words

SETS: Final = ("photos", "clipart", "sounds")
_SEEDS: Final = 10
_MANY: Final = 300  # captions that make a language worth counting


def measure(given: Path | None, cache: Path, folder: Path, *, limit: int | None = None) -> dict[str, Any]:
    """Make each set in ``folder`` and return what it holds."""
    result: dict[str, Any] = {}
    captions: dict[str, dict[str, list[str]]] = {}
    for name in SETS:
        card = load_source(name)(folder / name, given=given, cache=cache, limit=limit)
        pairs = [pair for pair in read_pairs(folder / name) if "text" in (pair.a.modality, pair.b.modality)]
        words = {pair.concept: content_words(pair.concept) for pair in pairs}
        shared = find_shared(words, {pair.concept: pair.split for pair in pairs})
        captions[name] = {split: [pair.concept for pair in pairs if pair.split == split] for split in SPLITS}
        result[name] = {
            "packages": {source["package"]: source["version"] for source in card["sources"]},
            "counts": card["counts"],
            "concepts_kept": card["about"]["concepts_kept"],
            "concepts_straddling": card["about"]["concepts_straddling"],
            "left_out": card["about"]["left_out"],
            "licenses": card["licenses"],
            "words_in_two_splits": len(shared),
            "largest_group": max(len(group) for group in find_groups(words)),
            "straddling_of_seeds": count_straddling(words, card["counts"]),
            "digest": card["digest"],
        }
    stamps = open_package(STAMPS, given=given, cache=cache)
    result["photos"]["languages"] = count_languages(stamps.folder)
    result["sounds"]["spoken"] = dict(Counter(language for _, _, language in list_spoken(stamps)).most_common())
    animals = sum("-animals." in pair.id for pair in read_pairs(folder / "photos"))
    result["photos"]["share_animals"] = round(animals / len(list(read_pairs(folder / "photos"))), 3)
    result["trainable"] = {
        f"{trained} with {judged} judged": count_trainable(captions[trained], captions[judged]["held-out"])
        for trained in SETS
        for judged in SETS
        if trained != judged
    }
    return result


def count_straddling(words: dict[str, frozenset[str]], counts: dict[str, dict[str, int]]) -> list[int]:
    """Return how many concepts, of those kept, each of ten seeds leaves out, with splits as large.

    Pictures are not compared.
    """
    sizes = {split: counts[split]["concepts"] for split in SPLITS if split != "submit"}
    return [len(words) - len(split_by_words(words, sizes, seed=seed, rest="submit")) for seed in range(1, _SEEDS + 1)]


def find_groups(words: dict[str, frozenset[str]]) -> list[set[str]]:
    """Return the concepts in groups connected by shared words: a split that loses nothing keeps each together."""
    groups: list[tuple[set[str], set[str]]] = []
    for concept, own in words.items():
        met = [group for group in groups if group[1] & own]
        groups = [group for group in groups if group not in met]
        groups.append(({concept}.union(*(group[0] for group in met)), set(own).union(*(group[1] for group in met))))
    return [concepts for concepts, _ in groups]


def count_languages(folder: Path) -> dict[str, int]:
    """Return how many photos have a caption in each language."""
    counted: Counter[str] = Counter()
    for path in list_files(folder, ".png"):
        if is_photo(path.relative_to(folder).with_suffix("").as_posix()):
            counted.update(language or "en" for language in read_captions(path.with_suffix(".txt")) or {})
    return dict(counted.most_common())


def count_trainable(captions: dict[str, list[str]], judged: Sequence[str]) -> dict[str, int]:
    """Return how many captions a set has, and how many that share no content word with ``judged`` ones."""
    every = [caption for split in SPLITS for caption in captions[split]]
    return {"captions": len(every), "strict": sum(leave_out(every, judged))}


def print_tables(result: dict[str, Any]) -> None:
    """Print what docs/data.md states."""
    print("| set | " + " | ".join(f"{split}: concepts, pairs" for split in SPLITS) + " | straddling | ten seeds |")
    print("|---|" + "---|" * (len(SPLITS) + 2))
    for name in SETS:
        one = result[name]
        cells = [f"{by['concepts']}, {by['pairs']}" for by in one["counts"].values()]
        seeds = one["straddling_of_seeds"]
        print(f"| {name} | {' | '.join(cells)} | {one['concepts_straddling']} | {min(seeds)}-{max(seeds)} |")
    for name in SETS:
        for what in ("licenses", "left_out"):
            print(f"\n{name}, {what}: " + ", ".join(f"{key} {count}" for key, count in result[name][what].items()))
        print(
            f"{name}: {result[name]['words_in_two_splits']} content words in two splits; the largest group that shared "
            f"words connect has {result[name]['largest_group']} of {result[name]['concepts_kept']} concepts"
        )
    languages = result["photos"]["languages"]
    many = [f"{language} {count}" for language, count in languages.items() if count >= _MANY]
    print(f"\nphotos: captions in {len(languages)} languages, {len(many)} with {_MANY} or more: {', '.join(many)}")
    spoken = [f"{language} {count}" for language, count in result["sounds"]["spoken"].items()]
    print(f"sounds: {sum(result['sounds']['spoken'].values())} captions are read out: {', '.join(spoken)}")
    print(f"photos: {result['photos']['share_animals']:.0%} animals\n")
    print("| trained, held-out judged | captions | that share no content word |")
    print("|---|---|---|")
    for name, one in result["trainable"].items():
        print(f"| {name} | {one['captions']} | {one['strict']} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and write the JSON file; 1 if a word is in two splits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.material", description=__doc__)
    parser.add_argument("--from", dest="given", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--limit", type=int, help="concepts of a split at most")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.given, default_package_cache(), Path(folder), limit=options.limit)
    print_tables(result)
    if options.json:
        content = {"command": "python -m benchmarks.material --json FILE", **result}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return int(any(result[name]["words_in_two_splits"] for name in SETS))


if __name__ == "__main__":
    sys.exit(main())
