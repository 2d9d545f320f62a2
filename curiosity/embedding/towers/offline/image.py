"""Pictures: frozen EfficientNet-Lite2, what its classes mean in words, and a trained head beside that.

Plain pictures, of which 32 px hold everything (a scanned digit), are seen by a small trained tower instead. B pictures,
D dimension of the space, U patches.
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
from curiosity.embedding.towers.image import PATCH_PX, SIDE_PX, TinyImage
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
# So the head learns slowly: with 0.0125 it learns drawings by heart, and the area under the ROC curve on photos falls
# from 0.90 to 0.86, with emoji found no more often (37 and 36 % of names among the first ten of 240).
HEAD_SCALE = 0.002
# Share of a picture's variance that is lost in 32 px, in thousandths, below which it is plain. Scans of digits lose at
# most 0.3, emoji at least 3.5, photos 6, clipart 25.
PLAIN_LOSS_MILLI = 1
PLAIN_WIDTHS = (32, 64, 128, 128)  # of the small tower: half the weights of ``tiny``
_PIXELS = 3 * SIDE_PX**2

_known: OrderedDict[bytes, Tensor] = OrderedDict()  # what the network gave, by picture; the same in every space


class NamedClassesImage(Tower):
    """ConSE (Norouzi et al. 2014) plus a trained linear map; a small tower for plain pictures.

    The class posterior times the sentence vectors of the class names lies where ``CentredText`` puts texts, so pictures
    find captions before anything is trained. The map learns from pairs what no class says. High dropout keeps it from
    learning pictures by heart: 0.8 gives 0.900 of area under the ROC curve on concepts that it never met, 0.5 gives
    0.887. Both lie in the first 384 dimensions; in the rest a picture has one number times one direction, with which
    junk and the empty picture can say that they are nothing.

    A plain picture is one of which 32 px hold everything. The network knows nothing of those (a linear map of its
    features tells 81 % of handwritten digits, the small tower 96 %), so they are seen by the tower of ``tiny`` alone,
    which learns all dimensions and takes a twentieth of the time.
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
        self.small = TinyImage(dim, PLAIN_WIDTHS)
        with torch.no_grad():
            for head in (self.linear, self.junk):
                head.weight.zero_()
                head.bias.zero_()

    def prepare(self, array: Array) -> Features:
        """Return uint8[260, 260, 3], the picture in the middle of a white square; uint8[32, 32, 3] of a plain one."""
        picture = Pillow.fromarray(array)
        side = max(picture.size)
        square = Pillow.new("RGB", (side, side), "white")
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        whole = square.resize((SIDE, SIDE), Pillow.Resampling.BICUBIC)
        small = whole.resize((SIDE_PX, SIDE_PX), Pillow.Resampling.BOX)
        return np.asarray(small if _holds(small, whole) else whole)

    def units(self, features: Features) -> int:
        """Count 169 patches; 64 of a plain picture."""
        return (SIDE_PX // PATCH_PX) ** 2 if _is_plain(features) else PATCHES**2

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return uint8[104, 104, 3], the picture scaled down, with the hidden patches grey; a plain one as it is."""
        side, patches = (SIDE_PX, SIDE_PX // PATCH_PX) if _is_plain(features) else (HALF_SIDE, PATCHES)
        scaled = Pillow.fromarray(features.astype(np.uint8, copy=False)).resize((side, side), Pillow.Resampling.BOX)
        cells = np.kron(hidden.reshape(patches, patches), np.ones((side // patches,) * 2, dtype=np.bool_))
        return np.where(cells[:, :, None], np.uint8(GREY), np.asarray(scaled))

    def empty(self) -> Features:
        """Return the grey picture, as large as a half."""
        return np.full((HALF_SIDE, HALF_SIDE, 3), GREY, dtype=np.uint8)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 1 + 3072].

        A row begins with 1 for a plain picture, whose pixels from -1 to 1 follow; with 0 for any other, of which the
        network's 1,280 features follow, and the unit vector float32[384] that its classes say. The network takes one
        picture at a time: a batch is not faster, and so an output does not depend on the company it came in.
        """
        out = torch.zeros(len(batch), 1 + _PIXELS)
        for row, features in zip(out, batch, strict=True):
            if _is_plain(features):
                row[0] = 1
                row[1:] = torch.from_numpy(
                    features.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - 1
                ).flatten()
            else:
                seen = self._find(features)
                row[1 : 1 + len(seen)] = seen
        while len(_known) > CACHE_ENTRIES:
            _known.popitem(last=False)
        return out

    def _find(self, features: Features) -> Tensor:
        key = hashlib.sha256(features.tobytes()).digest()
        if key not in _known:
            _known[key] = self._look(features)
        _known.move_to_end(key)
        return _known[key]

    def _look(self, features: Features) -> Tensor:
        pixels = torch.from_numpy((features.astype(np.float32) - np.float32(MEAN)) / np.float32(SPREAD))
        seen, logits = self._network[0](pixels[None])
        told = nn.functional.normalize((logits / TEMPERATURE).softmax(dim=1) @ self._names, dim=1)
        return torch.cat([seen, told], dim=1)[0].clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        plain, other = (inputs[:, 0] > 0).nonzero()[:, 0], (inputs[:, 0] == 0).nonzero()[:, 0]
        seen = self._see(inputs[other, 1 : 1 + WIDTH + MINILM_WIDTH])
        out = torch.zeros(len(inputs), seen.shape[1], dtype=seen.dtype, device=seen.device).index_copy(0, other, seen)
        if not len(plain) and isinstance(self.small.encoder[1], nn.BatchNorm2d):
            return out  # torch's own batch norm takes no empty batch; the one that processes share takes it
        small = self.small(inputs[plain, 1:].view(-1, 3, SIDE_PX, SIDE_PX))
        return out.index_copy(0, plain, small.to(out.dtype))

    def _see(self, inputs: Tensor) -> Tensor:
        told = inputs[:, WIDTH:]
        features = inputs[:, :WIDTH]
        if len(inputs) < 2 and isinstance(self.norm, nn.BatchNorm1d):  # too few to take statistics of
            mean, variance = self.norm.running_mean, self.norm.running_var
            spread = nn.functional.batch_norm(features, mean, variance, eps=NORM_EPS)
        else:
            spread = self.norm(features)
        # Components of a unit vector are small beside normalised features; the map sees both alike.
        both = self.dropout(torch.cat([spread, told * MINILM_WIDTH**0.5], dim=1))
        meant = TOLD_WEIGHT * told + HEAD_SCALE * self.linear(both)
        return torch.cat([meant, JUNK_SCALE * self.junk(both) * self.direction], dim=1)

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Return a batch whose plain pictures are changed as ``TinyImage`` changes them."""
        plain = (inputs[:, 0] > 0).nonzero()[:, 0]
        if not len(plain):
            return inputs
        changed = self.small.augment(inputs[plain, 1:].view(-1, 3, SIDE_PX, SIDE_PX), seed)
        out = inputs.clone()
        out[plain, 1:] = changed.flatten(1)
        return out

    def forget(self) -> None:
        """Do nothing: what is kept does not depend on the company it was computed in."""

    def frozen_sha256(self) -> str:
        """Return the SHA-256 of the network's weights and of the class names' vectors."""
        return hashlib.sha256(f"{package.FOLDED_SHA256} {names.FILE_SHA256}".encode()).hexdigest()


def _is_plain(features: Features) -> bool:
    return len(features) == SIDE_PX


def _holds(small: Pillow.Image, whole: Pillow.Image) -> bool:
    """Return whether the picture is plain: scaled down and up again it is the same but for a thousandth.

    In whole numbers, so that every machine says the same.
    """
    pixels = np.asarray(whole, dtype=np.int64)
    again = np.asarray(small.resize(whole.size, Pillow.Resampling.BICUBIC), dtype=np.int64)
    lost = int(((pixels - again) ** 2).sum())
    count = pixels.shape[0] * pixels.shape[1]
    spread = count * int((pixels**2).sum()) - int((pixels.sum(axis=(0, 1)) ** 2).sum())  # count times the variance
    return bool(1_000 * lost * count < PLAIN_LOSS_MILLI * spread)
