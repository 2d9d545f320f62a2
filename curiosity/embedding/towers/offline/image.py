"""Pictures: frozen EfficientNet-Lite2, what its classes mean in words, and a trained head beside that.

B pictures, D dimension of the space, U patches.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.offline import names, package
from curiosity.embedding.towers.offline.efficientnet import MEAN, SIDE, SPREAD, WIDTH
from curiosity.embedding.towers.text import MINILM_WIDTH

# A picture has eight masked halves. At the side that the network was trained at they would cost eight times as much as
# the picture; at this one they cost 1.2 times as much, all eight together.
HALF_SIDE = 104
PATCHES = 13  # along a side: units of 20 px of the whole picture, of 8 px of a half
GREY = 127  # zero after normalising: the network knows no mask token
TEMPERATURE = 1.5  # of the class posterior
TOLD_WEIGHT = 0.4  # of what the classes say; the head starts at nothing and learns its own weight
CACHE_ENTRIES = 8_192  # 6.7 KB each
NORM_EPS = 1e-3
JUNK_SCALE = 0.05
HEAD_SCALE = 0.0125  # so the head learns a quarter as fast as other towers: faster ones learn pictures by heart

_known: OrderedDict[bytes, Tensor] = OrderedDict()  # what the network gave, by picture; the same in every space


class NamedClassesImage(Tower):
    """ConSE (Norouzi et al. 2014) plus a trained linear map.

    The class posterior times the sentence vectors of the class names lies where ``CentredText`` puts texts, so pictures
    find captions before anything is trained. The map learns from pairs what no class says. High dropout keeps it from
    learning pictures by heart: 0.8 gives 0.900 of area under the ROC curve on concepts that it never met, 0.5 gives
    0.887. Both lie in the first 384 dimensions; in the rest a picture has one number times one direction, with which
    junk and the empty picture can say that they are nothing.
    """

    is_frozen, is_stored = True, False

    def __init__(self, dim: int, dropout: float = 0.8) -> None:
        super().__init__()
        self._network = [package.load_network()]  # in a list: a checkpoint does not carry it
        self._names = torch.from_numpy(names.load_names().vectors)
        self.norm = nn.BatchNorm1d(WIDTH, eps=NORM_EPS, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(WIDTH + MINILM_WIDTH, MINILM_WIDTH)
        self.junk = nn.Linear(WIDTH + MINILM_WIDTH, 1)
        self.direction = nn.Parameter(torch.randn(dim - MINILM_WIDTH) / (dim - MINILM_WIDTH) ** 0.5)
        with torch.no_grad():
            for head in (self.linear, self.junk):
                head.weight.zero_()
                head.bias.zero_()

    def prepare(self, array: Array) -> Features:
        """Return uint8[260, 260, 3]: the picture in the middle of a white square."""
        picture = Pillow.fromarray(array)
        side = max(picture.size)
        square = Pillow.new("RGB", (side, side), "white")
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return np.asarray(square.resize((SIDE, SIDE), Pillow.Resampling.BICUBIC))

    def units(self, features: Features) -> int:  # noqa: ARG002 - every picture has as many
        """Count 169 patches."""
        return PATCHES**2

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return uint8[104, 104, 3]: the picture scaled down, with the hidden patches grey."""
        small = Pillow.fromarray(features.astype(np.uint8, copy=False)).resize(
            (HALF_SIDE, HALF_SIDE), Pillow.Resampling.BOX
        )
        patch = HALF_SIDE // PATCHES
        cells = np.kron(hidden.reshape(PATCHES, PATCHES), np.ones((patch, patch), dtype=np.bool_))
        return np.where(cells[:, :, None], np.uint8(GREY), np.asarray(small))

    def empty(self) -> Features:
        """Return the grey picture, as large as a half."""
        return np.full((HALF_SIDE, HALF_SIDE, 3), GREY, dtype=np.uint8)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 1280 + 384]: the network's features, and the unit vector that its classes say.

        The network takes one picture at a time: a batch is not faster, and so an output does not depend on the company
        it came in.
        """
        out = []
        for features in batch:
            key = hashlib.sha256(features.tobytes()).digest()
            if key not in _known:
                _known[key] = self._look(features)
            _known.move_to_end(key)
            out.append(_known[key])
        while len(_known) > CACHE_ENTRIES:
            _known.popitem(last=False)
        return torch.stack(out)

    def _look(self, features: Features) -> Tensor:
        pixels = torch.from_numpy((features.astype(np.float32) - np.float32(MEAN)) / np.float32(SPREAD))
        seen, logits = self._network[0](pixels[None])
        told = nn.functional.normalize((logits / TEMPERATURE).softmax(dim=1) @ self._names, dim=1)
        return torch.cat([seen, told], dim=1)[0].clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        told = inputs[:, WIDTH:]
        # Components of a unit vector are small beside normalised features; the map sees both alike.
        both = torch.cat([self.norm(inputs[:, :WIDTH]), told * MINILM_WIDTH**0.5], dim=1)
        both = self.dropout(both)
        meant = TOLD_WEIGHT * told + HEAD_SCALE * self.linear(both)
        return torch.cat([meant, JUNK_SCALE * self.junk(both) * self.direction], dim=1)

    def forget(self) -> None:
        """Do nothing: what is kept does not depend on the company it was computed in."""

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the network's weights and of the class names' vectors."""
        return hashlib.sha256(f"{package.FOLDED_SHA256} {names.FILE_SHA256}".encode()).hexdigest()
