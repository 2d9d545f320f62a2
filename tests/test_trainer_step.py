"""One process: gradient caching equals the plain step, random changes follow a row's place, recipes are checked."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from curiosity.embedding.losses import MAX_LOG_SCALE
from curiosity.protocol.errors import ConfigError
from tests.material.step import ITEMS, STREAMS, draw_first, make_material, make_space, make_stream
from trainer.distributed import Group
from trainer.layers import (
    BLOCK,
    BatchRows,
    PlacedDropout,
    SharedBatchNorm,
    block_seed,
    has_batch_statistics,
    share_layers,
)
from trainer.library import Stream
from trainer.material import plan_step
from trainer.recipe import Recipe
from trainer.step import Slice, Step

SMALL = Recipe(junk_each=5, batch=12)


def make_step(recipe: Recipe, streams: Sequence[Stream] = STREAMS, *, fixed: bool = False, seed: int = 0) -> Step:
    torch.set_num_threads(1)
    space = make_space(seed)
    space.train()
    for layer in space.modules():
        if fixed and isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.eval()
    return Step(space, streams, make_material(space, recipe, bool(recipe.differential_weight)), recipe)


def gradients(step: Step, drawn: Sequence[NDArray[np.int64]], seed: int = 3) -> tuple[float, dict[str, Tensor]]:
    step.space.zero_grad()
    loss = float(step.backward(drawn, np.random.default_rng(seed)))
    return loss, {name: p.grad.clone() for name, p in step.space.named_parameters() if p.grad is not None}


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert set(got) == set(want)
    for name, tensor in want.items():
        far = float((got[name] - tensor).abs().max())
        assert far <= 1e-6 * max(1.0, float(tensor.norm())), f"{name}: {far}"


@pytest.mark.parametrize("fixed", [True, False], ids=["statistics-fixed", "statistics-of-the-batch"])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_gradient_caching_equals_the_plain_step(chunk: int, fixed: bool) -> None:
    recipe = replace(SMALL, differential_weight=0.2, distillation_weight=0.3)
    drawn = draw_first(STREAMS, 12, 7)
    plain, cached = (make_step(one, fixed=fixed) for one in (recipe, replace(recipe, chunk=chunk)))
    want, got = gradients(plain, drawn), gradients(cached, drawn)
    assert got[0] == pytest.approx(want[0], abs=4e-6)
    assert_close(got[1], want[1])
    buffers = dict(plain.space.named_buffers())
    for name, buffer in cached.space.named_buffers():  # statistics are counted once, not once for each pass
        torch.testing.assert_close(buffer, buffers[name], atol=1e-6, rtol=0)


def test_gradient_caching_keeps_the_graph_of_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    step = make_step(replace(SMALL, chunk=3), fixed=True)
    seen: dict[bool, list[int]] = {True: [], False: []}
    for tower in step.space.towers.values():
        tower.register_forward_hook(lambda _m, given, _out: seen[torch.is_grad_enabled()].append(len(given[0])))
    gradients(step, draw_first(STREAMS, 12, 7))
    assert max(seen[True]) == max(seen[False]) == 3
    assert sum(seen[True]) == sum(seen[False]) > 30


def seeded() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
def test_every_term_moves_the_gradient(loss: str) -> None:
    drawn = draw_first(STREAMS, 12, 7)
    base = replace(SMALL, loss=loss, differential_weight=0.3, distillation_weight=0.3, mse_weight=0.3)
    first, want = gradients(make_step(base), drawn)
    changed = {
        "differential": replace(base, differential_weight=0.9),
        "distillation": replace(base, distillation_weight=0.9),
        "squared distance": replace(base, mse_weight=0.9),
        "null": replace(base, null_weight=0.9),
    }
    for name, recipe in changed.items():
        other, got = gradients(make_step(recipe), drawn)
        assert other > first + 0.01, name
        assert (
            float((got["towers.image.projection.weight"] - want["towers.image.projection.weight"]).abs().max()) > 1e-5
        )


def test_empty_items_meet_of_modalities_that_meet_in_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and sounds are in no pair: what draws their junk to each other's empty item is a term of its own."""

    def cosine_after(weight: float) -> float:
        monkeypatch.setattr("trainer.step.APART_WEIGHT", weight)
        step = make_step(replace(SMALL, null_weight=0.3, augment=False), fixed=True)
        assert step._apart(plan_step(STREAMS, draw_first(STREAMS, 12, 7), step.material, SMALL, seeded())) == [
            ("audio", "image"),
            ("image", "audio"),
        ]
        optimizer = torch.optim.AdamW(step.parameter_groups(), lr=2e-3)
        for _ in range(12):
            optimizer.zero_grad()
            step.backward(draw_first(STREAMS, 12, 7), seeded())
            optimizer.step()
        empties = [step.space.embed_empty(name) for name in ("audio", "image")]
        return float(empties[0] @ empties[1])

    assert cosine_after(3.0) > cosine_after(0.0) + 0.1


