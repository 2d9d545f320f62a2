"""Every way of fusing: what is missing is never read, items do not mix, and the documents' own forms fail."""

import math

import pytest
import torch
from torch import Tensor, nn

from curiosity.embedding.fusion import FUSIONS, build_fusion
from curiosity.embedding.fusion.attention import AttentionFusion, CrossModalAttention
from curiosity.embedding.fusion.early import EarlyFusion
from curiosity.embedding.fusion.graph import GraphFusion
from curiosity.embedding.fusion.inputs import Fusion, drop_modalities, masked_softmax
from curiosity.embedding.fusion.late import LateFusion
from curiosity.embedding.fusion.vision_language import VisionLanguageAttention, VisionLanguageEncoder
from curiosity.embedding.fusion.weighted import WeightedSum
from curiosity.embedding.heads.tasks import Classifier
from curiosity.protocol.errors import ConfigError

DIMS = {"image": 6, "audio": 4, "touch": 3}
EVERY = pytest.mark.parametrize("name", sorted(FUSIONS))
WEIGHING = ("attention", "late", "weighted_sum")


def make(rows: int, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, width, generator=rng) for name, width in DIMS.items()}


def build(name: str, dim: int = 16, **options: float) -> Fusion:
    """A fusion with every parameter drawn: none is 0, so that nothing is ignored by chance."""
    torch.manual_seed(0)
    fusion = build_fusion(name, DIMS, dim, **options).eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.normal_(std=0.4)
    return fusion


@EVERY
@pytest.mark.parametrize("junk", [7.5, math.nan, math.inf])
def test_no_fusion_reads_what_stands_in_a_missing_place(name: str, junk: float) -> None:
    fusion, given = build(name), make(5)
    present = {"audio": torch.tensor([True, False, True, False, True])}
    want = fusion(given, present)
    filled = given | {"audio": torch.where(present["audio"][:, None], given["audio"], junk).requires_grad_()}
    got = fusion(filled, present)
    assert float((got - want).abs().max().detach()) == 0.0
    got.square().sum().backward()
    assert filled["audio"].grad is not None
    assert torch.equal(filled["audio"].grad[1], torch.zeros(4))
    assert filled["audio"].grad[0].abs().sum() > 0
    assert all(torch.isfinite(one.grad).all() for one in fusion.parameters() if one.grad is not None)
    # The other arm: a modality that is there does change the vector, and its absence does too.
    assert (fusion(given | {"audio": given["audio"] + 1}, present) - want).abs()[0].max() > 1e-3
    assert (want - fusion(given))[1].abs().max() > 1e-3


@EVERY
def test_every_fusion_takes_any_subset_and_an_item_of_nothing(name: str) -> None:
    fusion, given = build(name), make(5)
    nobody = torch.zeros(5, dtype=torch.bool)
    for kept in ({"image"}, {"audio", "touch"}, {"image", "touch"}):
        some = {one: given[one] for one in sorted(kept)}
        masks = {one: nobody for one in given if one not in kept}
        torch.testing.assert_close(fusion(some), fusion(given, masks), rtol=0, atol=1e-6)
    empty = fusion(given, dict.fromkeys(given, nobody))
    assert torch.isfinite(empty).all()
    assert torch.equal(empty, empty[:1].expand(5, -1))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_fusion_works_in_other_precisions_and_on_an_empty_batch(name: str, dtype: torch.dtype) -> None:
    fusion, given = build(name).to(dtype), {one: tensor.to(dtype) for one, tensor in make(5).items()}
    fused = fusion(given, {"audio": torch.tensor([True, False, True, False, False])})
    assert fused.dtype == dtype
    assert torch.isfinite(fused).all()
    assert fusion({one: tensor[:0] for one, tensor in given.items()}).shape == (0, 16)


@EVERY
def test_no_item_of_a_batch_sees_another(name: str) -> None:
    fusion, given = build(name), make(5)
    want = fusion(given)
    changed = {one: tensor.clone() for one, tensor in given.items()}
    for tensor in changed.values():
        tensor[3] += 5
    got = fusion(changed)
    keep = [0, 1, 2, 4]
    assert torch.equal(got[keep], want[keep])
    assert (got[3] - want[3]).abs().max() > 1e-2


