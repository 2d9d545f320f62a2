"""Every loss equals a plain reference, in value and in gradient, at odd sizes."""

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from curiosity.embedding.losses import (
    MAX_LOG_SCALE,
    Null,
    contrast,
    contrast_sigmoid,
    differential,
    distil,
    draw_to_empty,
    slerp,
    squared_distance,
)
from curiosity.protocol.scoring import cross_average, dequantise, differential_loss_micro, quantise


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
        drawn = [nll(nothing, null.empty_b, list(b), scale) for nothing in [*null.junk_a, null.empty_a]]
        drawn += [nll(nothing, null.empty_a, list(a), scale) for nothing in [*null.junk_b, null.empty_b]]
        total = total + weight * torch.stack(drawn).mean()
    return total


def unit(*shape: int, seed: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled: Tensor = values / values.norm(dim=-1, keepdim=True)
    return scaled.requires_grad_()


SIZES = [(1, 0), (1, 1), (2, 5), (7, 0), (7, 5), (33, 1)]


def agree(fast: Tensor, plain: Tensor, leaves: Sequence[Tensor]) -> None:
    """Same value, same gradient by every leaf."""
    assert float(fast.detach()) == pytest.approx(float(plain.detach()), abs=1e-11)
    grads = (torch.autograd.grad(loss, leaves, allow_unused=True) for loss in (fast, plain))
    for leaf, got, want in zip(leaves, *grads, strict=True):
        got, want = (torch.zeros_like(leaf) if grad is None else grad for grad in (got, want))
        torch.testing.assert_close(got, want, atol=1e-11, rtol=0)


def material(count: int, junk: int) -> tuple[Tensor, Tensor, Null, list[Tensor], list[int], list[int]]:
    """Two sides, null, all leaves, and keys by which some pairs share a half. One side has an item of junk more."""
    a, b = unit(count, 5, seed=1), unit(count, 5, seed=2)
    null = Null(unit(junk, 5, seed=3), unit(junk + (junk > 0), 5, seed=4), unit(5, seed=5), unit(5, seed=6))
    leaves = [a, b, null.junk_a, null.junk_b, null.empty_a, null.empty_b]
    return a, b, null, leaves, [i // 2 for i in range(count)], [i % 4 for i in range(count)]


@pytest.mark.parametrize(("count", "junk"), SIZES)
@pytest.mark.parametrize("with_null", [False, True])
def test_contrast_equals_reference(count: int, junk: int, with_null: bool) -> None:
    a, b, null, leaves, keys_a, keys_b = material(count, junk)
    log_scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    given = null if with_null else None
    fast = contrast(a, b, log_scale, torch.tensor(keys_a), torch.tensor(keys_b), given, 0.3)
    agree(fast, reference(a, b, log_scale, keys_a, keys_b, given, 0.3), [*leaves, log_scale])


def sigmoid_reference(
    a: Tensor, b: Tensor, log_scale: Tensor, bias: Tensor, keys: Sequence[list[int]], null: Null | None, weight: float
) -> Tensor:
    scale = log_scale.clamp(0.0, MAX_LOG_SCALE).exp()

    def answer(x: Tensor, y: Tensor, right: bool) -> Tensor:
        logit = scale * (x * y).sum() + bias
        return -torch.log(1 / (1 + torch.exp(-logit if right else logit)))

    total = torch.zeros((), dtype=torch.float64)
    for i, j in product(range(len(a)), repeat=2):
        if i == j or all(side[i] != side[j] for side in keys):
            total = total + answer(a[i], b[j], i == j)
    if null is None:
        return total / len(a)
    for x in a:
        total = total + sum(answer(x, y, False) for y in [*null.junk_b, null.empty_b])
    for x in b:
        total = total + sum(answer(x, y, False) for y in [*null.junk_a, null.empty_a])
    drawn = [answer(x, null.empty_b, True) for x in [*null.junk_a, null.empty_a]]
    drawn += [answer(x, null.empty_a, True) for x in [*null.junk_b, null.empty_b]]
    return total / len(a) + weight * torch.stack(drawn).mean()


@pytest.mark.parametrize(("count", "junk"), SIZES)
@pytest.mark.parametrize("with_null", [False, True])
def test_sigmoid_equals_reference(count: int, junk: int, with_null: bool) -> None:
    a, b, null, leaves, keys_a, keys_b = material(count, junk)
    log_scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    given = null if with_null else None
    fast = contrast_sigmoid(a, b, log_scale, bias, torch.tensor(keys_a), torch.tensor(keys_b), given, 0.3)
    plain = sigmoid_reference(a, b, log_scale, bias, [keys_a, keys_b], given, 0.3)
    agree(fast, plain, [*leaves, log_scale, bias])


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_squared_distance_equals_reference(count: int) -> None:
    a, b = unit(count, 5, seed=1), unit(count, 5, seed=2)
    plain = torch.stack(
        [sum(((x - y) ** 2 for x, y in zip(p, q, strict=True)), torch.zeros(())) for p, q in zip(a, b, strict=True)]
    )
    agree(squared_distance(a, b), plain.mean(), [a, b])


def differential_reference(
    whole: Tensor, empty: Tensor, halves: Tensor, references: Tensor, same: Tensor, tau: float
) -> Tensor:
    losses = []
    for i, k in product(range(len(whole)), range(halves.shape[1])):
        u = halves[i, k, 0] + halves[i, k, 1] - empty
        u = u / u.norm()
        others = [r for r, own in zip(references, same[i], strict=True) if not own]
        losses.append(nll(u, whole[i], others, torch.tensor(1 / tau, dtype=torch.float64)) / math.log(len(others) + 1))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("count", "masks", "references"), [(1, 1, 1), (2, 3, 7), (7, 1, 33), (33, 2, 5)])
def test_differential_equals_reference(count: int, masks: int, references: int) -> None:
    whole, empty, halves = unit(count, 5, seed=1), unit(5, seed=2), unit(count, masks, 2, 5, seed=3)
    others = unit(references, 5, seed=4)
    same = (torch.arange(count)[:, None] == torch.arange(references)[None] + 1) & (references > 1)
    plain = differential_reference(whole, empty, halves, others, same, 0.3)
    agree(differential(whole, empty, halves, others, same, 0.3), plain, [whole, empty, halves, others])


def test_differential_is_what_the_verdict_says() -> None:
    whole, halves, references = (
        quantise(unit(*shape, seed=n).detach().numpy()) for n, shape in enumerate([(6, 32), (6, 4, 2, 32), (40, 32)])
    )
    empty = quantise(unit(32, seed=9).detach().numpy())
    parts = dequantise(halves[2]).sum(axis=1) - dequantise(empty)
    whole[2] = quantise(dequantise(quantise(parts)).sum(axis=0))  # one that its parts explain
    micro = [differential_loss_micro(w, empty, h, references) for w, h in zip(whole, halves, strict=True)]
    real = [torch.from_numpy(dequantise(part)) for part in (whole, empty, halves, references)]
    for i, want in enumerate(micro):
        got = float(differential(real[0][i : i + 1], real[1], real[2][i : i + 1], real[3]))
        assert 1e6 * got == pytest.approx(want, abs=150)  # u is rounded to a step of 3e-5 there, over a tau of 0.1
    assert min(micro) < 0.7e6 < max(micro)


def test_differential_of_a_constant_encoder_is_one() -> None:
    same = torch.ones(3, 8, dtype=torch.float64) / math.sqrt(8)
    halves = same[:, None, None].expand(3, 2, 2, 8)
    assert float(differential(same, same[0], halves, same)) == pytest.approx(1.0, abs=1e-12)


def test_differential_needs_something_to_compare_with() -> None:
    whole, halves = unit(2, 4, seed=1), unit(2, 1, 2, 4, seed=2)
    with pytest.raises(ValueError, match="mask and a reference"):
        differential(whole, whole[0], halves, whole[:0])
    with pytest.raises(ValueError, match="mask and a reference"):
        differential(whole, whole[0], halves[:, :0], whole)
    with pytest.raises(ValueError, match="no reference but itself"):
        differential(whole, whole[0], halves, whole[:1], torch.tensor([[True], [False]]))


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_distillation_equals_reference(count: int) -> None:
    a, b = unit(count, 5, seed=1), unit(count, 5, seed=2)
    terms = []
    for x, y in zip(a, b, strict=True):
        angle = math.acos(float((x * y).sum().detach()))
        for p, q, pull in ((x, y, 0.4), (y, x, 0.1)):
            target = [
                (math.sin((1 - pull) * angle) * float(u) + math.sin(pull * angle) * float(v)) / math.sin(angle)
                for u, v in zip(p.detach(), q.detach(), strict=True)
            ]
            terms.append(1 - sum((u * t for u, t in zip(p, target, strict=True)), torch.zeros(())))
    agree(distil(a, b, 0.4, 0.1), torch.stack(terms).mean(), [a, b])


def test_slerp_goes_where_the_verdict_goes() -> None:
    a, b = unit(9, 16, seed=1).detach(), unit(9, 16, seed=2).detach()
    b[0], b[1] = a[0], -a[1]
    moved = slerp(a, b, 0.3)
    for x, y, got in zip(a, b, moved, strict=True):
        want, _ = cross_average(quantise(x.numpy()), quantise(y.numpy()), 300_000, 200_000)
        assert float(np.abs(dequantise(want) - got.numpy()).max()) < 1e-4


def test_gradients_are_those_of_finite_differences() -> None:
    a, b, null, leaves, keys_a, keys_b = material(3, 2)
    scalars = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.3, -2.0)]
    keys = torch.tensor(keys_a), torch.tensor(keys_b)
    halves = unit(3, 2, 2, 5, seed=8)
    checks: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (lambda x, y, *n: contrast(x, y, n[4], *keys, Null(*n[:4])), [*leaves, scalars[0]]),
        (lambda x, y, *n: contrast_sigmoid(x, y, n[4], n[5], *keys, Null(*n[:4])), [*leaves, *scalars]),
        (squared_distance, [a, b]),
        (draw_to_empty, [null.junk_a, null.empty_b]),
        (differential, [a, null.empty_a, halves, b]),
    ]
    for loss, given in checks:
        assert torch.autograd.gradcheck(loss, given)


@pytest.mark.parametrize("junk", [1, 2, 7])
def test_the_way_to_an_empty_item_is_measured(junk: int) -> None:
    nothing, empty = unit(junk, 5, seed=1), unit(5, seed=2)
    plain = sum((1 - (one * empty).sum() for one in nothing), torch.zeros(())) / junk
    agree(draw_to_empty(nothing, empty), plain, [nothing, empty])
    assert float(draw_to_empty(empty.repeat(junk, 1), empty).detach()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("with_null", [False, True])
def test_the_sigmoid_loss_counts_no_known_non_negative(with_null: bool) -> None:
    a, b, null, _, _, _ = material(6, 2)
    given = null if with_null else None
    zero = torch.zeros((), dtype=torch.float64)
    shared, own = torch.zeros(6, dtype=torch.int64), torch.arange(6)
    few, all_ = (contrast_sigmoid(a, b, zero, zero, keys, own, given) for keys in (shared, own))
    wrong = [torch.log1p(torch.exp(x @ y)) for i, x in enumerate(a) for j, y in enumerate(b) if i != j]
    assert float((all_ - few).detach()) == pytest.approx(float(torch.stack(wrong).sum().detach()) / 6)


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
