"""What a sound earns that only reads its text out, under the genesis that comes with the program.

    python -m benchmarks.read_speech [--seed N] [--json FILE]

At most 200 pairs of each kind, beside their own text and three others: names of emoji read out by a synthesiser in the
voices that the network was taught with, captions that it was never taught by a voice that it was never taught, captions
read out by people, and recorded sounds with captions. ``paid`` would be paid if nobody had sent anything before.

Then an epoch in which nobody sends anything but read speech: how much of what the epoch emits the judge's accepted,
novel pairs get, all of them from one set of names, without a limit and with the one that a new network begins with.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.attack_pay import VESTED_AFTER, Network, novel
from benchmarks.command import carry_out, make_parser, table
from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.embedding.modalities import decode
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import read_space
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.judgement import Anchors, Embedded, opine, rank
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.scoring import Quantised, quantise
from curiosity.sources.made.emoji import DEFAULT_SEED, make_emoji
from curiosity.sources.made.sounds import make_sounds
from curiosity.sources.made.speech import HELD_OUT_SPEAKER, Utterance, speak_all
from curiosity.sources.pairset import SourcePair, read_pairs

PAIR: Final = "audio-text"
MOST: Final = 200
TURNS: Final = (1, 7, 13)
BAR: Final = 0.05
EPOCHS: Final = ((100, 0), (1_000, 0), (100, 100), (1_000, 100))
UNLIMITED: Final = RewardParameters(version=3)
LIMITED: Final = RewardParameters(version=3, spoken_micro=ValidatorConfig().spoken_micro)

Said = tuple[bytes, str, str]
"""A sound, its media type, and the text."""


def said_of(pairs: Sequence[SourcePair], seed: int, most: int = MOST) -> list[Said]:
    """Return drawn pairs of a sound and a text."""
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:most]
    return [(pairs[i].a.read(), pairs[i].a.media_type, pairs[i].b.read().decode()) for i in chosen]


def gather(seed: int, cache: Path, most: int = MOST) -> dict[str, list[Said]]:
    """Return the pairs of each kind."""
    make_emoji(cache / "set-emoji", seed=DEFAULT_SEED, cache=cache / "speech")
    make_sounds(cache / "set-spoken", spoken=("en",))
    names = [one for one in read_pairs(cache / "set-emoji") if one.split in ("submit", "held-out")]
    recorded = list(read_pairs(cache / "set-spoken"))
    names, recorded = ([one for one in pairs if one.modalities == PAIR] for pairs in (names, recorded))
    read = [one for one in recorded if "-spoken" in one.id]
    sounds = said_of([one for one in recorded if "-spoken" not in one.id], seed, most)
    captions = sorted({text for _, _, text in sounds})
    paths = speak_all([Utterance(text, HELD_OUT_SPEAKER) for text in captions], cache=cache / "speech")
    return {
        "names of emoji, synthesised": said_of(names, seed, most),
        "new captions, synthesised by a new voice": [
            (path.read_bytes(), "audio/wav", text) for path, text in zip(paths, captions, strict=True)
        ],
        "captions read by people": said_of(read, seed, most),
        "recorded sounds": sounds,
    }


class Ear:
    """A judge of sounds and texts with nothing known but the checkpoint's own points."""

    def __init__(self, space: EmbeddingSpace, calibration: Calibration, anchors: Anchors) -> None:
        self._space, self._calibration, self._anchors = space, calibration, anchors
        self._known = Neighbours(anchors.history[PAIR])

    def embed(self, said: Sequence[Said]) -> tuple[Quantised, Quantised]:
        """Return int16[n, d] of the sounds and of the texts."""
        sounds = [decode("audio", data, media_type) for data, media_type, _ in said]
        texts = [decode("text", text.encode(), "text/plain") for _, _, text in said]
        return quantise(self._space.embed("audio", sounds)), quantise(self._space.embed("text", texts))

    def decide(self, sound: Quantised, text: Quantised) -> str:
        """Return the outcome, ``paid`` for an accepted pair that is novel."""
        a, b = (Embedded(one, one, np.stack([one, one])[None]) for one in (sound, text))  # masks decide nothing
        opinion = opine(
            a, b, modalities=PAIR, checkpoint=bytes(32), calibration=self._calibration, anchors=self._anchors
        )
        verdict = rank(opinion, calibration=self._calibration, history=self._known).verdict
        return "paid" if verdict.novel else verdict.outcome.value


