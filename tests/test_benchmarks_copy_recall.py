"""The benchmark of found copies on made-up pictures: what it counts as found, and as a false alarm."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import copy_recall
from benchmarks.copies import Honest
from benchmarks.copy_forms import PICTURES, Form
from benchmarks.copy_recall import NONE, come, limit_for, measure, to_markdown
from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import sketch_item
from curiosity.serving import alike

FORMS = ("recoded", "hflip", "text box")
WORDS = np.frombuffer(b"words", dtype=np.uint8)


def picture(seed: int) -> Array:
    """Coloured blocks that run into each other."""
    blocks = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(blocks.resize((160, 120), Image.Resampling.BICUBIC))


def named(words: str, array: Array) -> Honest:
    return Honest(array, words, sketch_item("image", array), sketch_item("text", WORDS))


def recoded(array: Array) -> Array:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file).convert("RGB"))


def test_two_different_items_that_are_alike_are_a_false_alarm() -> None:
    honest = [named(f"picture {seed}", picture(seed)) for seed in range(8)]
    _, bits, pairs = come(honest)
    assert pairs == 28
    assert not [one for one in bits if one <= alike.NEAR_BITS["image"]]
    again = recoded(honest[0].array)
    _, bits, pairs = come([*honest, named("another caption", again)])
    assert pairs == 36
    assert len([one for one in bits if one <= alike.NEAR_BITS["image"]]) == 1
    _, bits, pairs = come([*honest, named("picture 0", again)])  # the same thing twice is none
    assert pairs == 35
    assert not [one for one in bits if one <= alike.NEAR_BITS["image"]]


@pytest.mark.parametrize(("share", "limit"), [(0.0, 9), (0.01, 19), (0.02, 29), (0.03, 80), (1.0, 80)])
def test_the_limit_that_is_asked_for_lets_no_larger_share_through(share: float, limit: int) -> None:
    assert limit_for([10, 20, 30], 100, share, 80) == limit
    assert limit_for([0, 20, 30], 100, 0.0, 80) == NONE


def test_altered_copies_are_found_and_other_pictures_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    forms: dict[str, Form] = {name: PICTURES[name] for name in FORMS}
    forms["another picture"] = lambda a, _: np.roll(a[::-1], 50, (0, 1, 2))
    monkeypatch.setattr(copy_recall, "FORMS", {"image": forms})
    plain = named("nothing", np.full((60, 60, 3), 255, np.uint8))
    honest = [named(f"picture {seed}", picture(seed)) for seed in range(6)]
    found = measure(honest, "image", 4, 1)
    rows = {row["form"]: row for row in found["rows"]}
    assert (found["items"], found["copied"], found["plain"]) == (6, 4, 0)
    assert rows["recoded"]["item"] == rows["hflip"]["pair"] == rows["text box"]["asked"] == 1.0
    assert (rows["hflip"]["bar"], rows["hflip"]["holds"], rows["recoded"]["bar"]) == (0.99, True, None)
    assert rows["another picture"]["item"] == 0.0
    assert set(found["false_alarms"].values()) == {0}
    half = measure([plain, honest[0]], "image", 2, 1)
    assert (half["plain"], half["copied"]) == (1, 1)
    assert "recoded" in to_markdown({"sets": {"photos": found}})
