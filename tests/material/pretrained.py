"""Pretrained encoders, small and made here, in the layout of a hub."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers

from curiosity.embedding.towers.text import minilm_folder
from tests.material.encoder import PUBLISHED, Small

hf: Any = transformers  # untyped in parts


def make_whole(small: Small) -> Any:
    """A model of the class that published checkpoints are saved from, with weights of its own."""
    torch.manual_seed(77)
    model = getattr(hf, small.whole)
    config: dict[str, Any] = small.options["config"]
    if not small.part:
        return model(model.config_class(**config))
    other = {"text_config": "vision_config", "vision_config": "text_config", "audio_config": "text_config"}[small.part]
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    parts = {small.part: config, other: sizes | {"image_size": 16, "patch_size": 8, "vocab_size": 99}}
    return model(model.config_class(**parts, projection_dim=24))


def publish(name: str, folder: Path) -> Any:
    """Save a checkpoint as its makers do, with settings unlike the defaults; returns its model."""
    small = PUBLISHED[name]
    whole = make_whole(small)
    whole.save_pretrained(folder)
    plain: dict[str, Any] = {}
    if small.modality in ("image", "video"):
        plain = {"image_mean": [0.3, 0.4, 0.5], "image_std": [0.2, 0.3, 0.4], "resample": 2}
        plain |= {"size": {"height": 32, "width": 32}, "do_resize": True, "do_center_crop": False}
    elif name == "ast-audio":
        plain = {"mean": -3.0, "std": 2.5}
    elif name == "clap-audio":
        plain = {"feature_size": 32, "max_length_s": 1, "frequency_min": 100, "hop_length": 240}
    elif small.modality == "audio":
        plain = {"do_normalize": False}
    file = "video_preprocessor_config.json" if name == "vjepa-video" else "preprocessor_config.json"
    (folder / file).write_text(json.dumps(plain))
    if small.modality == "text":
        source = minilm_folder()
        assert source is not None
        shutil.copy(source / "tokenizer.json", folder)
    return whole
