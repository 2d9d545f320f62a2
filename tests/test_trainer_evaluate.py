"""Encoders that know nothing are unfit whatever the set looks like, and one that knows is fit on the same set."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights
from tests.material.evaluation import Constant, make_item, make_set
from trainer.evaluate import main
from trainer.evaluation import evaluate, is_fit, survey, to_manifest
from trainer.feed import FedItem, FedPair
from trainer.held_out import HeldOut
from trainer.space_map import draw_map

SHAPES = {
    "one to one": (["image", "text"], 30, 1),
    "many to one": (["image", "text"], 10, 6),
    "few concepts": (["image", "text"], 5, 2),
    "sound without a voice": (["audio", "image", "text"], 12, 1),
    "two cameras": (["image", "touch"], 24, 2),
    "sensors only": (["action", "emg", "pressure"], 20, 1),
    "large gallery": (["image", "text"], 60, 1),
    "nine modalities": (sorted(BY_NAME), 12, 1),
}


class Knowing(HeldOut):
    """Embeddings of an encoder that knows what belongs together, but for some noise."""

    def rows(self, modality: str, items: Iterable[FedItem]) -> NDArray[np.float32]:
        concept = {item.digest: pair.concept for pair in self.pairs for item in (pair.a, pair.b)}
        out = []
        for item in items:
            seeds = [int.from_bytes(hashlib.sha256(s.encode()).digest()[:4], "big") for s in (concept[item.digest],)]
            point = np.random.default_rng(seeds[0]).normal(size=64)
            point += 0.3 * np.random.default_rng(int(item.digest[:8], 16)).normal(size=64)
            out.append(point / np.linalg.norm(point))
        return np.array(out, dtype=np.float32).reshape(-1, 64)


def ring(modalities: list[str]) -> list[str]:
    return [f"{one}-{other}" for one, other in itertools.pairwise(modalities)]


@pytest.mark.parametrize("shape", SHAPES)
def test_encoders_that_know_nothing_are_unfit_on_every_set(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    modalities, concepts, each = SHAPES[shape]
    pairs, trained = make_set(modalities, concepts, each), ring(modalities)
    spaces = {f"random {seed}": EmbeddingSpace("tiny", seed=seed, modalities=modalities) for seed in range(3)}
    spaces["zeroed"], spaces["constant"] = (EmbeddingSpace("tiny", modalities=modalities) for _ in range(2))
    with torch.no_grad():
        for parameter in spaces["zeroed"].towers.parameters():
            parameter.zero_()
    for modality in modalities:
        monkeypatch.setattr(spaces["constant"].tower(modality), "forward", Constant().forward)
    for name, space in spaces.items():
        recall = evaluate(space, pairs, trained=trained, known_voices=[])
        assert not is_fit(recall), name
        if name in ("zeroed", "constant"):
            assert max(r.r1 for r in recall["made"].values()) == 0
    knowing = Knowing(spaces["zeroed"], pairs)
    recall = evaluate(spaces["zeroed"], knowing, trained=trained, known_voices=[])
    assert is_fit(recall)
    # Every direction of every two modalities is there, and those that were not trained are marked.
    assert set(recall["made"]) == {f"{q}-{g}" for q in modalities for g in modalities if q != g}
    assert {"-".join(sorted(d.split("-"))) for d, r in recall["made"].items() if not r.emergent} == set(trained)


def test_one_collapsed_modality_is_enough_to_be_unfit() -> None:
    modalities = ["action", "emg", "pressure"]
    pairs = make_set(modalities, 20, 1)
    space = EmbeddingSpace("tiny", modalities=modalities)

    class Collapsed(Knowing):
        def rows(self, modality: str, items: Iterable[FedItem]) -> NDArray[np.float32]:
            rows = super().rows(modality, items)
            return rows if modality != "pressure" else np.repeat(rows[:1], len(rows), axis=0)

    assert is_fit(evaluate(space, Knowing(space, pairs), trained=ring(modalities), known_voices=[]))
    recall = evaluate(space, Collapsed(space, pairs), trained=ring(modalities), known_voices=[])
    assert recall["made"]["action-emg"].r1 == 1
    assert not is_fit(recall)


def test_too_few_concepts_prove_nothing() -> None:
    modalities = ["image", "text"]
    pairs = make_set(modalities, 2, 20)
    space = EmbeddingSpace("tiny", modalities=modalities)
    recall = evaluate(space, Knowing(space, pairs), trained=ring(modalities), known_voices=[])
    assert recall["made"]["image-text"].r1 == 1
    assert not is_fit(recall)


def test_an_unknown_voice_is_told_apart_and_sounds_without_a_voice_are_heard() -> None:
    rng = np.random.default_rng(3)
    texts = [make_item("text", rng) for _ in range(6)]
    pairs = [
        FedPair(bytes([i, v]), make_item("audio", rng), text, f"c{i}", voice, "s", "held-out")
        for v, voice in enumerate(("known", "unknown", ""))
        for i, text in enumerate(texts)
    ]
    space = EmbeddingSpace("tiny", modalities=["audio", "text"])
    recall = evaluate(space, Knowing(space, pairs), trained=["audio-text"], known_voices=["known"])["s"]
    assert {name: r.gallery for name, r in recall.items() if name.startswith("text")} == {
        "text-audio": 12,
        "text-audio@unknown-voice": 6,
    }
    alone = evaluate(space, Knowing(space, pairs[12:]), trained=["audio-text"], known_voices=["known"])["s"]
    assert {name: r.queries for name, r in alone.items()} == {"audio-text": 6, "text-audio": 6}


def test_the_survey_sees_alignment_and_what_the_average_keeps() -> None:
    modalities = ["emg", "image", "text"]
    pairs = make_set(modalities, 20, 1)
    space = EmbeddingSpace("tiny", modalities=modalities)
    good, blind = (survey(space, one(space, pairs))["made"] for one in (Knowing, HeldOut))
    assert set(good) == {"emg-image", "emg-text", "image-text"}
    for name, found in good.items():
        assert found.alignment.score == 1
        assert found.alignment.pairs == 20
        assert blind[name].alignment.score < 0.3
        assert all(found.neighbourhood[m].kept > found.neighbourhood[m].chance for m in name.split("-"))
        assert found.gap.distance < blind[name].gap.distance
    plain = to_manifest({}, {"made": good})["alignment"]["made"]["emg-image"]
    assert plain["alignment"]["score_micro"] == 1_000_000
    json.dumps(plain, allow_nan=False)


def test_the_command_prints_a_table_writes_json_and_draws_a_map(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "out.json"), "--map", str(tmp_path / "map.png")]
    assert main(["--held-out", str(digits), "--threads", "1", *files]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "| digits | audio-image |" in printed.out
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["fit"] is True
    assert figures["recall"]["digits"]["image-text"]["emergent"] is False
    assert figures["recall"]["digits"]["audio-image"]["emergent"] is True
    assert figures["alignment"]["digits"]["audio-image"]["alignment"]["score"] > 0.5
    with Image.open(tmp_path / "map.png") as picture:
        colours = {tuple(int(v) for v in pixel[:3]) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colours  # text, image and audio have been drawn


def test_the_command_refuses_an_unfit_checkpoint(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genesis = load(GENESIS)
    space = EmbeddingSpace("tiny", seed=9, modalities=genesis.manifest.modalities)
    save(
        tmp_path / "blind",
        manifest=genesis.manifest,
        model=encode_weights(space),
        anchors=genesis.anchors,
        card="# blind\n",
    )
    assert main(["--checkpoint", str(tmp_path / "blind"), "--held-out", str(digits)]) == 9
    printed = capsys.readouterr()
    assert "CHECKPOINT_UNFIT" in printed.err
    assert "NOT fit" in printed.out
    assert main(["--held-out", str(tmp_path)]) == 8
    assert "PAIR_SET_MISSING" in capsys.readouterr().err


def test_the_map_is_the_same_for_the_same_space(tmp_path: Path) -> None:
    modalities = ["emg", "image", "text"]
    pairs = make_set(modalities, 12, 1)
    space = EmbeddingSpace("tiny", modalities=modalities)
    for name in ("one", "same"):
        draw_map(HeldOut(space, pairs), tmp_path / f"{name}.png")
    draw_map(Knowing(space, pairs), tmp_path / "other.png")
    one, same, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "same", "other"))
    assert one == same != other
