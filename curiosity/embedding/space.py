"""The shared space: one tower for each modality, one dimension. The one place where items become embeddings.

B items in a batch, K masks, D dimension.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curiosity.embedding.losses import MAX_LOG_SCALE
from curiosity.embedding.masks import hidden_units
from curiosity.embedding.modalities import find
from curiosity.embedding.modality import Array, check_contract
from curiosity.embedding.presets import DEFAULT, OURS, Preset, Source, find_preset
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.build import build_tower
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.scoring import Quantised, quantise

MASKS = 4  # K of the differential loss (SCORING, Symbols)


@dataclass(frozen=True)
class Measured:
    """What leaves the device for one modality: 32767 times unit vectors, rounded.

    ``whole`` int16[B, D]; ``masked`` int16[D], the fully masked item; ``halves`` int16[B, K, 2, D], for each mask the
    visible half x * m and its complement x * (1 - m).
    """

    whole: Quantised
    masked: Quantised
    halves: Quantised


class EmbeddingSpace(nn.Module):
    """Towers into one dimension. Equal preset and seed give equal weights, whatever else is registered.

    ``pretrained`` says which towers start from published weights: True for all that the preset names some for, or by
    modality True, a name on the hub, or a local folder. Nothing is downloaded unless it is asked for here.
    """

    def __init__(
        self,
        preset: str = DEFAULT,
        *,
        seed: int = 0,
        modalities: Sequence[str] | None = None,
        pretrained: Mapping[str, Source] | bool = False,
    ) -> None:
        super().__init__()
        chosen = find_preset(preset)
        self.preset: Preset = chosen
        self.dim = chosen.dim
        self.towers = nn.ModuleDict()
        names = tuple(modalities if modalities is not None else chosen.towers)
        sources = _sources(chosen, names, pretrained)
        for name in names:
            self.register(name, seed=seed, pretrained=sources.get(name, False))
        # Log temperature of the contrastive losses; kept with the weights so that a round goes on where one ended.
        self.log_scale = nn.Parameter(torch.tensor(min(math.log(1 / 0.07), MAX_LOG_SCALE)))

    def register(self, modality: str, *, seed: int = 0, pretrained: Source = False) -> None:
        """Add one modality's tower; those already there keep their weights bit for bit.

        Raises:
            ConfigError: MODALITY_NOT_IN_PRESET, when the preset has no tower for it; WEIGHTS_NOT_DECLARED or
                WEIGHTS_NOT_TAKEN, when it has no such weights.
            CheckpointError: when published weights are missing, broken or made for another architecture.
        """
        if modality not in self.preset.towers:
            raise ConfigError(
                "MODALITY_NOT_IN_PRESET",
                f"preset {self.preset.name} has no tower for {modality!r}",
                f"Use one of {', '.join(sorted(self.preset.towers))}.",
            )
        own = int.from_bytes(hashlib.sha256(f"{seed}/{modality}".encode()).digest()[:8], "big") >> 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own)
            self.towers[modality] = build_tower(self.preset.towers[modality], self.dim, pretrained)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the registered modalities, alphabetical."""
        return tuple(sorted(self.towers))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_scale.device

    def tower(self, modality: str) -> Tower:
        """Return the tower of a modality.

        Raises:
            ConfigError: MODALITY_NOT_REGISTERED.
        """
        if modality not in self.towers:
            raise ConfigError(
                "MODALITY_NOT_REGISTERED",
                f"this space has no {modality!r}",
                f"It has {', '.join(self.modalities)}.",
            )
        tower = self.towers[modality]
        assert isinstance(tower, Tower)
        return tower

    def freeze(self, modality: str, *, stored: bool = True) -> None:
        """Stop training a modality's encoder; its projection is trained on. See ``Tower.freeze``."""
        self.tower(modality).freeze(stored=stored)

    def unfreeze(self, modality: str) -> None:
        """Train a modality's encoder again."""
        self.tower(modality).unfreeze()

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Return what an optimiser should get: projections, encoders that are not frozen, the temperature."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def enable_gradient_checkpointing(self) -> tuple[str, ...]:
        """Trade time for memory in training; returns the modalities whose tower can."""
        return tuple(name for name in self.modalities if self.tower(name).enable_gradient_checkpointing())

    def licenses(self) -> dict[str, str]:
        """Return the SPDX identifier of everything that these weights hold or stand on, by what it is."""
        out = {"weights": OURS}
        for modality in self.modalities:
            tower = self.tower(modality)
            if tower.weights is not None:
                stored = "" if tower.is_stored else ", not stored here"
                frozen = "frozen" if tower.is_frozen else "fine-tuned"
                out[f"{modality} encoder from {tower.weights.name} ({frozen}{stored})"] = tower.weights.licence
        return out

    def prepare(self, modality: str, arrays: Sequence[Array]) -> list[Features]:
        """Return the features of decoded items, each checked against its modality's contract.

        Raises:
            Rejected: ARRAY_NOT_IN_CONTRACT.
        """
        tower, declared = self.tower(modality), find(modality)
        for array in arrays:
            check_contract(declared, array)
        return [tower.prepare(array) for array in arrays]

    def forward(self, modality: str, inputs: Tensor) -> Tensor:
        """Return unit embeddings float32[B, D] of collated inputs, with gradient; under autocast too."""
        return nn.functional.normalize(self.tower(modality)(inputs).float(), dim=1)

    def embed_features(self, modality: str, features: Sequence[Features]) -> NDArray[np.float32]:
        """Return unit embeddings float32[B, D] of prepared items.

        Does not train: batch-norm uses what it has learned.
        """
        tower = self.tower(modality)
        was_training = tower.training
        tower.eval()
        rows = []
        try:
            # Whole float32 on CUDA too, by kernels that do not change from call to call: TF32 keeps 10 bits.
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            ):
                for start in range(0, len(features), tower.max_rows):
                    inputs = tower.collate(features[start : start + tower.max_rows]).to(self.device)
                    rows.append(self(modality, inputs).float().cpu().numpy())
        finally:
            tower.train(was_training)
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)

    def embed(self, modality: str, arrays: Sequence[Array]) -> NDArray[np.float32]:
        """Return unit embeddings float32[B, D] of decoded items.

        Raises:
            Rejected: ARRAY_NOT_IN_CONTRACT.
        """
        return self.embed_features(modality, self.prepare(modality, arrays))

    def embed_streams(self, modality: str, streams: Mapping[str, Sequence[Array]]) -> dict[str, NDArray[np.float32]]:
        """Return unit embeddings float32[B, D] of several streams of one modality, by stream id.

        Two cameras have one tower: streams share the modality's weights and may differ in length, and an item's
        embedding does not depend on its stream.

        Raises:
            Rejected: ARRAY_NOT_IN_CONTRACT.
        """
        rows = self.embed(modality, [array for arrays in streams.values() for array in arrays])
        ends = np.cumsum([len(arrays) for arrays in streams.values()], dtype=np.int64)
        return dict(zip(streams, np.split(rows, ends[:-1]), strict=True)) if streams else {}

    def embed_empty(self, modality: str) -> NDArray[np.float32]:
        """Return the unit embedding float32[D] of the fully masked item, ``e_0``."""
        row: NDArray[np.float32] = self.embed_features(modality, [self.tower(modality).empty()])[0]
        return row

    def halves(self, modality: str, features: Sequence[Features], seeds: Sequence[int], masks: int) -> list[Features]:
        """Return prepared halves in the order item, mask, (visible, complement): B * K * 2 of them."""
        tower, share = self.tower(modality), find(modality).mask_share
        out = []
        for one, seed in zip(features, seeds, strict=True):
            for k in range(masks):
                hidden = hidden_units(tower.units(one), share, seed, k)
                out += [tower.hide(one, hidden), tower.hide(one, ~hidden)]
        return out

    def embed_masked(
        self, modality: str, arrays: Sequence[Array], seeds: Sequence[int], masks: int = MASKS
    ) -> NDArray[np.float32]:
        """Return unit embeddings float32[B, K, 2, D] of the complementary halves.

        ``seeds`` come from ``masks.mask_seed``.
        """
        prepared = self.halves(modality, self.prepare(modality, arrays), seeds, masks)
        return self.embed_features(modality, prepared).reshape(len(arrays), masks, 2, self.dim)

    def measure(self, modality: str, arrays: Sequence[Array], seeds: Sequence[int], masks: int = MASKS) -> Measured:
        """Return everything that the judge needs of a batch of one modality, quantised, in one batch per tower.

        Raises:
            Rejected: ARRAY_NOT_IN_CONTRACT; nothing of the batch is measured then.
        """
        return self.measure_features(modality, self.prepare(modality, arrays), seeds, masks)

    def measure_features(
        self, modality: str, features: Sequence[Features], seeds: Sequence[int], masks: int = MASKS
    ) -> Measured:
        """Measure prepared items, as ``measure`` does decoded ones."""
        count = len(features)
        parts = [self.tower(modality).empty(), *features, *self.halves(modality, features, seeds, masks)]
        rows = quantise(self.embed_features(modality, parts))
        return Measured(
            whole=rows[1 : 1 + count],
            masked=rows[0],
            halves=rows[1 + count :].reshape(count, masks, 2, self.dim),
        )


def pick_device() -> torch.device:
    """Return CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _sources(preset: Preset, names: Sequence[str], pretrained: Mapping[str, Source] | bool) -> Mapping[str, Source]:
    """Return where the weights of each of ``names`` come from.

    Raises:
        ConfigError: MODALITY_NOT_REGISTERED, when weights are given for a modality that is not among ``names``.
    """
    if isinstance(pretrained, bool):
        declared = (name for name in names if name in preset.towers and preset.towers[name].weights is not None)
        return dict.fromkeys(declared, pretrained)
    unknown = sorted(set(pretrained) - set(names))
    if unknown:
        raise ConfigError(
            "MODALITY_NOT_REGISTERED",
            f"weights are given for {', '.join(unknown)}, but not registered",
            f"It has {', '.join(sorted(names))}.",
        )
    return pretrained
