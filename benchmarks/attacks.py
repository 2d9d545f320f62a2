"""What each attack on judging and pay earns, without the defences and with them.

    python -m benchmarks.attacks [--seed N] [--rounds N] [--preset NAME [--pretrained]] [--json FILE]

Photos that the encoder never learned from, by the preset ``offline`` with no training at all. In each round half of
their concepts calibrates the judge; of the other half one part is honest people's pairs, the other is what a cheat has.
Swapped captions, and what honest people get, are measured in `SWAPPED_ROUNDS` rounds: three say too little.
A row says what a cheating pair earns in multiples of an honest one, both counted as sent (a picture that the cheat
screens in private counts too), unless it says otherwise; mean of the rounds. ``undefended``: thresholds, gaps among
everything known and version 1 of the rule of pay; ``defended``: beliefs, near copies by their sketches, gaps among the
checkpoint's own points, counts of shared items and version 4 with pay by belief. Rows with ``adaptive`` in their name
are of an attacker who knows the defence.

``honest_pay_kept`` is the pay of honest pairs, without an attack and with all defences, over what they would get if
each accepted, novel one were paid alike. Embeddings are kept in ``--cache``.
"""

import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack_auditors import measure_auditors
from benchmarks.attack_audits import audit_search
from benchmarks.attack_beliefs import (
    by_cut,
    by_full_belief,
    compare_evidence,
    count_otherwise,
    decide_all,
    junk_on_top,
    learned_pairs,
)
from benchmarks.attack_gradients import follow_gradient
from benchmarks.attack_pay import NEWEST_RULE, RULE_1, Decided, decide, pay
from benchmarks.attack_rules import every_rule
from benchmarks.attack_streams import (
    ATTACKS,
    CHEAT,
    HONEST,
    LIMITS,
    TURNS,
    Attack,
    Scene,
    drain,
    flood,
    one_picture,
    search_judge,
)
from benchmarks.attack_tables import to_markdown
from benchmarks.attack_world import PAIR, Encoder, Sent, Thing, World, build, read_set
from benchmarks.command import carry_out, make_parser
from benchmarks.judge import calibration_error
from curiosity.embedding.checkpoint import SHIPPED
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.scoring import MICRO
from curiosity.protocol.verdict import CrowdCounts, Weighed
from curiosity.protocol.vesting import WHOLE_WEIGHT, weight_of
from trainer.feed import FedPair

LABELS = "digits"
OFFLINE = "offline"
HONEST_SETS = ("photos", "clipart", "emoji", LABELS)
OTHERS = 200  # pairs that calibrate, and that are judged, of the sets that nobody attacks
FLOODS = (1, 4, 16, 32, 64, 128)
POWERS = (0, 1, 2, 3)
FLOOD = 1_024
SWAPS = 4
SWAPPED_ROUNDS = 10
SWAPPED = ("swapped", "swapped-adaptive")
EPSILON = 1e-9
MADE = ("swapped-adaptive",)  # rows in which the pairs that the cheat made count, not those that it sent
CURVE = Attack("flood", "", None, lambda _: [])
GRADIENT = Attack("gradient", "swapped captions, pictures altered by the encoder's gradient", None, follow_gradient)
JUDGE = "judge: it accepts what it should not"
DRAINS = "rule: who comes first with a picture is taken for its owner"

Sides = tuple[float | None, ...]


def relate(scene: Scene, attack: Attack, stream: Sequence[Sent], *, defended: bool) -> float | None:
    """Return what a cheating pair earns in multiples of an honest one; None if honest pairs earn nothing."""
    decided = decide(scene.world, stream, defended=defended)
    got = pay(decided, NEWEST_RULE if defended else RULE_1)
    if not got.get(HONEST):
        return None
    cheat, honest = got.get(CHEAT, 0), [one for one in decided if one.sent.who == HONEST]
    if attack.in_all:  # in multiples of an honest pair that is paid
        return cheat * len([one for one in honest if one.verdict.novel]) / got[HONEST]
    made = len(scene.own) if attack.id in MADE else len(decided) - len(honest)
    return cheat * len(honest) / (max(made, 1) * got[HONEST])


