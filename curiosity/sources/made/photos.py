"""The pair set ``photos``: cut-out photos of Tux Paint's stamps with their captions, from a Debian package.

The package is under the GPL, so the set is to measure with: it has no split ``genesis``, and nothing that is made from
it is shipped. Drawings among the stamps are left out: by folder, and by name where a look at all of them showed one.
"""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

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
from curiosity.sources.made.speech import Progress

STAMPS: Final = DebianPackage(
    name="tuxpaint-stamps-default",
    version="2022.06.04-1",
    sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    megabytes=161,
    folder="tuxpaint/stamps",
    license="GPL-2.0-only",
    stated_in="its copyright file names GPL-2 for all files; the text there allows any later version",
)
PLAN: Final = Plan(
    name="photos",
    modality="image",
    shares={"held-out": 0.65, "calibration": 0.18},
    rest="submit",
    use="To measure with. The package is under the GPL: train nothing on it that is shipped, and commit none of it.",
    flaws=(
        "The photos are cut out: white around one thing, no scene.",
        "About a third are animals, so that captions drawn by chance are often near ones.",
        "Captions are for children; some are exclamations that do not name the thing.",
        "Words are compared in English only: captions in other languages may share a word across splits.",
    ),
)
_DRAWN_FOLDERS: Final = frozenset({"symbols", "cartoon", "flags", "roadsigns", "hanukkah"})
_DRAWN_STAMPS: Final = """
    animals/insects/bee animals/insects/fly animals/mammals/echidna animals/mammals/hedgehog
    clothes/button clothes/hats/blue_fedora clothes/hats/feathered_hat clothes/hats/green_fedora
    clothes/hats/propeller_hat clothes/hats/sombrero clothes/hats/tophat clothes/t_baseballcap clothes/t_glove
    clothes/t_jacket clothes/t_pants clothes/t_poloshirt clothes/t_scarf clothes/t_shirt clothes/t_sock
    clothes/t_tshirt food/pizza household/arttools/highlighter medical/tooth naturalforces/lightningbolt
    people/body_parts/eye seasonal/christmas/Santa seasonal/christmas/bow seasonal/christmas/candy_cane
    seasonal/christmas/hard_candy seasonal/christmas/lamp seasonal/christmas/star seasonal/christmas/stocking
    seasonal/christmas/tree seasonal/christmas/xmas_tp_bulb seasonal/easter/bluebird seasonal/easter/bunny
    seasonal/easter/bunny-egg seasonal/easter/bunny-head seasonal/easter/butterfly seasonal/easter/chick
    seasonal/easter/chick-hatched seasonal/easter/chick-in-egg seasonal/easter/wrapped_chocolate_easter_egg
    seasonal/easter/wrapped_chocolate_easter_egg_2 seasonal/halloween/bat_left seasonal/halloween/blackcat
    seasonal/halloween/ghost seasonal/halloween/jackolantern_mean seasonal/halloween/skull seasonal/halloween/spider
    seasonal/newyears/confetti seasonal/newyears/party-hat seasonal/newyears/party-horn-in
    seasonal/newyears/party-horn-out town/monuments/inukshuk-outline vehicles/emergency/sedan_police
"""
_DRAWN: Final = frozenset(_DRAWN_STAMPS.split())
_TRANSLATION: Final = re.compile(r"^([A-Za-z_@]{2,20})\.utf8=(.*)$")


def make_photos(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    languages: Sequence[str] = (),
    limit: int | None = None,
    given: Path | None = None,
    cache: Path | None = None,
    say: Say | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    Each picture also with its captions in further ``languages``, named as the package does ("de", "pt_BR"). ``limit``
    keeps at most so many concepts of a split. ``given`` is a folder with the package's files; without it, the package
    is fetched into ``cache``.

    Raises:
        SourceError: LANGUAGE (a language that no caption has), and those of ``open_package`` and ``make_set``.
    """
    stamps = open_package(STAMPS, given=given, cache=cache or default_package_cache(), say=say)
    parameters = {
        "seed": seed,
        "languages": list(languages),
        "limit": limit,
        "recipe": RECIPE,
        "versions": {STAMPS.name: stamps.stated, "pillow": version("pillow")},
    }
    card = find_made(out, parameters)
    if card is not None:
        return card
    left_out: Counter[str] = Counter()
    things = find_photos(stamps, languages, left_out)
    return make_set(
        out,
        PLAN,
        things,
        parameters=parameters,
        origins=[stamps.describe("stamps that are photos, with their captions")],
        left_out=left_out,
        progress=progress,
    )


def find_photos(stamps: UnpackedPackage, languages: Sequence[str], left_out: Counter[str]) -> list[FoundMedia]:
    """Return every photo with a caption; ``left_out`` counts the others by reason.

    Raises:
        SourceError: LANGUAGE.
    """
    found: list[FoundMedia] = []
    known: set[tuple[bytes, str]] = set()
    spoken_of: set[str] = set()
    for path in list_files(stamps.folder, ".png"):
        stem = path.relative_to(stamps.folder).with_suffix("").as_posix()
        license = find_license(stamps.licenses, f"stamps/{stem}.png")
        captions = read_captions(path.with_suffix(".txt"))
        if not is_photo(stem):
            left_out["DRAWN"] += 1
        elif captions is None:
            left_out["NO_CAPTION"] += 1
        elif license is None:
            left_out["LICENSE_UNCLEAR"] += 1
        else:
            data = read_material(path)
            if (data, captions[""]) in known:
                left_out["TWICE"] += 1
                continue
            known.add((data, captions[""]))
            spoken_of.update(captions)
            others = {each: captions[each] for each in languages if each in captions}
            found.append(
                FoundMedia(stem.replace("/", "."), captions[""], license, credit(stamps), data, captions=others)
            )
    unknown = [each for each in languages if each not in spoken_of]
    if unknown and found:
        raise SourceError(
            "LANGUAGE",
            f"no caption is in {unknown[0]!r}",
            f"Use some of {', '.join(sorted(spoken_of - {''}))}.",
        )
    return found


def is_photo(stem: str) -> bool:
    """Return whether the stamp at this path without its extension is a photo; a mirrored one counts as drawn."""
    folders = PurePosixPath(stem).parts[:-1]
    return not (_DRAWN_FOLDERS & set(folders) or stem in _DRAWN or stem.endswith("_mirror"))


def read_captions(path: Path) -> dict[str, str] | None:
    """Return the English caption ("") and those of other languages by language; None when there is no English one."""
    if not path.is_file() or path.is_symlink():
        return None
    try:
        lines = read_material(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return None
    if not lines or not lines[0].strip():
        return None
    found = [match for match in map(_TRANSLATION.match, lines[1:]) if match]
    return {"": lines[0].strip(), **{match[1]: match[2].strip() for match in found if match[2].strip()}}


def credit(stamps: UnpackedPackage) -> str:
    """Return the attribution of what is taken from the stamps."""
    return f"Tux Paint stamps (Bill Kendrick and others) by way of Debian's {STAMPS.name} {stamps.version}"
