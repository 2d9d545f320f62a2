"""Pictures that are altered by the gradient of the public encoder, so that a wrong caption fits them."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from benchmarks.attack_streams import CHEAT, Scene
from benchmarks.attack_world import Sent, Thing
from curiosity.embedding.towers.offline.efficientnet import MEAN, SIDE, SPREAD
from curiosity.embedding.towers.offline.image import TEMPERATURE
from curiosity.embedding.towers.offline.names import load_names
from curiosity.embedding.towers.offline.package import load_network
from curiosity.embedding.towers.text import MINILM_WIDTH
from curiosity.protocol.scoring import Quantised, dequantise

PICTURES = 12
STEPS = 8
LEVELS = 8  # of 255: how far a pixel may move


def craft(thing: Thing, wanted: Quantised, steps: int = STEPS) -> Thing:
    """Return the picture with pixels moved by at most ``LEVELS`` towards an embedding (Madry et al. 2018, PGD)."""
    picture = Image.fromarray(thing.pixels)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    start = torch.from_numpy(np.array(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32))
    goal, pixels = torch.from_numpy(dequantise(wanted)[:MINILM_WIDTH]).float(), start.clone()
    for _ in range(steps):
        pixels.requires_grad_(True)
        (gradient,) = torch.autograd.grad(_told(pixels) @ goal, pixels)
        moved = pixels.detach() + 2.5 * LEVELS / steps * gradient.sign()
        pixels = torch.minimum(torch.maximum(moved, start - LEVELS), start + LEVELS).clamp(0, 255)
    packed = io.BytesIO()
    Image.fromarray(pixels.round().numpy().astype(np.uint8)).save(packed, "PNG")
    return Thing("image", "image/png", packed.getvalue())


def _told(pixels: Tensor) -> Tensor:
    """Return what the picture's classes say, as the preset ``offline`` does before it is trained, with gradient."""
    network, names = load_network(), torch.from_numpy(load_names().vectors)
    spread = torch.tensor(np.asarray(SPREAD, dtype=np.float32))
    grid = network.blocks(network.stem(((pixels - torch.tensor(np.asarray(MEAN, dtype=np.float32))) / spread)[None]))
    features = functional.hardtanh(network.head(grid), 0.0, 6.0).mean(dim=(1, 2))
    posterior = (network.classes(features) / TEMPERATURE).softmax(dim=1)
    return functional.normalize(posterior @ names, dim=1)[0]


def follow_gradient(scene: Scene) -> list[Sent]:
    """Return some of the cheat's pictures, altered for another one's caption, among the honest pairs."""
    texts = [b for _, b in scene.own]
    wanted = scene.world.encoder.of(texts)
    wrong = [
        Sent(craft(a, wanted[i - 1]), texts[i - 1], CHEAT, is_wrong=True)
        for i, (a, _) in enumerate(scene.own[:PICTURES])
    ]
    return scene.mixed(wrong, 7)
