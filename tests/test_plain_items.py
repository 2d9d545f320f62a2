"""What the null gate stops: junk is rejected, and what the encoder takes for junk though it is none is held."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.null_gate import weigh_items
from curiosity.client.explain import explain, fault_of
from curiosity.embedding.change import FRAME, change_micro, spectral_change_micro
from curiosity.embedding.checkpoint import SHIPPED, Checkpoint, load, save
from curiosity.embedding.modality import Array
from curiosity.embedding.weights import read_space
from curiosity.ledger.rescore import Rescorer, rescore_all
from curiosity.protocol.belief import Curve, Range
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.judgement import Anchors, Embedded, Numbers, decide
from curiosity.protocol.pair import Item
from curiosity.protocol.scoring import quantise
from curiosity.protocol.single import ItemRule
from curiosity.protocol.verdict import LESS_FAMILIAR, OUTSIDE, Measurement, Opening, Outcome, Reason, Verdict, Weighed
from curiosity.protocol.weighing import weigh
from curiosity.protocol.wire import encode, parse
from tests.material.believing import BELIEFS
from tests.material.lying_judge import lie
from tests.material.service import ALICE, running
from trainer.null import TRAINED, make_junk
from trainer.plain import PLAIN, plain_max_micro

RATE, MOST = 16_000, 2_000_000
SURE = replace(BELIEFS, ranges=(Range(Curve((0,), (999_000,)), 0, 0),), least_familiar_micro=-1_000_000)
OLD = Calibration(
    pairs={"audio-text": PairThresholds(900_000, -900_000, 500, 20_000, 1_200_000)},
    null_max_micro={"audio>text": 300_000, "text>audio": 300_000},
    median_loss_micro={"audio": 400_000, "text": 300_000},
    alpha_micro={"audio-text": 100_000},
    masks=4,
    beliefs={"audio-text": SURE},
)
NEW = replace(OLD, plain_max_micro={"audio": MOST})
MEASURED = Measurement(0, 100_000, 0, 0, 0, 0, 0, 0, 0, *[bytes(32)] * 4)
WEIGHED = Weighed(**vars(MEASURED), familiarity_micro=500_000, belief_micro=999_000)


def noise(seconds: float = 1.0) -> Array:
    return (0.3 * np.random.default_rng(3).normal(0, 1, int(seconds * RATE))).clip(-1, 1).astype(np.float32)


def whistle() -> Array:
    """A rising tone: the shipped encoder, which has heard words alone, takes it for nothing."""
    time = np.arange(RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * (300 + 1_200 * time / 2) * time)).astype(np.float32)


def wav(samples: Array) -> Item:
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format="WAV", subtype="PCM_16")
    return Item("audio", "audio/wav", out.getvalue())


def numbers(null: int, change: int | None, *, text: int = 0, distance: int = 100_000) -> Numbers:
    return Numbers(null, text, distance, 0, 500_000, (), change, None)


# -- the measure


def test_plain_sounds_change_little_and_others_much() -> None:
    bound = plain_max_micro(["audio", "text"])
    assert set(bound) == {"audio"}
    for number, family in enumerate(PLAIN["audio"]):
        made = make_junk(TRAINED["audio"][family], 50, 70 + number, [noise()])
        assert np.mean([spectral_change_micro(one) <= bound["audio"] for one in made]) >= 0.95, family
    assert spectral_change_micro(whistle()) > bound["audio"]
    assert change_micro("text", np.frombuffer(b"a cat", np.uint8)) is None


def test_loudness_counts_little_and_a_part_of_a_frame_not_at_all() -> None:
    loud, quiet = whistle(), (0.25 * whistle()).astype(np.float32)
    assert spectral_change_micro(quiet) == pytest.approx(spectral_change_micro(loud), rel=0.15)
    assert spectral_change_micro(np.append(loud, loud[: FRAME - 1])) == spectral_change_micro(loud)
    assert spectral_change_micro(loud[: 2 * FRAME - 1]) == 0
    assert spectral_change_micro(np.append(noise(), np.zeros(RATE, np.float32))) < MOST + 500_000, "silence after it"


# -- the rule


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        (numbers(200_000, 0), Outcome.ACCEPTED, Reason.BELONGS_TOGETHER),  # the gate lets it pass
        (numbers(800_000, MOST - 600), Outcome.REJECTED, Reason.ITEM_UNINFORMATIVE),
        (numbers(800_000, MOST + 600), Outcome.HELD, Reason.PAIR_UNFAMILIAR),
        (numbers(800_000, MOST + 400), Outcome.GREY, Reason.GREY_ZONE),
        (numbers(800_000, MOST - 400), Outcome.GREY, Reason.GREY_ZONE),
        (numbers(300_400, MOST + 600), Outcome.GREY, Reason.GREY_ZONE),
        (numbers(800_000, MOST + 600, distance=950_000), Outcome.HELD, Reason.PAIR_UNFAMILIAR),
        (numbers(800_000, MOST + 600, text=400_000), Outcome.REJECTED, Reason.ITEM_UNINFORMATIVE),
        (numbers(800_000, MOST + 600, text=300_100), Outcome.GREY, Reason.GREY_ZONE),
        (numbers(200_000, MOST + 600, distance=950_000), Outcome.REJECTED, Reason.PAIR_TOO_FAR),
    ],
)
def test_what_is_like_nothing_is_rejected_only_if_it_is_plain(given: Numbers, outcome: Outcome, reason: Reason) -> None:
    assert decide(given, "audio-text", NEW) == (outcome, reason)


@given(st.integers(-1_000_000, 1_000_000), st.integers(0, 20_000_000), st.integers(0, 400_000))
def test_a_checkpoint_of_before_decides_as_before(null: int, change: int, text: int) -> None:
    """Without the bound in its manifest, and without beliefs, the change counts for nothing."""
    asked = numbers(null, change, text=text)
    for one in (OLD, replace(OLD, beliefs={}), replace(NEW, beliefs={})):
        assert decide(asked, "audio-text", one) == decide(replace(asked, change_a_micro=None), "audio-text", one)
        if null > 301_000:
            assert decide(asked, "audio-text", one) == (Outcome.REJECTED, Reason.ITEM_UNINFORMATIVE)


def test_the_bound_is_written_only_where_there_is_one() -> None:
    assert "plain_max_micro" not in OLD.to_json()
    assert Calibration.from_json(OLD.to_json()) == OLD
    assert Calibration.from_json(NEW.to_json()) == NEW


@given(
    st.integers(298_000, 302_000),
    st.integers(MOST - 1_500, MOST + 1_500),
    st.integers(-500, 500),
    st.integers(-500, 500),
)
def test_what_is_off_by_less_than_the_margin_flips_no_outcome(null: int, change: int, off: int, moved: int) -> None:
    exact = replace(NEW, pairs={"audio-text": replace(NEW.pairs["audio-text"], margin_micro=0)})
    outcomes = {
        decide(numbers(null, change), "audio-text", NEW)[0],
        decide(numbers(null + off, change + moved), "audio-text", exact)[0],
    }
    assert len(outcomes - {Outcome.GREY}) <= 1


def test_without_a_margin_the_same_item_gets_two_outcomes() -> None:
    """The arm without the defence."""
    exact = replace(NEW, pairs={"audio-text": replace(NEW.pairs["audio-text"], margin_micro=0)})
    found = {decide(numbers(800_000, MOST + off), "audio-text", exact)[0] for off in (-1, 1)}
    assert found == {Outcome.REJECTED, Outcome.HELD}


def test_openings_of_before_have_the_bytes_that_they_had() -> None:
    plain = WEIGHED
    assert b"change" not in encode(Opening(bytes(32), bytes(32), bytes(32), "", plain))
    told = Opening(bytes(32), bytes(32), bytes(32), "", replace(plain, change_a_micro=5))
    assert parse(Opening, encode(told)) == told


# -- what the contributor is told


def words(measured: Weighed, reason: Reason, outcome: Outcome, detail: str = "") -> str:
    verdict = Verdict(outcome, reason, bytes(32))
    weighing = weigh(measured, reason, "audio-text", NEW, detail)
    return explain(verdict, None, ("rain.wav", "rain.txt"), weighing).what


def test_the_words_name_the_item_and_blame_the_empty_one_alone() -> None:
    measured = replace(WEIGHED, null_a_micro=800_000, null_b_micro=200_000, change_a_micro=MOST + 900)
    said = words(measured, Reason.PAIR_UNFAMILIAR, Outcome.HELD, LESS_FAMILIAR["a"])
    assert said.startswith("rain.wav is unlike everything that the checkpoint can judge; this costs you nothing")
    assert "likeness 0.800, at most 0.300" in said
    assert fault_of(Verdict(Outcome.HELD, Reason.PAIR_UNFAMILIAR, bytes(32))) == ""
    # The sound is more like nothing than the text, but is none: the text is refused.
    empty = replace(measured, null_b_micro=400_000)
    assert words(empty, Reason.ITEM_UNINFORMATIVE, Outcome.REJECTED).startswith("rain.txt says too little")
    known = replace(measured, null_a_micro=0)
    assert "familiarity" in words(known, Reason.PAIR_UNFAMILIAR, Outcome.HELD, LESS_FAMILIAR["a"])


# -- single items


def single(change: int | None, calibration: Calibration) -> Any:
    vectors = quantise(np.random.default_rng(1).normal(size=(41, 64)))
    anchors = Anchors(
        {"audio": vectors[1:], "text": vectors[1:]},
        {"audio-text": (vectors[1:], vectors[1:])},
        {"audio": vectors[0], "text": vectors[0]},  # the item lies at the empty text
        {"audio-text": np.concatenate([vectors[1:], vectors[1:]], axis=1)},
    )
    item = Embedded(vectors[0], vectors[0], np.stack([vectors[0]] * 2)[None], change_micro=change)
    return ItemRule(calibration, anchors).opine("audio", item)


def test_a_single_item_that_is_not_plain_is_not_blamed() -> None:
    unknown, plain, before = single(MOST + 900, NEW), single(MOST - 900, NEW), single(MOST + 900, OLD)
    assert (unknown.outcome, unknown.reason, unknown.detail) == (Outcome.REJECTED, Reason.ITEM_NOT_NOVEL, OUTSIDE)
    assert unknown.verdict(bytes(32)).fault is None
    assert unknown.measurement.change_micro == MOST + 900
    for one in (plain, before):
        assert one.reason is Reason.ITEM_UNINFORMATIVE
        assert one.verdict(bytes(32)).fault is not None
    assert before.measurement.change_micro is None


# -- a network


def of_before(folder: Path) -> Path:
    """The shipped checkpoint without the bound."""
    shipped: Checkpoint = load(SHIPPED["offline"])
    manifest = replace(shipped.manifest, calibration=replace(shipped.calibration, plain_max_micro={}))
    model = (shipped.path / "model.safetensors").read_bytes()
    save(folder, manifest=manifest, model=model, anchors=shipped.anchors, card="before")
    return folder


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_sound_that_the_encoder_does_not_know_is_held_and_junk_is_rejected(
    tmp_path: Path, *, is_new: bool
) -> None:
    assert load(SHIPPED["offline"]).calibration.plain_max_micro
    genesis = Path("offline") if is_new else of_before(tmp_path / "before")
    said = {}
    async with running(tmp_path / "v", genesis=genesis) as live:
        sent = {"whistle": whistle(), "noise": noise(), "silence": np.zeros(RATE, np.float32)}
        for name, samples in sent.items():
            decision = await live.client.post_pair(
                live.sign((wav(samples), Item("text", "text/plain", f"a {name} in the street".encode()))).encode()
            )
            said[name] = (decision.verdict.outcome, decision.verdict.reason, decision.verdict.fault is None)
            if name == "whistle":
                assert decision.opening.detail == (LESS_FAMILIAR["a"] if is_new else "")
        if is_new:
            with pytest.MonkeyPatch.context() as patch:
                lie(patch, change_a_micro=None)
                words = Item("text", "text/plain", b"a car horn")
                await live.client.post_pair(live.sign((wav(whistle()[::-1].copy()), words)).encode())
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
        decided = [i for i, leaf in enumerate(leaves) if b'"kind":"pair"' in leaf]
        async with Rescorer(live.client, live.network, tmp_path / "home", private_key=ALICE) as rescorer:
            again = await rescore_all(rescorer, live.client, decided, leaves.__getitem__)
    rejected = (Outcome.REJECTED, Reason.ITEM_UNINFORMATIVE, False)
    held = (Outcome.HELD, Reason.PAIR_UNFAMILIAR, True)
    assert said == {"whistle": held if is_new else rejected, "noise": rejected, "silence": rejected}
    assert {one.result for one in again[:3]} == {"agrees"}, [one.why for one in again]
    if is_new:
        assert again[3].result == "differs"
        assert "change_a_micro is none, the checkpoint asks for one of audio" in again[3].why


# -- what is printed of it


def test_the_benchmark_counts_both_arms() -> None:
    shipped = load(SHIPPED["offline"])
    space = read_space(shipped)
    time = np.arange(RATE) / RATE
    tones = [(0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32) for hertz in (300, 440, 1_000)]
    found = weigh_items(space, shipped, "audio", [*tones, whistle()])
    assert found == {"items": 4, "passes": 0.0, "held": 0.25, "rejected": 0.75, "rejected before": 1.0}
