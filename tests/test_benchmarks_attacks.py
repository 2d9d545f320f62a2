"""The attacks benchmark on few emoji: every row has both sides, and what the rule promises holds."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from benchmarks import attack_swapped
from benchmarks.attack_auditors import measure_auditors
from benchmarks.attack_audits import audit_search
from benchmarks.attack_pay import NEWEST_RULE, RULE_1, Decided, Network, decide, novel
from benchmarks.attack_rules import NOTHING, alone, hurry, operate, split_wallets, wash
from benchmarks.attack_streams import ATTACKS, CHEAT, HONEST, REWORDED, Scene, copy
from benchmarks.attack_tables import to_markdown
from benchmarks.attack_world import PAIR, VARIANTS, Encoder, Floats, Sent, Thing, World, build, read_set, vary
from benchmarks.attacks import attack_all, by_power, kept_of_labels, mean_figures, run, vary_beliefs
from curiosity.embedding.checkpoint import GENESIS
from curiosity.embedding.presets import PRESETS, Preset, TowerSpec, Weights
from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.belief import familiarity_micro
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import Quantised, csls_micro, joint, leave_one_out, quantise
from curiosity.protocol.verdict import Reason
from curiosity.sources.made.emoji import load_emoji
from tests.material.encoder import PUBLISHED
from tests.material.pretrained import publish
from tests.material.service import pictures
from trainer.belief import Scored, fit_beliefs

PACKAGES = Path(__file__).parents[1] / "node_modules"
PAIRS, DIM = 70, 10
TRIED = ("swapped", "search", "search-adaptive", "copy-flipped", "reword", "one-picture-64", "one-picture-64-in-all")


def near(draw: np.random.Generator, points: Floats, noise: float) -> Quantised:
    return quantise(quantise(points) / 32_767 + noise * draw.normal(size=points.shape) / np.sqrt(points.shape[1]))


def word(draw: np.random.Generator) -> str:
    """Twelve letters: no two captions are alike."""
    return "".join(draw.choice(list("abcdefghijklmnopqrstuvwxyz"), 12))


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Things whose pictures and captions have vectors near to each other, and a judge that has learned from others."""
    draw = np.random.default_rng(1)
    known = draw.normal(size=(200, DIM))
    a, b = near(draw, known, 0.9), near(draw, known, 0.9)
    history = np.stack([joint(one, other) for one, other in zip(a, b, strict=True)])
    anchors = Anchors({"image": a, "text": b}, {PAIR: (a, b)}, {"image": a[0] * 0, "text": b[0] * 0}, {PAIR: history})
    turned = np.roll(b, 1, axis=0)
    scored = [
        [Scored(csls_micro(x, y, a, b), familiarity_micro(x, y, a, b)) for x, y in zip(a, other, strict=True)]
        for other in (b, turned)
    ]
    around = leave_one_out(history)
    limits = PairThresholds(
        max_distance_micro=900_000,
        min_csls_micro=sorted(one.score_micro for one in scored[0])[20],
        margin_micro=500,
        nearest_floor_micro=sorted(gap.nearest_micro for gap in around)[20],
        max_ratio_micro=sorted(gap.ratio_micro for gap in around)[190],
    )
    calibration = Calibration(
        {PAIR: limits}, {"image>text": 900_000, "text>image": 900_000}, {"image": 400_000, "text": 400_000}, {}, 4,
        {PAIR: fit_beliefs(*scored)},
    )  # fmt: skip
    concepts = draw.normal(size=(PAIRS, DIM))
    pairs: list[tuple[Thing, Thing]] = []
    vectors: dict[str, Quantised] = {}
    for one, other in zip(near(draw, concepts, 0.9), near(draw, concepts, 0.9), strict=True):
        packed = io.BytesIO()
        blocks = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        blocks.resize((64, 48), Image.Resampling.BICUBIC).save(packed, "PNG")
        a_thing, b_thing = Thing("image", "image/png", packed.getvalue()), Thing.text(word(draw))
        pairs.append((a_thing, b_thing))
        vectors |= {a_thing.digest.hex(): one, b_thing.digest.hex(): other}
        altered = [vary(a_thing, variant) for variant in ("flipped", "shifted by 2 px")]
        altered += [vary(again, "shifted by 2 px") for again in altered]
        vectors |= {again.digest.hex(): near(draw, one[None] / 1.0, 0.4)[0] for again in altered}
        reworded = [Thing.text(words.format(b_thing.words)) for words in REWORDED]
        vectors |= {again.digest.hex(): near(draw, other[None] / 1.0, 0.6)[0] for again in reworded}
    foreign = [Thing.text(word(draw)) for _ in range(120)]
    for thing, vector in zip(foreign, near(draw, draw.normal(size=(120, DIM)), 0.9), strict=True):
        vectors[thing.digest.hex()] = vector
    encoder = Encoder(cast(EmbeddingSpace, None), Path("nowhere"), vectors)  # it knows every vector already
    return Scene(World("made up", encoder, calibration, anchors, pairs), foreign, 1)


