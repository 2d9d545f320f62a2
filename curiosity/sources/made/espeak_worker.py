"""A child process that speaks: one JSON request a line on stdin, one JSON header plus PCM on stdout.

It runs apart for two reasons. A crash in the C library ends this process and not its caller. And the library is
GPL-3.0-or-later: nothing of it is loaded into any other process of ours. So this file imports nothing but the standard
library and ``espeakng_loader``, and is started as a script in isolated mode.

Request  {"text", "voice", "pitch" 0..99, "speed_wpm" 80..450}
Answer   {"frames", "rate_hz"} and then 2*frames bytes of signed 16-bit little-endian mono, or {"error"}.
"""

import _ctypes
import ctypes
import json
import sys
from collections.abc import Callable

import espeakng_loader

# Values of speak_lib.h (espeak-ng 1.52).
_SYNCHRONOUS = 2
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_SPEED = 1
_PARAMETER_PITCH = 3
_SEED = 1

_Deliver = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def _unload(library: ctypes.CDLL) -> None:
    close: Callable[[int], object] = getattr(_ctypes, "dlclose", None) or vars(_ctypes)["FreeLibrary"]
    close(library._handle)


def speak(text: str, voice: str, pitch: int, speed_wpm: int) -> tuple[bytes, int]:
    """Return PCM (int16, mono) of ``text`` and its rate in Hz.

    The library keeps oscillator phases and a random state between two utterances, and offers no way to reset them: the
    same words said twice differ. Loading it afresh for each utterance (about 1 ms) makes the sound a function of the
    arguments alone.

    Raises:
        ValueError: For a voice that the library lacks.
    """
    pieces: list[bytes] = []

    def deliver(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Deliver(deliver)  # kept alive until the library is unloaded
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 1 << 15)
        if rate_hz <= 0:
            raise ValueError(f"the speech library did not start (code {rate_hz})")
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"the speech library has no voice {voice!r}")
        library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        library.espeak_SetParameter(_PARAMETER_SPEED, speed_wpm, 0)
        library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
        words = text.encode() + b"\0"
        status = library.espeak_Synth(words, len(words), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        if status != 0:
            raise ValueError(f"the speech library answered code {status}")
        library.espeak_Synchronize()
        library.espeak_Terminate()
    finally:
        _unload(library)
    return b"".join(pieces), rate_hz


def main() -> None:
    """Answer requests until stdin closes."""
    for line in sys.stdin.buffer:
        request = json.loads(line)  # from its parent
        try:
            pcm, rate_hz = speak(request["text"], request["voice"], request["pitch"], request["speed_wpm"])
        except ValueError as error:
            header: dict[str, object] = {"error": str(error)}
            pcm = b""
        else:
            header = {"frames": len(pcm) // 2, "rate_hz": rate_hz}
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
