"""What the preset ``offline`` knows of real pictures whose words it was never taught, and what a picture costs.

    python -m benchmarks.offline [--halves 10] [--seed N] [--json FILE]
    python -m benchmarks.offline --speed

Ten times the photos of ``curiosity data make photos`` are cut at random: 200 are judged. Trained on are emoji, clipart
and the other photos, without every pair that shares a content word with any judged caption
(``curiosity.sources.words``). The trainer learns the heads by its ordinary recipe. Among the judged photos it prints
the area under the ROC curve of CSLS, true against all wrong captions; the share of wrong captions that pass where 5 and
10 % of true ones are refused; and recall at 10 both ways. CSLS needs a bank: once the photos that are not judged, once
clipart and emoji, which is what a checkpoint can ship. Photos are GPL-2: nothing made from them leaves this program.

``--speed`` prints the CPU milliseconds of a picture beside those of the published layers in plain PyTorch, same run.
"""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.command import carry_out, make_parser
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.offline.efficientnet import CLASSES, SIDE, STAGES, STEM, WIDTH
from curiosity.embedding.towers.offline.package import load_network
from curiosity.protocol.scoring import quantise
from curiosity.sources import load_source
from curiosity.sources.made.debian import default_package_cache
from curiosity.sources.made.emoji import make_emoji
from curiosity.sources.pairset import SPLITS
from curiosity.sources.words import content_words
from trainer.feed import FedPair, read_trusted
from trainer.library import Library
from trainer.recipe import GENESIS_RECIPE, Recipe
from trainer.separation import score_all, separate
from trainer.train import train

JUDGED: Final = 200
BANK: Final = 512
# Pictures and texts alone need fewer steps than speech; junk is not what is measured here.
RECIPE: Final = replace(GENESIS_RECIPE, steps=150, junk_pool=8)

Rows = NDArray[np.float32]


def read_sets(cache: Path, given: Path | None, limit: int | None) -> dict[str, list[FedPair]]:
    """Return the picture-text pairs of the three sets, made where they are not there yet, one of each concept."""
    made = {}
    for name in ("photos", "clipart"):
        load_source(name)(cache / name, given=given, cache=default_package_cache(), limit=limit)
        made[name] = cache / name
    make_emoji(cache / "emoji", limit=limit, cache=cache / "speech")
    made["emoji"] = cache / "emoji"
    out = {}
    for name, folder in made.items():
        pairs = [pair for pair in read_trusted([folder], SPLITS) if pair.name == "image-text"]
        out[name] = list({pair.concept: pair for pair in pairs}.values())
    return out


