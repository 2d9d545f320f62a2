"""Domains of beliefs: sets that one curve fits are merged, others get curves of their own, and nobody else's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.embedding.weights import read_space
from curiosity.protocol.belief import Beliefs
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.judgement import Anchors, measure_familiarity
from curiosity.protocol.scoring import MICRO
from tests.material.believing import BELIEFS
from trainer import domains
from trainer.belief import Scored
from trainer.calibrate import calibrate
from trainer.domains import OfSet, fit_to, group_sets
from trainer.feed import read_trusted

DRAWINGS, PHOTOS, DIGITS = (0.2, 0.0), (0.21, 0.01), (0.6, 0.3)  # mean score of true and of wrong pairs


def a_set(seed: int, means: tuple[float, float], count: int = 150) -> OfSet:
    draw = np.random.default_rng(seed)
    true, wrong = (draw.normal(mean, 0.1, count * times) for mean, times in zip(means, (1, 8), strict=True))
    return OfSet([Scored(round(MICRO * s), 0) for s in true], [Scored(round(MICRO * s), 0, 1 / 8) for s in wrong])


def believed(of: OfSet, by: OfSet, *more: OfSet) -> float:
    """Return the mean belief of the true pairs of a set under a curve that is fitted to others."""
    beliefs = fit_to({str(i): one for i, one in enumerate((by, *more))}, [str(i) for i in range(1 + len(more))])
    assert beliefs is not None
    return float(np.mean([beliefs.at(one.score_micro, 0) for one in of.true])) / MICRO


def test_sets_that_one_curve_fits_are_one_domain_and_digits_another() -> None:
    scores = {"image-text": {"clipart": a_set(1, DRAWINGS), "digits": a_set(2, DIGITS), "photos": a_set(3, PHOTOS)}}
    assert group_sets(scores) == [["clipart", "photos"], ["digits"]]
    turned = {"image-text": dict(reversed(scores["image-text"].items()))}
    assert group_sets(turned) == group_sets(scores)


def test_a_curve_for_digits_and_drawings_together_distrusts_drawings() -> None:
    """Both arms: with a curve for all, true drawings are believed less than they are, and with their own as much."""
    new, own, digits = a_set(4, DRAWINGS), a_set(1, DRAWINGS), a_set(2, DIGITS, 300)
    assert believed(new, own) > believed(new, own, digits) + 0.15


def test_a_set_of_few_pairs_has_no_curve_of_its_own() -> None:
    few = a_set(2, DIGITS, domains.LEAST_IN_DOMAIN - 1)
    assert group_sets({"image-text": {"clipart": a_set(1, DRAWINGS), "digits": few}}) == [["clipart", "digits"]]
    enough = a_set(2, DIGITS, domains.LEAST_IN_DOMAIN)
    assert len(group_sets({"image-text": {"clipart": a_set(1, DRAWINGS), "digits": enough}})) == 2
    assert fit_to({"digits": few}, ["digits"]) is None


def test_sets_are_one_domain_for_all_modality_pairs_or_for_none() -> None:
    alike = {"clipart": a_set(1, DRAWINGS), "digits": a_set(3, PHOTOS)}
    apart = {"clipart": a_set(1, DRAWINGS), "digits": a_set(2, DIGITS)}
    assert len(group_sets({"audio-text": alike})) == 1
    assert group_sets({"audio-text": alike, "image-text": apart}) == [["clipart"], ["digits"]]


def test_a_checkpoint_of_two_domains_names_the_one_of_each_reference(
    all_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits as two sets, once kept apart: each pair is most familiar with the references of its own set."""
    known = read_trusted([all_digits], ["genesis", "calibration"])
    halves = [
        replace(pair, set="low" if pair.concept < "n" else "other") for pair in known if pair.name == "image-text"
    ]
    space = read_space(load(GENESIS))
    monkeypatch.setattr(domains, "group_sets", lambda _: [["low"], ["other"]])
    monkeypatch.setattr(domains, "LEAST_IN_DOMAIN", 20)
    calibration, arrays = calibrate(space, halves, believes=True)
    anchors, beliefs = Anchors.from_arrays(arrays), calibration.beliefs["image-text"]
    assert [one is not None for one in beliefs.others] == [True]
    assert set(anchors.domains) == {"image", "text"}
    for domain in (0, 1):
        picture, text = (anchors.of_domain(m, domain)[0] for m in ("image", "text"))
        familiarity, of_each = measure_familiarity(picture, text, "image-text", beliefs, anchors)
        assert beliefs.nearest(of_each) == ((beliefs, *beliefs.others)[domain], familiarity)
    monkeypatch.undo()
    merged, arrays = calibrate(space, halves, believes=True)
    assert merged.beliefs["image-text"].others == ()
    assert not Anchors.from_arrays(arrays).domains


@pytest.mark.parametrize(
    "domains",
    [
        np.zeros(3, np.int16),
        np.zeros((512, 2), np.int16),
        np.array(0, np.int16),
        np.full(512, -1, np.int16),
        np.full(512, 2, np.int16),
    ],
)
def test_domains_that_do_not_fit_the_references_are_refused(domains: Any, tmp_path: Path) -> None:
    genesis = load(GENESIS)
    two = replace(BELIEFS, others=(None,))
    manifest = replace(genesis.manifest, calibration=replace(genesis.calibration, beliefs={"image-text": two}))
    model = (GENESIS / "model.safetensors").read_bytes()
    rows = len(genesis.anchors["ref/text"])
    for number, arrays in enumerate(({"domain/text": np.ones(rows, np.int16)}, {"domain/text": domains})):
        anchors = {**genesis.anchors, **arrays}
        save(tmp_path / str(number), manifest=manifest, model=model, anchors=anchors, card="domains")
    assert load(tmp_path / "0").anchors["domain/text"].max() == 1
    with pytest.raises(CheckpointError, match="ANCHORS_DOMAINS"):
        _ = load(tmp_path / "1").anchors


@pytest.mark.parametrize("least", [None, "1", True, 0.5])
def test_beliefs_of_other_than_whole_numbers_are_refused(least: Any) -> None:
    two = replace(BELIEFS, others=(BELIEFS,)).to_json()
    assert Beliefs.from_json(two).others[0] is not None
    two["others"][0]["least_familiar_micro"] = least
    with pytest.raises(TypeError, match="whole numbers"):
        Beliefs.from_json(two)
