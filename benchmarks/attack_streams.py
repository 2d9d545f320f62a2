"""Attacks that send pairs: each is a stream of pairs in the order in which they arrive, honest ones among them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from benchmarks.attack_pay import decide
from benchmarks.attack_world import VARIANTS, Floats, Sent, Thing, World, vary
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import Outcome

HONEST, CHEAT = b"honest".rjust(20, b"\0"), b"cheat".rjust(20, b"\0")
SEARCHED = 64
COPIED = 60  # pairs that are copied
TURNS = 4
REWORDED = ("{}.", "a picture of {}", "{} on its own", "this is {}", "icon: {}")


@dataclass(frozen=True)
class Scene:
    """Half of a world's pairs belongs to honest people, half is the cheat's material; ``captions`` anybody may use."""

    world: World
    captions: Sequence[Thing]
    seed: int
    turn: int = 1  # how far captions are swapped

    @cached_property
    def honest(self) -> list[Sent]:
        """Pairs of honest people."""
        return [Sent(a, b, HONEST) for a, b in self.world.pairs[: len(self.world.pairs) // 2]]

    @cached_property
    def own(self) -> list[tuple[Thing, Thing]]:
        """What the cheat has: as many true pairs."""
        half = len(self.world.pairs) // 2
        return list(self.world.pairs[half : 2 * half])

    @cached_property
    def foreign(self) -> list[Thing]:
        """Captions of nothing that anybody sends here."""
        used = {thing.digest for pair in self.world.pairs for thing in pair}
        return [caption for caption in self.captions if caption.digest not in used]

    @cached_property
    def scores(self) -> Floats:
        """CSLS scores of the cheat's pictures with the foreign captions, float64[n, m]."""
        return self.world.scores(self._pictures, self.world.encoder.of(self.foreign))

    @cached_property
    def cosines(self) -> Floats:
        """Cosines of the same."""
        unit_a, unit_b = (x / 32_767 for x in (self._pictures, self.world.encoder.of(self.foreign)))
        cosines: Floats = unit_a @ unit_b.T
        return cosines

    @property
    def _pictures(self) -> Quantised:
        return self.world.encoder.of([a for a, _ in self.own])

    def generator(self, tag: int) -> np.random.Generator:
        """Make draws of one attack."""
        return np.random.default_rng([self.seed, tag])

    def mixed(self, wrong: Sequence[Sent], tag: int) -> list[Sent]:
        """Make the cheat's pairs among the honest ones, in a drawn order that keeps each side's own."""
        turns = self.generator(tag).permutation(len(wrong) + len(self.honest)) < len(wrong)
        sides = iter(wrong), iter(self.honest)
        return [next(sides[0] if turn else sides[1]) for turn in turns.tolist()]


def _cheat(a: Thing, b: Thing) -> Sent:
    return Sent(a, b, CHEAT, is_wrong=True)


def swap(scene: Scene) -> list[Sent]:
    """Make each of the cheat's pictures with another one's caption."""
    texts = [b for _, b in scene.own]
    return scene.mixed([_cheat(a, texts[i - scene.turn]) for i, (a, _) in enumerate(scene.own)], 1)


def screen(scene: Scene) -> list[Sent]:
    """Make the same, but only what the public judge accepts: the rest costs no wallet its name. See ``MADE``."""
    return [
        one for one in swap(scene) if not one.is_wrong or scene.world.opinion(one.a, one.b).outcome is Outcome.ACCEPTED
    ]


def search_cosine(scene: Scene) -> list[Sent]:
    """Find for each picture the caption of 64 with the highest cosine; the same caption may come often."""
    draw = scene.generator(2)
    wrong = []
    for i, (a, _) in enumerate(scene.own):
        some = draw.permutation(len(scene.foreign))[:SEARCHED]
        wrong.append(_cheat(a, scene.foreign[some[np.argmax(scene.cosines[i, some])]]))
    return scene.mixed(wrong, 2)


