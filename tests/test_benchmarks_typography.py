"""Captions painted in pictures, on few emoji: what the shipped judge pays for them, and one that reads would."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import typography
from benchmarks.attack_world import Encoder, Thing, World
from benchmarks.typography import INCIDENTAL, Scene, Style, earned, mark, measure, paint, reads, rows_of, to_markdown
from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import Quantised
from curiosity.sources.made.emoji import load_emoji

PACKAGES = Path(__file__).parents[1] / "node_modules"
PAIRS = 16


class Reader(Encoder):
    """An encoder that sees in a painted caption the thing that the caption names."""

    def of(self, things: Sequence[Thing]) -> Quantised:
        return super().of([self.named.get(self.script.get(thing.digest, ""), thing) for thing in things])

    script: dict[bytes, str]  # by picture: what is painted in it
    named: dict[str, Thing]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Emoji that the shipped judge accepts with their names."""
    checkpoint = load(SHIPPED["offline"])
    encoder = Encoder(read_space(checkpoint), tmp_path_factory.mktemp("typography") / "embedded.npz")
    anchors = Anchors.from_arrays(checkpoint.anchors)
    found = load_emoji(PACKAGES)[::19]
    pairs = [(Thing("image", "image/png", one.picture.read_bytes()), Thing.text(one.name)) for one in found]
    world = World("emoji", encoder, checkpoint.calibration, anchors, pairs)
    accepted = [pair for pair in pairs if world.opinion(*pair).outcome.value == "accepted"]
    assert len(accepted) >= PAIRS
    return Scene(replace(world, pairs=accepted[:PAIRS]), 1)


def test_the_shipped_judge_reads_nothing_and_a_judge_that_reads_is_found_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = scene.painted(1)
    honest = sum(scene.world.opinion(one.a, one.b).outcome.value == "accepted" for one in scene.honest)
    assert honest >= 0.8 * PAIRS  # what is painted is of things that the judge knows
    assert earned(scene, plain)["accepted"] <= 0.05
    assert 0.2 < reads(scene, plain) < 0.8

    encoder = scene.world.encoder
    reader = Reader(encoder.space, encoder.path, encoder.known)
    reader.script, reader.named = {}, {b.words: one.a for one, (_, b) in zip(scene.honest, scene.photos, strict=True)}

    def remember(words: str, style: Style, photo: Image.Image | None = None) -> Image.Image:
        picture = paint(words, style, photo)
        reader.script[typography.packed(picture).digest] = words
        return picture

    monkeypatch.setattr(typography, "paint", remember)
    read = Scene(replace(scene.world, encoder=reader, opinions={}), 1)
    painted = read.painted(1)
    assert earned(read, painted)["accepted"] > 0.7
    assert reads(read, painted) > 0.9
    assert earned(read, read.painted(1, turn=5))["accepted"] < 0.4  # what is painted is another caption


def test_every_row_is_measured_and_shown(scene: Scene) -> None:
    few = Scene(replace(scene.world, pairs=scene.world.pairs[:8]), 2)
    rows = rows_of({"shipped": [measure(few, tries=2, searched=3)]})
    assert all(row["holds"] is (row["paid"] <= 0.05) for row in rows if "paid" in row)
    assert {row["row"] for row in rows} >= {"nothing painted", "plain, adaptive", "over a photo, band", "honest"}
    table = to_markdown({"seed": 1, "rounds": 1, "rows": rows})
    assert table.count("| shipped |") == len(rows) - 1  # honest pairs and reading share one


def test_what_is_painted_lies_within_the_picture_and_is_another_with_each_style() -> None:
    draw = np.random.default_rng(1)
    ground = Image.new("RGB", (200, 120), (90, 120, 60))
    for over in ("", "small", "large", "band"):
        painted = [
            paint("a very small owl on an old tree", Style.draw(draw, over), ground if over else None) for _ in range(6)
        ]
        assert len({one.tobytes() for one in painted}) >= 4
        assert {one.size for one in painted} == {ground.size if over else (320, 320)}
        bare = np.asarray(ground) if over else None
        for one in painted:
            edge = np.asarray(one)[0] if bare is None else np.abs(np.asarray(one).astype(int) - bare)
            assert np.ptp(edge) > 0 if bare is not None else np.ptp(edge, axis=0).max() == 0  # nothing at the rim
    for kind in INCIDENTAL:
        changed = np.any(np.asarray(mark(ground, kind, draw)) != np.asarray(ground), axis=2).mean()
        assert 0.005 < changed < 0.35, kind