@EVERY
def test_weights_of_modalities_are_shares_of_what_is_there(name: str) -> None:
    fusion, given = build(name), make(5)
    present = {"audio": torch.tensor([True, False, True, False, True])}
    fused = fusion.explain(given, present)
    assert torch.equal(fused.vectors, fusion(given, present))
    assert (fused.weights is not None) == (name in WEIGHING)
    if fused.weights is not None:
        assert list(fused.weights) == sorted(DIMS)
        torch.testing.assert_close(sum(fused.weights.values()), torch.ones(5))
        assert fused.weights["audio"][1] == 0
        assert fused.weights["audio"][0] > 0


@EVERY
def test_a_fusion_that_is_trained_with_missing_modalities_answers_without_one(name: str) -> None:
    """The label is in both modalities, one of them noisy; the sharp one is taken away after training."""
    errors = {}
    for share in (0.0, 0.4):
        torch.manual_seed(0)
        options = {"heads": 2, "dropout": 0.0} if name in ("attention", "transformer", "early") else {}
        options |= {"layers": 1} if name in ("transformer", "early") else {}
        made = FUSIONS[name]({"a": 2, "b": 2}, 16, modality_dropout=share, **options)
        head = Classifier(16, 2, dropout=0.0)
        optimiser = torch.optim.Adam([*made.parameters(), *head.parameters()], lr=5e-3)
        rng = torch.Generator().manual_seed(1)

        def draw(rows: int, rng: torch.Generator = rng) -> tuple[dict[str, Tensor], Tensor]:
            labels = torch.randint(0, 2, (rows,), generator=rng)
            side = (2.0 * labels - 1)[:, None]
            sharp, noisy = (scale * torch.randn(rows, 2, generator=rng) for scale in (0.1, 0.8))
            return {"a": 4 + side + sharp, "b": side + noisy}, labels

        for _ in range(120):
            given, labels = draw(64)
            optimiser.zero_grad()
            torch.autograd.backward(head.loss(made(given), labels))
            optimiser.step()
        made.eval()
        given, labels = draw(400)
        errors[share] = float((head(made({"b": given["b"]})).argmax(dim=1) != labels).float().mean())
        assert float((head(made(given)).argmax(dim=1) != labels).float().mean()) < 0.05
    assert errors[0.4] < 0.15
    if name not in ("weighted_sum", "graph"):  # nearly linear sums lose little
        assert errors[0.4] < errors[0.0]


def test_dropped_modalities_are_dropped_in_training_only() -> None:
    fusion, given = build("weighted_sum", modality_dropout=0.5), make(200)
    whole = fusion.explain(given).weights
    assert whole is not None
    assert all((one > 0).all() for one in whole.values())
    fusion.train()
    dropped = fusion.explain(given).weights
    assert dropped is not None
    missing = torch.stack([one == 0 for one in dropped.values()])
    assert 0.3 < float(missing.float().mean()) < 0.55
    assert not missing.all(dim=0).any()


@EVERY
def test_every_fusion_refuses_what_does_not_fit(name: str) -> None:
    fusion, given = build(name), make(5)
    everyone = torch.ones(5, dtype=torch.bool)
    for embeddings, present in (
        ({}, {}),
        (given | {"smell": torch.zeros(5, 2)}, {}),
        (given | {"audio": torch.zeros(5, 5)}, {}),
        (given | {"audio": torch.zeros(4, 4)}, {}),
        (given | {"audio": torch.zeros(5, 4, 1, 1)}, {}),
        (given | {"audio": torch.zeros(5, 4, dtype=torch.int64)}, {}),
        (given | {"audio": torch.zeros(5, 4, dtype=torch.float64)}, {}),
        ({"image": given["image"]}, {"audio": everyone}),
        (given, {"audio": torch.ones(5)}),
        (given, {"audio": torch.ones(5, 2, dtype=torch.bool)}),
        (given, {"audio": torch.ones(4, dtype=torch.bool)}),
    ):
        with pytest.raises(ConfigError, match="FUSION_INPUT"):
            fusion(embeddings, present)
    with pytest.raises(ConfigError, match="FUSION_EMPTY"):
        build_fusion(name, {}, 16)
    for wrong, dim, share in (({"a": 0}, 16, 0.0), ({"a": 2}, 0, 0.0), ({"a": 2}, 16, 1.0), ({"a": 2}, 16, -0.1)):
        with pytest.raises(ConfigError, match="FUSION_SIZE"):
            build_fusion(name, wrong, dim, modality_dropout=share)


def test_an_unknown_fusion_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="FUSION_UNKNOWN") as caught:
        build_fusion("magic", DIMS, 16)
    assert "weighted_sum" in caught.value.remedy


