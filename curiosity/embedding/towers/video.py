"""The tiny video tower: tubelets of two frames by 4 x 4 pixels, and the colours of each frame, over time."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn

from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower

SIDE_PX = 32
FRAMES = 16
DEPTH = FRAMES // 2  # a tubelet is two frames deep
PATCH_PX = 4
GRID = SIDE_PX // PATCH_PX
CHANNELS = 4  # mean colour of the two frames, and how much brighter the second is
PIXELS = SIDE_PX * SIDE_PX * CHANNELS
COLOURS = 8  # corners of the RGB cube
HISTOGRAM = 2 * COLOURS  # of one frame: how much of each colour there is, and how pure it is where it is purest


class TinyVideo(Tower):
    """Frames of 32 px, 16 of them: what is where, and what colours there are.

    What is where: 8 slices by patch embedding and a convolution. What colours there are, wherever they are: a soft
    histogram of each frame, which finds small things that move, as a patch cannot. Both over time by convolutions.
    """

    def __init__(self, dim: int, widths: tuple[int, int, int, int] = (48, 64, 96, 64)) -> None:
        super().__init__()
        patch, space, time, colour = widths
        self.encoder = nn.ModuleDict(
            {
                "patch": nn.Sequential(
                    nn.Conv2d(CHANNELS, patch, PATCH_PX, stride=PATCH_PX, bias=False),
                    nn.BatchNorm2d(patch),
                    nn.GELU(),
                    nn.Conv2d(patch, space, 1, bias=False),
                    nn.BatchNorm2d(space),
                    nn.GELU(),
                ),
                "where": nn.Sequential(
                    nn.Conv2d(space, space, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(space),
                    nn.GELU(),
                    nn.Flatten(),
                    nn.Linear(space * (GRID // 2) ** 2, space),
                ),
                "time": nn.Sequential(
                    nn.Conv1d(3 * space, time, 3, padding=1, bias=False),
                    nn.BatchNorm1d(time),
                    nn.GELU(),
                    nn.Flatten(),
                    nn.Dropout(0.2),
                ),
                "colour": nn.Sequential(
                    nn.BatchNorm1d(HISTOGRAM),
                    nn.Conv1d(HISTOGRAM, colour, 3, padding=1, bias=False),
                    nn.BatchNorm1d(colour),
                    nn.GELU(),
                    nn.Conv1d(colour, colour, 3, padding=1, bias=False),
                    nn.BatchNorm1d(colour),
                    nn.GELU(),
                    nn.Flatten(),
                ),
            }
        )
        self.projection = nn.Linear(time * DEPTH + colour * FRAMES, dim)

    def prepare(self, array: Array) -> Features:
        """Return float32[16, 32, 32, 3] in [-1, 1]: 16 frames spread evenly over the video, each 32 px by area average.

        A video of another shape than square lies on mid-grey, which is zero.
        """
        chosen = np.rint(np.linspace(0, len(array) - 1, FRAMES)).astype(np.int64)
        small = {index: _shrink(array[index]) for index in sorted(set(chosen.tolist()))}
        return np.stack([small[index] for index in chosen.tolist()])

    def units(self, features: Features) -> int:  # noqa: ARG002 - every video has as many
        """Count 512 tubelets: 8 slices of 8 x 8."""
        return DEPTH * GRID**2

    def hide(self, features: Features, hidden: NDArray[np.bool_]) -> Features:
        """Return the video with the hidden tubelets mid-grey."""
        cells = np.kron(hidden.reshape(DEPTH, GRID, GRID), np.ones((2, PATCH_PX, PATCH_PX), dtype=np.bool_))
        return np.where(cells[..., None], np.float32(0), features.astype(np.float32, copy=False))

    def empty(self) -> Features:
        """Return a mid-grey video."""
        return np.zeros((FRAMES, SIDE_PX, SIDE_PX, 3), dtype=np.float32)

    def collate(self, batch: Sequence[Features]) -> Tensor:
        """Return float32[B, 8, 4096 + 32].

        For each slice these are the pixels (mean colour and change), then both frames' histograms.
        """
        out = np.empty((len(batch), DEPTH, PIXELS + 2 * HISTOGRAM), dtype=np.float32)
        for row, features in zip(out, batch, strict=True):
            frames = features.astype(np.float32, copy=False).reshape(DEPTH, 2, SIDE_PX, SIDE_PX, 3)
            change = (frames[:, 1] - frames[:, 0]).mean(axis=-1, keepdims=True)
            row[:, :PIXELS] = np.concatenate([frames.mean(axis=1), change], axis=-1).reshape(DEPTH, -1)
            row[:, PIXELS:] = _count_colours(frames.reshape(FRAMES, -1, 3)).reshape(DEPTH, -1)
        return torch.from_numpy(out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float32[B, D]."""
        count = len(inputs)
        pixels = inputs[..., :PIXELS].reshape(-1, SIDE_PX, SIDE_PX, CHANNELS)
        # Colours last in memory: the convolutions take half the time.
        patches = self.encoder["patch"](pixels.permute(0, 3, 1, 2))
        seen = [patches.mean(dim=(2, 3)), patches.amax(dim=(2, 3)), self.encoder["where"](patches)]
        slices = torch.cat(seen, dim=1).reshape(count, DEPTH, -1)
        colours = inputs[..., PIXELS:].reshape(count, FRAMES, HISTOGRAM)
        both = [self.encoder["time"](slices.transpose(1, 2)), self.encoder["colour"](colours.transpose(1, 2))]
        out: Tensor = self.projection(torch.cat(both, dim=1))
        return out

    def augment(self, inputs: Tensor, seed: int) -> Tensor:
        """Contrast and brightness jittered, alike for all frames of a video; not shifted: where things are counts."""
        rng = torch.Generator().manual_seed(seed)
        count = len(inputs)
        gain = 1 + 0.2 * (torch.rand(count, 1, 1, generator=rng) - 0.5)
        lift = 0.1 * (torch.rand(count, 1, 1, generator=rng) - 0.5)
        place = torch.arange(inputs.shape[2])
        is_colour = (place < PIXELS) & (place % CHANNELS < CHANNELS - 1)  # a change has no brightness
        gain = torch.where(place < PIXELS, gain, 1.0)
        return torch.addcmul((lift * is_colour).to(inputs.device), inputs, gain.to(inputs.device))


def _count_colours(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32[F, 16] of float32[F, P, 3] in [-1, 1].

    These are the trilinear weights of every pixel to the corners of the cube, as the mean over the pixels and as the
    largest of them.
    """
    high = (1 + frames) / 2
    red, green, blue = (np.stack([1 - high[..., part], high[..., part]], axis=-1) for part in range(3))
    weights = red[..., :, None, None] * green[..., None, :, None] * blue[..., None, None, :]
    weights = weights.reshape(*frames.shape[:2], COLOURS)
    return np.concatenate([weights.mean(axis=1), weights.max(axis=1)], axis=1)


def _shrink(frame: Array) -> NDArray[np.float32]:
    """Return float32[32, 32, 3] in [-1, 1] of uint8[H, W, 3]: the longer side becomes 32 px."""
    height, width = frame.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    filter = Pillow.Resampling.BOX if scale < 1 else Pillow.Resampling.BILINEAR
    picture = np.asarray(Pillow.fromarray(frame).resize(size, filter), dtype=np.float32)
    out = np.zeros((SIDE_PX, SIDE_PX, 3), dtype=np.float32)
    top, left = (SIDE_PX - size[1]) // 2, (SIDE_PX - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = picture / np.float32(127.5) - np.float32(1)
    return out