def drained(scene: Scene, *, defended: bool) -> float:
    """Return the share of pay that honest people lose to one who first sends wrong captions of their pictures."""
    rule = NEWEST_RULE if defended else RULE_1
    weights = [
        sum(_worth(one, rule) for one in decide(scene.world, stream, defended=defended) if not one.sent.is_wrong)
        for stream in (scene.honest, drain(scene))
    ]
    return 1 - weights[1] / weights[0]


def _worth(one: Decided, rule: RewardParameters) -> float:
    return one.weight if rule.version > 1 else float(one.verdict.curiosity_micro)


def mean_row(id: str, attack: str, bar: float | None, pairs: Sequence[Sides], limited_by: str) -> dict[str, Any]:
    """Return A row of the report from what each round found, without the defences and with them."""
    sides = []
    for side in zip(*pairs, strict=True):
        known = [value for value in side if value is not None]
        sides.append(statistics.fmean(known) if len(known) == len(side) else None)
    undefended, defended = sides
    holds = None if bar is None else defended is not None and defended <= bar + EPSILON
    return {
        "id": id,
        "attack": attack,
        "undefended": _rounded(undefended),
        "defended": _rounded(defended),
        "bar": bar,
        "holds": holds,
        "limited_by": limited_by if holds is False else "",
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def honest_figures(world: World, seed: int) -> dict[str, float]:
    """Return what happens to honest people where nobody attacks, and how well the judge's beliefs are calibrated."""
    honest = [Sent(a, b, HONEST) for a, b in world.pairs]
    decided = decide(world, honest, defended=True)
    accepted = [one for one in decided if one.verdict.is_accepted]
    novel = [one for one in accepted if one.verdict.novel]
    turns = 1 + np.random.default_rng(seed).permutation(len(world.pairs) - 1)[:SWAPS]
    wrong = [(a, world.pairs[(i + turn) % len(honest)][1]) for turn in turns for i, (a, _) in enumerate(world.pairs)]
    beliefs = []
    for a, b in (*world.pairs, *wrong):
        measured = world.opinion(a, b).measurement
        beliefs.append(measured.belief_micro / MICRO if isinstance(measured, Weighed) else 0.0)
    cheating = world.calibration.beliefs[PAIR].cheating_micro / MICRO
    is_true = np.arange(len(beliefs)) < len(honest)
    weight = np.where(is_true, (1 - cheating) / len(honest), cheating / len(wrong))
    return {
        "honest_accept": len(accepted) / len(honest),
        "honest_novel": len(novel) / max(len(accepted), 1),
        "honest_pay_kept": sum(one.weight for one in novel) / max(len(novel), 1),
        "ece": calibration_error(np.array(beliefs), is_true, weight),
    }


def kept_of_labels(pairs: Sequence[FedPair], seed: int) -> float:
    """Return the share of pay that pairs of few labels keep if the judge accepts them all."""
    seen: Counter[str] = Counter()
    total = 0.0
    for index in np.random.default_rng(seed).permutation(len(pairs)).tolist():
        a, b = pairs[index].a.digest, pairs[index].b.digest
        total += weight_of(CrowdCounts.rounded(seen[a], seen[b], 0), NEWEST_RULE.crowd_power) / WHOLE_WEIGHT
        seen.update((a, b))
    return total / len(pairs)


def run(
    seed: int,
    rounds: int,
    preset: str,
    cache: Path,
    names: Sequence[str] = HONEST_SETS,
    *,
    pretrained: bool = False,
    swapped_rounds: int = SWAPPED_ROUNDS,
) -> dict[str, Any]:
    """Return the whole report; the first of ``names`` is the set that is attacked.

    With another preset than `OFFLINE` nothing is said of gradients and further evidence, which look into its network.

    Raises:
        ConfigError: ATTACKS_NOTHING_PAID if the judge lets no honest pair be paid, which nothing can be measured by.
    """
    encoder = Encoder.opened(preset, cache, pretrained=pretrained)
    own = read_set(names[0], cache)
    captions = _captions(names[:2], cache)
    many = []
    for number in range(max(rounds, swapped_rounds)):
        many.append(Scene(build(names[0], own, seed * 1_000 + number, encoder), captions, seed * 1_000 + number))
        _say(f"round {number + 1} of {max(rounds, swapped_rounds)} is embedded")
    scenes = many[:rounds]
    for scene in scenes:
        if not any(one.weight for one in decide(scene.world, scene.honest, defended=True)):
            raise ConfigError(
                "ATTACKS_NOTHING_PAID",
                f"with the preset {preset} none of {len(scene.honest)} honest pairs of {names[0]} would be paid",
                "Use encoders that tell true pairs from wrong ones; `python -m benchmarks.judge` measures it.",
            )
    looks_inside = preset == OFFLINE
    report: dict[str, Any] = {"rows": attack_all(scenes, (*ATTACKS, GRADIENT) if looks_inside else ATTACKS, many)}
    report["rows"] += [
        mean_row(one.id, one.attack, one.bar, [(one.undefended, one.defended)], one.limited_by)
        for one in every_rule(scenes[0])
    ]
    report |= vary_rule(scenes[0], seed)
    others_learned = [read_set(name, cache) for name in names[1:3]] if looks_inside else []
    report |= vary_beliefs(scenes, learned_pairs(others_learned, seed), many)
    searched = [one for scene in scenes for one in decide(scene.world, search_judge(scene), defended=True)]
    report["auditors"] = measure_auditors(searched, SHIPPED)
    others = {
        name: build(name, read_set(name, cache), seed * 1_000, encoder, OTHERS, OTHERS)
        for name in names[1:]
        if name != LABELS
    }
    honest = {name: [world] for name, world in others.items()} | {names[0]: [scene.world for scene in many]}
    report["honest"] = {name: mean_figures(honest[name], seed) for name in names if name in honest}
    if LABELS in names:  # ten texts calibrate no judge: pay alone
        report["honest"][LABELS] = {"honest_pay_kept": round(kept_of_labels(read_set(LABELS, cache), seed), 4)}
    encoder.keep()
    return report | {"seed": seed, "rounds": rounds, "swapped_rounds": len(many), "preset": preset, "set": names[0]}


def attack_all(
    scenes: Sequence[Scene], attacks: Sequence[Attack] = (*ATTACKS, GRADIENT), many: Sequence[Scene] = ()
) -> list[dict[str, Any]]:
    """Return the rows of attacks that send pairs; swapped captions are tried in ``many`` scenes."""
    rows = []
    for attack in attacks:
        found = []
        tried = (many or scenes) if attack.id in SWAPPED else scenes
        for scene in scenes[:1] if attack is GRADIENT else tried:
            for turn in range(1, attack.turns + 1):
                stream = attack.stream(replace(scene, turn=turn) if turn > 1 else scene)
                found.append(tuple(relate(scene, attack, stream, defended=defended) for defended in (False, True)))
        rows.append(mean_row(attack.id, attack.what, attack.bar, found, limit_of(attack.id)))
        _say(f"{attack.id}: {rows[-1]['undefended']} {rows[-1]['defended']}")
        scenes[0].world.encoder.keep()
    rows.insert(0, mean_copies(rows))
    lost = [(drained(scene, defended=False), drained(scene, defended=True)) for scene in scenes]
    rows.append(mean_row("drain", "wrong captions of a public picture first: what its owner loses", 0.0, lost, DRAINS))
    junk = [
        (junk_on_top(turned, RULE_1), junk_on_top(turned, NEWEST_RULE))
        for turned in (replace(scene, turn=turn) for scene in scenes for turn in range(1, TURNS + 1))
    ]
    rows.append(
        mean_row("junk-top-50", "one pair in ten is junk: junk among the 50 that are paid most", 1.0, junk, JUDGE)
    )
    return rows


def vary_rule(scene: Scene, seed: int) -> dict[str, Any]:
    """Return what the number of pictures, the power of the count and audits do."""
    curve = {
        str(pictures): [
            _rounded(relate(scene, CURVE, flood(scene, pictures, FLOOD, adapts=adapts), defended=True))
            for adapts in (False, True)
        ]
        for pictures in FLOODS
        if pictures <= len(scene.own)
    }
    searched = decide(scene.world, search_judge(scene), defended=True)
    return {
        "flood_by_pictures": curve,
        "powers": by_power(scene, FLOOD),
        "audits": [asdict(one) for one in audit_search(searched, seed)],
    }


def vary_beliefs(
    scenes: Sequence[Scene], learned: Sequence[tuple[Thing, Thing]], many: Sequence[Scene] = ()
) -> dict[str, Any]:
    """Return what pay by belief, a stricter judge, further evidence and other counts would do."""
    many = many or scenes
    streams = decide_all(scenes, many)
    honest = [
        one
        for scene in many
        for one in decide(scene.world, [Sent(a, b, HONEST) for a, b in scene.world.pairs], defended=True)
    ]
    return {
        "full_beliefs": by_full_belief(streams, honest),
        "cuts": by_cut(many, streams, honest),
        "evidence": compare_evidence(scenes, learned) if learned else [],
        "drain_by_count": count_otherwise(scenes),
    }


def mean_figures(worlds: Sequence[World], seed: int) -> dict[str, float]:
    """Return the honest figures of a set, mean of its worlds."""
    each = [honest_figures(world, seed) for world in worlds]
    figures = {figure: round(statistics.fmean(one[figure] for one in each), 4) for figure in each[0]}
    _say(f"honest {worlds[0].name}: {figures}")
    return figures


def by_power(scene: Scene, many: int) -> dict[str, dict[str, float]]:
    """Return what the power of the count does: pay that honest pairs keep, and what two attacks earn by it."""
    streams = {
        "honest": scene.honest,
        "one picture, in all": one_picture(scene, many, adapts=True),
        "flood of 64 pictures": flood(scene, 64, many, adapts=True),
    }
    decided = {name: decide(scene.world, stream, defended=True) for name, stream in streams.items()}
    figures: dict[str, dict[str, float]] = {}
    for power in POWERS:
        row = figures[str(power)] = {}
        for name, all_of in decided.items():
            weights = {
                wrong: [
                    one.weighs(replace(NEWEST_RULE, crowd_power=power)) for one in all_of if one.sent.is_wrong is wrong
                ]
                for wrong in (False, True)
            }
            novel = max(len([weight for weight in weights[False] if weight]), 1)
            if name == "honest":
                row[name] = round(sum(weights[False]) / novel, 4)
            elif "in all" in name:
                row[name] = round(sum(weights[True]) * novel / sum(weights[False]), 4)
            else:
                row[name] = round(
                    sum(weights[True]) / len(weights[True]) * len(weights[False]) / sum(weights[False]), 4
                )
    return figures


def mean_copies(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of the rows of copied pictures of whom nobody knows the defence."""
    copies = [row for row in rows if row["id"].startswith("copy-") and not row["id"].endswith("adaptive")]
    found = [(row["undefended"], row["defended"]) for row in copies]
    return mean_row("copies", "pictures copied, mean of the ways", 0.10, found, limit_of("copy"))


def limit_of(id: str) -> str:
    """Return what limits an attack's row."""
    return next((limit for start, limit in LIMITS.items() if id.startswith(start)), "")


def _captions(names: Sequence[str], cache: Path) -> list[Thing]:
    texts = {pair.b.digest: pair.b for name in names for pair in read_set(name, cache)}
    return [Thing.of(texts[digest]) for digest in sorted(texts)]


def _say(what: str) -> None:
    print(what, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("attacks", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="each with another half of the concepts")
    parser.add_argument("--preset", default=OFFLINE)
    parser.add_argument("--pretrained", action="store_true", help="start from the published weights that it names")
    given = parser.parse_args(arguments)
    asked = f" --preset {given.preset}" if given.preset != OFFLINE else ""
    asked += " --pretrained" if given.pretrained else ""
    command = f"python -m benchmarks.attacks --seed {given.seed}{asked}"

    def measured() -> dict[str, Any]:
        report = run(given.seed, given.rounds, given.preset, given.cache, pretrained=given.pretrained)
        first = report["honest"][report["set"]]
        figures = {figure: first[figure] for figure in ("honest_accept", "honest_pay_kept", "ece")}
        return report | figures | {"command": command}

    return carry_out(given, measured, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
