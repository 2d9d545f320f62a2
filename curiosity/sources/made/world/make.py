"""The pair set ``world``: episodes of a simulated gripper, recorded at once in nine modalities.

**What is synthesised**: everything is simulated, and two modalities not even measured in the simulation. EMG is made
from the forces of the drives with a muscle model, sound from the contact forces by modal synthesis. Neither was
recorded from a person or by a microphone.
"""

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from curiosity.host.files import make_folder, write_folder
from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.sources.made.world.episode import STREAMS, record_episode
from curiosity.sources.made.world.render import Renderer, pick_renderer
from curiosity.sources.pairset import DraftHalf, DraftPair, Origin, find_pair_set, write_pair_set

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, done, total)."""

DEFAULT_SEED: Final = 20260101
DEFAULT_EPISODES: Final = 2400
RECIPE: Final = 2  # rises whenever the same seed would give other bytes
LICENSE: Final = "MIT"
CREDIT: Final = "simulated by Curiosity with MuJoCo"
SYNTHESISED: Final = ("audio", "emg")
HELD_OUT, CALIBRATION = 200, 200
# Every modality is reached from every other, yet 27 of the 36 pairs of modalities never occur: what a space knows of
# those is emergent. Pairs of a picture name the camera.
PAIRED: Final[tuple[tuple[str, str], ...]] = (
    ("camera1", "text"),
    ("camera2", "text"),
    ("text", "video"),
    ("touch", "video"),
    ("action", "video"),
    ("audio", "touch"),
    ("action", "emg"),
    ("action", "point_cloud"),
    ("camera1", "point_cloud"),
    ("pressure", "touch"),
)
"""Streams (see ``episode.STREAMS``) that are written as pairs."""


def make_world(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    episodes: int = DEFAULT_EPISODES,
    limit: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    renderer: str = "cpu",
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    Episode 0 to 199 are held out, 200 to 399 for calibration, and of the rest every other one is ``submit`` or
    ``genesis``: more episodes leave the held-out ones as they are. ``limit`` caps the episodes of each split (for
    tests). ``renderer`` is ``cpu`` (the default: the same bytes with and without OpenGL), ``gl``, or ``auto`` (OpenGL
    where it works). With ``cache`` episodes are kept there and taken from there.

    Raises:
        SourceError: EPISODES_FEW, UNKNOWN_RENDERER, NO_GL, and what writing a set raises.
    """
    drawer = pick_renderer(renderer)
    splits = split_episodes(episodes, limit)
    parameters = {
        "seed": seed,
        "episodes": episodes,
        "limit": limit,
        "recipe": RECIPE,
        "renderer": drawer.name,
        "synthesised": list(SYNTHESISED),
        "license_of_what_is_made": LICENSE,
        "versions": {name: version(name) for name in ("av", "mujoco", "numpy", "pillow")},
        "machine": platform.machine(),
    }
    card = find_pair_set(out, parameters)
    if card is not None:
        return card
    asked = {key: parameters[key] for key in ("seed", "recipe", "renderer", "versions", "machine")}
    named = json.dumps(asked, sort_keys=True)
    try:
        make_folder(out)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            kept = Path(scratch) if cache is None else cache
            files = {
                number: _keep_episode(kept, named, seed, number, drawer)
                for number in _report(sorted(n for numbers in splits.values() for n in numbers), progress)
            }
            drafts = [
                pair
                for split, numbers in splits.items()
                for number in numbers
                for pair in _draft_pairs(seed, number, split, files[number])
            ]
            return write_pair_set(out, name="world", parameters=parameters, origins=_list_origins(), drafts=drafts)
    except OSError as error:
        raise SourceError(
            "CANNOT_WRITE",
            f"the world set could not be written to {out}: {error.strerror}",
            "Free some space (an episode takes 0.2 MB) or choose another directory.",
        ) from error


def split_episodes(episodes: int, limit: int | None = None) -> dict[str, list[int]]:
    """Return the numbers of the episodes of each split.

    Raises:
        SourceError: EPISODES_FEW where nothing is left to train on.
    """
    least = HELD_OUT + CALIBRATION + 2
    if episodes < least:
        raise SourceError(
            "EPISODES_FEW",
            f"{episodes} episodes leave none to learn from: {HELD_OUT} are held out, {CALIBRATION} are for calibration",
            f"Ask for at least {least}, or use limit to make a small set.",
        )
    first = HELD_OUT + CALIBRATION
    splits = {
        "genesis": list(range(first, episodes, 2)),
        "calibration": list(range(HELD_OUT, first)),
        "submit": list(range(first + 1, episodes, 2)),
        "held-out": list(range(HELD_OUT)),
    }
    return {split: numbers[:limit] for split, numbers in splits.items()}


def _report(numbers: list[int], progress: Progress | None) -> Iterator[int]:
    for done, number in enumerate(numbers, start=1):
        yield number
        if progress and (done % 25 == 0 or done == len(numbers)):
            progress("world", done, len(numbers))


def _keep_episode(folder: Path, named: str, seed: int, number: int, renderer: Renderer) -> dict[str, Path]:
    """Return the files of an episode by stream.

    It is recorded unless the folder has it from an equal call that came to its end.
    """
    place = folder / f"{seed:d}-{number:06d}"
    files = {stream: inside(place, f"{stream}.{extension}", one=True) for stream, (_, _, extension) in STREAMS.items()}
    mark = place / "made-with.json"
    if mark.is_file() and mark.read_text() == named and all(file.is_file() for file in files.values()):
        return files
    shutil.rmtree(place, ignore_errors=True)
    items = record_episode(seed, number, renderer).items
    contents = {files[stream].name: item.content for stream, item in items.items()}
    write_folder(place, contents | {mark.name: named.encode()})
    return files


def _draft_pairs(seed: int, number: int, split: str, files: dict[str, Path]) -> Iterator[DraftPair]:
    concept = f"episode-{seed}-{number:06d}"
    for streams in PAIRED:
        first, second = (
            DraftHalf(modality, media_type, files[stream], stream if stream != modality else None)
            for stream, (modality, media_type, _) in ((stream, STREAMS[stream]) for stream in streams)
        )
        yield DraftPair(
            id=f"world-{seed}-{number:06d}-{'-'.join(streams)}",
            split=split,
            concept=concept,
            license=LICENSE,
            attribution=CREDIT,
            voice=None,
            halves=(first, second),
        )


def _list_origins() -> list[Origin]:
    def simulated(package: str, takes: str, license: str) -> Origin:
        stated = "the package; the licence covers the program"
        return Origin(f"{package} (PyPI)", version(package), takes, license, stated)

    return [
        simulated("mujoco", "physics, and the rays of depth and pictures; the scene is ours", "Apache-2.0"),
        simulated("av", "coding of the videos (FFmpeg with x264); only its output is in the set", "BSD-3-Clause"),
        simulated("pillow", "coding of the pictures", "MIT-CMU"),
        Origin(
            "curiosity",
            str(RECIPE),
            "scene and recording; audio and emg are synthesised from simulated forces, nobody was recorded",
            LICENSE,
            "this repository",
        ),
    ]