def test_a_weighted_sum_is_the_softmax_of_its_gates_over_its_maps() -> None:
    fusion, given = build("weighted_sum"), make(4)
    assert isinstance(fusion, WeightedSum)
    tokens = fusion.tokens({one: given[one] for one in sorted(DIMS)})
    weights = torch.einsum("bmd,md->bm", tokens, fusion.gates).add(fusion.biases).softmax(dim=1)
    want = sum(weights[:, place, None] * tokens[:, place] for place in range(3))
    torch.testing.assert_close(fusion(given), want)
    # As it is made, all modalities count alike.
    fresh = WeightedSum(DIMS, 8).explain(given).weights
    assert fresh is not None
    torch.testing.assert_close(fresh["audio"], torch.full((4,), 1 / 3))


def test_late_fusion_is_the_mean_of_the_product_of_gaussians_and_learns_which_modality_is_noisy() -> None:
    fusion, given = build("late"), make(4)
    assert isinstance(fusion, LateFusion)
    mapped = {one: linear(given[one]) for one, linear in fusion.maps.items()}
    precisions = {one: mapped[one][:, -1:].exp() for one in DIMS}
    want = sum(precisions[one] * mapped[one][:, :-1] for one in DIMS) / sum(precisions.values())
    torch.testing.assert_close(fusion(given), want)

    torch.manual_seed(0)
    made = LateFusion({"clean": 2, "noisy": 2}, 2)
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-2)
    rng = torch.Generator().manual_seed(0)

    def draw(noise: float) -> tuple[dict[str, Tensor], Tensor]:
        target = torch.randn(128, 2, generator=rng)
        return {
            "clean": target + 0.1 * torch.randn(128, 2, generator=rng),
            "noisy": target + noise * torch.randn(128, 2, generator=rng),
        }, target

    for _ in range(200):
        given, target = draw(2.0)
        optimiser.zero_grad()
        torch.autograd.backward(made.loss(given, target))
        optimiser.step()
    given, target = draw(2.0)
    weights = made.explain(given).weights
    assert weights is not None
    assert weights["clean"].mean().item() > 0.95
    # A row that lacks the modality adds nothing to the loss, whatever stands there.
    present = {"noisy": torch.arange(128) % 2 == 0}
    filled = given | {"noisy": torch.where(present["noisy"][:, None], given["noisy"], math.nan)}
    assert torch.equal(made.loss(filled, target, present), made.loss(given, target, present))
    with pytest.raises(ConfigError, match="FUSION_INPUT"):
        made.loss(given, target[:, :1])


def test_a_graph_passes_messages_along_its_edges_alone() -> None:
    given = make(4)
    torch.manual_seed(0)
    lone = GraphFusion(DIMS, 8, edges=[])
    tokens = lone.tokens({one: given[one] for one in sorted(DIMS)})
    torch.testing.assert_close(lone(given), (tokens + torch.relu(lone.send[0](tokens))).mean(dim=1))
    # Messages between image and touch only: what audio says reaches no other node.
    pair = GraphFusion(DIMS, 8, edges=[("image", "touch")])
    assert pair.linked.tolist() == [[True, False, False], [False, True, True], [False, True, True]]
    whole = GraphFusion(DIMS, 8)
    assert bool(whole.linked.all())
    moved = given | {"audio": given["audio"] + 1}

    def without_own_node(fusion: GraphFusion, items: dict[str, Tensor]) -> Tensor:
        nodes = fusion.tokens({one: items[one] for one in sorted(DIMS)})
        sent = fusion.send[0](nodes)
        others: Tensor = 3 * fusion(items) - (nodes + torch.relu(sent))[:, 0]  # audio is the first node
        return others

    torch.testing.assert_close(without_own_node(pair, given), without_own_node(pair, moved), atol=1e-5, rtol=0)
    assert (without_own_node(whole, given) - without_own_node(whole, moved)).abs().max() > 1e-2
    with pytest.raises(ConfigError, match="FUSION_EDGE"):
        GraphFusion(DIMS, 8, edges=[("image", "smell")])


