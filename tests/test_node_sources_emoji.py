"""Further drawings and languages of the emoji set, and how its concepts are split."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curiosity.protocol.errors import SourceError
from curiosity.sources.made.emoji import SPLIT_SIZES, find_families, load_emoji, make_emoji, split_emoji
from curiosity.sources.made.pictures import load_picture
from curiosity.sources.made.styles import LANGUAGES, STYLES, find_drawings, load_names
from curiosity.sources.pairset import SourcePair, check_pair_set, read_pairs

PACKAGES = Path(__file__).parents[1] / "node_modules"


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rich")
    make_emoji(
        out / "set",
        limit=40,
        voices=1,
        keyword_captions=True,
        styles=["fluent"],
        languages=["de", "uk"],
        cache=out / "cache",
    )
    return out / "set"


@pytest.fixture(scope="module")
def pairs(rich: Path) -> list[SourcePair]:
    return list(read_pairs(rich))


def test_training_concepts_are_drawn_in_two_styles_and_held_out_ones_in_one(pairs: list[SourcePair]) -> None:
    drawings: dict[tuple[str, str], set[Path]] = {}
    for pair in pairs:
        for item in (pair.a, pair.b):
            if item.modality == "image":
                drawings.setdefault((pair.split, pair.concept), set()).add(item.path)
    counts = {
        split: Counter(len(v) for (s, _), v in drawings.items() if s == split) for split in ("submit", "held-out")
    }
    assert counts["held-out"].keys() == {1}
    assert counts["submit"][2] > 0.8 * counts["submit"].total()


def test_further_drawings_carry_their_own_licence_and_credit(rich: Path, pairs: list[SourcePair]) -> None:
    further = [pair for pair in pairs if "-fluent" in pair.id]
    assert {pair.id.rpartition("fluent")[2] for pair in further} == {"", "-keywords"}
    assert {pair.license for pair in further} == {"MIT AND Unicode-3.0"}
    assert all("Microsoft" in pair.attribution and "Noto" not in pair.attribution for pair in further)
    with Image.open(further[0].a.path) as picture:
        assert picture.mode == "RGB"
        assert max(picture.size) == 64
    card = json.loads((rich / "card.json").read_text())
    assert "@lobehub/fluent-emoji-3d (npm)" in [source["package"] for source in card["sources"]]
    assert check_pair_set(rich) == len(pairs)


def test_names_in_two_languages_are_written_and_spoken(pairs: list[SourcePair]) -> None:
    german = [pair for pair in pairs if pair.id.split("-audio-text-de")[-1][:1] == "-" and "-audio-text-de" in pair.id]
    assert german
    names = set(load_names(PACKAGES, "de").values())
    assert {pair.b.read().decode() for pair in german} <= names
    assert {(pair.voice or "").split("+")[0] for pair in german} == {"de"}
    assert {pair.split for pair in german} == {"genesis", "submit"}
    # The same concept sounds otherwise in another language.
    ukrainian = {pair.concept: pair.a.path for pair in pairs if "-audio-text-uk" in pair.id}
    assert all(ukrainian[pair.concept] != pair.a.path for pair in german)
    assert {pair.voice for pair in pairs if pair.split == "held-out" and pair.voice}.isdisjoint({"de", "uk"})


@pytest.mark.parametrize(
    ("asked", "code"),
    [({"styles": ["cubist"]}, "STYLE"), ({"languages": ["tlh"]}, "LANGUAGE"), ({"split_by": "mood"}, "SPLIT_RULE")],
)
def test_what_there_is_not_is_refused(tmp_path: Path, asked: dict[str, object], code: str) -> None:
    with pytest.raises(SourceError) as caught:
        make_emoji(tmp_path / "set", limit=10, **asked)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert not (tmp_path / "set").exists()


def test_a_style_that_is_not_installed_is_said(tmp_path: Path) -> None:
    for name in ("emoji-datasource-google", "emojibase-data"):
        (tmp_path / name).symlink_to(PACKAGES / name)
    with pytest.raises(SourceError) as caught:
        make_emoji(tmp_path / "set", limit=10, styles=["fluent"], packages=tmp_path)
    assert caught.value.code == "PARTS_MISSING"
    assert "fluent" in caught.value.what


def test_every_language_names_nearly_every_emoji() -> None:
    codes = {each.code for each in load_emoji(PACKAGES)}
    for language in LANGUAGES:
        assert len(codes & load_names(PACKAGES, language).keys()) > 0.99 * len(codes), language


def test_a_drawing_shows_the_emoji_of_its_code() -> None:
    drawings = find_drawings(PACKAGES, STYLES["fluent"])
    middle = load_picture(drawings["1F34B"])[96:160, 96:160].reshape(-1, 3).mean(axis=0)  # lemon
    assert middle[0] > 180
    assert middle[2] < 120


def test_splitting_by_concept_tears_families_and_by_family_does_not() -> None:
    emoji = load_emoji(PACKAGES)
    pictures = {each.code: load_picture(each.picture) for each in emoji}
    family = find_families(emoji, pictures)
    torn = {}
    for rule in ("concepts", "families"):
        splits = split_emoji(emoji, pictures, seed=3, split_by=rule)
        assert {split: Counter(splits.values())[split] for split in SPLIT_SIZES} == dict(SPLIT_SIZES)
        held_out = {family[code] for code, split in splits.items() if split == "held-out"}
        torn[rule] = len(held_out & {family[code] for code, split in splits.items() if split != "held-out"})
    assert torn["families"] == 0
    assert torn["concepts"] > 20
    assert np.unique(list(family.values())).size < len(family)
