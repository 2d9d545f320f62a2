"""The benchmark of fusions measures every one of them, and its measure of invariance finds a fusion that peeks."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.fusion import main, measure_invariance
from curiosity.embedding.fusion import FUSIONS, build_fusion


class Peeking(nn.Module):
    """Reads a missing place with a small weight."""

    def forward(self, embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        parts = [torch.where(present[name][:, None], one, one.nan_to_num() * 1e-9) for name, one in embeddings.items()]
        return torch.stack(parts).sum(dim=0)


def test_the_table_has_every_fusion_and_none_reads_a_missing_place(tmp_path: Path) -> None:
    assert main(["--rounds", "1", "--json", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["fusion"]
    assert set(rows) == set(FUSIONS)
    assert all(row["invariance"] == 0.0 and row["ratio"] > 0 and row["train"] > 0 for row in rows.values())


def test_a_fusion_that_peeks_is_found() -> None:
    torch.manual_seed(0)
    given = {name: torch.randn(4, 8) for name in ("a", "b")}
    assert measure_invariance(Peeking(), given, 1) > 0
    fusion = build_fusion("attention", {"a": 8, "b": 8}, 8).eval()
    assert measure_invariance(fusion, given, 1) == 0.0