def test_early_fusion_reads_tokens_in_order_and_never_the_padding() -> None:
    fusion = build("early")
    assert isinstance(fusion, EarlyFusion)
    given = make(3)
    rng = torch.Generator().manual_seed(3)
    words = torch.randn(3, 7, 4, generator=rng)
    lengths = torch.tensor([7, 2, 4])
    mask = torch.arange(7) < lengths[:, None]
    want = fusion(given | {"audio": words}, {"audio": mask})
    junk = torch.where(mask[..., None], words, math.nan)
    assert torch.equal(fusion(given | {"audio": junk}, {"audio": mask}), want)
    # More padding moves sums of floats, not what is read.
    longer = nn.functional.pad(junk, (0, 0, 0, 3), value=9.0)
    wide = nn.functional.pad(mask, (0, 3))
    torch.testing.assert_close(fusion(given | {"audio": longer}, {"audio": wide}), want, atol=1e-4, rtol=0)
    swapped = words[:, [1, 0, 2, 3, 4, 5, 6]]
    assert (fusion(given | {"audio": swapped}, {"audio": mask}) - want).abs().max() > 1e-2
    with pytest.raises(ConfigError, match="FUSION_INPUT"):
        fusion(given | {"audio": words}, {"audio": mask[:, :6]})


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_cross_attention_is_the_formula_and_shows_its_weights(kind: str) -> None:
    torch.manual_seed(0)
    attention = CrossModalAttention(8, 2, key_dim=6, kind=kind)  # type: ignore[arg-type]
    query, keys = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    mask = torch.rand(3, 4, 5) < 0.6
    mask[..., 0] = True
    out, weights = attention(query, keys, mask)
    assert weights.shape == (3, 2, 4, 5)
    q, k, v = attention.query(query), attention.key(keys), attention.value(keys)
    for b in range(3):
        for i in range(4):
            heads = []
            for h, part in enumerate((slice(0, 4), slice(4, 8))):
                scores = []
                for j in range(5):
                    if kind == "dot":
                        score = float(q[b, i, part] @ k[b, j, part]) / 2.0
                    else:
                        score = float(torch.tanh(q[b, i, part] + k[b, j, part]) @ attention.score[h])
                    scores.append(math.exp(score) if mask[b, i, j] else 0.0)
                shares = torch.tensor(scores) / sum(scores)
                torch.testing.assert_close(weights[b, h, i], shares)
                heads.append(shares @ v[b, :, part])
            torch.testing.assert_close(out[b, i], attention.out(torch.cat(heads)))


def test_dot_attention_is_what_the_library_computes() -> None:
    torch.manual_seed(0)
    ours, theirs = CrossModalAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        ours.query.weight.copy_(theirs.in_proj_weight[:16])
        ours.key.weight.copy_(theirs.in_proj_weight[16:32])
        ours.value.weight.copy_(theirs.in_proj_weight[32:])
        for place, linear in enumerate((ours.query, ours.key, ours.value)):
            linear.bias.copy_(theirs.in_proj_bias[16 * place : 16 * place + 16])
        ours.out.load_state_dict(theirs.out_proj.state_dict())
    query, keys = torch.randn(3, 4, 16), torch.randn(3, 5, 16)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False], [False, True, False, False, False]])
    got = ours(query, keys, mask)
    want = theirs(query, keys, keys, key_padding_mask=~mask, average_attn_weights=False)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other)


def test_a_row_that_may_attend_to_nothing_is_no_nan_in_any_precision() -> None:
    """The document fills with -1e9: half floats cannot hold it, and a closed row becomes uniform."""
    torch.manual_seed(0)
    attention = CrossModalAttention(8, 2)
    query, keys = torch.randn(2, 3, 8, requires_grad=True), torch.full((2, 5, 8), math.nan)
    keys[1] = torch.randn(5, 8)
    mask = torch.tensor([[False] * 5, [True] * 5])
    out, weights = attention(query, keys, mask)
    assert torch.equal(weights[0], torch.zeros(2, 3, 5))
    torch.testing.assert_close(out[0], attention.out.bias.expand(3, 8))
    out.sum().backward()
    assert query.grad is not None
    assert torch.isfinite(query.grad).all()
    half = masked_softmax(torch.zeros(2, 5, dtype=torch.float16), mask)
    assert torch.equal(half[0], torch.zeros(5, dtype=torch.float16))
    torch.testing.assert_close(half[1].sum(), torch.tensor(1.0, dtype=torch.float16), atol=1e-2, rtol=0)
    literal = torch.zeros(5)
    with pytest.raises(RuntimeError, match="overflow"):
        literal.half().masked_fill(~mask[0], -1e9)
    uniform = literal.masked_fill(~mask[0], -1e9).softmax(dim=0)
    torch.testing.assert_close(uniform, torch.full((5,), 0.2))


