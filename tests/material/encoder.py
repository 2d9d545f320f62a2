"""Tiny configurations of every class that the big presets stand on, and items for them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curiosity.embedding.modality import Array
from curiosity.embedding.presets import TowerSpec

DIM = 16
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_PICTURE = _SIZES | {"image_size": 32, "patch_size": 8}
_TEXT = _SIZES | {"vocab_size": 30_522, "bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0}
_WAVE = _SIZES | {
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
}
_CLAP = {
    "spec_size": 128,
    "num_mel_bins": 32,
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "window_size": 4,
    "hidden_size": 16,
    "projection_dim": 24,
}
_JEPA = {
    "crop_size": 32,
    "patch_size": 8,
    "frames_per_clip": 4,
    "tubelet_size": 2,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}
_PATCHES = {"width": 32, "layers": 2, "heads": 4}
_HOME = "curiosity.embedding.towers.pretrained"


@dataclass(frozen=True)
class Small:
    """A tiny tower. ``whole`` is the class of transformers that published checkpoints of it are saved from, ``part``
    the sub-configuration of ``whole`` that is its own, where there is one."""

    modality: str
    tower: str
    options: dict[str, Any] = field(default_factory=dict)
    whole: str = ""
    part: str = ""

    @property
    def spec(self) -> TowerSpec:
        return TowerSpec(self.tower, "tiny", self.options)


PUBLISHED: dict[str, Small] = {
    "siglip-image": Small(
        "image", f"{_HOME}.image:SiglipImage", {"config": _PICTURE, "family": "one"}, "SiglipModel", "vision_config"
    ),
    "clip-image": Small(
        "image",
        f"{_HOME}.image:ClipImage",
        {"config": _PICTURE | {"projection_dim": 24}, "family": "two", "preprocessing": {"shortest": 32}},
        "CLIPModel",
        "vision_config",
    ),
    "vit-image": Small("image", f"{_HOME}.image:VitImage", {"config": _PICTURE}, "ViTForImageClassification"),
    "videomae-video": Small(
        "video",
        f"{_HOME}.video:VideoMaeVideo",
        {"config": _PICTURE | {"num_frames": 4, "decoder_hidden_size": 16, "decoder_num_attention_heads": 2}},
        "VideoMAEForPreTraining",
    ),
    "vjepa-video": Small(
        "video", f"{_HOME}.video:VJepaVideo", {"config": _JEPA, "preprocessing": {"shortest": 36}}, "VJEPA2Model"
    ),
    "ast-audio": Small(
        "audio",
        f"{_HOME}.audio:AstAudio",
        {"config": _SIZES | {"max_length": 64, "num_mel_bins": 32}},
        "ASTForAudioClassification",
    ),
    "clap-audio": Small(
        "audio",
        f"{_HOME}.audio:ClapAudio",
        {"config": _CLAP, "preprocessing": {"max_length_s": 1, "feature_size": 32}},
        "ClapModel",
        "audio_config",
    ),
    "wav2vec2-audio": Small(
        "audio",
        f"{_HOME}.audio:Wav2Vec2Audio",
        {"config": _WAVE | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}, "max_s": 2.0},
        "Wav2Vec2ForCTC",
    ),
    "wav2vec2-group-audio": Small(
        "audio", f"{_HOME}.audio:Wav2Vec2Audio", {"config": _WAVE, "max_s": 2.0}, "Wav2Vec2ForCTC"
    ),
    "modernbert-text": Small(
        "text",
        f"{_HOME}.text:ModernBertText",
        {"config": _TEXT | {"cls_token_id": 101, "sep_token_id": 102}},
        "ModernBertForMaskedLM",
    ),
    "bert-text": Small("text", f"{_HOME}.text:BertText", {"config": _TEXT}, "BertForMaskedLM"),
    "clip-text": Small(
        "text",
        f"{_HOME}.text:ClipText",
        {"config": _TEXT | {"projection_dim": 24}, "family": "two"},
        "CLIPModel",
        "text_config",
    ),
    "siglip-text": Small(
        "text",
        f"{_HOME}.text:SiglipText",
        {"config": _TEXT | {"projection_size": 32, "pad_token_id": 3}, "family": "one"},
        "SiglipModel",
        "text_config",
    ),
}
OWN: dict[str, Small] = {
    "touch": Small("touch", "curiosity.embedding.towers.patches:PatchTouch", _PATCHES),
    "pressure": Small("pressure", "curiosity.embedding.towers.patches:PatchPressure", _PATCHES),
    "emg": Small("emg", "curiosity.embedding.towers.patches:PatchEmg", _PATCHES),
    "action": Small("action", "curiosity.embedding.towers.patches:PatchAction", _PATCHES),
    "point_cloud": Small(
        "point_cloud", "curiosity.embedding.towers.points:TinyPoints", _PATCHES | {"points": 64, "group": 8}
    ),
}
ALL = PUBLISHED | OWN


def make_items(modality: str, seed: int = 0) -> list[Array]:
    """Four items of very different sizes that meet the modality's contract."""
    rng = np.random.default_rng(seed)
    if modality == "text":
        sentences = ("A", "A black cat sits.", "Hello, world! " * 9, "two words")
        return [np.frombuffer(f"{s} {seed}".encode(), dtype=np.uint8) for s in sentences]
    if modality == "image":
        return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((90, 40), (32, 32), (9, 70), (33, 50))]
    if modality == "video":
        return [rng.integers(0, 256, (t, 40, 33, 3), dtype=np.uint8) for t in (2, 4, 7, 30)]
    if modality == "audio":
        return [rng.uniform(-1, 1, n).astype(np.float32) for n in (300, 5_000, 17_000, 31_000)]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "touch": [(n, 2, 16, 16) for n in (1, 7, 30, 90)],
        "pressure": [(n,) for n in (16, 555, 9_000, 30_000)],
        "emg": [(8, n) for n in (16, 555, 9_000, 30_000)],
        "action": [(n, 7) for n in (2, 20, 200, 1_000)],
        "point_cloud": [(n, 3) for n in (16, 60, 900, 5_000)],
    }
    return [rng.uniform(0, 1, shape).astype(np.float32) for shape in shapes[modality]]
