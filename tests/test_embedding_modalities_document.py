"""docs/modalities.md is what the registry and the presets say."""

import subprocess
import sys
from pathlib import Path

import pytest

from curiosity.embedding.modalities import BY_NAME, MODALITIES
from curiosity.embedding.modalities.__main__ import document
from curiosity.embedding.presets import PRESETS

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs/modalities.md"


def section(name: str) -> str:
    """The part of one modality."""
    return document().split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.skipif(set(BY_NAME) != {each.name for each in MODALITIES}, reason="a package registers a modality here")
def test_the_committed_document_is_what_the_command_prints() -> None:
    script = (
        "import runpy, sys\n"
        "runpy.run_module('curiosity.embedding.modalities', run_name='__main__')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert DOCUMENT.read_bytes() == done.stdout, "run: python -m curiosity.embedding.modalities > docs/modalities.md"


def test_every_modality_says_everything_about_itself() -> None:
    assert len(MODALITIES) == 9
    for modality in MODALITIES:
        text = section(modality.name)
        for kind in modality.media_types:
            assert f"`{kind}`" in text
        for fact in (
            f"{modality.limits.max_bytes:,} bytes",
            f"{modality.mask_share:.0%} of the {modality.natural_unit}",
            modality.preparation,
            modality.contract.dtype,
            modality.contract.meaning,
            modality.contract.unit,
            *(column.name for column in modality.contract.columns),
        ):
            assert fact in text, (modality.name, fact)


def test_every_tower_and_the_licence_of_all_weights_are_named() -> None:
    for preset in PRESETS.values():
        for name, spec in preset.towers.items():
            (row,) = (line for line in section(name).splitlines() if line.startswith(f"| `{preset.name}` |"))
            assert spec.encoder in row
            for weights in (*filter(None, [spec.weights]), *spec.opt_in):
                assert weights.licence in row
                assert weights.name.partition("@")[0] in row


def test_shares_of_the_masks_are_those_of_the_design() -> None:
    assert {each.name: each.mask_share for each in MODALITIES} == {
        "text": 0.15,
        "image": 0.85,
        "audio": 0.80,
        "video": 0.90,
        "point_cloud": 0.60,
        "touch": 0.80,
        "pressure": 0.60,
        "emg": 0.60,
        "action": 0.40,
    }
