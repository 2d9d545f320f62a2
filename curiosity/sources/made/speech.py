"""Speech made from words: espeak-ng voices in child processes, 16 kHz mono 16-bit WAV, cached by what was asked.

The same utterance gives the same bytes on every run with the same package versions (they are part of the cache key).
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Final, cast

import numpy as np
import numpy.typing as npt
from scipy.signal import firwin, resample_poly

from curiosity.host.files import make_folder, write_whole
from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json

RATE_HZ: Final = 16_000
_ENGINE_RATE_HZ: Final = 22_050
_UP, _DOWN = 320, 441  # 16000/22050 in lowest terms
# Kaiser window, cut at the lower of the two Nyquist rates: what scipy would design again for every call.
_FILTER: Final = firwin(20 * _DOWN + 1, 1.0 / _DOWN, window=("kaiser", 5.0))
_TIMEOUT_S: Final = 30.0
_RECIPE: Final = 2  # raise when the steps from words to bytes change

Progress = Callable[[str, int, int], None]
"""Called as (what is being made, done, total)."""


@dataclass(frozen=True)
class Speaker:
    """Who speaks: accent, voice variant ("" for the plain one), pitch 0..99 and speed in words a minute."""

    accent: str
    variant: str = ""
    pitch: int = 50
    speed_wpm: int = 165

    @property
    def name(self) -> str:
        """The voice as rows name it, such as ``en-us+f2``."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


@dataclass(frozen=True)
class Utterance:
    """Words and who says them."""

    text: str
    speaker: Speaker


TRAINING_SPEAKERS: Final = (
    Speaker("en-us"),
    Speaker("en-us", "f2"),
    Speaker("en-029", "m4"),
    Speaker("en-gb-scotland", "m7"),
    Speaker("en-us", "m3"),
    Speaker("en", "f1"),
    Speaker("en-us", "klatt2"),
    Speaker("en-029", "f3", speed_wpm=175),
    Speaker("en", "m1", speed_wpm=155),
    Speaker("en-gb-x-rp", "m2"),
    Speaker("en-us-nyc", "f5", speed_wpm=175),
    Speaker("en-us", "croak", speed_wpm=155),
)
HELD_OUT_SPEAKER: Final = Speaker("en-gb-x-gbclan", "f4")
"""Accent and variant that no training speaker has."""

# The same speaker saying the same word again: (pitch, speed) added to the speaker's own.
_TAKES: Final = ((0, 0), (8, -15), (-8, 15), (4, 30), (-4, -30))
TAKES: Final = len(_TAKES)


def vary_speaker(speaker: Speaker, take: int) -> Speaker:
    """Return ``speaker`` in take ``take`` of ``TAKES``: a little higher or lower, faster or slower."""
    pitch, speed_wpm = _TAKES[take]
    return replace(speaker, pitch=speaker.pitch + pitch, speed_wpm=speaker.speed_wpm + speed_wpm)


def default_cache() -> Path:
    """Return where speech is kept between runs: ``$XDG_CACHE_HOME/curiosity/speech`` or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curiosity" / "speech"


def speech_versions() -> dict[str, str]:
    """Return the versions of what decides the bytes: the packages, and the steps of this module."""
    return {"speech": str(_RECIPE), **{name: version(name) for name in ("espeakng-loader", "scipy", "numpy")}}


def speak_all(
    utterances: Sequence[Utterance],
    *,
    cache: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Return one WAV file in ``cache`` for each utterance, in order; what is there already is not made again.

    Raises:
        SourceError: SPEECH_VOICE (no such voice), SPEECH_SILENT (nothing to hear in these words), SPEECH_FAILED (the
            engine crashed or hung twice on the same words), CANNOT_WRITE (disk full, no permission).
    """
    cache = default_cache() if cache is None else cache
    try:
        return _speak_all(utterances, cache, processes or os.cpu_count() or 1, progress)
    except OSError as error:
        raise SourceError(
            "CANNOT_WRITE",
            f"speech could not be kept in {cache}: {error.strerror}",
            "Free some space (a full set takes about 200 MB) or choose another cache directory.",
        ) from error


def _speak_all(utterances: Sequence[Utterance], cache: Path, processes: int, progress: Progress | None) -> list[Path]:
    make_folder(cache)
    versions = speech_versions()
    paths = [inside(cache, f"{_key(each, versions)}.wav", one=True, links=True) for each in utterances]
    missing = {path: each for path, each in zip(paths, utterances, strict=True) if not path.exists()}
    for speaker in {each.speaker for each in missing.values()}:
        _check_variant(speaker)
    done = len(utterances) - len(missing)
    if progress:
        progress("speech", done, len(utterances))
    count = min(processes, max(1, len(missing)))
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers = [Worker() for _ in range(count if missing else 0)]
    for worker in workers:
        idle.put(worker)

    def make(path: Path, utterance: Utterance) -> None:
        worker = idle.get()
        try:
            pcm = worker.speak(utterance)
        finally:
            idle.put(worker)
        wave = to_wav(pcm, utterance.text)
        write_whole(path, wave)

    try:
        with ThreadPoolExecutor(max_workers=count) as pool:
            made = [pool.submit(make, path, utterance) for path, utterance in missing.items()]
            try:
                for each in made:
                    each.result()
                    done += 1
                    if progress and (done % 50 == 0 or done == len(utterances)):
                        progress("speech", done, len(utterances))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        for worker in workers:
            worker.stop()
    return paths


