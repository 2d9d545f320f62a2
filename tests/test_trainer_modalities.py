"""A checkpoint of three modalities becomes one of nine: towers, thresholds and anchors of all."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from curiosity.embedding.checkpoint import ANCHORS, GENESIS, load
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import Anchors, Embedded, judge
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.verdict import Outcome
from tests.material.evaluation import make_set, write_set
from trainer.calibrate import ANCHOR_BYTES, ANCHORS_EACH, LEAST_ANCHORS, anchors_each, calibrate
from trainer.feed import FedPair, LedgerSlice
from trainer.joined import join_by_concept
from trainer.library import Library
from trainer.recipe import Recipe
from trainer.round_training import extend, run

NINE = sorted(BY_NAME)
QUICK = Recipe(steps=2, batch=8, junk_each=4, junk_pool=3)
SLICE = LedgerSlice("log.example", 0, 90, "ab" * 32)


def test_a_round_adds_modalities_that_its_parent_lacks(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    splits = {name: make_set(NINE, 12, 1, split=name, seed=i) for i, name in enumerate(("genesis", "calibration"))}
    trusted = write_set(tmp_path / "set", [*splits["genesis"], *splits["calibration"], *make_set(NINE, 6, 1, seed=7)])
    accepted = make_set(NINE, 8, 1, split="submit", seed=5)
    done = run(GENESIS, accepted, [trusted], tmp_path / "child", ledger=SLICE, recipe=QUICK)
    child = load(tmp_path / "child", expected=done.digest)
    assert child.manifest.modalities == tuple(NINE)
    assert child.manifest.data["fit"] is False  # noise teaches nothing
    ring = {f"{a}-{b}" for a, b in itertools.pairwise(NINE)}
    assert child.manifest.trained_pairs() == ring | {"image-text", "audio-text"}
    # Thresholds, gates and anchors of all 36, so that a validator can judge each, whether it was given or not.
    assert len(child.calibration.pairs) == 36
    assert len(child.calibration.null_max_micro) == 72
    assert len(child.manifest.evaluation["recall"]["made"]) == 72
    space, anchors = read_space(child), Anchors.from_arrays(child.anchors)
    library = Library(space)
    library.add(accepted)
    measured = {m: space.measure_features(m, library.features[m][:1], [3]) for m in NINE}
    items = {m: Embedded(one.whole[0], one.masked, one.halves[0]) for m, one in measured.items()}
    for name in child.calibration.pairs:
        a, b = name.split("-")
        judged = judge(
            items[a],
            items[b],
            modalities=name,
            checkpoint=bytes.fromhex(child.digest),
            calibration=child.calibration,
            anchors=anchors,
            history=Neighbours(child.anchors[f"history/{name}"]),
        )
        assert judged.verdict.outcome in Outcome


def test_towers_that_were_there_keep_their_bits(tmp_path: Path) -> None:
    space = read_space(load(GENESIS))
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    kept, refused = extend(space, make_set(NINE, 1, 1), seed=3)
    assert (len(kept), refused) == (8, [])
    assert space.modalities == tuple(NINE)
    assert all(torch.equal(space.state_dict()[name], tensor) for name, tensor in before.items())


def test_pairs_that_the_preset_has_no_tower_for_are_left_out_by_name() -> None:
    space = EmbeddingSpace("tiny-scratch", modalities=["image", "text"])
    pairs = [*make_set(["image", "text"], 2, 1), *make_set(["image", "touch"], 1, 1)]
    kept, refused = extend(space, pairs, seed=0)
    assert kept == pairs[:2]
    assert refused == [f"{pairs[2].digest.hex()}: MODALITY_NOT_IN_PRESET"]


def test_anchors_stay_small_however_many_modalities_there_are() -> None:
    assert anchors_each(3, 128) == ANCHORS_EACH
    for pairs, dim in ((36, 128), (36, 256), (10, 512), (3, 768)):
        each = anchors_each(pairs, dim)
        assert LEAST_ANCHORS <= each < ANCHORS_EACH
        assert each == LEAST_ANCHORS or pairs * each * 4 * dim * 2 <= ANCHOR_BYTES < pairs * (each + 1) * 4 * dim * 2
    assert (GENESIS / ANCHORS).stat().st_size < ANCHOR_BYTES


def given(count: int, *, unseen: int) -> list[FedPair]:
    chain = ["action", "emg", "pressure"]
    return make_set(chain, count, 1, split="genesis") + make_set(chain, unseen, 1, split="calibration", seed=1)


def test_two_modalities_that_were_never_given_and_met_too_seldom_get_no_threshold() -> None:
    space = EmbeddingSpace("tiny", modalities=["action", "emg", "pressure"])
    pairs = given(12, unseen=12)
    few = [p for p in pairs if p.name == "action-emg" or p.split == "genesis" or p.concept < "calibration 14"]
    assert len([p for p in few if p.split == "calibration" and p.name == "emg-pressure"]) < 9
    with pytest.raises(ValueError, match="emg-pressure"):
        calibrate(space, few)  # given as a pair: its promise cannot be kept
    whole, _ = calibrate(space, pairs)
    assert set(whole.pairs) == {"action-emg", "action-pressure", "emg-pressure"}
    # The same, but emg-pressure comes from enough pairs and only action-pressure meets in too few concepts.
    apart = [p if p.name == "action-emg" else replace(p, concept=f"other {p.concept}") for p in pairs]
    some, anchors = calibrate(space, apart)
    assert set(some.pairs) == {"action-emg", "emg-pressure"}
    assert "history/action-pressure" not in anchors


def test_given_pairs_of_one_set_do_not_hide_what_meets_in_another() -> None:
    one = make_set(["image", "text"], 4, 1)
    other = [replace(p, set="second") for p in make_set(["image", "touch", "text"], 3, 1, seed=2)]
    joined = join_by_concept([*one, *other], "image", "text")
    assert [pair.set for pair in joined] == ["made"] * 4 + ["second"] * 3
