"""Sound towers on AST, CLAP and Wav2Vec2.

F frames that the encoder takes, M mel bands, N samples.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curiosity.embedding.modalities.audio import RATE_HZ
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features
from curiosity.embedding.towers.pretrained.base import PretrainedTower
from curiosity.embedding.towers.pretrained.files import PREPROCESSOR, read_json
from curiosity.embedding.towers.pretrained.spectra import change_rate, decibel_mel, kaldi_mel
from curiosity.protocol.errors import CheckpointError

PATCH_FRAMES, PATCH_BANDS = 16, 16


class _Spectrum(PretrainedTower):
    """Log-mel frames in, one row out. The natural unit is a patch of 16 frames by 16 bands of the item itself.

    The last column of the features says which 16 frames of the item a frame belongs to, -1 for padding: where a
    recording is repeated to fill the encoder's length, a mask hides every repetition.
    """

    max_rows = 32

    @property
    def bands(self) -> int:
        """M."""
        return int(self.settings["bands"])

    @property
    def frames(self) -> int:
        """F."""
        return int(self.settings["frames"])

    @property
    @abstractmethod
    def silence(self) -> float:
        """What stands for a hidden or absent cell."""

    def units(self, features: Features) -> int:
        """Count one unit for each patch of frames and bands of the item."""
        return (int(features[:, -1].max(initial=-1)) + 1) * (self.bands // PATCH_BANDS)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the recording with the hidden patches silent."""
        out = features.astype(np.float32)
        grid = hidden.reshape(-1, self.bands // PATCH_BANDS).repeat(PATCH_BANDS, axis=1)
        own = out[:, -1] >= 0
        rows = out[own, -1].astype(np.int64)
        values = out[own, : grid.shape[1]]
        values[grid[rows]] = self.silence
        out[own, : grid.shape[1]] = values
        return out

    def empty(self) -> Features:
        """Silence."""
        out = np.full((self.frames, self.bands + 1), self.silence, dtype=np.float32)
        out[:, -1] = -1
        return out

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, F, M]."""
        return torch.from_numpy(np.stack(batch)[:, :, :-1].astype(np.float32))

    def place(self, mel: NDArray[np.float32], numbers: NDArray[np.int64]) -> Features:
        """Return frames and their numbers in the item, cut or padded to F: float32[F, M + 1]."""
        out = self.empty().astype(np.float32)
        count = min(len(mel), self.frames)
        out[:count, :-1] = mel[:count]
        out[:count, -1] = numbers[:count]
        return out


class AstAudio(_Spectrum):
    """Audio Spectrogram Transformer, its pooled class and distillation tokens. Takes the first 10.24 s."""

    MODEL, TYPES = "ASTModel", frozenset({"audio-spectrogram-transformer"})

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the mean and standard deviation of log-mel energies, number of frames and bands."""
        found = read_json(folder, PREPROCESSOR)
        return {
            "bands": int(self.config.num_mel_bins),
            "frames": int(self.config.max_length),
            "mean": float(found.get("mean", settings.get("mean", -4.2677393))),
            "std": float(found.get("std", settings.get("std", 4.5689974))),
        }

    @property
    def silence(self) -> float:
        """AST pads log-mel energies with zeros, before they are normalised."""
        return float(-self.settings["mean"] / (2 * self.settings["std"]))

    def prepare(self, array: Array) -> Features:
        """Return float32[F, M + 1]."""
        mel = kaldi_mel(np.pad(array, (0, max(0, 400 - len(array)))), self.bands)
        mel = ((mel - self.settings["mean"]) / (2 * self.settings["std"])).astype(np.float32)
        return self.place(mel, np.arange(len(mel)) // PATCH_FRAMES)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W]."""
        out: Tensor = self.encoder(input_values=inputs).pooler_output
        return out


class ClapAudio(_Spectrum):
    """CLAP's sound half (HTS-AT) with its own projection. Takes the first 10 s; a shorter recording is repeated."""

    MODEL, TYPES = "ClapAudioModelWithProjection", frozenset({"clap", "clap_audio_model"})

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the rate, length and mel bands of the feature extractor.

        Raises:
            CheckpointError: PRETRAINED_DIFFERS, for weights that fuse four spectra of long recordings.
        """
        if self.config.enable_fusion:
            raise CheckpointError(
                "PRETRAINED_DIFFERS",
                "these weights fuse random cuts of long recordings, which gives no fixed embedding",
                "Give weights without fusion, such as laion/larger_clap_general.",
            )
        found = settings | read_json(folder, PREPROCESSOR)
        plain = {
            "bands": int(found.get("feature_size", 64)),
            "rate_hz": int(found.get("sampling_rate", 48_000)),
            "hop": int(found.get("hop_length", 480)),
            "fft": int(found.get("fft_window_size", 1_024)),
            "low_hz": float(found.get("frequency_min", 50)),
            "high_hz": float(found.get("frequency_max", 14_000)),
            "max_s": int(found.get("max_length_s", 10)),
        }
        return plain | {"frames": plain["max_s"] * plain["rate_hz"] // plain["hop"] + 1}

    @property
    def silence(self) -> float:
        """The floor of the decibel scale."""
        return -100.0

    def width(self) -> int:
        """Return W, the width of CLAP's own space."""
        return int(self.config.projection_dim)

    def prepare(self, array: Array) -> Features:
        """Return float32[F, M + 1]."""
        samples = change_rate(array, self.settings["rate_hz"])
        length = self.settings["max_s"] * self.settings["rate_hz"]
        hop = self.settings["hop"]
        own = min(len(samples), length)
        whole = np.tile(samples, max(1, length // len(samples)))[:length]
        mel = decibel_mel(np.pad(whole, (0, length - len(whole))), self.settings)
        # A frame belongs to the moment of the item that its centre shows; one just after the end still hears the end.
        centre = np.arange(len(mel)) * hop
        heard = centre < len(whole) + self.settings["fft"] // 2
        numbers = np.where(heard, np.minimum(centre, len(whole) - 1) % own // hop // PATCH_FRAMES, -1)
        return self.place(mel, numbers)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W]."""
        out: Tensor = self.encoder(input_features=inputs[:, None]).audio_embeds
        return out


class Wav2Vec2Audio(PretrainedTower):
    """Wav2Vec2, mean over its 20 ms frames. Takes the first ``max_s`` seconds; made for speech.

    The natural unit is 100 ms. Hidden ones are silent; what pads a batch is NaN and never reaches a frame of the item.
    """

    MODEL, TYPES = "Wav2Vec2Model", frozenset({"wav2vec2"})
    ABSENT = frozenset({"masked_spec_embed"})
    UNIT = RATE_HZ // 10
    MIN_SAMPLES = 400  # one frame of the seven convolutions
    max_rows = 16

    def __init__(self, dim: int, *, max_s: float = 10.0, **options: Any) -> None:
        self.max_samples = round(max_s * RATE_HZ)
        super().__init__(dim, **options)
        # Both draw at random outside the seed of a run, the second in ways that processes of one run disagree on.
        self.config.apply_spec_augment = False
        self.config.layerdrop = 0.0

    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return whether recordings are brought to mean 0 and variance 1, and how much of them is taken."""
        found = settings | read_json(folder, PREPROCESSOR)
        return {"do_normalize": bool(found.get("do_normalize", True)), "max_samples": self.max_samples}

    def prepare(self, array: Array) -> Features:
        """Return float32[n], n at most N."""
        samples = array[: self.max_samples].astype(np.float32)
        samples = np.pad(samples, (0, max(0, self.MIN_SAMPLES - len(samples))))
        if self.settings["do_normalize"]:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return samples.astype(np.float32)

    def units(self, features: Features) -> int:
        """Count one unit for each 100 ms that has begun."""
        return -(-len(features) // self.UNIT)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the recording with the hidden stretches silent."""
        return np.where(hidden.repeat(self.UNIT)[: len(features)], np.float32(0), features)

    def empty(self) -> Features:
        """Return one second of silence."""
        return np.zeros(min(RATE_HZ, self.max_samples), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, N], NaN after the end of a recording."""
        out = np.full((len(batch), self.max_samples), np.nan, dtype=np.float32)
        for row, features in zip(out, batch, strict=True):
            row[: len(features)] = features
        return torch.from_numpy(out)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return [B, W], the mean over the frames of each recording."""
        present = ~inputs.isnan()
        lengths = present.sum(dim=1)
        if self.config.feat_extract_norm == "layer":
            longest = int(lengths.max())
            return self._mean(inputs[:, :longest], present[:, :longest], lengths)
        # The other kind normalises over time and would see the padding: recordings of one length go together.
        rows = inputs.new_zeros(len(inputs), self.width())
        for length in sorted(set(lengths.tolist())):
            chosen = lengths == length
            out = self._mean(inputs[chosen, :length], None, lengths[chosen])
            rows = rows.masked_scatter(chosen[:, None], out)
        return rows

    def _mean(self, values: Tensor, present: Tensor | None, lengths: Tensor) -> Tensor:
        mask = None if present is None else present.long()
        out: Tensor = self.encoder(torch.nan_to_num(values, nan=0.0), attention_mask=mask).last_hidden_state.float()
        counts = self.encoder._get_feat_extract_output_lengths(lengths)[:, None]  # type: ignore[operator]
        own = torch.arange(out.shape[1], device=out.device)[None, :] < counts
        mean: Tensor = (out * own[:, :, None]).sum(dim=1) / counts
        return mean
