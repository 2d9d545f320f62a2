"""The pair set ``emoji``: pictures of Noto Emoji, their CLDR names and keywords, and the names spoken.

Pictures come from the npm package emoji-datasource-google, names from emojibase-data. Flags of countries and regions
(a name cannot be inferred from them), skin tones, lone letters and hair are left out.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.sources.made.families import group_families, order_by_seed, split_families
from curiosity.sources.made.pictures import encode_picture, load_picture
from curiosity.sources.made.speech import (
    HELD_OUT_SPEAKER,
    TRAINING_SPEAKERS,
    Progress,
    Speaker,
    Utterance,
    speak_all,
    speech_versions,
)
from curiosity.sources.made.styles import LANGUAGES, STYLES, choose_speaker, describe_style, find_drawings, load_names
from curiosity.sources.pairset import DraftHalf, DraftPair, Origin, find_pair_set, write_pair_set

DEFAULT_SEED: Final = 20260101
DEFAULT_VOICES: Final = 3
# Concepts of each split; all others are submitted. The numbers of the trials in docs/data.md.
SPLIT_SIZES: Final = {"held-out": 240, "calibration": 143, "genesis": 213}
SPLIT_RULES: Final = ("families", "concepts")
# A larger family would be a fair share of a gallery by itself: it goes to ``submit``.
LARGEST_FAMILY: Final = 8
_IMAGES: Final = "emoji-datasource-google"
_NAMES: Final = "emojibase-data"
_SKIPPED_GROUPS: Final = frozenset({"component"})
_SKIPPED_SUBGROUPS: Final = frozenset({"country-flag", "subdivision-flag"})
_TWIN_SIDE_PX: Final = 24
_KEYWORDS: Final = 4
_STYLE_SIDE_PX: Final = 64  # as large as the Noto pictures
# espeak-ng leaves these out as punctuation.
_SPOKEN_SIGNS: Final = {"#": "hash", "*": "asterisk"}
_TEXT_LICENSE: Final = "MIT AND Unicode-3.0"
_PICTURE_LICENSE: Final = "Apache-2.0 AND MIT"
_NAME_CREDIT: Final = "name from Unicode CLDR by way of emojibase-data (Miles Johnson)"
_PICTURE_CREDIT: Final = (
    "picture from Noto Emoji (Google) by way of emoji-datasource-google (Cal Henderson), put on white"
)
_SPEECH_CREDIT: Final = "spoken by espeak-ng"


@dataclass(frozen=True)
class Emoji:
    """One concept: hex code, CLDR name, keywords, and its picture file."""

    code: str
    name: str
    keywords: tuple[str, ...]
    picture: Path

    @property
    def spoken(self) -> str:
        """The name as it is said: signs that the engine passes over become words."""
        words = "".join(f" {_SPOKEN_SIGNS[sign]}" if sign in _SPOKEN_SIGNS else sign for sign in self.name)
        return " ".join(re.sub(r"[:“”]", "", words).split())

    @property
    def caption(self) -> str:
        """The name and a few keywords that add to it."""
        said = set(re.findall(r"\w+", self.name.lower()))
        added = [word for word in self.keywords if not set(re.findall(r"\w+", word.lower())) <= said]
        return f"{self.name}: {', '.join(added[:_KEYWORDS])}" if added else self.name


def make_emoji(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    voices: int = DEFAULT_VOICES,
    keyword_captions: bool = False,
    image_audio: bool = False,
    split_by: str = "families",
    styles: Sequence[str] = (),
    languages: Sequence[str] = (),
    limit: int | None = None,
    cache: Path | None = None,
    packages: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    Each concept outside held-out is spoken by ``voices`` of the twelve training speakers in turn. ``keyword_captions``
    adds a second caption with keywords to genesis and submit, ``image_audio`` adds picture-speech pairs to submit.
    ``split_by`` is ``families`` or ``concepts``: the second lets variants of one thing fall into different splits.
    Genesis and submit also get pictures of further ``styles`` and names, written and spoken, in further ``languages``
    (``curiosity/sources/made/styles``); what is held out stays Noto pictures and English names, so that figures
    compare.
    ``limit`` keeps that many concepts, splits in proportion (for tests). ``packages`` is the ``node_modules`` folder.

    Raises:
        SourceError: PARTS_MISSING (npm packages absent), VOICES (not 1 to 12), SPLIT_RULE (no such ``split_by``),
            STYLE, LANGUAGE (none of that name), or when it cannot be written.
    """
    if not 1 <= voices <= len(TRAINING_SPEAKERS):
        raise SourceError(
            "VOICES",
            f"{voices} voices asked, {len(TRAINING_SPEAKERS)} there are",
            "Ask for a number between them and 1.",
        )
    if split_by not in SPLIT_RULES:
        raise SourceError(
            "SPLIT_RULE", f"there is no way to split by {split_by!r}", f"Use one of {', '.join(SPLIT_RULES)}."
        )
    for asked, known, code in ((styles, STYLES, "STYLE"), (languages, LANGUAGES, "LANGUAGE")):
        for each in asked:
            if each not in known:
                raise SourceError(code, f"there is no {code.lower()} {each!r}", f"Use some of {', '.join(known)}.")
    packages = packages or Path(__file__).parents[3] / "node_modules"
    versions = {
        **speech_versions(),
        "pillow": version("pillow"),
        **{name: _read_version(packages, name) for name in (_IMAGES, _NAMES, *(STYLES[s].package for s in styles))},
    }
    parameters = {
        "seed": seed,
        "voices": voices,
        "keyword_captions": keyword_captions,
        "image_audio": image_audio,
        "split_by": split_by,
        "styles": list(styles),
        "languages": list(languages),
        "limit": limit,
        "recipe": 1,
        "versions": versions,
    }
    card = find_pair_set(out, parameters)
    if card is not None:
        return card
    emoji = load_emoji(packages)
    pictures = {each.code: load_picture(each.picture) for each in emoji}
    splits = split_emoji(emoji, pictures, seed=seed, split_by=split_by, limit=limit)
    kept = {each.code: each for each in emoji if each.code in splits}
    said = list(_list_utterances(kept, splits, voices=voices, seed=seed))
    files = speak_all([Utterance(kept[code].spoken, speaker) for code, speaker in said], cache=cache, progress=progress)
    spoken: dict[str, list[tuple[str, Path]]] = {}
    for (code, speaker), file in zip(said, files, strict=True):
        spoken.setdefault(code, []).append((speaker.name, file))
    training = [code for code in kept if splits[code] in ("genesis", "submit")]
    drawn = _draw_styles(packages, styles, training)
    named = _speak_languages(packages, languages, training, cache, progress)
    paired = {"held-out", "submit"} if image_audio else {"held-out"}
    captioned = {"genesis", "submit"} if keyword_captions else set()
    drafts = [
        draft
        for code, each in kept.items()
        for draft in _draft_pairs(
            each,
            splits[code],
            encode_picture(pictures[code]),
            spoken[code],
            splits[code] in paired,
            splits[code] in captioned,
            drawn.get(code, []),
            named.get(code, []),
        )
    ]
    origins = _list_origins(versions) + [describe_style(STYLES[s], versions[STYLES[s].package]) for s in styles]
    card = write_pair_set(out, name="emoji", parameters=parameters, origins=origins, drafts=drafts)
    if progress:
        progress("emoji", len(drafts), len(drafts))
    return card


