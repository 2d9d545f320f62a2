"""Retrieval of concepts that training never saw, for a split by a seed that nobody has tried.

    python -m benchmarks.embedding --set emoji|world|digits --seed N [--preset tiny-scratch] --json FILE
    python -m benchmarks.embedding --summary

Makes the pair set split by the seed (kept in a cache folder), trains the preset from scratch on every concept that is
neither held-out nor calibration, from picture-text and speech-text pairs only, and evaluates on what was held out.
``--summary`` prints the medians of the committed results.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.world import WORLD_RECIPE, run_world
from curiosity.embedding.modalities import decode
from curiosity.embedding.retrieval import Recall, measure_recall
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.sources.made.digits import make_digits
from curiosity.sources.made.emoji import load_emoji, make_emoji
from curiosity.sources.made.speech import HELD_OUT_SPEAKER, Utterance, speak_all
from trainer.evaluation import UNKNOWN_VOICE, evaluate, to_json
from trainer.feed import FedPair, read_trusted
from trainer.library import Library
from trainer.recipe import Recipe
from trainer.train import Trained, train

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PRESET = "tiny"
TRAINED_PAIRS = frozenset({"image-text", "audio-text"})  # picture and speech must meet through text alone
EMOJI_RECIPE = Recipe(steps=390)
# Smaller batches, more steps: 142 of 64 pairs reach 100 % in every direction where 76 of 160 reach 99.7 (seed 101).
DIGITS_RECIPE = Recipe(steps=170, batch=64, junk_each=16, junk_pool=96)
SCRATCH_STEPS = 165  # of emoji in tiny-scratch: its text tower is trained, a step takes more than twice as long


@dataclass(frozen=True)
class Options:
    """What a set's function is asked for.

    ``cache`` is the folder of the sets; ``limit`` makes them small, for tests; ``split`` is ``families`` or
    ``concepts`` (emoji: whether variants of one thing stay in one split); ``preset`` is ``tiny`` or what takes its
    place where no sentence encoder is installed.
    """

    seed: int
    cache: Path
    steps: int | None = None
    limit: int | None = None
    split: str = "concepts"
    precision: str | None = None
    preset: str = PRESET


def measure_emoji(options: Options) -> dict[str, Any]:
    """Measure emoji pictures, names and spoken names: recall at 10 among 240 held-out concepts."""
    folder = options.cache / f"emoji-{options.split}-{options.seed}"
    speech = options.cache / "speech"
    card = make_emoji(folder, **describe_emoji(options.seed, options.split, options.limit), cache=speech)
    space, done, recall = _learn(folder, _choose_recipe(EMOJI_RECIPE, options, SCRATCH_STEPS), options.preset)
    known = {pair.concept for pair in read_trusted([folder], ["genesis", "submit"])}
    named = {each.name: each for each in load_emoji(ROOT / "node_modules")}
    spoken = [named[name] for name in sorted(known)]
    files = speak_all([Utterance(each.spoken, HELD_OUT_SPEAKER) for each in spoken], cache=speech)
    names = [each.name for each in spoken]
    heard = space.embed("audio", [decode("audio", file.read_bytes(), "audio/wav") for file in files])
    written = space.embed("text", [decode("text", name.encode(), "text/plain") for name in names])
    suffix = f"@{UNKNOWN_VOICE}-known-names"
    recall[f"audio-text{suffix}"] = measure_recall(heard, written, names, names)
    recall[f"text-audio{suffix}"] = measure_recall(written, heard, names, names)
    return _report("emoji", options, card, done, recall) | {"split": options.split}


def describe_emoji(seed: int, split: str, limit: int | None) -> dict[str, Any]:
    """Return the arguments of ``make_emoji`` that decide what is in the set."""
    return {
        "seed": seed,
        "split_by": split,
        "limit": limit,
        "voices": 12,
        "keyword_captions": True,
        "styles": ["fluent"],
    }


def measure_digits(options: Options) -> dict[str, Any]:
    """Measure handwritten digits, their names, and the names spoken: recall at 1.

    Held out are scans and a voice.
    """
    folder = options.cache / f"digits-{options.seed}"
    card = make_digits(folder, seed=options.seed, limit=options.limit, cache=options.cache / "speech")
    _, done, recall = _learn(folder, _choose_recipe(DIGITS_RECIPE, options, DIGITS_RECIPE.steps), options.preset)
    return _report("digits", options, card, done, recall)


SETS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "emoji": measure_emoji,
    "digits": measure_digits,
    "world": lambda options: run_world(
        options.seed,
        options.cache,
        limit=options.limit,
        recipe=replace(WORLD_RECIPE, steps=options.steps or WORLD_RECIPE.steps),
    ),
}


def choose_precision() -> str:
    """Return ``bf16`` where the processor multiplies bfloat16 matrices in hardware (Intel AMX), else ``fp32``.

    With it a step takes 0.14 CPU-seconds, without 0.24; without the hardware bfloat16 is the slower one.
    """
    try:
        return "bf16" if "amx_bf16" in Path("/proc/cpuinfo").read_text() else "fp32"
    except OSError:
        return "fp32"


def _choose_recipe(recipe: Recipe, options: Options, scratch_steps: int) -> Recipe:
    steps = options.steps or (scratch_steps if options.preset == "tiny-scratch" else recipe.steps)
    return replace(recipe, seed=options.seed, steps=steps, precision=options.precision or choose_precision())


def _learn(folder: Path, recipe: Recipe, preset: str) -> tuple[EmbeddingSpace, Trained, dict[str, Recall]]:
    """Return the trained space, what the training took, and held-out recall by direction."""
    pairs = read_trusted([folder], ["genesis", "submit"])
    space = EmbeddingSpace(preset, seed=recipe.seed).to(pick_device())
    library = Library(space)
    kept = library.add([pair for pair in pairs if pair.name in TRAINED_PAIRS])
    done = train(space, library, library.streams(kept), recipe)
    held_out = read_trusted([folder], ["held-out"])
    refuse_overlap(kept, held_out)
    recall = evaluate(space, held_out, trained=TRAINED_PAIRS, known_voices={pair.voice for pair in kept if pair.voice})
    return space, done, next(iter(recall.values()))


def refuse_overlap(trained: Sequence[FedPair], held_out: Sequence[FedPair]) -> None:
    """Check that held-out pictures and recordings were not trained on. Ten names are all the names that digits have."""
    seen = {item.digest for pair in trained for item in (pair.a, pair.b) if item.modality != "text"}
    both = {item.digest for pair in held_out for item in (pair.a, pair.b)} & seen
    if both:
        raise RuntimeError(f"{len(both)} held-out items were trained on, such as {min(both)}")


def _report(
    name: str, options: Options, card: Mapping[str, Any], done: Trained, recall: Mapping[str, Recall]
) -> dict[str, Any]:
    return {
        "set": name,
        "seed": options.seed,
        "preset": options.preset,
        "cpu_seconds": round(done.cpu_s, 2),
        "precision": options.precision or choose_precision(),
        "steps": done.steps,
        "pair_set": card["digest"],
        "counts": card["counts"],
        "recall": to_json({name: recall})[name],
    }


def summarise(folder: Path) -> str:
    """Return a table of medians over seeds.

    It has one line for each set, split and direction that the JSON files of ``folder`` have.

    Raises:
        ValueError: When there is no result.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("embedding_*.json")):
        report = json.loads(file.read_text())
        split = f" ({report['split']})" if "split" in report else ""
        preset = f", {report['preset']}" if report.get("preset", PRESET) != PRESET else ""
        groups.setdefault(report["set"] + split + preset, []).append(report)
    if not groups:
        raise ValueError(f"{folder} holds no embedding_*.json")
    lines = []
    for title, reports in groups.items():
        seeds = ", ".join(str(report["seed"]) for report in reports)
        cpu = max(report["cpu_seconds"] for report in reports)
        steps = ", ".join(str(report["steps"]) for report in reports)
        lines += [f"{title}: seeds {seeds}; {steps} steps, at most {cpu} CPU-seconds of training", ""]
        lines += ["| direction | gallery | at 1 | at 5 | at 10 | median rank | at 10, lowest | emergent |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for direction in reports[0]["recall"]:
            found = [report["recall"][direction] for report in reports]
            r1, r5, r10 = (100 * statistics.median(one[key] for one in found) for key in ("r1", "r5", "r10"))
            rank = statistics.median(one["median_rank"] for one in found)
            lowest = 100 * min(one["r10"] for one in found)
            emergent = "yes" if found[0]["emergent"] else ""
            lines.append(
                f"| {direction} | {found[0]['gallery']} | {r1:.1f} | {r5:.1f} | {r10:.1f} | {rank:g} | {lowest:.1f} "
                f"| {emergent} |"
            )
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedding", description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=sorted(SETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--split", choices=("families", "concepts"), default="concepts", help="emoji only")
    parser.add_argument(
        "--preset", choices=(PRESET, "offline", "tiny-scratch"), default=PRESET, help="emoji and digits only"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of training; what this processor is best at")
    parser.add_argument("--steps", type=int, help="of training, if not the set's own")
    parser.add_argument("--limit", type=int, help="make the set this small (tests)")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="where sets are kept")
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0 leaves the choice to torch")
    parser.add_argument("--summary", action="store_true", help="print the medians of the committed results")
    given = parser.parse_args(arguments)
    if given.summary:
        print(summarise(RESULTS))
        return ExitCode.OK
    if not given.set:
        parser.error("give --set or --summary")
    if given.set == "world" and given.preset != PRESET:
        parser.error(f"--preset {given.preset} has no towers for the world's sensors")
    if given.threads:
        torch.set_num_threads(given.threads)
    started, cpu = time.monotonic(), time.process_time()
    try:
        report = SETS[given.set](
            Options(given.seed, given.cache, given.steps, given.limit, given.split, given.precision, given.preset)
        )
    except CuriosityError as error:
        print(f"{error.code}: {error.what}. {error.remedy}", file=sys.stderr)
        return error.exit_code
    report["command"] = f"python -m benchmarks.embedding --set {given.set} --seed {given.seed}" + (
        f" --split {given.split}" if given.set == "emoji" else ""
    )
    if given.preset != PRESET:
        report["command"] += f" --preset {given.preset}"
    report["threads"] = torch.get_num_threads()
    report["total_cpu_seconds"] = round(time.process_time() - cpu, 2)
    report["wall_seconds"] = round(time.monotonic() - started, 2)
    text = json.dumps(report, indent=1, sort_keys=True) + "\n"
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text)
    else:
        print(text, end="")
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
