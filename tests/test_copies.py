"""Near copies of items and pairs: what is recognised as one, and that a copy is paid once."""

import io
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from sqlalchemy import delete, update

from curiosity.embedding.modalities.image import IMAGE
from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import Sketch, recheck, sketch_item, texts, unpack
from curiosity.embedding.sketch.pictures import colour_cells, is_recoloured
from curiosity.embedding.sketch.texts import is_reworded, normal_words, words_of
from curiosity.embedding.sketch.waves import WHOLE
from curiosity.protocol.pair import Item
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts, Outcome, Reason
from curiosity.serving import alike
from curiosity.serving import crowds as crowds_of_pairs
from curiosity.serving import paid as paid_contents
from curiosity.serving.alike import FILTER_BITS, NEAR_BITS
from curiosity.serving.crowds import Crowds
from curiosity.serving.near import MAX_FOUND, NearItems
from curiosity.serving.paid import LIKE_ROWS, PaidContents
from tests.material.service import BOB, item_of, pictures, running
from tests.material.takedown import forget, submit
from validator.store import schema

TRANSFORMS: dict[str, Callable[[Array], Array]] = {
    "flipped": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "turned": np.rot90,
    "brighter": lambda a: np.clip(a * 1.2, 0, 255).astype(np.uint8),
    "cut": lambda a: a[8:-10, 6:-14],
    "padded": lambda a: np.pad(a, ((20, 20), (30, 10), (0, 0)), constant_values=255),
    "framed": lambda a: np.pad(a, ((20, 20), (20, 20), (0, 0))),
    "tilted": lambda a: np.asarray(Pillow.fromarray(a).rotate(3, fillcolor=(255, 255, 255))),
    "recoded": lambda a: _jpeg(a, 30),
    "small": lambda a: np.asarray(Pillow.fromarray(a).resize((48, 48))),
}


def _jpeg(array: Array, quality: int) -> Array:
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Pillow.open(file))


def scene(seed: int) -> Array:
    """Blobs on a slope of grey: a picture of many waves, without a margin."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:160, 0:200].astype(np.float64)
    plane = np.zeros((160, 200, 3))
    for _ in range(40):
        at, size, colour = random.uniform((0, 0), (160, 200)), random.uniform(6, 30), random.uniform(-120, 120, 3)
        plane += np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / size**2)[..., None] * colour
    return np.clip(plane + 128, 0, 255).astype(np.uint8)


def tune(seed: int) -> Array:
    """Ten notes with overtones, 2.5 s."""
    random = np.random.default_rng(seed)
    notes = []
    for pitch in random.uniform(200, 900, 10):
        t = np.arange(4_000) / 16_000
        wave = sum(np.sin(2 * np.pi * pitch * n * t) / n for n in range(1, 5))
        notes.append(wave * np.exp(-t * random.uniform(2, 9)))
    whole: Array = np.concatenate(notes)
    loud: Array = (whole / np.abs(whole).max() * 0.8).astype(np.float32)
    return loud


def text(words: str) -> Array:
    array: Array = np.frombuffer(words.encode(), dtype=np.uint8)
    return array


def bits(original: Sketch, copy: Sketch) -> int:
    """Fewest bits in which the copy differs from the original, looked at again if it passes the filter."""
    items = NearItems()
    items.add(0, original.bank)
    found = items.find(copy.probes, FILTER_BITS[copy.modality]).get(0)
    return 256 if found is None else recheck(copy, original.kept, found)


def test_a_picture_is_near_its_copies_and_no_other_picture() -> None:
    originals = [sketch_item("image", scene(seed)) for seed in range(8)]
    for name, transform in TRANSFORMS.items():
        own = 0
        for seed in range(8):
            copy = sketch_item("image", np.ascontiguousarray(transform(scene(seed))))
            found = {other for other, original in enumerate(originals) if bits(original, copy) <= 44}
            assert found <= {seed}, name
            own += len(found)
        assert own >= 7, name


def drawing(seed: int) -> Array:
    """A scene on a white ground, as drawings are."""
    return np.pad(scene(seed), ((30, 50), (40, 60), (0, 0)), constant_values=255)


def _tilted_on_black(array: Array) -> Array:
    return np.asarray(Pillow.fromarray(array).rotate(-8, Pillow.Resampling.BICUBIC))


def _labelled(array: Array) -> Array:
    labelled = array.copy()
    labelled[round(0.8 * len(array)) :] = 0
    return labelled


@pytest.mark.parametrize(
    ("transform", "without"),
    [(_tilted_on_black, {"_wedges": lambda _: None}), (_labelled, {"_UNLABELLED": (WHOLE, WHOLE)})],
)
def test_a_drawing_is_found_tilted_on_black_and_under_a_label(
    transform: Callable[[Array], Array], without: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both arms: without what fills the corners, or leaves out the label, most are not found."""

    def found() -> int:
        originals = [sketch_item("image", drawing(seed)) for seed in range(8)]
        copies = [sketch_item("image", transform(drawing(seed))) for seed in range(8)]
        near = [[bits(original, copy) <= 44 for original in originals] for copy in copies]
        assert sum(map(sum, near)) == sum(near[i][i] for i in range(8)), "another drawing is near"
        return sum(near[i][i] for i in range(8))

    assert found() >= 7
    for name, part in without.items():
        monkeypatch.setattr(f"curiosity.embedding.sketch.pictures.{name}", part)
    assert found() <= 4