def measure(sets: Mapping[str, list[FedPair]], halves: int, seed: int, recipe: Recipe = RECIPE) -> dict[str, Any]:
    """Return figures of every half, for what nothing was trained of and for trained heads, by bank."""
    words = {id(pair): content_words(pair.concept) for pairs in sets.values() for pair in pairs}
    photos = sets["photos"]
    judged_each = min(JUDGED, len(photos) // 2)
    rows: dict[str, list[dict[str, float]]] = {}
    trained_on: list[int] = []
    for half in range(halves):
        order = np.random.default_rng([seed, half]).permutation(len(photos))
        judged, others = ([photos[i] for i in part] for part in (order[:judged_each], order[judged_each:]))
        taken = frozenset().union(*(words[id(pair)] for pair in judged))
        learned = [pair for pair in [*sets["emoji"], *sets["clipart"], *others] if not words[id(pair)] & taken]
        shipped = [pair for pair in [*sets["clipart"], *sets["emoji"]] if not words[id(pair)] & taken]
        trained_on.append(len(learned))
        space = EmbeddingSpace("offline", seed=seed + half, modalities=["image", "text"])
        banks = {"photos": others, "clipart and emoji": _spread(shipped, BANK, seed + half)}
        for state in ("untrained", "trained"):
            if state == "trained":
                library = Library(space)
                train(space, library, library.streams(library.add(learned)), replace(recipe, seed=seed + half))
            for bank, pairs in banks.items():
                found = judge(embed(space, judged), embed(space, pairs))
                rows.setdefault(f"{state}, bank of {bank}", []).append(found)
    return {
        "seed": seed,
        "halves": halves,
        "judged": judged_each,
        "trained_on": round(statistics.fmean(trained_on)),
        "steps": recipe.steps,
        "rows": {
            name: {
                key: {
                    "mean": round(statistics.fmean(one[key] for one in each), 4),
                    "sd": round(statistics.stdev(one[key] for one in each), 4) if len(each) > 1 else 0.0,
                }
                for key in each[0]
            }
            for name, each in rows.items()
        },
    }


def _spread(pairs: Sequence[FedPair], count: int, seed: int) -> list[FedPair]:
    order = np.random.default_rng([seed, 1]).permutation(len(pairs))
    return [pairs[i] for i in order[:count]]


def embed(space: EmbeddingSpace, pairs: Sequence[FedPair]) -> tuple[Rows, Rows]:
    """Return unit embeddings of the pictures and of the captions, row by row."""
    library = Library(space)
    kept = library.add(pairs)
    sides = []
    for modality in ("image", "text"):
        rows = space.embed_features(modality, library.features[modality])
        sides.append(rows[[library.row(pair.item(modality)) for pair in kept]])
    return sides[0], sides[1]


def judge(judged: tuple[Rows, Rows], bank: tuple[Rows, Rows]) -> dict[str, float]:
    """Return the figures of CSLS between every picture and every caption, the true ones on the diagonal."""
    scores = score_all(*judged, quantise(bank[0]), quantise(bank[1]))
    told, true = separate(scores), np.diag(scores)
    ranks = [(scores >= true[:, None]).sum(axis=1), (scores >= true[None, :]).sum(axis=0)]
    return {
        "auc": told.auc,
        "wrong_at_5": told.wrong_at_5,
        "wrong_at_10": told.wrong_at_10,
        "picture_to_caption_10": float((ranks[0] <= 10).mean()),
        "caption_to_picture_10": float((ranks[1] <= 10).mean()),
    }


def plain_network() -> nn.Module:
    """Return the published network as its layers are: convolution, batch norm, ReLU6 apart; random weights."""

    def layer(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(out), nn.ReLU6()]

    class Shortcut(nn.Sequential):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = super().forward(inputs)  # type: ignore[no-untyped-call]
            return out + inputs if out.shape == inputs.shape else out

    layers, channels = layer(3, STEM, 3, 2), STEM
    for count, kernel, stride, widen, out in STAGES:
        for number in range(count):
            wide = channels * widen
            inner = layer(channels, wide, 1) if widen > 1 else []
            inner += layer(wide, wide, kernel, stride if number == 0 else 1, wide)
            layers.append(Shortcut(*inner, *layer(wide, out, 1)[:2]))
            channels = out
    layers += [*layer(channels, WIDTH, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES)]
    return nn.Sequential(*layers).eval()


def measure_speed(pictures: int = 16, rounds: int = 5) -> dict[str, float]:
    """Return CPU milliseconds of one picture, ours and the plain network's in turn; least of the rounds."""
    ours, plain = load_network(), plain_network()
    grid = torch.rand(pictures, SIDE, SIDE, 3)
    planes = grid.permute(0, 3, 1, 2).contiguous()
    spent: dict[str, list[float]] = {"ours": [], "plain": []}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name in spent:
                before = time.process_time()
                if name == "ours":
                    for number in range(pictures):  # as the tower does
                        ours(grid[number : number + 1])
                else:
                    plain(planes)
                if turn:  # the first warms up
                    spent[name].append(1_000 * (time.process_time() - before) / pictures)
    best = {name: min(times) for name, times in spent.items()}
    return {"ours_ms": round(best["ours"], 2), "plain_ms": round(best["plain"], 2),
            "ratio": round(best["ours"] / best["plain"], 3)}  # fmt: skip


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the table of one run."""
    lines = [
        f"{report['halves']} halves, {report['judged']} photos judged, {report['trained_on']} pairs trained on, "
        f"seed {report['seed']}; mean (standard deviation)",
        "",
        "| | AUC | wrong at 5 % | at 10 % | picture to caption at 10 | caption to picture at 10 |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in report["rows"].items():
        auc, *shares = row.values()
        cells = [f"{auc['mean']:.3f} ({auc['sd']:.3f})"]
        cells += [f"{100 * one['mean']:.1f} ({100 * one['sd']:.1f})" for one in shares]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("offline", __doc__, threads=True)
    parser.add_argument("--halves", type=int, default=10)
    parser.add_argument("--speed", action="store_true", help="measure what a picture costs instead")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="of training")
    parser.add_argument("--from", dest="given", type=Path, help="folder with the unpacked Debian packages")
    parser.add_argument("--limit", type=int, help="make the sets this small (tests)")
    given = parser.parse_args(arguments)
    if given.speed:
        return carry_out(given, measure_speed, _say_speed)
    recipe = replace(RECIPE, steps=given.steps)
    return carry_out(
        given,
        lambda: measure(read_sets(given.cache, given.given, given.limit), given.halves, given.seed, recipe),
        to_markdown,
    )


def _say_speed(report: Mapping[str, float]) -> str:
    return f"{report['ours_ms']} CPU ms a picture; plain {report['plain_ms']}; ratio {report['ratio']}"


if __name__ == "__main__":
    sys.exit(main())
