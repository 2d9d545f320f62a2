"""Losses between two modalities: contrastive and sigmoid, each with known non-negatives and the null anchor.

Beside them stands what may be added: squared distance, the differential loss, self-distillation.

B pairs, J junk items, K masks, N references, D dimension. All embeddings are of unit length.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from curiosity.protocol.scoring import TAU

# The scale of the logits stays between 1 and 10. CLIP allows 100 (Radford et al. 2021, section 2.5), but a low
# temperature lets each modality keep a cone of its own, and modalities that were never paired then miss each other:
# picture to speech of digits at 1 is 57 % at scale 16, 77 % at 10 (same run otherwise).
MAX_LOG_SCALE = math.log(10.0)
FIRST_BIAS = -10.0  # of the sigmoid loss (Zhai et al. 2023, section 3.2): nearly all of B * B combinations are wrong


@dataclass(frozen=True)
class Null:
    """What belongs to nothing: junk embeddings float[J, D] of both sides and the empty item float[D] of both."""

    junk_a: Tensor
    junk_b: Tensor
    empty_a: Tensor
    empty_b: Tensor

    @property
    def nothing(self) -> tuple[Tensor, Tensor]:
        """Junk and the empty item of each side, float[J + 1, D]: what is drawn to the other side's empty item."""
        return torch.cat([self.junk_a, self.empty_a[None]]), torch.cat([self.junk_b, self.empty_b[None]])


def contrast(
    a_BD: Tensor,
    b_BD: Tensor,
    log_scale: Tensor,
    keys_a: Tensor,
    keys_b: Tensor,
    null: Null | None = None,
    null_weight: float = 0.3,
) -> Tensor:
    """Return symmetric InfoNCE (van den Oord et al. 2018, eq. 4) of B true pairs; a scalar.

    ``keys_a``, ``keys_b`` int64[B] name the content: entries that share a key with the pair on either side are not
    its negatives. With ``null``, junk and the empty item of the other side are further negatives, and junk itself is
    drawn to the other side's empty item, weighted by ``null_weight`` (docs/scoring.md, "Null gate").
    """
    scale = _scale(log_scale)
    logits = (scale * a_BD @ b_BD.T).masked_fill(_known(keys_a, keys_b), float("-inf"))
    rows, columns = logits, logits.T
    if null is not None:
        rows = torch.cat([rows, scale * a_BD @ torch.cat([null.junk_b, null.empty_b[None]]).T], dim=1)
        columns = torch.cat([columns, scale * b_BD @ torch.cat([null.junk_a, null.empty_a[None]]).T], dim=1)
    target = torch.arange(len(a_BD), device=a_BD.device)
    loss = (cross_entropy(rows, target) + cross_entropy(columns, target)) / 2
    if null is None:
        return loss
    nothing_a, nothing_b = null.nothing
    drawn = _draw(nothing_a, null.empty_b, b_BD, scale) + _draw(nothing_b, null.empty_a, a_BD, scale)
    return loss + null_weight * drawn / (len(nothing_a) + len(nothing_b))


def contrast_sigmoid(
    a_BD: Tensor,
    b_BD: Tensor,
    log_scale: Tensor,
    bias: Tensor,
    keys_a: Tensor,
    keys_b: Tensor,
    null: Null | None = None,
    null_weight: float = 0.3,
) -> Tensor:
    """Return the sigmoid loss (Zhai et al. 2023, algorithm 1) of B true pairs; a scalar.

    Each combination is a question of its own, "do these two belong together?", with the logit ``scale * cos + bias``;
    the sum over combinations is divided by B. Keys as in ``contrast``. With ``null``, combinations with junk and with
    the empty item of the other side are wrong ones, and that of junk with the other side's empty item is a right one,
    weighted by ``null_weight``.
    """
    scale, count = _scale(log_scale), len(a_BD)
    logits = scale * a_BD @ b_BD.T + bias
    own = torch.eye(count, dtype=torch.bool, device=logits.device)
    # A known non-negative counts nothing, whichever way.
    terms = logsigmoid(torch.where(own, logits, -logits)).masked_fill(_known(keys_a, keys_b), 0.0)
    total = terms.sum()
    if null is None:
        return -total / count
    for real, junk, empty in ((a_BD, null.junk_b, null.empty_b), (b_BD, null.junk_a, null.empty_a)):
        total = total + logsigmoid(-(scale * real @ torch.cat([junk, empty[None]]).T + bias)).sum()
    nothing_a, nothing_b = null.nothing
    drawn = (
        logsigmoid(scale * nothing_a @ null.empty_b + bias).sum()
        + logsigmoid(scale * nothing_b @ null.empty_a + bias).sum()
    )
    return -total / count - null_weight * drawn / (len(nothing_a) + len(nothing_b))