def test_every_attack_is_measured_with_the_defences_and_without(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.attack_streams.COPIED", 4)
    listed = attack_all([scene], [attack for attack in ATTACKS if attack.id in TRIED])
    rows = {row["id"]: row for row in listed}
    assert set(TRIED) < set(rows)
    for row in rows.values():
        assert set(row) == {"id", "attack", "undefended", "defended", "bar", "holds", "limited_by"}
        assert row["holds"] is not False or row["limited_by"], row
    assert rows["one-picture-64"]["undefended"] > 2 * rows["one-picture-64"]["defended"] > 0
    assert rows["one-picture-64-in-all"]["holds"]
    assert rows["search-adaptive"]["defended"] > rows["swapped"]["defended"]
    assert 0 < rows["drain"]["defended"] < 1
    powers = by_power(scene, 64)
    assert powers["0"]["one picture, in all"] > 1.5 * powers["2"]["one picture, in all"]
    figures = {"made up": mean_figures([scene.world], 1)}
    assert 0.1 < figures["made up"]["honest_accept"] <= 1
    assert 0.7 < figures["made up"]["honest_pay_kept"] <= 1.0
    assert 0 < figures["made up"]["ece"] < 0.5
    report = {
        "rows": listed,
        "flood_by_pictures": {"4": [0.1, None]},
        "powers": powers,
        "audits": [],
        "auditors": [],
        **vary_beliefs([scene], []),
        "honest": figures,
    }
    text = to_markdown(report | {"set": "made up", "seed": 1, "rounds": 1, "swapped_rounds": 1, "preset": "none"})
    assert text.count("\n") > len(rows)


def test_swapped_captions_and_honest_people_earn_less_the_stricter_the_rule(scene: Scene) -> None:
    found = attack_swapped.measure([scene])
    for what in ("swapped", "honest pay kept"):
        alike, halves, cut = (found[f"{what}, {rule}"] for rule in ("alike", "version 3", "version 4"))
        assert alike > halves >= cut > 0, found
    rows = attack_all([scene], [attack for attack in ATTACKS if attack.id in ("swapped", "copy-flipped")])
    row = next(one for one in rows if one["id"] == "swapped")
    assert row["defended"] == pytest.approx(found["swapped, version 4"], abs=0.001)
    figures = mean_figures([scene.world], 1)
    assert figures["honest_accept"] == found["honest accepted"]
    assert figures["honest_pay_kept"] == found["honest pay kept, version 4"]
    text = attack_swapped.to_markdown({"rows": {"1": found, "mean": found}})
    assert text.count("\n") == 3


@pytest.mark.parametrize(("defended", "paid"), [(False, True), (True, False)])
def test_a_copy_of_an_accepted_pair_earns_nothing(scene: Scene, *, defended: bool, paid: bool) -> None:
    decided = decide(scene.world, copy(scene, "flipped"), defended=defended)
    originals, copies = decided[: len(scene.honest)], decided[len(scene.honest) :]
    of_accepted = [
        one for first, one in zip(originals, copies, strict=False) if first.verdict.is_accepted and one.sent.is_wrong
    ]
    assert len(of_accepted) > 5
    assert any(one.verdict.novel for one in of_accepted) is paid
    assert any(one.verdict.reason is Reason.PAIR_COPY for one in of_accepted) is not paid


def test_who_washes_a_pair_is_paid_once(scene: Scene) -> None:
    assert wash(scene, RULE_1, patient=False) > 2
    assert wash(scene, NEWEST_RULE, patient=True) < 1.05


def keep_emoji(cache: Path) -> None:
    """Some emoji as the benchmark keeps a set."""
    made = cache / "set-emoji" / "media"
    made.mkdir(parents=True)
    rows = []
    for one in load_emoji(PACKAGES)[: 2 * PAIRS]:
        halves = {"a": Thing("image", "image/png", one.picture.read_bytes()), "b": Thing.text(one.name)}
        row: dict[str, Any] = {"concept": one.name, "set": "emoji", "split": "genesis", "voice": None}
        for half, thing in halves.items():
            path = made / f"{thing.digest.hex()}.{thing.media_type.split('/')[1]}"
            path.write_bytes(thing.data)
            row[half] = {"modality": thing.modality, "media_type": thing.media_type, "path": f"media/{path.name}"}
        rows.append(row)
    (made.parent / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_was_embedded_and_calibrated_is_kept(tmp_path: Path, one_thread: None) -> None:
    keep_emoji(tmp_path)
    own = read_set("emoji", tmp_path)
    first, second = (build("emoji", own, 1, Encoder.opened("tiny", tmp_path)) for _ in range(2))
    assert len(list(tmp_path.glob("attacks-tiny-*.npz"))) == 2
    assert second.calibration == first.calibration
    assert [a.digest for a, _ in second.pairs] == [a.digest for a, _ in first.pairs]
    assert len({a.digest for a, _ in first.pairs}) == len(first.pairs) == PAIRS
    assert np.array_equal(second.encoder.of(first.pairs[0]), first.encoder.of(first.pairs[0]))
    assert kept_of_labels(own, 1) == 1.0
    assert kept_of_labels(own * 3, 1) == pytest.approx((1 + 1 / 4 + 1 / 9) / 3, abs=0.01)


def test_published_weights_are_what_is_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """Weights of a hub's layout, made here: they know nothing, so that nothing honest would be paid."""
    towers = {}
    for name in ("image", "text"):
        publish(f"siglip-{name}", tmp_path / name)
        spec = PUBLISHED[f"siglip-{name}"].spec
        towers[name] = TowerSpec(
            spec.tower, "tiny", spec.options, Weights(str(tmp_path / name), "Apache-2.0", "a test")
        )
    monkeypatch.setitem(PRESETS, "small", Preset("small", 24, towers, "small/1"))
    keep_emoji(tmp_path)
    for pretrained in (False, True):
        with pytest.raises(ConfigError, match="ATTACKS_NOTHING_PAID"):
            run(1, 1, "small", tmp_path, ("emoji",), pretrained=pretrained, swapped_rounds=1)
    seeded, published = (Encoder.opened("small", tmp_path, pretrained=pretrained) for pretrained in (False, True))
    (picture, text), *_ = build("emoji", read_set("emoji", tmp_path), 1_000, published).pairs
    assert published.path != seeded.path
    assert not np.array_equal(published.of([picture, text]), seeded.of([picture, text]))


def test_what_the_rule_of_pay_promises() -> None:
    assert (operate(RULE_1) > 100, operate(NEWEST_RULE)) == (True, 1.0)
    assert (alone(RULE_1), round(alone(NEWEST_RULE), 6)) == (1.0, 0.01)
    assert (hurry(RULE_1), hurry(NEWEST_RULE)) == (5.0, 0.0)
    assert split_wallets(NEWEST_RULE) == pytest.approx(1.0)


def test_audits_take_from_cheats_and_a_little_from_the_honest() -> None:
    decided = [Decided(Sent(NOTHING, NOTHING, who, who == CHEAT), novel()) for who in (HONEST, CHEAT) * 30]
    found = audit_search(decided, 1, draws=2)
    rows = {(row.stops, row.share, row.honest_wallet, row.cheat_wallet): row for row in found}
    assert rows["pair", 0.0, 10, 10].cheat == pytest.approx(1.0)
    assert rows["pair", 0.0, 10, 10].honest_kept == 1.0
    assert rows["pair", 1.0, 10, 10].cheat < 0.5
    assert 0.8 < rows["pair", 1.0, 10, 10].honest_kept < 1.0
    assert rows["wallet", 1.0, 10, 1].honest_kept < rows["pair", 1.0, 10, 10].honest_kept
    assert rows["wallet", 1.0, 10, 10].cheat < rows["wallet", 1.0, 10, 1].cheat


def test_a_network_pays_a_cheat_what_the_rule_says() -> None:
    network = Network(NEWEST_RULE)
    assert network.drawn() is None
    assert network.close().amounts_wei == {}


def test_every_variant_is_another_picture_of_the_same_thing() -> None:
    emoji = load_emoji(PACKAGES)[0]
    picture = Thing("image", "image/png", emoji.picture.read_bytes())
    copies = [vary(picture, variant) for variant in VARIANTS]
    assert len({picture.digest, *(copy.digest for copy in copies)}) == 1 + len(VARIANTS)
    assert all(copy.pixels.ndim == 3 for copy in copies)


def test_second_judges_that_exist_are_measured_on_what_pay_awards() -> None:
    """Digits with their names, and with another digit's: those the shipped checkpoint tells apart."""
    digits = pictures(40)
    things = [
        (Thing(one.a.modality, one.a.media_type, one.a.read()), Thing.text(one.b.read().decode())) for one in digits
    ]
    sent = [Sent(a, b, HONEST) for a, b in things]
    for place, (a, _) in enumerate(things):
        other = next(i for i, one in enumerate(digits) if one.concept != digits[place].concept)
        sent.append(Sent(a, things[other][1], CHEAT, is_wrong=True))
    decided = [Decided(one, novel()) for one in sent]
    unpaid = Decided(sent[0], replace(novel(), novel=False))
    (row,) = measure_auditors([*decided, unpaid], {"tiny": GENESIS})
    assert row["judge"] == "tiny"
    assert row["found"] > 0.3 > 0.1 > row["condemned"], row
    assert row["auc"] > 0.9
    assert row["found_at_tenth"] > 0.8
