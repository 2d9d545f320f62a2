"""Sounds: frozen Whisper, how it would begin a sound's subtitle in words, and a trained head beside that.

B sounds, F frames of 10 ms, W width of Whisper, D dimension of the space.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.modalities.audio import RATE_HZ
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.offline import names
from curiosity.embedding.towers.offline.sound_words import SOUND_WORDS
from curiosity.embedding.towers.offline.whisper_file import PUBLISHED, WhisperFiles, load_listener
from curiosity.embedding.towers.pretrained.spectra import whisper_mel
from curiosity.embedding.towers.text import MINILM_WIDTH, MiniLmText

FRAMES = 1_000  # 10 s; what is longer is cut. With 4 s the area under the ROC curve on real sounds falls by 0.01.
BANDS = 80
PATCH_FRAMES, PATCH_BANDS = 16, 16
SPAN = 2.0  # of the log-mel values, loudest to floor: 80 dB
SILENCE = -1.5  # the log-mel value of digital silence
TEMPERATURE = 3.0  # of the first token's posterior
TOLD_WEIGHT = 0.4  # of what the words say; the head starts at nothing and learns its own weight
# So the head learns slowly: with 0.01 it learns the few real sounds there are by heart.
HEAD_SCALE = 0.002
NORM_EPS = 1e-3
CACHE_ENTRIES = 8_192  # 6 KB each

_known: OrderedDict[tuple[str, bytes], Tensor] = OrderedDict()  # what the network gave, by model and sound


def make_nothing() -> list[NDArray[np.float32]]:
    """Return five recordings of nothing, 10 s at 16 kHz each: silence, noise, a tone, a click, a burst of noise."""
    count = FRAMES * RATE_HZ // 100
    noise = np.random.default_rng(0).normal(0, 0.1, count)
    tone = 0.3 * np.sin(2 * np.pi * 440 / RATE_HZ * np.arange(count))
    at = np.arange(count)
    every = [np.zeros(count), noise, tone, 3 * noise * (at < RATE_HZ // 20), noise * (at < RATE_HZ // 2)]
    return [each.astype(np.float32) for each in every]


@lru_cache(maxsize=2)
def name_tokens(files: WhisperFiles = PUBLISHED) -> tuple[tuple[int, ...], Tensor]:
    """Return the tokens that names of sounds begin with and float32[V, 384], where each points in the space of texts.

    A token points at the mean of the names that it begins, less where the answers to five recordings of nothing point:
    what is said of any sound says nothing of one. The values are those of float16.

    Raises:
        CheckpointError: FROZEN_TOWER_MISSING or FROZEN_TOWER_DIFFERS.
    """
    listener = load_listener(files)
    tower = MiniLmText(MINILM_WIDTH)
    rows = tower.collate([tower.prepare(np.frombuffer(word.encode(), dtype=np.uint8)) for word in SOUND_WORDS])
    meant = nn.functional.normalize(rows - torch.from_numpy(names.load_names().mean), dim=1)
    begun: dict[int, list[int]] = {}
    for number, word in enumerate(SOUND_WORDS):
        begun.setdefault(listener.first_token(word), []).append(number)
    tokens = tuple(sorted(begun))
    points = torch.stack([meant[begun[token]].mean(dim=0) for token in tokens])
    said = [
        listener.network.score(listener.network.continue_text(listener.opening, states), tokens) / TEMPERATURE
        for states in (listener.network.hear(_pad(whisper_mel(sound))) for sound in make_nothing())
    ]
    centre = torch.stack(said).softmax(dim=1).mean(dim=0) @ points
    return tokens, (points - centre).half().float()


class NamedSoundsAudio(Tower):
    """ConSE (Norouzi et al. 2014) with the words of subtitles for classes, plus a trained linear map.

    Behind "(" Whisper continues a subtitle: "(bell ringing)". The posterior of the first token, over the tokens that
    names of sounds begin with, times the sentence vectors of those names lies where ``CentredText`` puts texts. The map
    learns from pairs what no word says, from the encoder's mean and spread over time and from the decoder's state. Both
    lie in the first 384 dimensions; the rest, where texts are what they sound like, is zero.
    """

    is_frozen, is_stored = True, False
    points: Tensor

    def __init__(self, dim: int, dropout: float = 0.8, files: WhisperFiles = PUBLISHED) -> None:
        super().__init__()
        self._files = files
        self._listener = load_listener(files)
        self._tokens, points = name_tokens(files)
        self.register_buffer("points", points.clone())  # in the checkpoint: the same for everybody who reads it
        self._seen = 3 * self._listener.network.width
        self.norm = nn.BatchNorm1d(self._seen, eps=NORM_EPS, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self._seen + MINILM_WIDTH, MINILM_WIDTH)
        self._rest = dim - MINILM_WIDTH
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()

    def prepare(self, array: Array) -> Features:
        """Return float32[F, 80], log-mel values within 80 dB of the loudest; at most 10 s."""
        return whisper_mel(np.pad(array, (0, max(0, RATE_HZ // 20 - len(array)))))[:FRAMES]

    def units(self, features: Features) -> int:
        """Count patches of 160 ms by 16 bands."""
        return -(-len(features) // PATCH_FRAMES) * (BANDS // PATCH_BANDS)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the sound with the hidden patches as quiet as its floor."""
        cells = np.kron(hidden.reshape(-1, BANDS // PATCH_BANDS), np.ones((PATCH_FRAMES, PATCH_BANDS), dtype=np.bool_))
        return np.where(cells[: len(features)], _floor(features), features).astype(np.float32)

    def empty(self) -> Features:
        """Return silence."""
        return np.full((PATCH_FRAMES, BANDS), SILENCE, dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 3 W + V]: the encoder's mean and spread, the decoder's state, the tokens' posterior.

        The network takes one sound at a time, so that an output does not depend on the company it came in.
        """
        out = torch.stack([self._find(features.astype(np.float32, copy=False)) for features in batch])
        while len(_known) > CACHE_ENTRIES:
            _known.popitem(last=False)
        return out

    def _find(self, features: NDArray[np.float32]) -> Tensor:
        key = (self._files.model_sha256, hashlib.sha256(features.tobytes()).digest())
        if key not in _known:
            _known[key] = self._listen(features)
        _known.move_to_end(key)
        return _known[key]

    def _listen(self, features: NDArray[np.float32]) -> Tensor:
        network = self._listener.network
        states = network.hear(_pad(features))
        own = states[: max(1, -(-len(features) // 2))]
        state = network.continue_text(self._listener.opening, states)
        posterior = (network.score(state, self._tokens) / TEMPERATURE).softmax(dim=0)
        return torch.cat([own.mean(dim=0), own.std(dim=0, correction=0), state, posterior]).clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        told = nn.functional.normalize(inputs[:, self._seen :] @ self.points, dim=1)
        features = inputs[:, : self._seen]
        if len(inputs) < 2 and isinstance(self.norm, nn.BatchNorm1d):  # too few to take statistics of
            mean, variance = self.norm.running_mean, self.norm.running_var
            spread = nn.functional.batch_norm(features, mean, variance, eps=NORM_EPS)
        else:
            spread = self.norm(features)
        # Components of a unit vector are small beside normalised features; the map sees both alike.
        both = self.dropout(torch.cat([spread, told * MINILM_WIDTH**0.5], dim=1))
        meant = TOLD_WEIGHT * told + HEAD_SCALE * self.linear(both)
        return nn.functional.pad(meant, (0, self._rest))

    def forget(self) -> None:
        """Do nothing: what is kept does not depend on the company it was computed in."""

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the network's file, of its tokens and of the names of sounds."""
        told = "\n".join([self._files.model_sha256, self._files.tokenizer_sha256, *SOUND_WORDS])
        return hashlib.sha256(told.encode()).hexdigest()


def _floor(features: Features) -> np.float32:
    """Return the value below which nothing is heard beside the loudest; digital silence at least."""
    return np.float32(max(float(features.max()) - SPAN, SILENCE))


def _pad(features: NDArray[np.float32]) -> Tensor:
    """Return float32[1000, 80]: the frames, then as quiet as their floor."""
    floor = _floor(features)
    held = np.maximum(features[:FRAMES], floor)
    return torch.from_numpy(np.pad(held, ((0, FRAMES - len(held)), (0, 0)), constant_values=floor))
