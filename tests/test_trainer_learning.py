"""Real digits, written and spoken: a few CPU seconds of training find what chance, noise and collapse do not."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curiosity.embedding.checkpoint import load
from curiosity.embedding.modalities import decode
from curiosity.embedding.retrieval import Recall
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import read_space
from curiosity.protocol.belief import familiarity_micro
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.comparison import read_separation, read_shares
from curiosity.protocol.errors import CheckpointError, ExitCode
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.merkle import root
from curiosity.protocol.scoring import MICRO, cosine_micro, csls_micro, leave_one_out, pulls_micro, quantise
from tests.material.evaluation import Constant
from trainer.calibrate import calibrate, measure_pair
from trainer.evaluation import evaluate, is_fit, to_json, to_micro
from trainer.feed import FedPair, LedgerSlice, read_trusted
from trainer.genesis_training import make_genesis
from trainer.joined import join_by_concept, spread
from trainer.library import Library
from trainer.recipe import SAFETY_STOP_S
from trainer.round_training import compare, run
from trainer.step import Recipe
from trainer.train import Trained, train

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = Recipe(steps=60, batch=64, junk_each=12, junk_pool=12)
TRAINED_PAIRS = ["image-text", "audio-text"]


@pytest.fixture(scope="module")
def held_out(all_digits: Path) -> list[FedPair]:
    return read_trusted([all_digits], ["held-out"])


@pytest.fixture(scope="module")
def genesis(all_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checkpoints") / "genesis"
    make_genesis([all_digits], out, recipe=SHORT)
    return out


def learn(space: EmbeddingSpace, pairs: list[FedPair], recipe: Recipe) -> Trained:
    library = Library(space)
    return train(space, library, library.streams(library.add(pairs)), recipe)


def test_the_manifest_says_how_well_true_pairs_are_told_from_wrong_ones(genesis: Path) -> None:
    made = load(genesis)
    told = read_separation(made.manifest.evaluation)
    assert set(told) == {"digits/audio-image", "digits/audio-text", "digits/image-text"}
    assert told["digits/image-text"]["auc_micro"] > 950_000
    assert told["digits/image-text"]["pairs"] == 10
    assert told["digits/image-text"]["wrong_at_10_micro"] < 100_000
    assert f"{told['digits/image-text']['auc_micro'] / 1e6:.3f}" in (genesis / "README.md").read_text()


def test_a_short_training_finds_digits_of_an_unknown_voice(genesis: Path, held_out: list[FedPair]) -> None:
    recall = evaluate(read_space(load(genesis)), held_out, trained=TRAINED_PAIRS, known_voices=[])["digits"]
    assert recall["image-text"].r1 >= 0.85
    assert recall["audio-text"].r1 >= 0.85
    assert recall["image-audio"].r1 >= 0.5  # never trained as a pair; a tenth by chance
    assert recall["image-audio"].emergent
    assert not recall["audio-text"].emergent
    assert is_fit({"digits": recall})


@pytest.mark.parametrize("kind", ["untrained", "constant"])
def test_encoders_that_know_nothing_are_not_fit(
    held_out: list[FedPair], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = EmbeddingSpace("tiny", seed=4)
    if kind == "constant":
        for modality in space.modalities:
            monkeypatch.setattr(space.tower(modality), "forward", Constant().forward)
    recall = evaluate(space, held_out, trained=TRAINED_PAIRS, known_voices=[])
    assert not is_fit(recall)
    assert not is_fit({})


def test_one_blind_direction_is_enough_to_be_unfit() -> None:
    good = Recall(0.5, 0.8, 0.9, 1.0, 100, 100, 0.01, 0.05, 0.1, 100)
    blind = replace(good, r1=0.0, r5=0.05, r10=0.1)
    assert is_fit({"s": {"image-text": good}})
    assert not is_fit({"s": {"image-text": good, "text-image": blind}})


def test_the_same_seed_gives_the_same_weights(all_digits: Path) -> None:
    pairs = read_trusted([all_digits], ["genesis"])[:80]
    spaces = [EmbeddingSpace("tiny", seed=1) for _ in range(3)]
    for space, seed in zip(spaces, (7, 7, 8), strict=True):
        torch.rand(1)  # the state of torch's own generator must not matter
        learn(space, pairs, Recipe(steps=3, batch=16, junk_each=4, junk_pool=4, seed=seed))
    one, same, other = (space.state_dict() for space in spaces)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_slow_machine_takes_all_steps_and_learns_the_same(all_digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = read_trusted([all_digits], ["genesis"])[:80]
    recipe = Recipe(steps=4, batch=16, junk_each=4, junk_pool=4)
    fast, slow = (EmbeddingSpace("tiny", seed=1) for _ in range(2))
    assert learn(fast, pairs, recipe).is_complete
    clock = itertools.count(step=100_000.0)
    for name in ("monotonic", "process_time"):
        monkeypatch.setattr(f"trainer.train.time.{name}", lambda: next(clock))
    done = learn(slow, pairs, recipe)
    assert (done.steps, done.is_complete) == (4, True)
    one, other = fast.state_dict(), slow.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_the_safety_stop_ends_says_that_it_is_not_complete(all_digits: Path) -> None:
    pairs = read_trusted([all_digits], ["genesis"])[:80]
    recipe = Recipe(steps=4, batch=16, junk_each=4, junk_pool=4, stop_after_s=1e-9)
    done = learn(EmbeddingSpace("tiny", seed=1), pairs, recipe)
    assert (done.steps, done.of_steps, done.is_complete) == (0, 4, False)


def test_thresholds_keep_their_promise_on_unseen_pairs(all_digits: Path, genesis: Path) -> None:
    checkpoint = load(genesis)
    space, known = read_space(checkpoint), read_trusted([all_digits], ["genesis", "calibration"])
    calibration, anchors = calibrate(space, known, alpha_micro=dict.fromkeys(checkpoint.calibration.pairs, 100_000))
    library = Library(space)
    unseen = library.add([pair for pair in known if pair.split == "calibration"])
    vectors = {name: quantise(space.embed_features(name, rows)) for name, rows in library.features.items()}
    for name, limits in calibration.pairs.items():
        a, b = name.split("-")
        pulls = pulls_micro(calibration.median_loss_micro[a], calibration.median_loss_micro[b])
        joined = join_by_concept(unseen, a, b)
        measured = [
            measure_pair(vectors[a][library.row(p.a)], vectors[b][library.row(p.b)], anchors, name, pulls)
            for p in joined
        ]
        far = np.mean([distance > limits.max_distance_micro for distance, _ in measured])
        crowded = np.mean([csls < limits.min_csls_micro for _, csls in measured])
        assert 0.05 <= far <= 0.1
        assert 0.05 <= crowded <= 0.1
        assert len(anchors[f"history/{name}"]) == len(spread(join_by_concept(known, a, b), 512)) >= 100
        near = [gap.nearest_micro < limits.nearest_floor_micro for gap in leave_one_out(anchors[f"history/{name}"])]
        assert 0.02 <= np.mean(near) < 0.05
    for gate, limit in calibration.null_max_micro.items():
        m, partner = gate.split(">")
        over = np.mean([cosine_micro(row, anchors[f"empty/{partner}"]) > limit for row in vectors[m]])
        assert over <= 0.02


def test_beliefs_tell_true_digits_from_swapped_ones(genesis: Path, all_digits: Path) -> None:
    space, known = read_space(load(genesis)), read_trusted([all_digits], ["genesis", "calibration"])
    calibration, anchors = calibrate(space, known, believes=True)
    assert set(calibration.beliefs) == set(calibration.pairs)
    assert Calibration.from_json(calibration.to_json()) == calibration
    held_out = [pair for pair in read_trusted([all_digits], ["held-out"]) if pair.name == "image-text"][:60]
    pictures, names = (
        quantise(space.embed(m, [decode(m, one.item(m).load(), one.item(m).media_type) for one in held_out]))
        for m in ("image", "text")
    )
    beliefs, whole = calibration.beliefs["image-text"], Anchors.from_arrays(anchors)

    def believed(i: int, j: int) -> int:
        known_by = familiarity_micro(pictures[i], names[j], whole.references["image"], whole.references["text"])
        return beliefs.at(csls_micro(pictures[i], names[j], *whole.banks["image-text"]), known_by)

    true = [believed(i, i) for i in range(len(held_out))]
    wrong = [
        believed(i, j)
        for i, one in enumerate(held_out)
        for j, other in enumerate(held_out[:20])
        if one.concept != other.concept
    ]
    assert np.mean(true) > 0.8 * MICRO
    assert np.mean(wrong) < 0.3 * MICRO


def test_thresholds_need_enough_pairs(all_digits: Path) -> None:
    known = read_trusted([all_digits], ["genesis", "calibration"])
    few = [pair for pair in known if pair.split == "genesis"][:40] + [p for p in known if p.split == "calibration"][:5]
    with pytest.raises(ValueError, match="too few"):
        calibrate(EmbeddingSpace("tiny"), few)


def test_a_round_learns_from_accepted_pairs_and_says_so(all_digits: Path, genesis: Path, tmp_path: Path) -> None:
    accepted = read_trusted([all_digits], ["submit"])
    ledger = LedgerSlice("log.example", 0, 500, "ab" * 32, takedowns=(7, 40))
    seen: list[str] = []
    result = run(
        genesis,
        accepted,
        [all_digits],
        tmp_path / "child",
        ledger=ledger,
        recipe=replace(SHORT, steps=40),
        progress=lambda what, done, total, loss: seen.append(what),
    )
    child, parent = load(tmp_path / "child", expected=result.digest), load(genesis)
    assert child.manifest.parent == parent.digest == result.parent
    assert child.manifest.ledger is not None
    assert child.manifest.ledger.pairs_root == root([pair.digest for pair in accepted]).hex()
    assert child.manifest.ledger.ledger_root == ledger.ledger_root
    assert child.manifest.data["takedowns"] == [7, 40]
    assert "2 takedowns" in (tmp_path / "child" / "README.md").read_text()
    for key, split in (("pairs_root", "genesis"), ("calibration_root", "calibration")):
        assert child.manifest.data[key] == root([pair.digest for pair in read_trusted([all_digits], [split])]).hex()
    assert (child.manifest.ledger.pairs, result.refused) == (len(accepted), ())
    assert result.after["digits"]["image-audio"].r1 > result.before["digits"]["image-audio"].r1
    assert child.manifest.evaluation["recall"]["digits"]["image-audio"]["r1_micro"] == round(
        1e6 * result.after["digits"]["image-audio"].r1
    )
    # The parent's recall on the same pairs is in the manifest: what a validator compares before it switches.
    assert read_shares(child.manifest.evaluation["parent"]["recall"]) == read_shares(to_micro(result.before))
    assert (result.falls, result.uncompared) == compare(result.before, result.after, parent.manifest.evaluation)
    same = replace(result, falls=compare(result.after, result.after, {})[0])
    assert (same.exit_code, same.to_json()["worse"]) == (ExitCode.OK, [])
    found = result.after["digits"]
    low = {**found, "image-audio": replace(found["image-audio"], r1=found["image-audio"].r1 - 0.06)}
    fallen = replace(same, falls=compare(result.after, {"digits": low}, {})[0])
    assert fallen.exit_code == ExitCode.CHECKPOINT
    (words,) = fallen.to_json()["worse"]
    assert words.startswith("recall at 1 of digits image-audio fell from ")
    assert {"prepare", "train", "calibrate", "evaluate"} <= set(seen)
    json.dumps(result.to_json())
    assert to_json(result.after)["digits"]["image-audio"]["gallery"] == 50
    with pytest.raises(CheckpointError, match="CHECKPOINT_NOT_WRITTEN"):
        run(genesis, accepted[:300], [all_digits], tmp_path / "child", ledger=ledger, recipe=replace(SHORT, steps=1))


def test_the_same_seed_gives_the_same_checkpoint_whatever_the_safety_stop(
    all_digits: Path, genesis: Path, tmp_path: Path
) -> None:
    ledger, accepted = LedgerSlice("log.example", 0, 200, "ab" * 32), read_trusted([all_digits], ["submit"])[:100]
    made = []
    for number, stop_after_s in enumerate((SAFETY_STOP_S, 2 * SAFETY_STOP_S, 1e-9)):
        recipe = replace(SHORT, steps=3, seed=5, stop_after_s=stop_after_s)
        made.append(run(genesis, accepted, [all_digits], tmp_path / str(number), ledger=ledger, recipe=recipe))
    one, same, cut = made
    assert one.digest == same.digest
    assert one.complete
    assert one.exit_code != ExitCode.INCOMPLETE
    assert (cut.complete, cut.exit_code) == (False, ExitCode.INCOMPLETE)
    assert (cut.to_json()["steps"], cut.to_json()["of_steps"]) == (0, 3)


def test_replay_keeps_its_share(all_digits: Path) -> None:
    library = Library(EmbeddingSpace("tiny"))
    fresh = library.add(read_trusted([all_digits], ["submit"]))
    replay = library.add(read_trusted([all_digits], ["genesis"])[:6])
    for stream in library.streams(fresh, replay, 0.25):
        count = sum((p.a.modality, p.b.modality) == (stream.a, stream.b) for p in fresh)
        assert stream.weights.sum() == pytest.approx(1)
        if count < len(stream.weights):
            assert stream.weights[count:].sum() == pytest.approx(0.25)


def test_undecodable_pairs_are_left_out_by_name(all_digits: Path) -> None:
    pairs = read_trusted([all_digits], ["genesis"])[:5]
    broken = replace(pairs[2], a=replace(pairs[2].a, media_type="image/gif"))
    library = Library(EmbeddingSpace("tiny"))
    assert library.add([*pairs[:2], broken]) == pairs[:2]
    assert library.refused == [f"{broken.digest.hex()}: MEDIA_TYPE_UNKNOWN"]


def test_the_command_answers_in_json_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainer.round", "--parent", str(tmp_path), "--out", str(tmp_path / "out")]
    command += ["--ledger", str(tmp_path), "--trusted", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    said = json.loads(done.stdout)
    assert (done.returncode, said["event"], said["error"]["code"]) == (8, "error", "MIRROR_MISSING")
    assert done.stderr.startswith("MIRROR_MISSING: ")
    assert done.stderr.count("\n") == 1