def load_emoji(packages: Path) -> list[Emoji]:
    """Return every emoji with a picture, in CLDR order, without those that the module's first lines leave out."""
    try:
        entries = read_json((packages / _NAMES / "en" / "data.json").read_bytes())
        groups = read_json((packages / _NAMES / "meta" / "groups.json").read_bytes())
        folder = packages / _IMAGES / "img" / "google" / "64"
        # The two packages disagree on the variation selector FE0F: match without it.
        files = {file.stem.upper().replace("-FE0F", ""): file for file in sorted(folder.iterdir())}
    except OSError as error:
        raise _parts_missing(packages, error) from error
    found = []
    drawn: set[str] = set()
    for entry in entries:
        group, subgroup = (
            groups["groups"].get(str(entry.get("group"))),
            groups["subgroups"].get(str(entry.get("subgroup"))),
        )
        picture = files.get(entry["hexcode"].replace("-FE0F", ""))
        if group is None or group in _SKIPPED_GROUPS or subgroup in _SKIPPED_SUBGROUPS or picture is None:
            continue
        drawing = hashlib.sha256(picture.read_bytes()).hexdigest()
        if drawing in drawn:  # the family silhouettes: which of several names a picture has cannot be seen
            continue
        drawn.add(drawing)
        found.append(Emoji(entry["hexcode"], entry["label"], tuple(entry.get("tags", ())), picture))
    return found