def search_judge(scene: Scene) -> list[Sent]:
    """Find for each picture the best of 64 captions that the judge accepts as new; each caption once.

    The best is the one that it scores highest; where it accepts none, that one is sent.
    """
    draw = scene.generator(3)
    free = list(range(len(scene.foreign)))
    wrong = []
    for i, (a, _) in enumerate(scene.own):
        some = draw.permutation(free)[:SEARCHED]
        ordered = some[np.argsort(-scene.scores[i, some])].tolist()
        best = next((j for j in ordered if scene.world.is_paid_alone(a, scene.foreign[j])), ordered[0])
        free.remove(best)
        wrong.append(_cheat(a, scene.foreign[best]))
    return scene.mixed(wrong, 3)


def search_all(scene: Scene) -> list[Sent]:
    """Find for each picture the caption of all that the judge scores highest; the same caption may come often."""
    best = scene.scores.argmax(axis=1)
    return scene.mixed([_cheat(a, scene.foreign[best[i]]) for i, (a, _) in enumerate(scene.own)], 10)


def one_picture(scene: Scene, count: int, *, adapts: bool) -> list[Sent]:
    """Make one picture with so many captions: any, or those that the judge scores highest."""
    picture = int(np.argmax(np.sort(scene.scores, axis=1)[:, -count:].mean(axis=1))) if adapts else 0
    order = np.argsort(-scene.scores[picture]) if adapts else scene.generator(4).permutation(len(scene.foreign))
    return scene.mixed([_cheat(scene.own[picture][0], scene.foreign[i]) for i in order[:count]], 4)


def one_caption(scene: Scene, *, adapts: bool) -> list[Sent]:
    """Make one caption with all the cheat's pictures: any, or the one that the judge scores highest with them."""
    text = int(np.argmax(scene.scores.mean(axis=0))) if adapts else int(scene.generator(5).integers(len(scene.foreign)))
    return scene.mixed([_cheat(a, scene.foreign[text]) for a, _ in scene.own], 5)


def flood(scene: Scene, pictures: int, count: int, *, adapts: bool) -> list[Sent]:
    """Make so many pairs of so many pictures: with any captions, or with those that the judge scores highest."""
    pictures = min(pictures, len(scene.own))
    each = count // pictures
    draw = scene.generator(6)
    wrong = []
    for i in range(pictures):
        order = np.argsort(-scene.scores[i]) if adapts else draw.permutation(len(scene.foreign))
        wrong += [_cheat(scene.own[i][0], scene.foreign[j]) for j in order[:each]]
    turns = draw.permutation(len(wrong))
    return scene.mixed([wrong[i] for i in turns], 6)


def copy(scene: Scene, variant: str) -> list[Sent]:
    """Make every honest pair again after it came, its picture altered."""
    copied = scene.honest[:COPIED]
    return scene.honest + [_cheat(vary(one.a, variant), one.b) for one in copied]


def copy_best(scene: Scene) -> list[Sent]:
    """Make every honest pair again, with the alteration that gets most copies paid when each is tried in private."""
    paid: Counter[str] = Counter()
    for variant in VARIANTS:
        decided = decide(scene.world, copy(scene, variant), defended=True)
        paid[variant] = round(1e6 * sum(one.weight for one in decided if one.sent.is_wrong))
    return copy(scene, paid.most_common(1)[0][0])


def reword(scene: Scene) -> list[Sent]:
    """Make every honest pair again with five wordings of its caption."""
    copied = scene.honest[:COPIED]
    return scene.honest + [_cheat(one.a, Thing.text(w.format(one.b.words))) for one in copied for w in REWORDED]


def reword_both(scene: Scene) -> list[Sent]:
    """Make the same with the picture shifted."""
    copied = scene.honest[:COPIED]
    return scene.honest + [
        _cheat(vary(one.a, "shifted by 2 px"), Thing.text(w.format(one.b.words)))
        for one, w in zip(copied, REWORDED * COPIED, strict=False)
    ]


