"""Audio: WAV, FLAC or OGG in, one channel at 16 kHz out."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from curiosity.embedding.modality import Array, Contract, Limits, refuse

RATE_HZ = 16_000
FORMATS = {
    "audio/wav": ("WAV", "WAVEX"),
    "audio/flac": ("FLAC",),
    "audio/ogg": ("OGG",),
}
MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 8_000, 96_000, 2
# A lossy codec overshoots its input; more than this is not an overshoot.
MAX_LOSSY_PEAK = 1.5
LIMITS = Limits(max_bytes=16 * 2**20, max_s=30.0)
CONTRACT = Contract("float32", (None,), -1.0, 1.0, "one channel at 16 kHz, full scale 1", "full scale")


@dataclass(frozen=True)
class Audio:
    """Sound and speech. Channels are averaged; other rates are resampled in the frequency domain."""

    name: str = "audio"
    media_types: tuple[str, ...] = tuple(FORMATS)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.80
    natural_unit: str = "time-frequency patches"
    preparation: str = (
        "Channels averaged, resampled to 16 kHz in the frequency domain, brought down as a whole where the peak passes "
        "full scale."
    )

    def decode(self, data: bytes, media_type: str) -> Array:
        """Return float32[n] at 16 kHz in [-1, 1].

        Raises:
            Rejected: AUDIO_NOT_DECODABLE, AUDIO_FORMAT, AUDIO_TOO_LONG (from the header alone), AUDIO_EMPTY or
                AUDIO_OUT_OF_RANGE.
        """
        try:
            with soundfile.SoundFile(io.BytesIO(data)) as sound:
                self._check_header(sound, media_type)
                # A header may promise less than it holds: read one frame past the limit and look again.
                limit = int(self.limits.max_s * sound.samplerate)
                samples = sound.read(limit + 1, dtype="float32", always_2d=True)
                rate_hz, seconds = sound.samplerate, len(samples) / sound.samplerate
        except (soundfile.LibsndfileError, RuntimeError, ValueError, OSError) as error:
            raise refuse(
                "AUDIO_NOT_DECODABLE",
                f"{len(data)} bytes are not a whole {media_type} recording ({type(error).__name__}: {error})",
                "Save the recording again and check that the media type is its own.",
            ) from error
        if seconds > self.limits.max_s:
            raise self._too_long(seconds)
        if not len(samples):
            raise refuse("AUDIO_EMPTY", "the recording has no sample", "Send a recording that lasts a moment.")
        mono = samples.mean(axis=1, dtype=np.float64)
        if not np.isfinite(mono).all():
            raise refuse("AUDIO_OUT_OF_RANGE", "the recording has samples that are not finite", "Save it as 16-bit.")
        peak = float(np.abs(samples).max())
        if peak > (MAX_LOSSY_PEAK if media_type == "audio/ogg" else 1.0):
            raise refuse("AUDIO_OUT_OF_RANGE", f"the peak is {peak:.3f}, full scale is 1", "Scale it to full scale 1.")
        mono = _resample(mono, rate_hz)
        # Resampling and lossy codecs ring past full scale; bring the whole recording down rather than clip it.
        return (mono / max(1.0, float(np.abs(mono).max()))).astype(np.float32)

    def _check_header(self, sound: soundfile.SoundFile, media_type: str) -> None:
        if sound.format not in FORMATS[media_type]:
            raise refuse(
                "AUDIO_FORMAT", f"the bytes are {sound.format}, the media type is {media_type}", "Make them agree."
            )
        if not MIN_RATE_HZ <= sound.samplerate <= MAX_RATE_HZ or sound.channels > MAX_CHANNELS:
            raise refuse(
                "AUDIO_FORMAT",
                f"{sound.samplerate} Hz and {sound.channels} channels; taken are {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz "
                f"and at most {MAX_CHANNELS} channels",
                "Convert the recording, for example to 16 kHz mono.",
            )
        seconds = sound.frames / sound.samplerate
        if seconds > self.limits.max_s:
            raise self._too_long(seconds)

    def _too_long(self, seconds: float) -> Exception:
        return refuse(
            "AUDIO_TOO_LONG", f"{seconds:.1f} s, the limit is {self.limits.max_s:.0f} s", "Cut the recording."
        )


def _resample(mono: Array, rate_hz: int) -> Array:
    """Return the same sound at 16 kHz: its spectrum cut or padded (band-limited interpolation), float64."""
    if rate_hz == RATE_HZ:
        return mono
    length = max(1, round(len(mono) * RATE_HZ / rate_hz))
    spectrum = np.fft.rfft(mono)
    kept = np.zeros(length // 2 + 1, dtype=np.complex128)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, n=length) * (length / len(mono))


AUDIO = Audio()