def to_wav(pcm: npt.NDArray[np.int16], text: str) -> bytes:
    """Return a 16 kHz WAV file of the engine's samples (int16[n] at 22,050 Hz).

    Raises:
        SourceError: SPEECH_SILENT when there is nothing to hear.
    """
    if not np.any(pcm):
        raise SourceError("SPEECH_SILENT", f"the words {text!r} give no sound", "Use words that can be pronounced.")
    resampled = resample_poly(pcm.astype(np.float64), _UP, _DOWN, window=_FILTER)
    samples = np.clip(np.rint(resampled), -32768, 32767).astype("<i2")
    return encode_wav(samples.tobytes(), rate_hz=RATE_HZ)


def encode_wav(pcm: bytes, *, rate_hz: int) -> bytes:
    """Return a WAV file (RIFF, PCM) of 16-bit little-endian mono samples: 44 bytes of header, no other chunk."""
    fmt = b"fmt " + b"".join(
        number.to_bytes(size, "little")
        for number, size in ((16, 4), (1, 2), (1, 2), (rate_hz, 4), (2 * rate_hz, 4), (2, 2), (16, 2))
    )
    body = b"WAVE" + fmt + b"data" + len(pcm).to_bytes(4, "little") + pcm
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _key(utterance: Utterance, versions: dict[str, str]) -> str:
    speaker = utterance.speaker
    asked = [versions, utterance.text, speaker.name, speaker.pitch, speaker.speed_wpm]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _check_variant(speaker: Speaker) -> None:
    # The engine takes a variant that does not exist without a word and speaks with the plain voice.
    spec = find_spec("espeakng_loader")  # found, not imported: it stays out of this process
    if spec is None or spec.origin is None:
        raise SourceError("PARTS_MISSING", "the package espeakng-loader is not installed", "Run `make install`.")
    variants = Path(spec.origin).parent / "espeak-ng-data" / "voices" / "!v"
    if speaker.variant and not inside(variants, speaker.variant, one=True, links=True).is_file():
        raise SourceError(
            "SPEECH_VOICE", f"the speech engine has no voice variant {speaker.variant!r}", f"Choose one in {variants}."
        )


class Worker:
    """One speaking child process, started when first needed and again after a crash."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def speak(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        """Return int16[n] at 22,050 Hz; the engine is started again and asked once more when it dies."""
        for _ in range(2):
            answer = self._ask(utterance)
            if answer is not None:
                return answer
            self.stop()
        raise SourceError(
            "SPEECH_FAILED",
            f"the speech engine ended twice while saying {utterance.text!r} as {utterance.speaker.name}",
            "Check that the package espeakng-loader fits this machine: reinstall it, or leave out these words.",
        )

    def _ask(self, utterance: Utterance) -> npt.NDArray[np.int16] | None:
        if self.process is None:
            script = Path(__file__).with_name("espeak_worker.py")
            # Isolated (-I): the worker sees the standard library and installed packages, nothing of ours.
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        process = self.process
        speaker = utterance.speaker
        request = {
            "text": utterance.text,
            "voice": speaker.name,
            "pitch": speaker.pitch,
            "speed_wpm": speaker.speed_wpm,
        }
        to_worker, from_worker = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        hung = threading.Timer(_TIMEOUT_S, process.kill)
        hung.start()
        try:
            to_worker.write(json.dumps(request).encode() + b"\n")
            to_worker.flush()
            line = from_worker.readline()
            if not line.endswith(b"\n"):
                return None
            header = read_json(line)
            if "error" in header:
                raise SourceError(
                    "SPEECH_VOICE",
                    f"{header['error']} (asked to say {utterance.text!r})",
                    "Choose an English voice of espeak-ng, such as en-us or en-gb-scotland.",
                )
            if header["rate_hz"] != _ENGINE_RATE_HZ:
                raise SourceError(
                    "SPEECH_RATE",
                    f"the speech engine gives {header['rate_hz']} Hz, expected {_ENGINE_RATE_HZ}",
                    "Install the version of espeakng-loader that pyproject.toml asks for.",
                )
            pcm = from_worker.read(2 * header["frames"])
            return np.frombuffer(pcm, dtype="<i2") if len(pcm) == 2 * header["frames"] else None
        except BrokenPipeError:
            return None
        finally:
            hung.cancel()

    def stop(self) -> None:
        """End the child process, if one runs."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()
