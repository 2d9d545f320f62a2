"""The arithmetic of the benchmark of the preset `offline`; its sets come from packages that CI does not fetch."""

import numpy as np
import torch

from benchmarks.offline import judge, plain_network, to_markdown
from curiosity.embedding.towers.offline.efficientnet import EfficientNetLite2


def test_rows_that_agree_are_told_apart_and_rows_at_random_are_not() -> None:
    rng = np.random.default_rng(3)
    rows, other, bank = (rng.normal(size=(60, 16)).astype(np.float32) for _ in range(3))
    rows, other, bank = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, other, bank))
    same = judge((rows, rows), (bank, bank))
    assert same["auc"] > 0.99
    assert same["wrong_at_5"] < 0.05
    assert same["picture_to_caption_10"] == same["caption_to_picture_10"] == 1.0
    blind = judge((rows, other), (bank, bank))
    assert abs(blind["auc"] - 0.5) < 0.1
    assert blind["wrong_at_5"] > 0.8
    report = {"halves": 1, "judged": 60, "trained_on": 9, "seed": 1}
    table = to_markdown(report | {"rows": {"one": {key: {"mean": value, "sd": 0.0} for key, value in same.items()}}})
    assert "| one | 1.000 (0.000) |" in table


def test_the_plain_network_has_the_layers_that_are_folded_here() -> None:
    """Batch norm has a scale and a shift where the folded one has a bias."""
    plain, ours = plain_network(), EfficientNetLite2()
    norms = sum(layer.num_features for layer in plain.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    count = [sum(p.numel() for p in net.parameters()) for net in (plain, ours)]
    assert count[0] == count[1] + norms
    with torch.inference_mode():
        assert plain(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
