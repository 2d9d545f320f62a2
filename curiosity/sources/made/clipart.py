"""The pair set ``clipart``: pictures of the Open Clip Art Library with their titles, from two Debian packages.

Pixels come from openclipart-png; title, licence and author from the RDF in the same file of openclipart-svg, because
the PNG files state no licence. Only a picture whose RDF names the public domain, and nothing else, is taken. Titles
that do not say what is on the picture are left out, and so are titles that share no word with the file's name: many
were copied from another file.
"""

import html
import re
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final
from xml.parsers import expat  # what is parsed has no DOCTYPE, so nothing expands

from curiosity.host.paths import PathRefused, inside
from curiosity.sources.made.debian import (
    DebianPackage,
    Say,
    UnpackedPackage,
    default_package_cache,
    list_files,
    open_package,
    read_material,
)
from curiosity.sources.made.material import DEFAULT_SEED, RECIPE, FoundMedia, Plan, find_made, make_set
from curiosity.sources.made.speech import Progress
from curiosity.sources.words import content_words

_STATED: Final = "the RDF of each SVG file; what names another licence, or none, is left out"
PICTURES: Final = DebianPackage(
    name="openclipart-png",
    version="1:0.18+dfsg-19",
    sha256="f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    megabytes=131,
    folder="openclipart/png",
    license="CC-PDDC",
    stated_in=_STATED,
)
TITLES: Final = DebianPackage(
    name="openclipart-svg",
    version="1:0.18+dfsg-19",
    sha256="989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    megabytes=25,
    folder="openclipart/svg",
    license="CC-PDDC",
    stated_in=_STATED,
)
PLAN: Final = Plan(
    name="clipart",
    modality="image",
    shares={"genesis": 0.5, "held-out": 0.15, "calibration": 0.1},
    rest="submit",
    use="Anything: every picture kept is dedicated to the public domain by its author, as its file says.",
    flaws=(
        "Titles were typed by the authors: some are brand names, jokes or misspelt, some in French or Spanish.",
        "Drawings of one author look alike.",
        "Nobody checked that an author had the right to dedicate a picture.",
    ),
)
PUBLIC_DOMAIN: Final = "CC-PDDC"
"""SPDX name of the dedication that the package's copyright file quotes."""
MOST_ALIKE: Final = 4
"""Pictures of one title that are kept, so that no title fills a split."""
_DEDICATIONS: Final = frozenset(
    {
        "http://web.resource.org/cc/PublicDomain",
        "http://creativecommons.org/licenses/publicdomain/",
        "http://creativecommons.org/licenses/publicdomain",
    }
)
_LICENSE_WORDS: Final = re.compile(r"\b(GPL|LGPL|copyleft|creative ?commons|licen[cs]ed?|all rights reserved)\b", re.I)
_SKIPPED_FOLDERS: Final = frozenset(
    {"shapes", "signs_and_symbols", "buttons", "logos", "special", "cards", "icons", "geography", "roadsigns", "flags"}
)
_FOREIGN_AUTHORS: Final = frozenset({"Architetto Francesco Rollandin"})  # 270 pictures with titles in Italian
_COLLECTION: Final = re.compile(
    r"\b(clip ?arts?|collections?|su?i?bmission|icons?|icon ?set|themes?|symbols?|elements?|illustrations?|patterns?"
    r"|gradients?|swatch|maps?|untitled|unnamed|logos?|buttons?|part of|drawings?|svg|openclipart|various|tests?"
    r"|images?|pictures?|copyright|diagrams?|r\d+)\b",
    re.I,
)
_BY: Final = re.compile(r"^clip ?art by .{1,60}? - ", re.I)
_COLOURING: Final = re.compile(r"\((b and w|bw|black and white|colou?r)\)|\bbw\b", re.I)
_NUMBER: Final = re.compile(r"(?<=[A-Za-z])[\d#]+(?!\w)|(?<!\w)0\d\b|\b\d+$")
_MAX_RDF: Final = 64 << 10
_RDF: Final = re.compile(rb"<rdf:RDF\b.{0,65536}?</rdf:RDF>", re.DOTALL)
_LONGEST: Final = 60