def test_the_query_of_the_documents_attention_has_no_effect_and_ours_has() -> None:
    """``unsqueeze(0)`` without ``batch_first``: one key for a query, whose softmax is 1."""
    torch.manual_seed(0)
    literal = nn.MultiheadAttention(16, 4).eval()
    vision, text = torch.randn(3, 16), torch.randn(3, 16)

    def document(vision: Tensor) -> Tensor:
        out: Tensor = literal(vision.unsqueeze(0), text.unsqueeze(0), text.unsqueeze(0))[0]
        return out

    assert torch.equal(document(vision), document(vision + 3))
    ours = build("attention")
    assert isinstance(ours, AttentionFusion)
    given = make(3)
    before, after = (ours.explain(one).weights for one in (given, given | {"image": given["image"] + 3}))
    assert before is not None
    assert after is not None
    assert (before["touch"] - after["touch"]).abs().max() > 1e-2


def test_the_documents_encoder_mixes_the_items_of_a_batch_and_ours_does_not() -> None:
    """[B, E] into the library's attention is one unbatched sequence: item 0 sees item 3."""
    torch.manual_seed(0)
    literal = nn.MultiheadAttention(512, 8, batch_first=True).eval()
    pooled = torch.randn(4, 512)
    moved = pooled.clone()
    moved[3] += 5
    assert (literal(pooled, pooled, pooled)[0][0] - literal(moved, moved, moved)[0][0]).abs().max() > 1e-2
    ours = VisionLanguageEncoder(12, 10, 16, heads=2).eval()
    visual, text = torch.randn(4, 6, 12), torch.randn(4, 5, 10)
    changed = visual.clone()
    changed[3] += 5
    want, got = ours(visual, text), ours(changed, text)
    for one, other in ((want.attended_visual, got.attended_visual), (want.attended_text, got.attended_text)):
        assert torch.equal(one[:3], other[:3])
        assert (one[3] - other[3]).abs().max() > 1e-3
    assert want.visual.shape == want.text.shape == want.attended_text.shape == (4, 16)
    assert want.attention.v2l_weights.shape == (4, 2, 6, 5)
    assert want.attention.l2v_weights.shape == (4, 2, 5, 6)
    single = ours(visual[:, 0], text[:, 0])
    assert single.attended_visual.shape == (4, 16)
    with pytest.raises(ConfigError, match="FUSION_INPUT"):
        ours(torch.zeros(1, 3, 224, 224), text[:1])  # what the document's node passes
    with pytest.raises(ConfigError, match="FUSION_INPUT"):
        CrossModalAttention(16, 2)(pooled[:, :16], pooled[:, :16])


def test_a_picture_and_a_sentence_read_each_other_but_never_the_padding() -> None:
    torch.manual_seed(0)
    attention = VisionLanguageAttention(8, 2)
    visual, text = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    there = torch.tensor([[True, True, False, False], [True] * 4])
    want = attention(visual, text, None, there)
    got = attention(visual, torch.where(there[..., None], text, math.nan), None, there)
    for one, other in zip(
        (want.visual, want.text, want.v2l_weights, want.l2v_weights),
        (got.visual, got.text, got.v2l_weights, got.l2v_weights),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert float(want.v2l_weights[0, :, :, 2:].detach().max()) == 0.0
    torch.testing.assert_close(want.v2l_weights.sum(dim=3), torch.ones(2, 2, 3))
    moved = attention(visual, text + 1, None, there)
    assert (moved.visual - want.visual).abs().max() > 1e-2
    encoder = VisionLanguageEncoder(8, 8, 8, heads=2)
    nothing = encoder(visual, text, None, torch.zeros(2, 4, dtype=torch.bool))
    assert torch.isfinite(nothing.attended_visual).all()
    assert torch.equal(nothing.text, torch.zeros(2, 8))


def test_heads_must_share_the_dimensions() -> None:
    for dim, heads, kind in ((10, 4, "dot"), (8, 0, "dot"), (8, 2, "magic")):
        with pytest.raises(ConfigError, match="FUSION_SIZE"):
            CrossModalAttention(dim, heads, kind=kind)  # type: ignore[arg-type]


def test_dropping_nothing_keeps_the_masks_by_name() -> None:
    masks = {"b": torch.tensor([True, False]), "a": torch.tensor([True, True])}
    kept = drop_modalities(masks, 0.0)
    assert list(kept) == ["a", "b"]
    assert all(torch.equal(kept[one], masks[one]) for one in masks)