def drain(scene: Scene, count: int = 3) -> list[Sent]:
    """Make what a stranger sends before an honest pair: its picture with the captions that the judge scores highest."""
    victims = scene.honest[:COPIED]
    scores = scene.world.scores(
        scene.world.encoder.of([one.a for one in victims]), scene.world.encoder.of(scene.foreign)
    )
    wrong = [
        _cheat(one.a, scene.foreign[j])
        for one, row in zip(victims, scores, strict=True)
        for j in np.argsort(-row)[:count]
    ]
    return wrong + scene.honest


def inject(scene: Scene) -> list[Sent]:
    """Make nine true pairs to one with another one's caption, from all that there is."""
    pairs = scene.world.pairs
    wrong, true = pairs[: len(pairs) // 10], pairs[len(pairs) // 10 :]
    junk = [_cheat(a, wrong[i - scene.turn][1]) for i, (a, _) in enumerate(wrong)]
    order = scene.generator(8).permutation(len(pairs))
    stream = [*junk, *(Sent(a, b, HONEST) for a, b in true)]
    return [stream[i] for i in order]


@dataclass(frozen=True)
class Attack:
    """An attack and what it may earn."""

    id: str
    what: str
    bar: float | None
    stream: Callable[[Scene], list[Sent]]
    in_all: bool = False  # what all of the cheat's pairs earn together, else each
    turns: int = 1  # how often it is tried, each time with other captions swapped


ATTACKS: Sequence[Attack] = (
    Attack("swapped", "swapped captions", 0.15, swap, turns=TURNS),
    Attack(
        "swapped-adaptive", "swapped captions, only what the public judge accepts is sent", 0.15, screen, turns=TURNS
    ),
    Attack("search", "best of 64 captions by cosine", 0.75, search_cosine),
    Attack("search-adaptive", "best of 64 captions that the judge accepts, each once", 1.25, search_judge),
    *(
        Attack(f"copy-{variant.replace(' ', '-')}", f"pictures copied, {variant}", 0.30, partial(copy, variant=variant))
        for variant in VARIANTS
    ),
    Attack("copy-adaptive", "pictures copied, the alteration that pays most", 0.30, copy_best),
    Attack("reword", "captions reworded five times", None, reword),
    Attack("reword-adaptive", "captions reworded and pictures shifted", None, reword_both),
    *(
        Attack(
            f"one-picture-{count}{'-adaptive' if adapts else ''}{'-in-all' if in_all else ''}",
            f"one picture with {count} captions{', the best' if adapts else ''}{', in all' if in_all else ', a pair'}",
            2.0 if in_all else 0.05,
            partial(one_picture, count=count, adapts=adapts),
            in_all,
        )
        for count in (64, 1_000)
        for adapts in (False, True)
        for in_all in (False, True)
    ),
    *(
        Attack(
            f"one-caption{'-adaptive' if adapts else ''}{'-in-all' if in_all else ''}",
            f"one caption{', the best,' if adapts else ''} with many pictures{', in all' if in_all else ', a pair'}",
            2.0 if in_all else 0.05,
            partial(one_caption, adapts=adapts),
            in_all,
        )
        for adapts in (False, True)
        for in_all in (False, True)
    ),
    *(
        Attack(
            f"flood{'-adaptive' if adapts else ''}",
            f"1,024 pairs from 64 pictures{', the best captions' if adapts else ''}",
            0.25,
            partial(flood, pictures=64, count=1_024, adapts=adapts),
        )
        for adapts in (False, True)
    ),
)

LIMITS: Mapping[str, str] = {
    "swapped": "encoder: it gives wrong captions scores that true ones have",
    "search": "encoder: with 64 tries some wrong caption scores as high as a true one",
    "copy": "copies: what no sketch recognises",
    "one-picture": "rule: the square of the count is summed over all pairs",
    "one-caption": "rule: the square of the count is summed over all pairs",
    "flood": "rule: each picture is worth 1.7 pairs",
}
