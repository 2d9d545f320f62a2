"""Layers that treat the rows of every process as one batch, so that a result does not depend on how many there are.

n rows here, C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.distributed import Group

BLOCK = 64  # rows that share one random seed: a process draws for the blocks that its rows lie in, and no others
_SPREAD = 0x9E3779B97F4A7C15  # odd: neighbouring numbers get seeds that share no low bits


def block_seed(seed: int, *numbers: int) -> int:
    """Return a seed for a block of rows, from 0 to 2**63 - 1."""
    for number in numbers:
        seed = (seed + (number + 1) * _SPREAD) % 2**64
        seed ^= seed >> 29
    return seed % 2**63


class BatchRows:
    """Which rows of the whole batch a tower works on: ``rows`` from ``first`` on. Shared by the tower's layers.

    It stays until the tower's next forward, so that gradient checkpointing, which runs layers again in backward, finds
    it as it was. ``seed`` is the same in every process and for every part of a batch.
    """

    def __init__(self) -> None:
        self.rows = self.first = self.seed = 0

    def put(self, first: int, rows: int, seed: int) -> None:
        """Announce the next forward."""
        self.first, self.rows, self.seed = first, rows, seed

    def __deepcopy__(self, memo: dict[int, Any]) -> "BatchRows":
        return BatchRows()  # a copied model is no longer part of the step


class PlacedDropout(nn.Dropout):
    """Dropout whose mask depends on a row's place in the whole batch and on the layer's ``number``.

    It does not depend on the process or the part of the batch that the row came in. A layer that one forward runs twice
    drops the same twice.
    """

    def __init__(self, p: float, place: BatchRows, number: int) -> None:
        super().__init__(p)
        self.place, self.number = place, number

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop values as ``nn.Dropout`` does; where no place was announced, exactly so."""
        place = self.place
        if not self.training or self.p == 0.0:
            return inputs
        if not place.rows or len(inputs) % place.rows:
            return super().forward(inputs)
        each = len(inputs) // place.rows  # a tower may fold time into its rows
        start, stop = place.first // BLOCK, -(-(place.first + place.rows) // BLOCK)
        noise = inputs.new_empty((stop - start) * BLOCK * each, *inputs.shape[1:])
        generator = torch.Generator(inputs.device)
        for index, part in enumerate(torch.split(noise, BLOCK * each)):
            generator.manual_seed(block_seed(place.seed, self.number, start + index))
            part.bernoulli_(1 - self.p, generator=generator)
        skip = (place.first - start * BLOCK) * each
        return inputs * noise[skip : skip + len(inputs)].div_(1 - self.p)


class SharedBatchNorm(_BatchNorm):
    """Batch-norm with the statistics of the rows of all processes, with gradient through them.

    torch's SyncBatchNorm refuses CPU tensors. Means and sums of squared deviations are combined (Chan et al. 1979,
    eq. 2.1) rather than sums of squares, which lose digits. A process without a row takes part all the same.
    """

    def __init__(self, source: _BatchNorm, group: Group) -> None:
        super().__init__(source.num_features, source.eps, source.momentum, source.affine, source.track_running_stats)
        self.group = group
        self.training = source.training
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(source, name))

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least rows and channels, got {input.ndim} dimensions")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the rows of all processes together, as ``nn.BatchNorm`` does."""
        if not self.training or self.group.size == 1:
            out: Tensor = super().forward(input)
            return out
        self._check_input_dim(input)
        values = input if input.dtype == torch.float64 else input.float()
        dims = [0, *range(2, values.ndim)]
        shape = [1, -1, *[1] * (values.ndim - 2)]
        here = values.numel() // values.shape[1]
        mean_here = values.sum(dims) / max(here, 1)
        spread_here = (values - mean_here.view(shape)).square().sum(dims)
        table = torch.cat([mean_here, spread_here, values.new_tensor([here])])
        all_tables: Tensor = _Exchange.apply(table, self.group)  # type: ignore[no-untyped-call]
        means, spreads = all_tables[:, : self.num_features], all_tables[:, self.num_features : -1]
        counts = all_tables[:, -1:].detach()
        count = int(counts.sum())
        if count < 2:
            raise ValueError(f"batch-norm needs more than one value a channel, got {count} in all processes")
        mean = (counts * means).sum(dim=0) / count
        variance = (spreads.sum(dim=0) + (counts * (means - mean).square()).sum(dim=0)) / count
        self._remember(mean.detach(), variance.detach() * (count / (count - 1)))
        factor = torch.rsqrt(variance + self.eps)
        scaled = (values - mean.view(shape)) * factor.view(shape)
        if self.weight is not None:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        with torch.no_grad():
            share = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if share is None:  # a plain average over all batches so far
                    share = 1.0 / float(self.num_batches_tracked)
            share = 0.0 if share is None else share
            self.running_mean.mul_(1 - share).add_(mean.to(self.running_mean.dtype), alpha=share)
            self.running_var.mul_(1 - share).add_(variance.to(self.running_var.dtype), alpha=share)


def share_layers(module: nn.Module, place: BatchRows, group: Group) -> None:
    """Replace, in place, dropout by ``PlacedDropout`` and, with several processes, batch-norm by ``SharedBatchNorm``.

    Weights, buffers, their names and the mode (training or not) stay. Dropout inside an attention function is no layer
    and stays as it is: it draws from torch's generator, which a step seeds by the first row of each part.
    """
    parents = [(parent, name, child) for parent in list(module.modules()) for name, child in parent.named_children()]
    for number, (parent, name, child) in enumerate(parents):
        if type(child) in (nn.Dropout, PlacedDropout):
            assert isinstance(child, nn.Dropout)
            setattr(parent, name, PlacedDropout(child.p, place, number).train(child.training))
        elif isinstance(child, SharedBatchNorm):
            child.group = group
        elif isinstance(child, _BatchNorm) and group.size > 1:
            setattr(parent, name, SharedBatchNorm(child, group))


def has_batch_statistics(module: nn.Module) -> bool:
    """Return whether a forward of some rows depends on the other rows of the batch.

    It does where a batch-norm is in training mode.
    """
    return any(isinstance(layer, _BatchNorm) and layer.training for layer in module.modules())


class _Exchange(Function):
    """Every process's vector as rows [size, length]; back comes the sum of the gradients that all have for mine."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor, group: Group) -> Tensor:
        ctx.rank = group.rank
        pieces = [torch.empty_like(vector) for _ in range(group.size)]
        dist.all_gather(pieces, vector.contiguous())
        return torch.stack(pieces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        summed = grads[0].contiguous()
        dist.all_reduce(summed)
        return summed[ctx.rank], None