def test_a_sound_is_near_its_copies_and_no_other_sound() -> None:
    originals = [sketch_item("audio", tune(seed)) for seed in range(8)]
    steps = np.arange(0, 39_990, 2 ** (1 / 12))
    copies: dict[str, Callable[[Array], Array]] = {
        "a semitone up": lambda a: np.interp(steps, np.arange(len(a)), a).astype(np.float32),
        "trimmed": lambda a: a[len(a) // 10 :],
        "quieter": lambda a: a * np.float32(0.3),
        "after a silence": lambda a: np.pad(a, (8_000, 3_000)),
        "with noise": lambda a: a + np.random.default_rng(0).normal(0, 0.005, len(a)).astype(np.float32),
    }
    for name, transform in copies.items():
        for seed in range(8):
            copy = sketch_item("audio", transform(tune(seed)))
            found = [bits(original, copy) <= NEAR_BITS["audio"] for original in originals]
            assert found == [other == seed for other in range(8)], name


def test_a_cut_that_no_row_of_the_bank_shows_is_found_by_a_second_look() -> None:
    random, alone, again = np.random.default_rng(0), 0, 0
    for seed in range(8):
        top, left = random.integers(0, 32), random.integers(0, 40)
        original = sketch_item("image", scene(seed))
        cut = sketch_item("image", np.ascontiguousarray(scene(seed)[top : top + 128, left : left + 160]))
        first = NearItems()
        first.add(0, original.bank)
        alone += first.find(cut.probes, 256)[0] <= 40
        again += bits(original, cut) <= 40
    assert alone <= 4
    assert again >= 7


def test_a_text_is_near_the_same_words_and_not_one_that_shares_a_word() -> None:
    original = sketch_item("text", text("a red fox in the snow"))
    for same in (
        "Red Fox in the snow.",
        "icon: red fox, snow",
        "THE ＲＥＤ fox's snow",
        "a picture of a red fox in snow",
    ):
        assert bits(original, sketch_item("text", text(same))) <= NEAR_BITS["text"], same
    for other in ("a red apple", "a fox", "a grey wolf in the forest", "snow on a red roof"):
        assert bits(original, sketch_item("text", text(other))) > FILTER_BITS["text"], other
    assert normal_words("the picture") == ["the", "picture"]


def test_what_decodes_to_the_same_is_the_same_item_in_any_file() -> None:
    array = scene(1)
    files = []
    for level in (0, 9):
        file = io.BytesIO()
        Pillow.fromarray(array).save(file, "PNG", compress_level=level)
        files.append(sketch_item("image", IMAGE.decode(file.getvalue(), "image/png")))
    assert files[0].canonical == files[1].canonical != sketch_item("image", scene(2)).canonical
    assert sketch_item("emg", array).canonical != files[0].canonical
    left = unpack(files[0].pack())
    assert (left.canonical, left.kept) == (files[0].canonical, files[0].kept)
    np.testing.assert_array_equal(left.bank, files[0].bank)
    with pytest.raises(ValueError, match="expected at least"):
        unpack(files[0].pack()[:300])


def test_what_is_plain_or_silent_is_near_nothing() -> None:
    for modality, array in (
        ("image", np.full((90, 90, 3), 200, np.uint8)),
        ("audio", np.zeros(16_000, np.float32)),
        ("audio", np.ones(3, np.float32)),
        ("text", text("?!")),
        ("emg", np.ones((8, 8), np.float32)),
    ):
        sketch = sketch_item(modality, array)
        assert (len(sketch.probes), len(sketch.bank)) == (0, 0)


def test_the_oldest_items_make_room_and_a_removed_one_is_not_found() -> None:
    random = np.random.default_rng(3)
    banks = [random.integers(0, 2**63, (5, 4), dtype=np.uint64) for _ in range(600)]
    items = NearItems(max_rows=1_500)
    for number, bank in enumerate(banks):
        items.add(number, bank)
        items.add(number, bank)
        if number % 3 == 0:
            items.remove(number)
    living = [number for number, bank in enumerate(banks) if items.find(bank[:1], 0) == {number: 0}]
    expected = [number for number in range(600) if number % 3][-len(living) :]
    assert living == expected
    assert len(items) == len(living) == 300


def test_items_that_came_alone_let_none_of_a_pair_be_forgotten() -> None:
    """Both arms: as items of pairs, as many would push the older ones out."""
    random = np.random.default_rng(4)
    banks = [random.integers(0, 2**63, (5, 4), dtype=np.uint64) for _ in range(700)]
    for alone, left in ((True, 300), (False, 0)):
        items = NearItems(max_rows=1_500)
        for number, bank in enumerate(banks):
            items.add(number, bank, alone=alone and number >= 300)
        living = [number for number, bank in enumerate(banks) if items.find(bank[:1], 0)]
        assert sum(number < 300 for number in living) == left
        assert len(items) == len(living) == (300 if not alone else 300 + 75)
    assert living == list(range(400, 700))


def test_a_picture_that_came_alone_has_the_room_of_pairs_once_a_pair_holds_it() -> None:
    random = np.random.default_rng(5)
    banks = [random.integers(0, 2**63, (5, 4), dtype=np.uint64) for _ in range(60)]
    items = NearItems(max_rows=200)
    items.add(0, banks[0], alone=True)
    items.add(1, banks[1], alone=True)
    items.pair(0)
    items.add(1, banks[1], alone=True)
    for number in range(2, 60):
        items.add(number, banks[number], alone=True)
    assert items.find(banks[0], 0) == {0: 0}
    assert not items.find(banks[1], 0)
    items.remove(0)
    assert not items.find(banks[0], 0)


def test_a_turned_copy_is_found_after_a_flood_of_single_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture of a pair is; one that came alone itself is pushed out by later ones, and its copy is new again."""
    first, words = sketch_item("image", scene(1)), sketch_item("text", text("a red fox"))
    turned = sketch_item("image", np.ascontiguousarray(np.rot90(scene(1))))
    room = 3 * len(first.bank)
    monkeypatch.setattr("curiosity.serving.crowds.NearItems", partial(NearItems, max_rows=room))
    for of_a_pair in (True, False):
        crowds = Crowds()
        if of_a_pair:
            _join(crowds, 5, (first, words))
        else:
            crowds.join_item(5, first.canonical, [("image", first.pack())])
        assert crowds.find_item(b"t" * 32, turned).entry == 5
        for number in range(6):
            single = sketch_item("image", scene(20 + number))
            crowds.join_item(6 + number, single.canonical, [("image", single.pack())])
        assert crowds.find_item(b"t" * 32, turned).is_known is of_a_pair


def _join(crowds: Crowds, entry: int, pair: tuple[Sketch, Sketch], *, is_novel: bool = True) -> None:
    packed = [(sketch.modality, sketch.pack()) for sketch in pair]
    crowds.join(entry, (pair[0].canonical, pair[1].canonical), packed, is_novel=is_novel)


def test_a_pair_is_a_copy_only_where_both_items_are_near_those_of_one_pair() -> None:
    fox, hen = sketch_item("image", scene(1)), sketch_item("image", scene(2))
    flipped = sketch_item("image", np.ascontiguousarray(scene(1)[:, ::-1]))
    red, again, other = (sketch_item("text", text(words)) for words in ("a red fox", "Red fox!", "two white hens"))
    crowds = Crowds()
    _join(crowds, 5, (fox, red))
    _join(crowds, 6, (hen, other), is_novel=False)

    def find(a: Sketch, b: Sketch) -> tuple[CrowdCounts, int | None]:
        found = crowds.find((b"a" * 32, b"b" * 32), (a, b))
        return found.crowd, found.copy_of

    assert find(flipped, again) == (CrowdCounts(1, 1, 1), 5)
    assert find(again, flipped) == (CrowdCounts(1, 1, 1), 5)  # the other way round is the same pair
    assert find(flipped, other) == (CrowdCounts(1, 0, 0), None)  # one picture, another name
    assert find(hen, again) == (CrowdCounts(0, 1, 0), None)
    assert find(hen, other) == (CrowdCounts(0, 0, 0), 6)  # accepted and not novel: a copy, and no crowd
    assert crowds.find((b"a" * 32, b"b" * 32)).copy_of is None
    crowds.leave(5)
    assert find(flipped, again) == (CrowdCounts(0, 0, 0), None)


@pytest.mark.parametrize("is_defended", [False, True])
def test_two_recordings_of_one_label_are_no_copies(monkeypatch: pytest.MonkeyPatch, is_defended: bool) -> None:
    """A voice says "seven" again, in another rhythm: a limit that does not see how little the word says refuses it."""
    if not is_defended:
        monkeypatch.setattr(alike, "level_of", lambda *_: 3)
    steps = np.arange(40_000) + 300 * np.sin(np.arange(40_000) / 5_000)
    crowds, refused, label = Crowds(), 0, sketch_item("text", text("seven"))
    for seed in range(8):
        _join(crowds, seed, (sketch_item("audio", tune(seed)), label))
    for seed in range(8):
        take = np.interp(steps, np.arange(40_000), tune(seed)).astype(np.float32)
        other = sketch_item("audio", take)
        refused += crowds.find((b"a" * 32, b"b" * 32), (other, label)).copy_of is not None
    assert refused == (0 if is_defended else 8)


def test_the_more_a_text_says_and_the_rarer_it_is_the_more_its_picture_may_differ() -> None:
    levels = [[alike.level_of(words, pairs) for pairs in (1, 3, 4, 15, 16, 64)] for words in (b"fox", b"fox red snow")]
    assert levels == [[1, 1, 0, 0, 0, 0], [3, 3, 2, 2, 1, 0]]
    for modality in ("image", "audio"):
        limits = [alike.media_bits(modality, level) for level in range(4)]
        assert limits == sorted(set(limits))
    assert alike.media_bits("emg", 3) == 0


def test_a_pair_with_a_word_replaced_or_other_colours_is_no_copy() -> None:
    def red(array: Array) -> Array:
        warmer: Array = np.clip(array + np.array([60.0, -31.0, 0.0]), 0, 255).astype(np.uint8)
        return warmer

    original = sketch_item("image", scene(1)), sketch_item("text", text("red fox in snow"))
    flipped = sketch_item("image", np.ascontiguousarray(scene(1)[:, ::-1]))
    crowds = Crowds()
    _join(crowds, 5, original)
    for words, is_copy in (
        ("red fox in snow, photo", True),
        ("a beautiful red fox in snow", True),
        ("red fox", True),
        ("red foxx in snow", True),
        ("grey fox in snow", False),
        ("two hens", False),
    ):
        copy = flipped, sketch_item("text", text(words))
        assert (crowds.find((b"a" * 32, b"b" * 32), copy).copy_of == 5) is is_copy, words
    recoloured = sketch_item("image", red(scene(1)))
    assert bits(original[0], recoloured) <= NEAR_BITS["image"]
    found = crowds.find((b"a" * 32, b"b" * 32), (recoloured, original[1]))
    assert (found.copy_of, found.crowd) == (None, CrowdCounts(1, 1, 0))


def test_a_near_copy_of_what_was_paid_and_is_gone_weighs_nothing_under_any_checkpoint() -> None:
    """The pair is erased: what is left of it is three sketches under a key, and no embedding of the copy is given."""
    picture, words = sketch_item("image", scene(1)), sketch_item("text", text("a red fox in snow"))
    paid = PaidContents(b"the validator's key")
    sketches = paid.likeness("image", picture.bank[:LIKE_ROWS], picture.kept, words.kept)
    copy = sketch_item("image", np.ascontiguousarray(scene(1)[:, ::-1])), sketch_item("text", text("Red fox, snow!"))
    other = sketch_item("image", scene(2)), copy[1]
    named = copy[0], sketch_item("text", text("a red hen"))

    def near(known: PaidContents, pair: tuple[Sketch, Sketch]) -> int:
        return Crowds(known).find((b"a" * 32, b"b" * 32), pair).crowd.near

    assert near(paid, copy) == 0  # the control arm: it is not remembered
    paid.add(sketches)
    assert [near(paid, pair) for pair in (copy, copy[::-1], other, named)] == [MAX_CROWD, MAX_CROWD, 0, 0]
    assert near(PaidContents(b"a stranger's guess", sketches), copy) == 0


@pytest.mark.parametrize("is_defended", [False, True])
def test_takes_of_a_label_weigh_their_own_when_others_were_paid_and_are_gone(
    monkeypatch: pytest.MonkeyPatch, is_defended: bool
) -> None:
    """Nobody knows any more how many pairs had the label, so it says as little as one that all share."""
    if not is_defended:
        monkeypatch.setattr(paid_contents, "_LIKE_BITS", {"audio": 60})
    steps = np.arange(40_000) + 300 * np.sin(np.arange(40_000) / 5_000)
    paid, zeroed, label = PaidContents(b"key"), [0, 0], sketch_item("text", text("seven"))
    for seed in range(8):
        take = sketch_item("audio", tune(seed))
        paid.add(paid.likeness("audio", take.bank[:LIKE_ROWS], take.kept, label.kept))
    for seed in range(8):
        quieter = tune(seed) * np.float32(0.3)
        for kind, wave in enumerate((np.interp(steps, np.arange(40_000), tune(seed)).astype(np.float32), quieter)):
            found = Crowds(paid).find((b"a" * 32, b"b" * 32), (sketch_item("audio", wave), label))
            zeroed[kind] += found.crowd.near == MAX_CROWD
    assert zeroed[0] == 0 if is_defended else zeroed[0] >= 6
    assert zeroed[1] == 8  # the same take is known all the same


@pytest.mark.parametrize("is_defended", [False, True])
def test_a_drawing_in_other_colours_than_one_that_was_paid_and_is_gone_is_another(
    monkeypatch: pytest.MonkeyPatch, is_defended: bool
) -> None:
    if not is_defended:
        monkeypatch.setattr(paid_contents, "_cells", lambda *_: [b""])
    original, words = sketch_item("image", scene(1)), sketch_item("text", text("a red fox in snow"))
    paid = PaidContents(b"key")
    paid.add(paid.likeness("image", original.bank[:LIKE_ROWS], original.kept, words.kept))
    zeroed = []
    for tint in ((0.0, 0.0, 0.0), (8.0, -4.0, 0.0), (60.0, -31.0, 0.0)):
        tinted = sketch_item("image", np.clip(scene(1) + np.array(tint), 0, 255).astype(np.uint8))
        found = Crowds(paid).find((b"a" * 32, b"b" * 32), (tinted, words))
        zeroed.append(found.crowd.near == MAX_CROWD)
    assert zeroed == [True, True, not is_defended]


def test_colours_of_a_common_cell_are_no_other_colours() -> None:
    def kept(blue: int, red: int) -> bytes:
        return bytes((64, 64, blue, red))

    for earlier in range(0, 256, 5):
        own = colour_cells(kept(earlier, 128))[0]
        for later in range(256):
            is_common = own in colour_cells(kept(later, 130))
            assert not (is_common and is_recoloured(kept(later, 130), kept(earlier, 128)))
            assert is_common or abs(later - earlier) > 7


def _misspelt(seed: int) -> str:
    """Sixteen words that are like those of every other seed, one that no other has, and many that all have."""
    random = np.random.default_rng(seed)
    ends = random.choice(list("bcdfghjk"), 16)
    words = [f"{chr(97 + place) * 2}ndering{end}" for place, end in enumerate(ends)]
    return " ".join([*words, *(f"common{place:02}" for place in range(40)), f"only{seed:06}zzzz"])


@pytest.mark.parametrize("is_defended", [False, True])
def test_a_flood_of_captions_of_one_picture_makes_no_decision_slow(
    monkeypatch: pytest.MonkeyPatch, is_defended: bool
) -> None:
    """Each entry has the picture and another long caption; the copy of the first is found among them."""
    if not is_defended:
        monkeypatch.setattr(alike, "MAX_TEXTS", 10_000)
    compared = 0
    looked: list[int] = []

    def compare(a: frozenset[str], b: frozenset[str]) -> bool:
        nonlocal compared
        compared += 1
        return is_reworded(a, b)

    def first(items: Iterable[int], entries: Mapping[int, Iterable[int]], most: int) -> Collection[int]:
        found = listed(items, entries, most)
        looked.append(len(found))
        return found

    listed = crowds_of_pairs._first
    monkeypatch.setattr(alike, "is_reworded", compare)
    monkeypatch.setattr(crowds_of_pairs, "_first", first)
    picture, crowds = sketch_item("image", scene(1)), Crowds()
    flipped = sketch_item("image", np.ascontiguousarray(scene(1)[:, ::-1]))
    _join(crowds, 0, (picture, sketch_item("text", text("a red fox in snow"))))
    for seed in range(1, 201):
        _join(crowds, seed, (picture, sketch_item("text", text(_misspelt(seed)))))
    later = flipped, sketch_item("text", text("Fox, snow, red: photo"))
    assert crowds.find((b"a" * 32, b"b" * 32), later).copy_of == 0
    compared, looked = 0, []
    found = crowds.find((b"a" * 32, b"b" * 32), (flipped, sketch_item("text", text(_misspelt(0)))))
    assert found.crowd.a == CrowdCounts.rounded(201, 0, 0).a
    assert min(looked) <= alike.SHARED_BY_MOST  # for what the text says, no more is counted
    assert compared <= 64 if is_defended else compared >= 201


def test_one_text_in_many_entries_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compare(a: frozenset[str], b: frozenset[str]) -> bool:
        calls.append((a, b))
        return is_reworded(a, b)

    monkeypatch.setattr(alike, "is_reworded", compare)
    wording = alike.Wording(b"fox red snow")
    assert [wording.is_of(b"fox red") for _ in range(5)] == [True] * 5
    assert len(calls) == 1


def test_the_words_of_two_long_texts_are_compared_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def spelled(first: set[str], second: set[str]) -> bool:
        nonlocal calls
        calls += 1
        return False

    monkeypatch.setattr(texts, "_is_spelled", spelled)
    many = [frozenset(f"{name}{number}" for number in range(400)) for name in ("aa", "bb")]
    assert not is_reworded(*many)
    assert calls == 0  # so many words are spelled by no mistake
    few = frozenset(f"cc{number}" for number in range(16))
    assert not is_reworded(few, many[0])
    assert not is_reworded(many[0], few)
    assert calls == 2 * 64


def test_what_is_near_to_a_flood_is_found_up_to_a_number_the_nearest_and_oldest_first() -> None:
    items = NearItems()
    for number in range(1_500):
        row = np.zeros((1, 4), np.uint64)
        row[0, 3] = number >= 1_400  # one bit more
        items.add(number, row)
    found = items.find(np.array([[0, 0, 0, 1]], np.uint64), 8)
    assert list(found.items()) == [(n, 0) for n in range(1_400, 1_500)] + [(n, 1) for n in range(MAX_FOUND - 100)]


def test_marks_signs_and_negations_are_part_of_what_a_text_says() -> None:
    for a, b in (
        ("दिन", "दान"),
        ("ก้าว", "กาว"),
        ("-5 degrees", "5 degrees"),
        ("3 + 4", "3 - 4"),
        ("left arrow ←", "left arrow →"),
        ("arrow <-", "arrow ->"),
        ("C", "C++"),
        ("C#", "C"),
        ("no dog", "dog"),
        ("a dog isn't seen", "dog"),
        ("dog without tail", "dog tail"),
        ("Hund ohne Schwanz", "Hund Schwanz"),
        ("😀", "😢"),
    ):
        first, second = (sketch_item("text", text(one)) for one in (a, b))
        assert bits(first, second) > 0, (a, b)
        assert not is_reworded(words_of(first.kept), words_of(second.kept)), (a, b)
    for a, b in (
        ("a red fox - photo", "red fox"),
        ("well-known fox", "well known fox"),
        ("red fox ★", "red fox"),
        ("red\u200bfox", "redfox"),
        ("dog, no tail", "no tail dog!"),
        ("دِن", "دِن."),
    ):
        first, second = (sketch_item("text", text(one)) for one in (a, b))
        assert is_reworded(words_of(first.kept), words_of(second.kept)), (a, b)
    assert normal_words("−5 °C, x-ray 10-12, #1 news") == [
        "-5",
        "°",
        "c",
        "x",
        "ray",
        "10",
        "-",
        "12",
        "#",
        "1",
        "news",
    ]


def copies_of(item: Item) -> list[Item]:
    """The same picture with a margin, mirrored and in other bytes."""
    picture = Pillow.open(io.BytesIO(item.data)).convert("RGB")
    made = []
    for changed in (
        picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT),
        picture.transpose(Pillow.Transpose.ROTATE_90),
        picture.resize((picture.width * 2, picture.height * 2), Pillow.Resampling.BICUBIC),
    ):
        file = io.BytesIO()
        changed.save(file, "PNG")
        made.append(Item("image", "image/png", file.getvalue()))
    return made


@pytest.mark.parametrize("is_defended", [False, True])
async def test_a_copy_of_an_accepted_pair_is_not_accepted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_defended: bool
) -> None:
    """Mirrored, turned and enlarged copies of somebody's pictures, with the same names, from another account."""
    if not is_defended:
        monkeypatch.setattr(alike, "media_bits", lambda *_: -1)
    answers, originals = [], []
    async with running(tmp_path) as live:
        for pair in pictures(6):
            original = await live.client.post_pair(live.sign(pair).encode())
            if original.verdict.is_accepted:
                originals.append(original)
                copies = [live.sign((copy, item_of(pair, "b")), BOB) for copy in copies_of(item_of(pair, "a"))]
                answers += [await live.client.post_pair(copy.encode()) for copy in copies]
    found = [answer.verdict for answer in answers if answer.verdict.reason is Reason.PAIR_COPY]
    assert len(originals) >= 3
    if is_defended:
        assert not any(answer.verdict.is_accepted for answer in answers)
        assert {(verdict.outcome, verdict.fault, verdict.novel) for verdict in found} == {
            (Outcome.REJECTED, None, False)
        }
    else:
        assert not found
        assert sum(answer.verdict.is_accepted for answer in answers) >= 3


async def test_copies_are_known_after_a_restart_and_free_once_the_original_is_gone(tmp_path: Path) -> None:
    """The copy is the same picture in other bytes: the checkpoint says of it what it says of the original."""
    async with running(tmp_path) as live:
        original, decided = (await submit(live, 6))[0]
    picture, file = Pillow.open(io.BytesIO(original.a.data)), io.BytesIO()
    picture.save(file, "PNG", compress_level=0)
    copy = Item("image", "image/png", file.getvalue()), original.b
    of_another_form = update(schema.sketches).values(a=b"\x00" + bytes(40))
    for spoil in (of_another_form, delete(schema.sketches)):
        async with running(tmp_path) as live:
            answer = await live.client.post_pair(live.sign(copy, BOB).encode())
            assert answer.verdict.reason is Reason.PAIR_COPY
            assert answer.opening.detail == f"entry {decided.receipt.index} holds near copies of both"
            assert live.service.store.sketches(0, 1_000)[decided.receipt.index][0][:1] == b"\x03"
            with (
                live.service.store._database.write() as connection
            ):  # as in a ledger of before: the next start makes them
                connection.execute(spoil)
    async with running(tmp_path) as live:
        assert decided.receipt.index in live.service.store.sketches(0, 1_000)
        await forget(live, original)
        assert decided.receipt.index not in live.service.store.sketches(0, 1_000)
        assert (await live.client.post_pair(live.sign(copy, BOB).encode())).verdict.is_accepted