def test_streams_count_by_their_weight() -> None:
    drawn, recipe = draw_first(STREAMS, 12, 7), replace(SMALL, augment=False)

    def loss(first: float, second: float) -> float:
        weighted = [replace(one, loss_weight=w) for one, w in zip(STREAMS, (first, second), strict=True)]
        return float(make_step(recipe, weighted, fixed=True).loss(drawn, np.random.default_rng(3)).detach())

    assert loss(3, 1) == pytest.approx((3 * loss(1, 0) + loss(0, 1)) / 4, abs=1e-5)
    assert loss(1, 0) != pytest.approx(loss(0, 1), abs=1e-3)


def test_a_batch_without_a_pair_is_named() -> None:
    none, some = np.zeros(0, dtype=np.int64), np.arange(3)
    step = make_step(SMALL, [STREAMS[0], replace(STREAMS[1], loss_weight=0.0)])
    for drawn in ([none, none], [none, some]):
        with pytest.raises(ConfigError, match="BATCH_EMPTY"):
            step.backward(drawn, np.random.default_rng(3))


def test_a_pulled_half_follows_the_medians() -> None:
    """The modality that is understood worse moves more (docs/scoring.md, "The cross-average")."""
    step = make_step(replace(SMALL, distillation_weight=1.0, null_weight=0.0, augment=False), fixed=True)
    drawn = draw_first(STREAMS, 12, 7)
    even, _ = gradients(step, drawn)
    step.medians = {"image": 900_000, "text": 100_000, "audio": 100_000}
    uneven, _ = gradients(step, drawn)
    assert uneven != even


def test_random_changes_do_not_depend_on_where_a_process_begins() -> None:
    recipe = replace(SMALL, junk_each=40)
    step = make_step(recipe, [make_stream("image", "text", 140)])
    part = plan_step(step.streams, draw_first(step.streams, 140), step.material, recipe, np.random.default_rng(1))[
        "image"
    ]
    assert part.changed > 2 * BLOCK
    whole = step._inputs("image", part, 0, part.total)
    assert torch.equal(whole[-1], step.material.empty["image"][0])
    assert not torch.equal(whole[: len(part.real)], step.material.inputs["image"][torch.from_numpy(part.real)])
    for first, last in ((0, 1), (3, 70), (64, 128), (100, part.total), (part.total - 1, part.total), (5, 5)):
        assert torch.equal(step._inputs("image", part, first, last), whole[first:last])
    towers = step._towers
    torch.manual_seed(0)
    text = torch.randn(90, 384)
    step.space.tower("text").get_submodule("norm").eval()  # statistics of a part are others: this is about dropout
    every = towers.embed("text", Slice(text, text[:1], 0, 7))  # type: ignore[operator]
    parts = [towers.embed("text", one) for one in Slice(text, text[:1], 0, 7).cut(4)]  # type: ignore[operator]
    torch.testing.assert_close(torch.cat(parts), every, atol=1e-6, rtol=0)
    other = towers.embed("text", Slice(text, text[:1], 0, 8))  # type: ignore[operator]
    assert float((other - every).abs().max().detach()) > 0.01


def test_placed_dropout_drops_its_share_and_keeps_the_mean() -> None:
    place = BatchRows()
    layer = PlacedDropout(0.3, place, 0)
    ones = torch.ones(2000, 50)
    place.put(0, 2000, 5)
    out = layer(ones)
    assert float((out == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.01)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert not torch.equal(PlacedDropout(0.3, place, 1)(ones), out)  # another layer, another mask
    assert torch.equal(
        layer(ones.view(2000 * 10, 5)).view(2000, 50)[64:], layer(ones.view(20_000, 5)).view(2000, 50)[64:]
    )
    place.put(130, 70, 5)
    assert torch.equal(layer(ones[:70]), out[130:200])
    place.put(0, 0, 0)
    torch.manual_seed(1)
    want = nn.functional.dropout(ones, 0.3)
    torch.manual_seed(1)
    assert torch.equal(layer(ones), want)  # nobody announced a place: nn.Dropout
    assert torch.equal(layer.eval()(ones), ones)


def test_checkpointed_layers_drop_the_same_again() -> None:
    step = make_step(replace(SMALL, augment=False))
    drawn = draw_first(STREAMS, 12, 7)
    _, want = gradients(step, drawn)
    tower = step.space.tower("text")
    inner = tower.layers
    assert isinstance(inner, nn.Module)
    tower.layers = nn.Module()
    tower.layers.forward = lambda x: checkpoint(inner, x, use_reentrant=False)
    inner.zero_grad()
    _, got = gradients(step, drawn)
    tower.layers = inner
    shared = {name: got[name] for name in want if not name.startswith("towers.text.layers")}
    assert_close(shared, {name: want[name] for name in shared})
    for name, parameter in inner.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, want[f"towers.text.layers.{name}"], atol=1e-6, rtol=0)


