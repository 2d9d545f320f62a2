"""The pair set ``sounds``: recorded sounds with captions, from three Debian packages.

- Tux Paint's stamps: what a stamp's thing sounds like, with the stamp's caption, and its picture where it is a photo.
- GCompris: instruments and farm animals, named by the program, and recordings under the Free Art License.
- Sonic Pi's samples, all CC0; of those whose name says what is heard.

By option, captions of the stamps that people read out, in 13 languages. Two of the packages are under the GPL, so the
set is to measure with and has no split ``genesis``.
"""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.sources.made.debian import (
    DebianPackage,
    Say,
    UnpackedPackage,
    default_package_cache,
    find_license,
    list_files,
    open_package,
    read_material,
)
from curiosity.sources.made.material import DEFAULT_SEED, RECIPE, FoundMedia, Plan, find_made, make_set
from curiosity.sources.made.photos import STAMPS, credit, is_photo, read_captions
from curiosity.sources.made.rcc import ResourceArchive
from curiosity.sources.made.sample_names import FREE_ART, SONIC_PI
from curiosity.sources.made.speech import Progress

GCOMPRIS: Final = DebianPackage(
    name="gcompris-qt-data",
    version="3.1-2",
    sha256="e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    megabytes=44,
    folder="gcompris-qt/rcc",
    license="GPL-3.0-only AND GPL-3.0-or-later AND LAL-1.2",
    stated_in="its copyright file, file by file; a file whose licence is not listed here is left out",
)
SAMPLES: Final = DebianPackage(
    name="sonic-pi-samples",
    version="3.2.2~repack-8",
    sha256="25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
    megabytes=22,
    folder="sonic-pi/samples",
    license="CC0-1.0",
    stated_in="its copyright file, file by file; samples that it does not name are left out",
)
PLAN: Final = Plan(
    name="sounds",
    modality="audio",
    shares={"held-out": 0.5, "calibration": 0.2},
    rest="submit",
    use="To measure with. Most of it is under the GPL: train nothing on it that is shipped, and commit none of it.",
    flaws=(
        "It is small: it shows whether an encoder tells kinds of sound apart, not how well.",
        "Some captions name a thing that was not recorded: a moth with wing beats, a hat with a jingle.",
        "Recordings differ in loudness, rate and length between the packages.",
        "Spoken captions (by option): who speaks is not stated, so one voice can be in all splits.",
    ),
)
_SKIPPED_FOLDERS: Final = frozenset({"symbols", "flags", "roadsigns", "hanukkah"})
_SOURCE: Final = "/gcompris/"
_INSTRUMENT: Final = re.compile(r'qsTr\("Find the ([^"]{1,60})"\)\s*,\s*"audio":[^\n]{0,200}?/([a-z_]{1,40})\.\$CA"')
_ANIMAL: Final = re.compile(
    r'"title":\s*qsTr\("([^"]{1,60})"\)(?:(?!"title").){0,2000}?"audio":[^\n]{0,200}?/([a-z_]{1,40})\.\$CA"', re.DOTALL
)
_SPOKEN: Final = re.compile(r"(.+)_desc(?:_([A-Za-z_]{2,10}))?")
_OURS: Final = "MIT"  # captions written here
_SAMPLE_LICENSE: Final = "CC0-1.0"


