"""The tiny sound tower: four 1-D convolutions on 96 frames of 40 mel bands."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from curiosity.embedding.modalities.audio import RATE_HZ
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower, hide_patches

FRAMES, BANDS, PATCH = 96, 40, 8
WINDOW, HOP, FFT = 400, 160, 512  # 25 ms every 10 ms
FLOOR_DB, SPAN_DB = -60.0, 60.0  # below the recording's loudest frame
SILENCE_POWER = 1e-7  # a recording that never exceeds -70 dB of full scale is silence, whatever its shape


@lru_cache(maxsize=1)
def _mel_bank() -> NDArray[np.float64]:
    """Return triangles on the mel scale (HTK), 60 Hz to 7,600 Hz: float64[FFT // 2 + 1, BANDS]."""

    def mel(hz: float) -> float:
        return 2595.0 * math.log10(1.0 + hz / 700.0)

    edges = 700.0 * (10.0 ** (np.linspace(mel(60.0), mel(7_600.0), BANDS + 2) / 2595.0) - 1.0)
    bins = np.arange(FFT // 2 + 1) * (RATE_HZ / FFT)
    rise = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rise, fall))


def log_mel(samples: Array) -> NDArray[np.float32]:
    """Return float32[96, 40] in [0, 1]: decibels above -60 relative to the loudest cell; 0 is silence.

    Silence before and after is trimmed. A recording longer than 96 frames of 10 ms is averaged down to 96, so that a
    long name keeps its end; a shorter one is padded with silence.
    """
    padded = np.pad(samples.astype(np.float64), (0, max(0, WINDOW - len(samples))))
    starts = np.arange(0, len(padded) - WINDOW + 1, HOP)
    frames = padded[starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = (np.abs(np.fft.rfft(frames, n=FFT)) ** 2 / WINDOW) @ _mel_bank()
    peak = float(power.max())
    if peak < SILENCE_POWER:
        return np.zeros((FRAMES, BANDS), dtype=np.float32)
    loud = np.flatnonzero(power.max(axis=1) > peak * 1e-4)
    power = power[loud[0] : loud[-1] + 1]
    if len(power) > FRAMES:
        cuts = np.linspace(0, len(power), FRAMES + 1)
        total = np.concatenate([np.zeros((1, BANDS)), np.cumsum(power, axis=0)])
        whole = np.floor(cuts).astype(np.int64)
        inside = (cuts - whole)[:, None]
        at = total[whole] + inside * (total[np.minimum(whole + 1, len(power))] - total[whole])
        power = np.diff(at, axis=0) * (FRAMES / len(power))
    decibels = 10.0 * np.log10(np.maximum(power / peak, 1e-12))
    out = np.zeros((FRAMES, BANDS), dtype=np.float32)
    out[: len(decibels)] = np.clip((decibels - FLOOR_DB) / SPAN_DB, 0.0, 1.0)
    return out


class TinyAudio(Tower):
    """Log-mel frames, four 1-D convolutions over time, mean and maximum over time, one projection."""

    def __init__(self, dim: int, widths: tuple[int, ...] = (128, 192, 192, 256)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = BANDS
        for width in widths:
            layers += [
                nn.Conv1d(channels, width, 5, stride=2, padding=2, bias=False),
                nn.BatchNorm1d(width),
                nn.GELU(),
            ]
            channels = width
        self.encoder = nn.Sequential(*layers)
        self.projection = nn.Linear(2 * channels, dim)

    def prepare(self, array: Array) -> Features:
        """Return float32[96, 40] in [0, 1]."""
        return log_mel(array)

    def units(self, features: Features) -> int:  # noqa: ARG002 - every recording has as many
        """Count 60 patches of 80 ms by 8 bands."""
        return (FRAMES // PATCH) * (BANDS // PATCH)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the recording with the hidden time-frequency patches silent."""
        return hide_patches(features.astype(np.float32, copy=False), hidden, PATCH)

    def empty(self) -> Features:
        """Silence."""
        return np.zeros((FRAMES, BANDS), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 96, 40]."""
        return torch.from_numpy(np.stack(batch))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        hidden = (
            self._encode_by_frame(inputs) if self.training else self.encoder(inputs.transpose(1, 2)).transpose(1, 2)
        )
        out: Tensor = self.projection(torch.cat([hidden.mean(dim=1), hidden.amax(dim=1)], dim=1))
        return out

    def _encode_by_frame(self, inputs: Tensor) -> Tensor:
        """Return what ``encoder`` gives, as float[B, T, C].

        The channels of a frame stand side by side, as the input has them. A step then takes a fifth less processor time
        in float32 and a third less in bfloat16 (0.13 to 0.08 s of 353 recordings). Outside training the plain way is
        kept: last bits differ, and checkpoints are judged by theirs.
        """
        hidden = inputs
        for layer in self.encoder:
            if isinstance(layer, nn.Conv1d):
                row = hidden.transpose(1, 2).unsqueeze(2)  # a picture one pixel high, channels last
                moved = nn.functional.conv2d(
                    row, layer.weight.unsqueeze(2), None, (1, *layer.stride), (0, int(layer.padding[0]))
                )
                hidden = moved.squeeze(2).transpose(1, 2)
            elif isinstance(layer, _BatchNorm):
                hidden = layer(hidden.reshape(-1, hidden.shape[2])).view_as(hidden)
            else:
                hidden = layer(hidden)
        return hidden

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Return a batch shifted by up to 6 frames and 2 bands.

        One band of time and one of frequency is silenced (SpecAugment).
        """
        rng = torch.Generator().manual_seed(seed)
        count = len(inputs)
        shift_t = torch.randint(-6, 7, (count, 1), generator=rng)
        shift_f = torch.randint(-2, 3, (count, 1), generator=rng)
        time = torch.arange(FRAMES)[None, :] + shift_t
        band = torch.arange(BANDS)[None, :] + shift_f
        t0 = torch.randint(0, FRAMES, (count, 1), generator=rng)
        f0 = torch.randint(0, BANDS, (count, 1), generator=rng)
        t_len = torch.randint(0, 13, (count, 1), generator=rng)
        f_len = torch.randint(0, 7, (count, 1), generator=rng)
        steps, bands = torch.arange(FRAMES)[None, :], torch.arange(BANDS)[None, :]
        keep_t = (time >= 0) & (time < FRAMES) & ~((steps >= t0) & (steps < t0 + t_len))
        keep_f = (band >= 0) & (band < BANDS) & ~((bands >= f0) & (bands < f0 + f_len))
        # Time first, by whole rows, then bands: one look-up by both takes twice as long.
        rows = torch.arange(count)[:, None].to(inputs.device)
        moved = inputs[rows, time.clamp(0, FRAMES - 1).to(inputs.device)]
        moved = moved.gather(2, band.clamp(0, BANDS - 1).to(inputs.device)[:, None, :].expand(moved.shape))
        return moved.mul_(keep_t[:, :, None].to(inputs)).mul_(keep_f[:, None, :].to(inputs))