def make_clipart(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    limit: int | None = None,
    given: Path | None = None,
    cache: Path | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    ``limit`` keeps at most so many concepts of a split. ``given`` is a folder with the files of both packages; without
    it, they are fetched into ``cache``.

    Raises:
        SourceError: Those of ``open_package`` and ``make_set``.
    """
    pictures, titles = (
        open_package(package, given=given, cache=cache or default_package_cache(), say=say)
        for package in (PICTURES, TITLES)
    )
    parameters = {
        "seed": seed,
        "limit": limit,
        "recipe": RECIPE,
        "versions": {PICTURES.name: pictures.stated, TITLES.name: titles.stated, "pillow": version("pillow")},
    }
    card = find_made(out, parameters)
    if card is not None:
        return card
    left_out: Counter[str] = Counter()
    things = find_clipart(pictures, titles, left_out)
    origins = [
        pictures.describe("pictures, scaled down to at most 384 px and put on white"),
        titles.describe("titles, authors and licences"),
    ]
    return make_set(out, PLAN, things, parameters=parameters, origins=origins, left_out=left_out, progress=progress)


def find_clipart(pictures: UnpackedPackage, titles: UnpackedPackage, left_out: Counter[str]) -> list[FoundMedia]:
    """Return every picture in the public domain whose title says what it shows.

    ``left_out`` counts the others by reason.
    """
    found: list[FoundMedia] = []
    alike: Counter[str] = Counter()
    known: set[bytes] = set()
    for path in list_files(pictures.folder, ".png"):
        stem = path.relative_to(pictures.folder).with_suffix("").as_posix()
        work = read_work(titles.folder, f"{stem}.svg")
        caption = clean_title(work.title) if work else ""
        reason = _refuse(stem, work, caption)
        if reason is None and alike[caption.lower()] >= MOST_ALIKE:
            reason = "MANY_ALIKE"
        data = b"" if reason else read_material(path)
        if data in known:
            reason = reason or "TWICE"
        if reason is not None or work is None:
            left_out[reason or "NO_RDF"] += 1
            continue
        alike[caption.lower()] += 1
        known.add(data)
        found.append(FoundMedia(stem.replace("/", "."), caption, PUBLIC_DOMAIN, _credit(work, pictures), data))
    return found


@dataclass(frozen=True)
class Work:
    """What the RDF of a file says of it: ``licenses`` are all that it names, ``said`` all its text."""

    title: str
    creator: str
    licenses: frozenset[str]
    said: str


def read_work(folder: Path, name: str) -> Work | None:
    """Return what the RDF in an SVG file below ``folder`` says; None when there is none that can be read."""
    try:
        path = inside(folder, name)
    except PathRefused:
        return None
    if not path.is_file():
        return None
    block = _RDF.search(read_material(path))
    if block is None:
        return None
    stack: list[str] = []
    texts: dict[str, str] = {}
    licenses: set[str] = set()

    def start(tag: str, attributes: dict[str, str]) -> None:
        stack.append(tag.rpartition(":")[2])
        if stack[-1] == "license":
            licenses.update(attributes.values() or {""})
        elif stack[-1] == "License":
            licenses.update(value for name, value in attributes.items() if name.endswith("about"))

    def read(text: str) -> None:
        where = "/".join(stack)
        texts[where] = texts.get(where, "") + text

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.CharacterDataHandler = read
    try:
        parser.Parse(block[0], True)
    except expat.ExpatError:
        return None

    def get(where: str) -> str:
        return html.unescape(" ".join(texts.get(where, "").split()))

    said = " ".join(texts.values())
    return Work(get("RDF/Work/title"), get("RDF/Work/creator/Agent/title"), frozenset(licenses), said)


def is_public_domain(work: Work) -> bool:
    """Return whether the RDF dedicates the picture and names no other licence, in its fields or in its text."""
    return bool(work.licenses) and work.licenses <= _DEDICATIONS and not _LICENSE_WORDS.search(work.said)


def clean_title(title: str) -> str:
    """Return the words of a title that say what is on the picture; empty for the title of a collection."""
    words = _BY.sub("", title.strip())
    if _COLLECTION.search(words.replace("_", " ")):
        return ""
    words = _COLOURING.sub("", words.replace("_", " ").split(" - ")[0])
    return " ".join(_NUMBER.sub("", words).split()).strip(" -.,")


def _refuse(stem: str, work: Work | None, caption: str) -> str | None:
    """Return why a picture is not taken."""
    folders = PurePosixPath(stem).parts[:-1]
    if work is None:
        return "NO_RDF"
    if not is_public_domain(work):
        return "LICENSE_UNCLEAR"
    if any(folder in _SKIPPED_FOLDERS or "theme" in folder for folder in folders):
        return "FOLDER"
    if work.creator in _FOREIGN_AUTHORS:
        return "LANGUAGE"
    if not re.search("[A-Za-z]{2}", caption) or len(caption) > _LONGEST or caption.lower() == work.creator.lower():
        return "TITLE_EMPTY"
    if not _agree(caption, stem):
        return "TITLE_UNLIKE_NAME"
    return None


def _agree(caption: str, stem: str) -> bool:
    """Return whether a word of the title is in the file's name, with or without what joins its words."""
    name = PurePosixPath(stem).name.replace("_", " ")
    joined = re.sub(r"[\W_]+", "", name.lower())
    words = content_words(caption)
    return bool(words & content_words(re.sub(r"\d+", " ", name))) or any(
        len(word) > 3 and word in joined for word in words
    )


def _credit(work: Work, pictures: UnpackedPackage) -> str:
    author = work.creator[:80] if work.creator else "an unnamed author"
    return f"{author}, Open Clip Art Library, by way of Debian's {PICTURES.name} {pictures.version}"
