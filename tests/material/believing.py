"""A checkpoint with beliefs about pictures and texts: genesis' weights and anchors, and a curve that a test chooses."""

from dataclasses import replace
from pathlib import Path

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.protocol.belief import Beliefs, Curve, Range

# Digits with their names have scores from 0.03 to 0.64 under genesis, with another digit's name from -1.13 to -0.06.
RISING = Range(Curve((-300_000, 300_000), (20_000, 980_000)), 800_000, 300_000)
BELIEFS = Beliefs((), (RISING,), 500_000, 900_000, 800_000, 333_333)


def believing(path: Path, beliefs: Beliefs = BELIEFS, **limits: int) -> Path:
    """Write the checkpoint to a folder and return that; ``limits`` replace thresholds of pictures with texts."""
    genesis = load(GENESIS)
    pairs = genesis.calibration.pairs | {"image-text": replace(genesis.calibration.pairs["image-text"], **limits)}
    calibration = replace(genesis.calibration, pairs=pairs, beliefs={"image-text": beliefs})
    manifest = replace(genesis.manifest, calibration=calibration)
    model = (GENESIS / "model.safetensors").read_bytes()
    save(path, manifest=manifest, model=model, anchors=genesis.anchors, card="believes")
    return path