def measure(ear: Ear, said: Sequence[Said]) -> dict[str, float]:
    """Return how many true pairs, and wrong ones, are accepted and would be paid."""
    sounds, texts = ear.embed(said)
    count = len(said)
    true = Counter(ear.decide(sounds[i], texts[i]) for i in range(count))
    wrong = Counter(
        ear.decide(sounds[i], texts[(i + turn) % count])
        for i in range(count)
        for turn in TURNS
        if said[i][2] != said[(i + turn) % count][2]
    )
    return {
        "pairs": count,
        "accepted": (true["accepted"] + true["paid"]) / count,
        "held": (true["held"] + true["grey"]) / count,
        "paid": true["paid"] / count,
        "wrong_accepted": (wrong["accepted"] + wrong["paid"]) / max(wrong.total(), 1),
    }


def share_of_epoch(rule: RewardParameters, pairs: int, others: int) -> tuple[int, int]:
    """Return the wei of an epoch that so many novel pairs of a sound and a text get, and so many others."""
    network = Network(rule)
    speaks, shows = (who.rjust(20, b"\0") for who in (b"speaks", b"shows"))
    for number in range(pairs + others):
        is_spoken = number < pairs
        network.append(
            PairEntry(
                sha256(b"%d" % number).digest(), speaks if is_spoken else shows, bytes(65),
                PAIR if is_spoken else "image-text", "MIT", novel(), bytes(32), v=3,
            )
        )  # fmt: skip
    for _ in range(VESTED_AFTER):
        network.close()
    return network.got().get(speaks, 0), network.got().get(shows, 0)


def run_epochs(sizes: Sequence[tuple[int, int]] = EPOCHS) -> list[dict[str, Any]]:
    """Return what an epoch pays, without a limit and with it, by how many pairs are read out and how many are not."""
    rows = []
    for pairs, others in sizes:
        emitted = UNLIMITED.emission_of(UNLIMITED.pool_wei)
        shares = [wei / emitted for rule in (UNLIMITED, LIMITED) for wei in share_of_epoch(rule, pairs, others)]
        free, rest, limited, kept = shares
        rows.append(
            {"read": pairs, "others": others, "undefended": free, "defended": limited, "bar": BAR}
            | {"holds": limited <= BAR, "others_undefended": rest, "others_defended": kept}
        )
    return rows


def run(seed: int, cache: Path) -> dict[str, Any]:
    """Return the whole report."""
    checkpoint = load(SHIPPED["offline"])
    ear = Ear(read_space(checkpoint), checkpoint.calibration, Anchors.from_arrays(checkpoint.anchors))
    rows = []
    for kind, said in gather(seed, cache).items():
        found = measure(ear, said)
        rows.append({"kind": kind, **{name: round(value, 4) for name, value in found.items()}})
        print(f"{kind}: {found}", file=sys.stderr)
    return {"seed": seed, "rows": rows, "epochs": run_epochs()}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as tables."""
    heard = [
        [row["kind"], str(row["pairs"])]
        + [f"{row[name]:.3f}" for name in ("accepted", "held", "paid", "wrong_accepted")]
        for row in report["rows"]
    ]
    names = ("undefended", "defended", "others_undefended", "others_defended")
    epochs = [
        [str(row["read"]), str(row["others"]), *(f"{row[name]:.4f}" for name in names)] for row in report["epochs"]
    ]
    return "\n".join(
        [
            *table(["what is heard", "pairs", "accepted", "held", "paid", "with another text, accepted"], heard),
            "",
            *table(
                ["novel pairs read out", "others", "share without a limit", "with it", "others get, without", "with"],
                epochs,
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    given = make_parser("read_speech", __doc__).parse_args(arguments)
    command = f"python -m benchmarks.read_speech --seed {given.seed}"
    return carry_out(given, lambda: run(given.seed, given.cache) | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
