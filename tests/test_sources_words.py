"""Splits that share no content word, and wrong captions that are hard to tell."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from curiosity.protocol.errors import SourceError
from curiosity.sources.made.families import order_by_seed
from curiosity.sources.words import content_words, find_shared, leave_out, split_by_words
from curiosity.sources.wrong import CANDIDATES, draw_wrong, wrong_captions

NOUNS = [
    f"{first}{second}" for first in ("bal", "car", "dom", "fil", "gor", "hul") for second in ("ka", "mo", "ti", "vu")
]
ADJECTIVES = ["red", "big", "old", "two"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A frog.", {"frog"}),
        ("Two wild boars", {"two", "wild", "boar"}),
        ("The plumber’s wrench is in its box!", {"plumber", "wrench", "box"}),
        ("A pair of cherries and glasses", {"pair", "cherry", "glass"}),
        ("A t shirt", {"shirt"}),
        ("犬", {"犬"}),
        ("Which of them is it?", set()),
    ],
)
def test_content_words_are_what_a_caption_is_about(caption: str, words: set[str]) -> None:
    assert content_words(caption) == words


def captions_of(seed: int, count: int = 120) -> dict[str, frozenset[str]]:
    chance = random.Random(seed)
    captions = {f"A {chance.choice(ADJECTIVES)} {chance.choice(NOUNS)}{number % 9}" for number in range(count)}
    return {caption: content_words(caption) for caption in sorted(captions)}


@pytest.mark.parametrize("seed", range(5))
def test_no_word_is_in_two_splits(seed: int) -> None:
    words = captions_of(seed)
    sizes = {"held-out": 40, "calibration": 20}
    splits = split_by_words(words, sizes, seed=seed, rest="submit")
    assert find_shared(words, splits) == {}
    assert len(splits) > len(words) / 2
    assert splits == split_by_words(words, sizes, seed=seed, rest="submit")
    # The same concepts split without looking at words share many: the check would see them.
    naive = dict.fromkeys(words, "submit") | dict.fromkeys(order_by_seed(words, seed)[:40], "held-out")
    assert len(find_shared(words, naive)) > 3


def test_a_caption_between_two_splits_is_left_out() -> None:
    words = {f"red {noun}": content_words(f"red {noun}") for noun in NOUNS[:6]}
    words |= {f"old {noun}": content_words(f"old {noun}") for noun in NOUNS[6:12]}
    sizes = {"held-out": 6}
    for seed in range(30):
        splits = split_by_words(words, sizes, seed=seed, rest="submit")
        if splits[f"red {NOUNS[0]}"] != splits[f"old {NOUNS[6]}"]:
            break
    else:
        raise AssertionError("30 seeds put both words into one split")
    straddling = f"old red {NOUNS[20]}"
    both = words | {straddling: content_words(straddling)}
    splits = split_by_words(both, sizes, seed=seed, rest="submit")
    assert set(both) - set(splits) == {straddling}
    assert len(find_shared(both, splits | {straddling: "submit"})) == 1


def test_sizes_are_met_where_no_words_are_shared_and_seeds_differ() -> None:
    words = {f"thing {number}": frozenset({f"w{number}"}) for number in range(200)}
    found = [split_by_words(words, {"held-out": 80, "calibration": 40}, seed=seed, rest="submit") for seed in range(4)]
    for splits in found:
        assert Counter(splits.values()) == {"held-out": 80, "calibration": 40, "submit": 80}
    assert len({frozenset(each.items()) for each in found}) == 4


def test_words_that_have_a_split_keep_it() -> None:
    words = captions_of(1)
    settled = {"red": "held-out", "big": "calibration"}
    splits = split_by_words(words, {"held-out": 40}, seed=1, rest="submit", settled=settled)
    red = {split for concept, split in splits.items() if "red" in words[concept]}
    assert (red, find_shared(words, splits)) == ({"held-out"}, {})
    assert {split for concept, split in splits.items() if "big" in words[concept]} == {"calibration"}


def test_captions_that_share_a_word_with_judged_ones_are_not_trained_on() -> None:
    assert leave_out(["a red bus", "a dog", "two dogs barking", "an owl"], ["A dog.", "A bus"]) == [
        False, False, False, True,
    ]  # fmt: skip


# -- wrong captions

CAPTIONS = ["An apple", "A red apple", "A bus", "Red apples", "A dog barking", "A barking dog", "An owl", "A blue owl"]


def test_a_swapped_caption_never_says_the_same() -> None:
    places = range(len(CAPTIONS))
    for seed in range(20):
        drawn = draw_wrong(places, wrong_captions(CAPTIONS), way="swapped", seed=seed, each=3)
        for own, others in zip(CAPTIONS, drawn, strict=True):
            assert len(set(others)) == 3
            for at in others:
                right, wrong = content_words(own), content_words(CAPTIONS[at])
                assert not right <= wrong
                assert not wrong <= right
    first, second = (draw_wrong(places, wrong_captions(CAPTIONS), way="swapped", seed=seed) for seed in (1, 2))
    assert first != second
    assert first == draw_wrong(places, wrong_captions(CAPTIONS), way="swapped", seed=1)
    # What one pair gets does not depend on the others.
    assert first[3:] == draw_wrong(places[3:], wrong_captions(CAPTIONS), way="swapped", seed=1)


def test_the_nearest_wrong_caption_is_the_best_of_all_that_are_wrong() -> None:
    asked: list[int] = []

    def score(pair: int, captions: Sequence[int]) -> list[float]:
        asked.append(len(captions))
        return [-abs(pair - at) + at / 100 for at in captions]

    drawn = draw_wrong(range(len(CAPTIONS)), wrong_captions(CAPTIONS), way="nearest", seed=0, score=score)
    # Beside "An apple" is "A red apple", which is not wrong for it.
    assert [[CAPTIONS[at] for at in one] for one in drawn[:3]] == [["A bus"], ["A bus"], ["Red apples"]]
    assert [CAPTIONS[at] for at in drawn[4]] == ["Red apples"]  # not "A barking dog"
    assert max(asked) == 7


def test_what_is_searched_is_the_best_of_64_drawn() -> None:
    wrong_for = wrong_captions([f"thing{number}" for number in range(300)])
    asked: list[list[int]] = []

    def score(_: int, drawn: Sequence[int]) -> list[float]:
        asked.append(list(drawn))
        return [float(at) for at in drawn]

    drawn = draw_wrong(range(300), wrong_for, way="searched", seed=3, score=score)
    assert {len(some) for some in asked} == {CANDIDATES}
    assert drawn == [[max(some)] for some in asked]
    assert all(pair not in some for pair, some in enumerate(asked))
    assert len({tuple(sorted(some)) for some in asked}) == 300
    nearest = draw_wrong(range(300), wrong_for, way="nearest", seed=3, score=score)
    assert nearest == [[299]] * 299 + [[298]]  # of all, not of 64


def test_all_wrong_captions_are_candidates_where_there_are_few() -> None:
    wrong_for = wrong_captions(["red bus"] * 90 + [f"old tram {number}" for number in range(5)])
    asked: list[list[int]] = []

    def score(_: int, drawn: Sequence[int]) -> list[float]:
        asked.append(list(drawn))
        return [0.0] * len(drawn)

    draw_wrong(range(95), wrong_for, way="searched", seed=0, score=score)
    assert {tuple(sorted(some)) for some in asked[:90]} == {(90, 91, 92, 93, 94)}
    assert all(len(set(some)) == len(some) >= 64 for some in asked[90:])
    swapped = draw_wrong([0], wrong_for, way="swapped", seed=0, each=50)
    assert sorted(swapped[0]) == [90, 91, 92, 93, 94]


def test_captions_without_a_content_word_are_told_apart_by_their_text() -> None:
    (first,), (second,), (third,) = draw_wrong(range(3), wrong_captions(["On", "Off", "on "]), way="swapped", seed=0)
    assert (first, third) == (1, 1)
    assert second in (0, 2)


@pytest.mark.parametrize(
    ("captions", "way", "scored", "code"),
    [
        (CAPTIONS, "worst", False, "WRONG_WAY"),
        (CAPTIONS, "nearest", False, "WRONG_WAY"),
        (CAPTIONS, "swapped", True, "WRONG_WAY"),
        (["An apple", "A red apple"], "swapped", False, "WRONG_FEW"),
    ],
)
def test_what_cannot_be_drawn_is_told(captions: list[str], way: str, scored: bool, code: str) -> None:
    score = (lambda _, at: [0.0] * len(at)) if scored else None
    with pytest.raises(SourceError) as told:
        draw_wrong(range(len(captions)), wrong_captions(captions), way=way, seed=0, score=score)
    assert told.value.code == code
