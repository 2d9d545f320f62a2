"""What swapped captions earn over several seeds: ``python -m benchmarks.attack_swapped [--seeds N ...] [--json FILE]``.

The row ``swapped`` of ``benchmarks.attacks``, with as many rounds for each seed: other halves of the same photos.
Beside it what version 3 of the rule would pay, which leaves a half one step below the asked belief, and what honest
people get where nobody attacks.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.attack_beliefs import RULES, relate_stream
from benchmarks.attack_pay import NEWEST_RULE, decide
from benchmarks.attack_streams import HONEST, TURNS, Scene, swap
from benchmarks.attack_world import Encoder, Sent, build, read_set
from benchmarks.attacks import OFFLINE, SWAPPED_ROUNDS
from benchmarks.command import carry_out, make_parser, table
from curiosity.protocol.rewards import RewardParameters

SET = "photos"
SEEDS = (2, 3, 4, 5, 6)
COMPARED: Mapping[str, RewardParameters] = {
    "alike": RULES["any"],
    "version 3": replace(NEWEST_RULE, version=3),
    "version 4": NEWEST_RULE,
}


def measure(scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the mean of rounds: what a wrong pair earns by each rule, and what honest people keep."""
    found: dict[str, list[float]] = {}
    for scene in scenes:
        for turn in range(1, TURNS + 1):
            stream = decide(scene.world, swap(replace(scene, turn=turn)), defended=True)
            for name, rule in COMPARED.items():
                found.setdefault(f"swapped, {name}", []).append(relate_stream(stream, rule))
        honest = decide(scene.world, [Sent(a, b, HONEST) for a, b in scene.world.pairs], defended=True)
        novel = [one for one in honest if one.verdict.novel]
        for name, rule in COMPARED.items():
            kept = sum(one.weighs(rule) for one in novel) / max(len(novel), 1)
            found.setdefault(f"honest pay kept, {name}", []).append(kept)
        accepted = sum(one.verdict.is_accepted for one in honest) / len(honest)
        found.setdefault("honest accepted", []).append(accepted)
    return {name: round(statistics.fmean(values), 4) for name, values in found.items()}


def run(seeds: Sequence[int], rounds: int, cache: Path) -> dict[str, Any]:
    """Return the whole report."""
    encoder = Encoder.opened(OFFLINE, cache)
    own = read_set(SET, cache)
    rows: dict[str, dict[str, float]] = {}
    for seed in seeds:
        numbers = [seed * 1_000 + number for number in range(rounds)]
        rows[str(seed)] = measure([Scene(build(SET, own, number, encoder), (), number) for number in numbers])
        print(f"seed {seed}: {rows[str(seed)]}", file=sys.stderr)
    figures = next(iter(rows.values()))
    rows["mean"] = {name: round(statistics.fmean(row[name] for row in rows.values()), 4) for name in figures}
    return {"set": SET, "rounds": rounds, "rows": rows}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return a table: seeds by figures."""
    rows = report["rows"]
    names = list(next(iter(rows.values())))
    head = ["seed", *names]
    return "\n".join(table(head, [[seed, *(f"{row[name]:.3f}" for name in names)] for seed, row in rows.items()]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("attack_swapped", __doc__, seed=False)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--rounds", type=int, default=SWAPPED_ROUNDS, help="of each seed")
    given = parser.parse_args(arguments)
    command = f"python -m benchmarks.attack_swapped --seeds {' '.join(map(str, given.seeds))} --rounds {given.rounds}"
    return carry_out(given, lambda: run(given.seeds, given.rounds, given.cache) | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