def draw_to_empty(nothing_JD: Tensor, empty_D: Tensor) -> Tensor:
    """Return how far what belongs to nothing in one modality is from the empty item of another: mean of ``1 - cos``.

    For modalities that meet in no pair of a step. ``contrast`` draws junk to the empty item of its partner alone; the
    empty items of two that are no partners would agree through a third modality only, and the null gate between them
    would leak. Real items are no rivals here: those that nobody has paired with a picture may still belong to it, and
    pushing them from what was cut from it costs a third of the recall between the two (docs/scoring.md, "Null gate").
    """
    return 1 - (nothing_JD @ empty_D).mean()


def squared_distance(a_BD: Tensor, b_BD: Tensor) -> Tensor:
    """Return the mean squared distance of the two halves; a scalar.

    Alone it is smallest where every embedding is the same.
    """
    return (a_BD - b_BD).square().sum(dim=1).mean()


def differential(
    whole_BD: Tensor,
    empty_D: Tensor,
    halves_BK2D: Tensor,
    references_ND: Tensor,
    same_BN: Tensor | None = None,
    tau: float = TAU,
) -> Tensor:
    """Return the mean differential loss of B items; a scalar: 1 is uninformative, 0 perfect.

    The composed form of docs/scoring.md: how badly ``unit(e_k + e'_k - e_0)`` finds the whole among itself and the
    references. What ``curiosity.protocol.scoring.differential_loss_micro`` computes in integers. Where ``same_BN``
    (bool[B, N]) is True, the reference is the item itself and does not count.

    Raises:
        ValueError: without a mask, or where an item has no reference.
    """
    if halves_BK2D.shape[1] == 0 or len(references_ND) == 0:
        raise ValueError(f"needs a mask and a reference, got {halves_BK2D.shape[1]} and {len(references_ND)}")
    same = same_BN if same_BN is not None else halves_BK2D.new_zeros(len(whole_BD), len(references_ND)).bool()
    rivals = (~same).sum(dim=1)
    if len(rivals) and not bool((rivals > 0).all()):
        raise ValueError("an item has no reference but itself")
    composed_BKD = normalize(halves_BK2D.sum(dim=2) - empty_D, dim=2)
    own_BK1 = (composed_BKD * whole_BD[:, None]).sum(dim=2, keepdim=True)
    others_BKN = (composed_BKD @ references_ND.T).masked_fill(same[:, None], float("-inf"))
    logits = torch.cat([own_BK1, others_BKN], dim=2) / tau
    loss_BK = logits.logsumexp(dim=2) - logits[:, :, 0]
    return (loss_BK / (rivals + 1).to(loss_BK.dtype).log()[:, None]).mean()


def distil(a_BD: Tensor, b_BD: Tensor, pull_a: float = 0.25, pull_b: float = 0.25) -> Tensor:
    """Return how far each half is from the pair's cross-averaged embeddings, which are fixed targets.

    It is the mean of ``1 - cos(a, a')`` and ``1 - cos(b, b')``, a scalar. ``a' = slerp(a, b, pull_a)``, as
    ``curiosity.protocol.scoring.cross_average`` moves them; no gradient flows into the targets.
    """
    with torch.no_grad():
        target_a, target_b = slerp(a_BD, b_BD, pull_a), slerp(b_BD, a_BD, pull_b)
    return 1 - ((a_BD * target_a).sum(dim=1).mean() + (b_BD * target_b).sum(dim=1).mean()) / 2


def slerp(a_BD: Tensor, b_BD: Tensor, fraction: float) -> Tensor:
    """Return each unit vector ``a`` moved along the great circle towards ``b`` by ``fraction`` of their angle.

    Equal or opposite vectors have no great circle: ``a`` stays.
    """
    cosine = (a_BD * b_BD).sum(dim=1, keepdim=True).clamp(-1.0, 1.0)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    moved = (torch.sin((1 - fraction) * angle) * a_BD + torch.sin(fraction * angle) * b_BD) / sine.clamp(min=1e-9)
    return torch.where(sine < 1e-6, a_BD, moved)


def _scale(log_scale: Tensor) -> Tensor:
    return log_scale.clamp(0.0, MAX_LOG_SCALE).exp()


def _known(keys_a: Tensor, keys_b: Tensor) -> Tensor:
    """Return bool[B, B]: combinations of different pairs that share a half, which are therefore no negatives."""
    same = (keys_a[:, None] == keys_a[None, :]) | (keys_b[:, None] == keys_b[None, :])
    return same & ~torch.eye(len(keys_a), dtype=torch.bool, device=same.device)


def _draw(junk_JD: Tensor, empty_D: Tensor, real_BD: Tensor, scale: Tensor) -> Tensor:
    """Return the summed negative log-likelihood that junk belongs to the empty item rather than to a real one."""
    logits = scale * junk_JD @ torch.cat([empty_D[None], real_BD]).T
    target = torch.zeros(len(junk_JD), dtype=torch.int64, device=junk_JD.device)
    return cross_entropy(logits, target, reduction="sum")