def make_sounds(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    spoken: Sequence[str] = (),
    limit: int | None = None,
    given: Path | None = None,
    cache: Path | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    Also the stamps' captions as people read them out in the languages of ``spoken``, each with the words in that
    language. ``limit`` keeps at most so many concepts of a split. ``given`` is a folder with the files of the three
    packages; without it, they are fetched into ``cache``.

    Raises:
        SourceError: LANGUAGE (nobody reads in it), RCC_BROKEN, and those of ``open_package`` and ``make_set``.
    """
    stamps, gcompris, samples = (
        open_package(package, given=given, cache=cache or default_package_cache(), say=say)
        for package in (STAMPS, GCOMPRIS, SAMPLES)
    )
    parameters = {
        "seed": seed,
        "spoken": list(spoken),
        "limit": limit,
        "recipe": RECIPE,
        "versions": {
            **{each.package.name: each.stated for each in (stamps, gcompris, samples)},
            **{name: version(name) for name in ("pillow", "soundfile")},
        },
    }
    card = find_made(out, parameters)
    if card is not None:
        return card
    left_out: Counter[str] = Counter()
    things = find_stamp_sounds(stamps, left_out) + find_recordings(gcompris, left_out) + find_samples(samples, left_out)
    things += find_spoken(stamps, spoken, left_out)
    origins = [
        stamps.describe("what a stamp's thing sounds like, with its caption, and its picture where it is a photo"),
        gcompris.describe("recordings of instruments, farm animals and a few other things, with their names"),
        samples.describe("samples whose name says what is heard; the captions are ours"),
    ]
    return make_set(out, PLAN, things, parameters=parameters, origins=origins, left_out=left_out, progress=progress)


def find_stamp_sounds(stamps: UnpackedPackage, left_out: Counter[str]) -> list[FoundMedia]:
    """Return what the things on the stamps sound like; ``left_out`` counts the others by reason."""
    found: list[FoundMedia] = []
    captions_of: dict[bytes, str] = {}
    for path in list_files(stamps.folder, ".ogg", ".wav"):
        stem = path.relative_to(stamps.folder).with_suffix("").as_posix()
        captions = read_captions(path.with_suffix(".txt"))
        if captions is None or "_desc" in path.name:
            continue  # spoken captions, letters and digits
        license = find_license(stamps.licenses, f"stamps/{stem}{path.suffix}")
        if _SKIPPED_FOLDERS & set(PurePosixPath(stem).parts[:-1]):
            left_out["FOLDER"] += 1
        elif license is None:
            left_out["LICENSE_UNCLEAR"] += 1
        else:
            data = read_material(path)
            if data in captions_of:  # one sound for several things: the first keeps it
                left_out["TWICE"] += 1
                continue
            captions_of[data] = captions[""]
            picture = path.with_suffix(".png")
            seen = read_material(picture) if is_photo(stem) and picture.is_file() else None
            name = f"tuxpaint.{stem.replace('/', '.')}"
            found.append(FoundMedia(name, captions[""], license, credit(stamps), data, seen=seen))
    return found


def find_spoken(stamps: UnpackedPackage, languages: Sequence[str], left_out: Counter[str]) -> list[FoundMedia]:
    """Return captions of stamps read out by people in these languages.

    Raises:
        SourceError: LANGUAGE.
    """
    found: list[FoundMedia] = []
    heard = list_spoken(stamps)
    for path, stem, language in heard:
        if language not in languages:
            continue
        captions = read_captions(inside(stamps.folder, f"{stem}.txt", links=True))
        text = captions and captions.get("" if language == "en" else language)
        license = find_license(stamps.licenses, f"stamps/{stem}_desc{path.suffix}")
        if not captions or not text:
            left_out["NO_CAPTION"] += 1
        elif license is None:
            left_out["LICENSE_UNCLEAR"] += 1
        else:
            name = f"spoken.{stem.replace('/', '.')}"
            found.append(
                FoundMedia(
                    f"{name}.{language}", captions[""], license, credit(stamps), read_material(path),
                    captions={f"spoken-{language}": text}, spoken=language,
                )
            )  # fmt: skip
    known = sorted({language for _, _, language in heard})
    for language in languages:
        if language not in known:
            raise SourceError("LANGUAGE", f"no caption is read out in {language!r}", f"Use some of {', '.join(known)}.")
    return found


def list_spoken(stamps: UnpackedPackage) -> list[tuple[Path, str, str]]:
    """Return file, path of the stamp without extension, and language of each caption read out.

    Letters and digits are not among them.
    """
    found: list[tuple[Path, str, str]] = []
    for path in list_files(stamps.folder, ".ogg", ".wav"):
        named = _SPOKEN.fullmatch(path.relative_to(stamps.folder).with_suffix("").as_posix())
        if named and "symbols" not in PurePosixPath(named[1]).parts:
            found.append((path, named[1], named[2] or "en"))
    return found


def find_recordings(gcompris: UnpackedPackage, left_out: Counter[str]) -> list[FoundMedia]:
    """Return instruments, farm animals and named recordings; ``left_out`` counts what has no clear licence."""
    found: list[FoundMedia] = []
    for activity, listing, pattern, folder in (
        ("instruments", "instruments.js", _INSTRUMENT, "resource"),
        ("explore_farm_animals", "resource/board/board1.qml", _ANIMAL, "resource/animals"),
    ):
        archive, root = _open(gcompris, activity)
        text = archive.read(f"{root}/{listing}").decode("utf-8", "replace")
        named = {file: caption for caption, file in pattern.findall(text)}
        paths = {f"{root}/{folder}/{file}.ogg": caption[:1].upper() + caption[1:] for file, caption in named.items()}
        found += _take(gcompris, archive, paths, left_out, ours=False)
    archive, root = _open(gcompris, "memory-sound")
    paths = {f"{root}/resource/{file}.ogg": caption for file, caption in FREE_ART.items()}
    return found + _take(gcompris, archive, paths, left_out, ours=True)


def find_samples(samples: UnpackedPackage, left_out: Counter[str]) -> list[FoundMedia]:
    """Return the samples that have a caption here; ``left_out`` counts those whose licence is not stated."""
    found: list[FoundMedia] = []
    for path in list_files(samples.folder, ".flac"):
        caption = SONIC_PI.get(path.stem)
        license = find_license(samples.licenses, f"etc/samples/{path.name}")
        if caption is None:
            left_out["NO_CAPTION"] += 1
        elif license != _SAMPLE_LICENSE:  # the package's own licence is for its program
            left_out["LICENSE_UNCLEAR"] += 1
        else:
            made_by = f"{path.name} of Sonic Pi, from freesound.org, by way of Debian's {SAMPLES.name}"
            name = f"sonic-pi.{path.stem}"
            found.append(
                FoundMedia(name, caption, f"{license} AND {_OURS}", f"{made_by} {samples.version}", read_material(path))
            )
    return found


def _open(gcompris: UnpackedPackage, activity: str) -> tuple[ResourceArchive, str]:
    path = inside(gcompris.folder, f"{activity}.rcc", one=True, links=True)
    return ResourceArchive(read_material(path), where=str(path)), f"{_SOURCE}src/activities/{activity}"


def _take(
    gcompris: UnpackedPackage,
    archive: ResourceArchive,
    captions: dict[str, str],
    left_out: Counter[str],
    *,
    ours: bool,
) -> list[FoundMedia]:
    """Return the recordings at these paths of the archive whose licence is clear.

    ``ours``: the captions are written here.
    """
    found: list[FoundMedia] = []
    present = set(archive.list_paths())
    for path, caption in sorted(captions.items()):
        license = find_license(gcompris.licenses, path.removeprefix(_SOURCE))
        if path not in present:
            left_out["FILE_MISSING"] += 1
        elif license is None:
            left_out["LICENSE_UNCLEAR"] += 1
        else:
            made_by = f"{PurePosixPath(path).name} of GCompris, by way of Debian's {GCOMPRIS.name} {gcompris.version}"
            name = "gcompris." + ".".join(PurePosixPath(path).with_suffix("").parts[4:]).replace(".resource", "")
            pair_license = f"{license} AND {_OURS}" if ours else license
            found.append(FoundMedia(name, caption, pair_license, made_by, archive.read(path)))
    return found
