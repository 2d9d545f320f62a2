"""Log-mel spectra as published sound encoders take them: those of their feature extractors, a whole recording at once.

N samples, F frames, M mel bands.
"""

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.modalities.audio import RATE_HZ


@lru_cache(maxsize=8)
def _mel_bank(bands: int, fft: int, low_hz: float, high_hz: float, rate_hz: int, kind: str) -> NDArray[np.float64]:
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # AST's lowest bands fall between two bins, in its training too
        bank: NDArray[np.float64] = mel_filter_bank(
            num_frequency_bins=fft // 2 + 1,
            num_mel_filters=bands,
            min_frequency=low_hz,
            max_frequency=high_hz,
            sampling_rate=rate_hz,
            norm="slaney" if kind == "slaney" else None,
            mel_scale=kind,
            triangularize_in_mel_space=kind == "kaldi",
        )
    return bank


def _frames(samples: NDArray[np.float64], window: int, hop: int) -> NDArray[np.float64]:
    count = max(0, 1 + (len(samples) - window) // hop)
    frames: NDArray[np.float64] = samples[np.arange(count)[:, None] * hop + np.arange(window)]
    return frames


def kaldi_mel(samples: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """Return float32[F, M] natural logarithm of mel energies, 25 ms every 10 ms: Kaldi's, as AST's extractor gives it.

    Each frame loses its mean, is pre-emphasised by 0.97 and windowed (symmetric Hann). Fewer than 25 ms give no frame.
    """
    frames = _frames(samples.astype(np.float64), 400, 160)
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames[:, 1:] -= 0.97 * frames[:, :-1].copy()
    spectrum = np.fft.rfft(frames * np.hanning(400), n=512).astype(np.complex64)
    energies = np.abs(spectrum, dtype=np.float64) ** 2 @ _mel_bank(bands, 512, 20.0, RATE_HZ // 2, RATE_HZ, "kaldi")
    return np.log(np.maximum(energies, 1.192092955078125e-07)).astype(np.float32)


def decibel_mel(samples: NDArray[np.float64], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return float32[F, M] decibels of mel energies: CLAP's, for recordings that are cut at random (not fused).

    Frames are centred on their time, the ends reflected; energies below 1e-10 count as that.
    """
    fft, hop, rate_hz = settings["fft"], settings["hop"], settings["rate_hz"]
    frames = _frames(np.pad(samples, fft // 2, mode="reflect"), fft, hop)
    window = np.hanning(fft + 1)[:-1]
    spectrum = np.fft.rfft(frames * window, n=fft).astype(np.complex64)
    bank = _mel_bank(settings["bands"], fft, settings["low_hz"], settings["high_hz"], rate_hz, "slaney")
    energies = np.abs(spectrum, dtype=np.float64) ** 2 @ bank
    return (10.0 * np.log10(np.maximum(energies, 1e-10))).astype(np.float32)


def change_rate(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """Return the same sound at another rate, band-limited; float64."""
    if rate_hz == RATE_HZ:
        return samples.astype(np.float64)
    length = max(1, round(len(samples) * rate_hz / RATE_HZ))
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(length // 2 + 1, dtype=np.complex128)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, n=length) * (length / len(samples))


def whisper_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[N // 160, 80]: Whisper's, 25 ms every 10 ms, ends reflected, 80 dB below the loudest held.

    A value is (x + 4) / 4 of a decimal logarithm x of energy; 1e-10 is the least. Takes at least 201 samples.
    """
    frames = _frames(np.pad(samples.astype(np.float64), 200, mode="reflect"), 400, 160)[: len(samples) // 160]
    energies = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1], n=400)) ** 2 @ _mel_bank(
        80, 400, 0.0, RATE_HZ / 2, RATE_HZ, "slaney"
    )
    told = np.log10(np.maximum(energies, 1e-10))
    out: NDArray[np.float32] = ((np.maximum(told, told.max() - 8.0) + 4.0) / 4.0).astype(np.float32)
    return out