def test_replaced_layers_keep_weights_names_and_mode() -> None:
    space, untouched = make_space(), make_space()
    space.train()
    space.tower("image").eval()
    share_layers(space, BatchRows(), Group(0, 2))
    assert sum(isinstance(layer, SharedBatchNorm) for layer in space.modules()) == 9
    assert sum(type(layer) is nn.Dropout for layer in space.modules()) == 0
    state = space.state_dict()
    assert list(state) == list(untouched.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in untouched.state_dict().items())
    assert has_batch_statistics(space.tower("audio"))
    assert not has_batch_statistics(space.tower("image"))


@pytest.mark.parametrize(
    "source", [nn.BatchNorm1d(6), nn.BatchNorm2d(6, momentum=None), nn.BatchNorm1d(6, affine=False)]
)
def test_alone_the_shared_batch_norm_is_batch_norm(source: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    shared = SharedBatchNorm(source, Group())
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 6, *([4] * (1 + isinstance(source, nn.BatchNorm2d))), generator=generator)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    want = source(inputs)
    after = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    source.load_state_dict(before)
    assert torch.equal(shared(inputs), want)
    assert all(torch.equal(shared.state_dict()[name], tensor) for name, tensor in after.items())
    assert torch.equal(shared.eval()(inputs), source.eval()(inputs))


def test_half_precision_stays_near_and_the_loss_stays_float32() -> None:
    drawn = draw_first(STREAMS, 12, 7)
    space = make_space()
    space.train()
    material = make_material(space, SMALL)
    losses = [
        Step(space, STREAMS, material, SMALL, precision=precision).backward(drawn, np.random.default_rng(3))
        for precision in (None, torch.bfloat16)
    ]
    assert losses[1].dtype == torch.float32
    assert float(losses[0]) != float(losses[1])
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=0.05)


def test_the_temperature_and_the_bias_do_not_decay_and_stay_in_range() -> None:
    step = make_step(replace(SMALL, loss="siglip"))
    step.space.tower("image").requires_grad_(False)
    groups = step.parameter_groups()
    listed = [id(p) for group in groups for p in group["params"]]  # type: ignore[attr-defined]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in step.space.parameters() if p.requires_grad} | {id(step.bias)}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}  # type: ignore[attr-defined]
    assert decay[id(step.space.log_scale)] == decay[id(step.bias)] == 0.0
    assert decay[id(step.space.tower("text").linear.weight)] == step.recipe.weight_decay  # type: ignore[union-attr]
    with torch.no_grad():
        step.space.log_scale.fill_(7.0)
    step.clamp()
    assert float(step.space.log_scale.detach()) == pytest.approx(MAX_LOG_SCALE)


def test_a_modality_that_nothing_was_drawn_from_is_left_alone() -> None:
    step = make_step(SMALL)
    before = {name: tensor.clone() for name, tensor in step.space.tower("audio").state_dict().items()}
    _, found = gradients(step, draw_first(STREAMS, 12, 0))
    assert not any(name.startswith("towers.audio") for name in found)
    assert all(torch.equal(step.space.tower("audio").state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ({"loss": "mse"}, "LOSS_COLLAPSES"),
        ({"loss": "l2"}, "LOSS_UNKNOWN"),
        ({"sharding": "zero"}, "SHARDING_UNKNOWN"),
        ({"mse_weight": -0.1}, "RECIPE_RANGE"),
        ({"chunk": -1}, "RECIPE_RANGE"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(setting: dict[str, object], code: str) -> None:
    with pytest.raises(ConfigError, match=code):
        Recipe(**setting)  # type: ignore[arg-type]


def test_block_seeds_differ() -> None:
    seeds = {block_seed(seed, layer, block) for seed in range(10) for layer in range(10) for block in range(10)}
    assert len(seeds) == 1000
    assert len({seed % 2**32 for seed in seeds}) == 1000  # torch's generator on the CPU looks at 32 bits
    assert ITEMS > BLOCK
