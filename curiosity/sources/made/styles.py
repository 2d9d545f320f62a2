"""Further drawings of the same emoji, and their names in further languages: more to train on, never to test with.

A style is an npm package with one picture file a concept, named by its code points. A language is one that both
emojibase-data has names in and espeak-ng speaks from plain letters (it reads Chinese, Japanese and Korean signs as
"Chinese letter").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from curiosity.host.paths import inside
from curiosity.protocol.json_reader import read_json
from curiosity.sources.made.speech import Speaker
from curiosity.sources.pairset import Origin


@dataclass(frozen=True)
class Style:
    """An npm package, its folder of pictures, and what a row says of one of them: SPDX licence and attribution."""

    package: str
    folder: str
    takes: str
    license: str
    stated_in: str
    credit: str


STYLES: Final[Mapping[str, Style]] = {
    "fluent": Style(
        package="@lobehub/fluent-emoji-3d",
        folder="assets",
        takes="256-px pictures of Fluent Emoji (Microsoft)",
        license="MIT",
        stated_in="its package.json and README give it as MIT, as Microsoft's repository gives Fluent Emoji",
        credit="picture from Fluent Emoji (Microsoft) by way of @lobehub/fluent-emoji-3d (LobeHub), on white at 64 px",
    ),
}
LANGUAGES: Final = ("da", "de", "es", "et", "fi", "fr", "hu", "it", "lt", "nb", "nl", "pl", "pt", "ru", "sv", "uk")
# One turn each: a plain voice, two women and a man of the engine's variants.
_VARIANTS: Final = ("", "f2", "m3", "f5")


def find_drawings(packages: Path, style: Style) -> dict[str, Path]:
    """Return the picture file of each hex code.

    Codes are without the variation selector FE0F, on which packages disagree.

    Raises:
        OSError: When the package is not installed.
    """
    folder = inside(packages, f"{style.package}/{style.folder}", links=True)
    return {file.stem.upper().replace("-FE0F", ""): file for file in sorted(folder.iterdir())}


def load_names(packages: Path, language: str) -> dict[str, str]:
    """Return the CLDR name of each hex code in a language.

    Raises:
        OSError: When emojibase-data is not installed.
    """
    entries = read_json(
        (inside(packages / "emojibase-data", language, one=True, links=True) / "data.json").read_bytes()
    )
    return {entry["hexcode"]: entry["label"] for entry in entries}


def choose_speaker(language: str, turn: int) -> Speaker:
    """Return who speaks a language in a turn: its plain voice and variants of it, one after the other."""
    return Speaker(language, _VARIANTS[turn % len(_VARIANTS)])


def describe_style(style: Style, version: str) -> Origin:
    """Return the style's entry of a data card."""
    return Origin(f"{style.package} (npm)", version, style.takes, style.license, style.stated_in)