def split_emoji(
    emoji: list[Emoji],
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    *,
    seed: int,
    split_by: str = "families",
    limit: int | None = None,
) -> dict[str, str]:
    """Return the split of each hex code; families stay together, unless ``split_by`` is ``concepts``.

    For families see ``families``. With ``limit``, of that many concepts.
    """
    families = find_families(emoji, pictures) if split_by == "families" else {each.code: each.code for each in emoji}
    sizes = SPLIT_SIZES
    if limit is not None:
        sizes = {split: max(1, size * limit // len(emoji)) for split, size in SPLIT_SIZES.items()}
        ordered = order_by_seed(set(families.values()), seed)
        chosen = set(sorted(families, key=lambda code: ordered.index(families[code]))[:limit])
        families = {code: family for code, family in families.items() if code in chosen}
    return split_families(families, sizes, seed=seed, rest="submit", largest=LARGEST_FAMILY)


def find_families(emoji: list[Emoji], pictures: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, str]:
    """Return the family of each hex code, by code points, names and pictures (compared at 24 px)."""
    small = {
        code: np.asarray(
            Image.fromarray(pixels).resize((_TWIN_SIDE_PX, _TWIN_SIDE_PX), Image.Resampling.BOX), np.float32
        ).ravel()
        for code, pixels in pictures.items()
    }
    return group_families({each.code: each.name for each in emoji}, small)


def _list_utterances(
    emoji: Mapping[str, Emoji], splits: Mapping[str, str], *, voices: int, seed: int
) -> Iterator[tuple[str, Speaker]]:
    # In each split the speakers take turns, so that each says about as many names as any other.
    turns = dict.fromkeys(splits.values(), 0)

    def take_turn(split: str) -> Speaker:
        turns[split] += 1
        return TRAINING_SPEAKERS[turns[split] % len(TRAINING_SPEAKERS)]

    for code in order_by_seed(emoji, seed):
        for _ in range(1 if splits[code] == "held-out" else voices):
            yield code, take_turn(splits[code])
        if splits[code] == "held-out":
            yield code, HELD_OUT_SPEAKER


def _draw_styles(packages: Path, styles: Sequence[str], codes: Sequence[str]) -> dict[str, list[tuple[str, bytes]]]:
    """Return the style and PNG of each further drawing of a hex code. A style lacks some."""
    drawn: dict[str, list[tuple[str, bytes]]] = {}
    for style in styles:
        try:
            files = find_drawings(packages, STYLES[style])
        except OSError as error:
            raise _parts_missing(packages, error) from error
        for code in codes:
            file = files.get(code.replace("-FE0F", ""))
            if file is not None:
                picture = Image.fromarray(load_picture(file))
                picture.thumbnail((_STYLE_SIDE_PX, _STYLE_SIDE_PX), Image.Resampling.BOX)
                drawn.setdefault(code, []).append((style, encode_picture(np.asarray(picture))))
    return drawn


def _speak_languages(
    packages: Path, languages: Sequence[str], codes: Sequence[str], cache: Path | None, progress: Progress | None
) -> dict[str, list[tuple[str, str, str, Path]]]:
    """Return the language, name, voice and recording of each further name of a hex code. A language lacks some."""
    said: list[tuple[str, str, str, Speaker]] = []
    for language in languages:
        try:
            names = load_names(packages, language)
        except OSError as error:
            raise _parts_missing(packages, error) from error
        known = [code for code in codes if code in names]
        said += [(code, language, names[code], choose_speaker(language, turn)) for turn, code in enumerate(known)]
    files = speak_all([Utterance(name, speaker) for _, _, name, speaker in said], cache=cache, progress=progress)
    named: dict[str, list[tuple[str, str, str, Path]]] = {}
    for (code, language, name, speaker), file in zip(said, files, strict=True):
        named.setdefault(code, []).append((language, name, speaker.name, file))
    return named


def _draft_pairs(
    emoji: Emoji,
    split: str,
    png: bytes,
    spoken: list[tuple[str, Path]],
    is_paired: bool,
    is_captioned: bool,
    drawn: list[tuple[str, bytes]],
    named: list[tuple[str, str, str, Path]],
) -> Iterator[DraftPair]:
    picture, name = DraftHalf("image", "image/png", png), DraftHalf("text", "text/plain", emoji.name.encode())

    def draft(kind: str, license: str, attribution: str, voice: str | None, *halves: DraftHalf) -> DraftPair:
        return DraftPair(
            id=f"emoji-{emoji.code}-{kind}" + (f"-{voice}" if voice else ""),
            split=split,
            concept=emoji.name,
            license=license,
            attribution=attribution,
            voice=voice,
            halves=(halves[0], halves[1]),
        )

    both = f"{_PICTURE_LICENSE} AND Unicode-3.0"
    yield draft("image-text", both, f"{_PICTURE_CREDIT}; {_NAME_CREDIT}", None, picture, name)
    captions = [("", name)]
    if is_captioned and emoji.caption != emoji.name:
        captions.append(("-keywords", DraftHalf("text", "text/plain", emoji.caption.encode())))
        yield draft("image-text-keywords", both, f"{_PICTURE_CREDIT}; {_NAME_CREDIT}", None, picture, captions[1][1])
    for style, drawing in drawn:
        further = DraftHalf("image", "image/png", drawing)
        for kind, caption in captions:
            credit = f"{STYLES[style].credit}; {_NAME_CREDIT}"
            yield draft(f"image-text-{style}{kind}", _join_licenses(style), credit, None, further, caption)
    for language, words, voice, file in named:
        text = DraftHalf("text", "text/plain", words.encode())
        yield draft(f"image-text-{language}", both, f"{_PICTURE_CREDIT}; {_NAME_CREDIT}", None, picture, text)
        sound, credit = DraftHalf("audio", "audio/wav", file), f"{_NAME_CREDIT}, {_SPEECH_CREDIT}"
        yield draft(f"audio-text-{language}", _TEXT_LICENSE, credit, voice, sound, text)
    for voice, file in spoken:
        sound = DraftHalf("audio", "audio/wav", file)
        credit = f"{_NAME_CREDIT}, {_SPEECH_CREDIT}"
        yield draft("audio-text", _TEXT_LICENSE, credit, voice, sound, name)
        if is_paired:
            yield draft("audio-image", both, f"{_PICTURE_CREDIT}; {credit}", voice, sound, picture)


def _join_licenses(style: str) -> str:
    """Return the licence of a pair of a style's picture and a name."""
    parts = dict.fromkeys([*STYLES[style].license.split(" AND "), *_TEXT_LICENSE.split(" AND ")])
    return " AND ".join(parts)


def _read_version(packages: Path, name: str) -> str:
    try:
        return str(read_json((inside(packages, name, links=True) / "package.json").read_bytes())["version"])
    except OSError as error:
        raise _parts_missing(packages, error) from error


def _parts_missing(packages: Path, error: OSError) -> SourceError:
    return SourceError(
        "PARTS_MISSING",
        f"the npm packages {_IMAGES} and {_NAMES} are not in {packages} ({error.strerror}: {error.filename})",
        "Run `make install`, or `npm ci --ignore-scripts` in the repository.",
    )


def _list_origins(versions: Mapping[str, str]) -> list[Origin]:
    return [
        Origin(
            f"{_IMAGES} (npm)",
            versions[_IMAGES],
            "64-px pictures of Noto Emoji (Google)",
            _PICTURE_LICENSE,
            "its README gives the Noto images as Apache-2.0, its LICENSE the package as MIT",
        ),
        Origin(
            f"{_NAMES} (npm)",
            versions[_NAMES],
            "English names and keywords, derived from Unicode CLDR",
            _TEXT_LICENSE,
            "its LICENSE gives the package as MIT; CLDR data is under the Unicode licence v3",
        ),
        Origin(
            "espeakng-loader (PyPI)",
            versions["espeakng-loader"],
            "the speech engine espeak-ng, run in a process of its own; only the sound it makes is in the set",
            "GPL-3.0-or-later",
            "the espeak-ng project; the licence covers the program",
        ),
    ]
