"""What the towers on published encoders share: where weights come from, the projection, names by digest.

B items in a batch, W width of the encoder's output, D dimension of the space.
"""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from curiosity.embedding.tower_spec import Weights
from curiosity.embedding.towers.base import Tower
from curiosity.embedding.towers.pretrained.files import find_folder, load_encoder


class PretrainedTower(Tower):
    """An encoder class of ``transformers`` and a projection.

    Sub-classes name the class and say how features become its input and its output one row per item. ``config`` is the
    architecture for seeded weights; published ``weights`` bring their own. ``family`` names encoders that were trained
    together (the text and image halves of one CLIP): their projections start as the same rotation, so that what they
    share survives the projection.
    """

    MODEL: ClassVar[str]  # class in transformers
    TYPES: ClassVar[frozenset[str]]  # values of model_type in config.json that hold this encoder
    OPTIONS: ClassVar[Mapping[str, Any]] = {}  # for the encoder's constructor
    ABSENT: ClassVar[frozenset[str]] = frozenset()  # parts of tensor names that published weights may lack
    CONFIG_PART: ClassVar[str] = ""  # where config.json of a two-tower checkpoint keeps this encoder's part
    takes_weights = True

    def __init__(
        self,
        dim: int,
        *,
        config: Mapping[str, Any],
        preprocessing: Mapping[str, Any] | None = None,
        family: str = "",
        weights: Weights | None = None,
    ) -> None:
        import transformers

        super().__init__()
        model = getattr(transformers, self.MODEL)
        folder = None
        if weights is None:
            self.encoder: nn.Module = model(model.config_class(**config), **self.OPTIONS)
        else:
            folder = find_folder(weights)
            self.encoder = load_encoder(model, folder, self.TYPES, self.OPTIONS, self.ABSENT)
            self.weights = weights
        self.settings = self.read_settings(folder, dict(preprocessing or {}))
        self.projection = make_projection(self.width(), dim, family)

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        return self.encoder.config

    def width(self) -> int:
        """Return W, the width of what ``encode`` returns."""
        return int(self.config.hidden_size)

    @abstractmethod
    def read_settings(self, folder: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the preprocessing settings as plain JSON.

        They are the preset's, replaced by the published ones where there are some.
        """

    @abstractmethod
    def encode(self, inputs: Tensor) -> Tensor:
        """Return the encoder's output, one row per item: [B, W]."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        # Said outright, because under checkpointing transformers lets token embeddings ask for gradients: a frozen
        # encoder would keep its activations for nothing.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            rows = self.encode(inputs)
        out: Tensor = self.projection(rows)
        return out.float()

    def unstored_bytes(self) -> bytes:
        """Return further bytes that features stand on and no checkpoint carries, such as a tokenizer."""
        return b""

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the preprocessing and, when the encoder is frozen and not stored, of its weights."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        digest.update(hashlib.sha256(self.unstored_bytes()).digest())
        if not self.is_stored:
            for name, tensor in sorted(self.encoder.state_dict().items()):
                plain = tensor.detach().cpu().contiguous()
                digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
                digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.ndim else plain.numpy().tobytes())
        return digest.hexdigest()

    def enable_gradient_checkpointing(self) -> bool:
        """Return True, but for encoders that cannot (CLAP)."""
        if not getattr(self.encoder, "supports_gradient_checkpointing", False):
            return False
        encoder: Any = self.encoder
        encoder.activation_checkpointing_enable({"use_reentrant": False})
        return True


def make_projection(width: int, dim: int, family: str) -> nn.Module:
    """Return a linear map from ``width`` to ``dim``.

    With a family it starts as the seeded (semi-)orthogonal map of that family, equal in all its towers: angles between
    their outputs stay (exactly where dim >= width, nearly otherwise). Without one, a layer-norm and a plain start.
    """
    if not family:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))
    made = nn.Linear(width, dim, bias=False)
    seed = int.from_bytes(hashlib.sha256(f"{family}/{width}/{dim}".encode()).digest()[:8], "big") >> 1
    drawn = torch.empty(dim, width, device="cpu")
    nn.init.orthogonal_(drawn, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made.weight.copy_(drawn)
    return made
