"""The first fusion and the first heads."""

import pytest
import torch
from torch import Tensor

from curiosity.embedding.fusion.concat import ConcatMlp
from curiosity.embedding.fusion.inputs import drop_modalities
from curiosity.embedding.heads.tasks import Classifier, Regressor
from curiosity.protocol.errors import ConfigError

DIMS = {"image": 6, "audio": 4, "touch": 3}


def make(rows: int, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, width, generator=rng) for name, width in DIMS.items()}


@pytest.fixture
def fusion() -> ConcatMlp:
    torch.manual_seed(0)
    made = ConcatMlp(DIMS, 8).eval()
    with torch.no_grad():
        for vector in made.missing.values():
            vector.normal_()
    return made


def test_a_fusion_of_everything_is_the_layers_over_the_concatenation(fusion: ConcatMlp) -> None:
    given = make(5)
    one, two = fusion.layers[0], fusion.layers[3]
    flat = torch.cat([given["audio"], given["image"], given["touch"]], dim=1)
    want = (flat @ one.weight.T + one.bias).clamp(min=0) @ two.weight.T + two.bias  # type: ignore[operator]
    torch.testing.assert_close(fusion(given), want)
    torch.testing.assert_close(fusion(dict(reversed(given.items()))), want)


@pytest.mark.parametrize("junk", [0.0, 7.5, float("nan"), float("inf")])
def test_what_stands_in_a_missing_place_changes_nothing(fusion: ConcatMlp, junk: float) -> None:
    given, present = make(5), {"audio": torch.tensor([True, False, True, False, True])}
    want = fusion(given, present)
    filled = given | {"audio": torch.where(present["audio"][:, None], given["audio"], junk)}
    filled["audio"].requires_grad_()
    got = fusion(filled, present)
    assert torch.equal(got, want)
    got.sum().backward()
    assert filled["audio"].grad is not None
    assert torch.equal(filled["audio"].grad[1], torch.zeros(4))
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)
    # Rows that lack nothing are those of a fusion that was told of no mask; the others are not.
    whole = fusion(given)
    assert torch.equal(want[::2], whole[::2])
    assert (want[1] - whole[1]).abs().max() > 1e-3
    # Missing for all and left out are the same.
    nobody = fusion(given, {"touch": torch.zeros(5, dtype=torch.bool)})
    assert torch.equal(nobody, fusion({name: given[name] for name in ("image", "audio")}))


def test_a_fusion_refuses_what_does_not_fit(fusion: ConcatMlp) -> None:
    given = make(5)
    for wrong in (
        {},
        given | {"smell": torch.zeros(5, 2)},
        given | {"audio": torch.zeros(5, 5)},
        given | {"audio": torch.zeros(4, 4)},
        given | {"audio": torch.zeros(5, 4, 1)},
    ):
        with pytest.raises(ConfigError, match="FUSION_INPUT"):
            fusion(wrong)
    with pytest.raises(ConfigError, match="FUSION_INPUT"):
        fusion({"image": given["image"]}, {"audio": torch.ones(5, dtype=torch.bool)})
    with pytest.raises(ConfigError, match="FUSION_EMPTY"):
        ConcatMlp({}, 8)


def test_dropping_modalities_takes_its_share_and_leaves_every_item_one() -> None:
    rng = torch.Generator().manual_seed(0)
    present = {name: torch.rand(4_000, generator=rng) < 0.7 for name in DIMS}
    had = torch.stack([present[name] for name in sorted(present)], dim=1)
    kept_names = drop_modalities(present, 0.4, torch.Generator().manual_seed(1))
    kept = torch.stack([kept_names[name] for name in sorted(present)], dim=1)
    assert not (kept & ~had).any()
    assert torch.equal(kept.any(dim=1), had.any(dim=1))
    many = had.sum(dim=1) == 3
    # 40 % are taken, but for the item that would have lost all three: 0.4 - 0.4^3 / 3.
    assert 1 - float(kept[many].float().mean()) == pytest.approx(0.4 - 0.4**3 / 3, abs=0.02)
    again = drop_modalities(present, 0.4, torch.Generator().manual_seed(1))
    assert all(torch.equal(again[name], kept_names[name]) for name in DIMS)
    assert all(torch.equal(drop_modalities(present, 0.0)[name], present[name]) for name in DIMS)
    bare = drop_modalities(present, 1.0, torch.Generator().manual_seed(2))
    assert int(torch.stack(list(bare.values())).sum(dim=0).max()) == 1


def test_a_fusion_trained_with_dropping_still_answers_without_a_modality() -> None:
    """A task that two modalities each know: without dropping, taking one away must cost more."""
    errors = {}
    for share in (0.0, 0.4):
        torch.manual_seed(0)
        fusion, head = ConcatMlp({"a": 2, "b": 2}, 16, dropout=0.0), Classifier(16, 2, dropout=0.0)
        optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=1e-2)
        rng = torch.Generator().manual_seed(1)

        def draw(rng: torch.Generator = rng) -> tuple[dict[str, Tensor], Tensor]:
            labels = torch.randint(0, 2, (128,), generator=rng)
            side = (2.0 * labels - 1)[:, None]
            sharp, noisy = (scale * torch.randn(128, 2, generator=rng) for scale in (0.1, 0.8))
            return {"a": 4 + side + sharp, "b": side + noisy}, labels

        for _ in range(150):
            given, labels = draw()
            everyone = {name: torch.ones(128, dtype=torch.bool) for name in given}
            optimiser.zero_grad()
            torch.autograd.backward(head.loss(fusion(given, drop_modalities(everyone, share, rng)), labels))
            optimiser.step()
        given, labels = draw()
        errors[share] = float((head(fusion({"b": given["b"]})).argmax(dim=1) != labels).float().mean())
    assert errors[0.4] < 0.12
    assert errors[0.0] > 0.3


def test_heads_learn_a_task_and_their_losses_are_the_plain_ones() -> None:
    torch.manual_seed(0)
    rows = torch.randn(256, 8)
    labels, targets = (rows[:, 0] > 0).long() + 2 * (rows[:, 1] > 0).long(), rows[:, :1] * 2 - rows[:, 1:2]
    sort, guess = Classifier(8, 4, dropout=0.0), Regressor(8, dropout=0.0)
    probabilities = sort(rows).softmax(dim=1)
    torch.testing.assert_close(sort.loss(rows, labels), -probabilities[torch.arange(256), labels].log().mean())
    torch.testing.assert_close(guess.loss(rows, targets), ((guess(rows) - targets) ** 2).mean())
    optimiser = torch.optim.Adam([*sort.parameters(), *guess.parameters()], lr=3e-2)
    for _ in range(120):
        optimiser.zero_grad()
        torch.autograd.backward(sort.loss(rows, labels) + guess.loss(rows, targets))
        optimiser.step()
    assert float((sort(rows).argmax(dim=1) == labels).float().mean()) > 0.95
    assert guess.loss(rows, targets).item() < 0.1
    assert Classifier(8)(rows).shape == (256, 10)
    assert guess(rows).shape == (256, 1)
