"""EfficientNet-Lite2 (Tan and Le 2019; the Lite variant of TensorFlow's repository), for inference.

The Lite variants have ReLU6 for swish and no squeeze-and-excite; stem, first and last stage are not scaled. Batch norm
is folded into the convolutions (``package.fold``). B pictures, C channels, H, W pixels; pixels lie as [B, H, W, C], so
that a convolution of 1 x 1 is one matrix product.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 260  # px that the weights were trained at
WIDTH = 1_280  # of the features behind global pooling
CLASSES = 1_000
MEAN, SPREAD = 127.0, 128.0  # of pixel values in [0, 255]

# Blocks of a stage, kernel, stride of its first block, channels that widen each block's input, channels out: those of
# B0 times 1.1 in width (rounded to multiples of 8) and 1.2 in depth (rounded up).
STAGES = (
    (1, 3, 1, 1, 16), (3, 3, 2, 6, 24), (3, 5, 2, 6, 48), (4, 3, 2, 6, 88), (4, 5, 1, 6, 120), (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)  # fmt: skip
STEM = 32


class _Planes(nn.Module):
    """A convolution with a kernel of 3 or 5, padded as TensorFlow's SAME, then ReLU6."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out, channels // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out))
        self.stride, self.groups = stride, groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [B, ceil(H / stride), ceil(W / stride), out] of [B, H, W, C]."""
        planes = inputs.permute(0, 3, 1, 2)
        kernel, stride = self.weight.shape[-1], self.stride
        padding = kernel // 2
        if stride > 1:  # an odd pixel of padding goes to the right and below
            down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in planes.shape[-2:])
            planes = functional.pad(planes, (across // 2, across - across // 2, down // 2, down - down // 2))
            padding = 0
        planes = functional.conv2d(planes, self.weight, self.bias, stride, padding, groups=self.groups)
        return functional.hardtanh_(planes, 0.0, 6.0).permute(0, 2, 3, 1)


class _Residual(nn.Module):
    """Inverted residual: 1 x 1 wider, depthwise, 1 x 1 narrower; the input is added where shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, widen: int) -> None:
        super().__init__()
        wide = channels * widen
        self.expand = nn.Linear(channels, wide) if widen > 1 else None
        self.depthwise = _Planes(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Linear(wide, out)
        self.is_residual = stride == 1 and channels == out

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [B, H, W, out]."""
        wide = inputs if self.expand is None else functional.hardtanh_(self.expand(inputs), 0.0, 6.0)
        out: Tensor = self.project(self.depthwise(wide))
        return out.add_(inputs) if self.is_residual else out


class EfficientNetLite2(nn.Module):
    """Pictures to features and classes. Frozen: it keeps no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Planes(3, STEM, 3, 2)
        blocks, channels = [], STEM
        for count, kernel, stride, widen, out in STAGES:
            for number in range(count):
                blocks.append(_Residual(channels, out, kernel, stride if number == 0 else 1, widen))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, WIDTH)
        self.classes = nn.Linear(WIDTH, CLASSES)

    @torch.inference_mode()
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features float32[B, 1280] and class logits [B, 1000] of normalised pixels float32[B, H, W, 3]."""
        grid = self.blocks(self.stem(inputs))
        features = functional.hardtanh_(self.head(grid), 0.0, 6.0).mean(dim=(1, 2))
        return features, self.classes(features)
