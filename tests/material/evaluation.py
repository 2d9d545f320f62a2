"""Held-out material of any shape for tests of the evaluation: real bytes of every modality, made from noise."""

import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

from trainer.feed import FedItem, FedPair


class Constant(torch.nn.Module):
    """Stands for a collapsed encoder: every input gives the same raw output."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(inputs), 128)


def to_npy(array: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def make_item(modality: str, rng: np.random.Generator) -> FedItem:
    media_type = "application/x-npy"
    match modality:
        case "text":
            media_type, data = "text/plain", " ".join("abcdefgh"[i] * 3 for i in rng.integers(0, 8, 6)).encode()
        case "image" | "video":
            frames = [Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)) for _ in range(3)]
            media_type, out = ("image/png", io.BytesIO()) if modality == "image" else ("image/gif", io.BytesIO())
            if modality == "image":
                frames[0].save(out, "PNG")
            else:
                frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=50)
            data = out.getvalue()
        case "audio":
            media_type, out = "audio/wav", io.BytesIO()
            soundfile.write(out, rng.normal(0, 0.1, 4_000), 16_000, format="WAV", subtype="PCM_16")
            data = out.getvalue()
        case "point_cloud":
            data = to_npy(rng.normal(0, 0.2, (64, 3)).astype(np.float32))
        case "touch":
            data = to_npy(rng.uniform(0, 9, (4, 2, 16, 16)).astype(np.float32))
        case "pressure":
            data = to_npy(rng.normal(0, 3, 400).astype(np.float32))
        case "emg":
            data = to_npy(rng.normal(0, 90, (8, 400)).astype(np.float32))
        case _:
            data = to_npy(np.clip(rng.normal(0.4, 0.2, (8, 7)), 0, 1).astype(np.float32))
    return FedItem(modality, media_type, hashlib.sha256(data).hexdigest(), lambda: data)


def make_set(
    modalities: Iterable[str], concepts: int, each: int, *, split: str = "held-out", seed: int = 0
) -> list[FedPair]:
    """Pairs of every two neighbours in a row of modalities: the others are never given as pairs."""
    rng = np.random.default_rng(seed)
    names, pairs = list(modalities), []
    for concept in range(concepts):
        text = make_item("text", rng)
        items = {m: [text if m == "text" else make_item(m, rng) for _ in range(each)] for m in names}
        for one, other in itertools.pairwise(names):
            for a, b in zip(items[one], items[other], strict=True):
                digest = hashlib.sha256(f"{a.digest}{b.digest}".encode()).digest()
                pairs.append(FedPair(digest, a, b, f"{split} {concept}", "", "made", split))
    return pairs


def write_set(folder: Path, pairs: Sequence[FedPair]) -> Path:
    """The pairs as a set on disk."""
    (folder / "media").mkdir(parents=True)
    rows = []
    for pair in pairs:
        halves = {}
        for side, item in (("a", pair.a), ("b", pair.b)):
            path = f"media/{item.digest}.bin"
            (folder / path).write_bytes(item.load())
            halves[side] = {"modality": item.modality, "media_type": item.media_type, "path": path}
        rows.append(
            {
                "set": pair.set,
                "split": pair.split,
                "concept": pair.concept,
                "voice": None,
                "license": pair.license,
                **halves,
            }
        )
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
