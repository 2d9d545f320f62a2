"""A checkpoint with beliefs about pictures and texts: genesis' weights and anchors, and a curve that a test chooses."""

from dataclasses import replace
from pathlib import Path

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.protocol.belief import Beliefs, Curve, Range

# Digits with their names have scores from 0.03 to 0.64 under genesis, with another digit's name from -1.13 to -0.06.
RISING = Range(Curve((-300_000, 300_000), (20_000, 980_000)), 800_000, 300_000)
BELIEFS = Beliefs((), (RISING,), 500_000, 900_000, 800_000, 333_333)


def believing(path: Path, beliefs: Beliefs = BELIEFS) -> Path:
    """Write the checkpoint to a folder and return that."""
    genesis = load(GENESIS)
    manifest = replace(genesis.manifest, calibration=replace(genesis.calibration, beliefs={"image-text": beliefs}))
    model = (GENESIS / "model.safetensors").read_bytes()
    save(path, manifest=manifest, model=model, anchors=genesis.anchors, card="believes")
    return path
