"""The contrastive loss equals a plain reference, in value and in gradient, at odd sizes."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from embedding.losses import MAX_LOG_SCALE, Null, contrast


def nll(anchor: Tensor, right: Tensor, wrong: Sequence[Tensor], scale: Tensor) -> Tensor:
    """-log of the share of the right one, term by term."""
    weights = [torch.exp(scale * (anchor * other).sum()) for other in [right, *wrong]]
    loss: Tensor = -torch.log(weights[0] / torch.stack(weights).sum())
    return loss


def reference(
    a: Tensor, b: Tensor, log_scale: Tensor, keys_a: list[int], keys_b: list[int], null: Null | None, weight: float
) -> Tensor:
    scale = log_scale.clamp(0.0, MAX_LOG_SCALE).exp()
    count = len(a)
    total: Tensor = torch.zeros(())
    for i in range(count):
        rivals = [j for j in range(count) if keys_a[j] != keys_a[i] and keys_b[j] != keys_b[i]]
        more_b = [*null.junk_b, null.empty_b] if null else []
        more_a = [*null.junk_a, null.empty_a] if null else []
        total = total + nll(a[i], b[i], [b[j] for j in rivals] + more_b, scale) / (2 * count)
        total = total + nll(b[i], a[i], [a[j] for j in rivals] + more_a, scale) / (2 * count)
    if null:
        drawn = [nll(junk, null.empty_b, list(b), scale) for junk in null.junk_a]
        drawn += [nll(junk, null.empty_a, list(a), scale) for junk in null.junk_b]
        total = total + weight * torch.stack(drawn).mean()
    return total


def unit(*shape: int, seed: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled: Tensor = values / values.norm(dim=-1, keepdim=True)
    return scaled.requires_grad_()


@pytest.mark.parametrize(("count", "junk_a", "junk_b"), [(1, 1, 2), (2, 3, 1), (7, 5, 5), (13, 1, 4)])
@pytest.mark.parametrize("with_null", [False, True])
def test_equals_reference(count: int, junk_a: int, junk_b: int, with_null: bool) -> None:
    a, b = unit(count, 5, seed=1), unit(count, 5, seed=2)
    ja, jb, ea, eb = unit(junk_a, 5, seed=3), unit(junk_b, 5, seed=4), unit(5, seed=5), unit(5, seed=6)
    log_scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    keys_a, keys_b = [i // 2 for i in range(count)], [i % 4 for i in range(count)]
    null = Null(ja, jb, ea, eb) if with_null else None
    leaves = [a, b, log_scale] + ([ja, jb, ea, eb] if with_null else [])
    fast = contrast(a, b, log_scale, torch.tensor(keys_a), torch.tensor(keys_b), null, 0.3)
    plain = reference(a, b, log_scale, keys_a, keys_b, null, 0.3)
    assert float(fast.detach()) == pytest.approx(float(plain.detach()), abs=1e-12)
    fast_grads = torch.autograd.grad(fast, leaves)
    for got, want in zip(fast_grads, torch.autograd.grad(plain, leaves), strict=True):
        torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


def test_a_collapsed_batch_costs_the_logarithm_of_its_size() -> None:
    same = torch.ones(8, 3) / math.sqrt(3)
    loss = contrast(same, same, torch.tensor(2.0), torch.arange(8), torch.arange(8))
    assert float(loss) == pytest.approx(math.log(8), abs=1e-6)


def test_pairs_that_share_a_half_are_not_negatives() -> None:
    same = torch.ones(8, 3) / math.sqrt(3)
    shared = torch.zeros(8, dtype=torch.int64)
    assert float(contrast(same, same, torch.tensor(2.0), torch.arange(8), shared)) == pytest.approx(0.0, abs=1e-6)


def test_the_scale_is_clamped() -> None:
    a, b, keys = unit(4, 3, seed=1), unit(4, 3, seed=2), torch.arange(4)
    far = contrast(a, b, torch.tensor(50.0, dtype=torch.float64), keys, keys)
    at = contrast(a, b, torch.tensor(MAX_LOG_SCALE, dtype=torch.float64), keys, keys)
    assert float(far.detach()) == pytest.approx(float(at.detach()))
