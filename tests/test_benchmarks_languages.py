"""The figures of captions in other languages: what they count, on vectors whose answer is known."""

import numpy as np

from benchmarks.languages import area, csls, embed_minilm, read_class_names, unit


def test_the_area_counts_own_captions_above_others_and_ties_by_half() -> None:
    names = ["a", "b", "c"]
    assert area(np.eye(3, dtype=np.float32), names) == 1.0
    assert area(-np.eye(3, dtype=np.float32), names) == 0.0
    assert area(np.zeros((3, 3), dtype=np.float32), names) == 0.5
    # The same caption of another photo is no wrong one.
    scores = np.array([[1, 9, 0], [9, 1, 0], [0, 0, 1]], dtype=np.float32)
    assert area(scores, ["a", "a", "c"]) == 1.0


def test_a_caption_that_is_near_everything_gains_less_by_it() -> None:
    rng = np.random.default_rng(0)
    cosines = rng.normal(scale=0.1, size=(40, 40)).astype(np.float32) + 0.5 * np.eye(40, dtype=np.float32)
    hub = cosines.copy()
    hub[:, 7] += 0.4
    names = [str(i) for i in range(40)]
    assert area(hub, names) < area(csls(hub), names) <= area(csls(cosines), names)


def test_the_tower_of_today_finds_english_and_little_else() -> None:
    english = ["a dog", "a red apple", "a violin", "an airplane"]
    german = ["ein Hund", "ein roter Apfel", "eine Geige", "ein Flugzeug"]
    told = unit(embed_minilm(english))
    other = unit(embed_minilm(["the dog", "a ripe red apple", "a fiddle", "a plane"]))
    assert (other @ told.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert (other @ told.T).diagonal().mean() > (unit(embed_minilm(german)) @ told.T).diagonal().mean() + 0.2
    assert len(read_class_names()) == 1_000
