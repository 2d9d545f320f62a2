"""The presets for real hardware: towers on published encoders, their architectures, weights and licences.

Every configuration is that of the weights it names, so that seeded and published towers have one shape. Each licence is
the one that the page in ``source`` stated when it was written down; a name carries a revision after ``@`` where only
that one has safetensors. Imports no torch.
"""

from typing import Any

from curiosity.embedding.tower_spec import Preset, TowerSpec, Weights

_HUB = "https://huggingface.co/"


def _weights(name: str, licence: str) -> Weights:
    return Weights(name, licence, _HUB + name.partition("@")[0])


def _vit(width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    """Return the sizes of a transformer whose inner layers are four times as wide."""
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        **more,
    }


_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_VIDEOMAE = "curiosity.embedding.towers.pretrained.video:VideoMaeVideo"


def _sensors(width: int, layers: int, heads: int) -> dict[str, TowerSpec]:
    """Return the towers of what no published encoder knows; trained from scratch."""
    sizes = {"width": width, "layers": layers, "heads": heads}
    words = f"transformer of {layers} layers of {width}"
    return {
        "point_cloud": TowerSpec(
            "curiosity.embedding.towers.points:TinyPoints",
            f"64 groups of 16 points, {words}",
            sizes | {"points": 1_024, "group": 16},
        ),
        "touch": TowerSpec(
            "curiosity.embedding.towers.patches:PatchTouch", f"patches of 8 steps and 4 x 4 cells, {words}", sizes
        ),
        "pressure": TowerSpec("curiosity.embedding.towers.patches:PatchPressure", f"patches of 50 ms, {words}", sizes),
        "emg": TowerSpec(
            "curiosity.embedding.towers.patches:PatchEmg", f"patches of 50 ms of all channels, {words}", sizes
        ),
        "action": TowerSpec("curiosity.embedding.towers.patches:PatchAction", f"time steps, {words}", sizes),
    }


LIGHTWEIGHT = Preset(
    "lightweight",
    256,
    {
        "text": TowerSpec(
            "curiosity.embedding.towers.pretrained.text:BertText",
            "MiniLM-L6 (transformers.BertModel), mean over tokens",
            {"config": _vit(384, 6, 12, vocab_size=30_522), "preprocessing": {"tokens": 256}},
            _weights("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
        ),
        "image": TowerSpec(
            "curiosity.embedding.towers.pretrained.image:VitImage",
            "ViT-Ti/16 at 224 px (transformers.ViTModel), class token",
            {"config": _vit(192, 12, 3, image_size=224, patch_size=16), "preprocessing": {"resample": 2}},
            _weights("WinKawaks/vit-tiny-patch16-224", "Apache-2.0"),
        ),
        "audio": TowerSpec(
            "curiosity.embedding.towers.pretrained.audio:ClapAudio",
            "CLAP, HTS-AT base (transformers.ClapAudioModelWithProjection), first 10 s",
            {
                "config": {
                    "depths": [2, 2, 12, 2],
                    "num_attention_heads": [4, 8, 16, 32],
                    "patch_embeds_hidden_size": 128,
                    "hidden_size": 1024,
                    "projection_dim": 512,
                }
            },
            _weights("laion/larger_clap_general@16c8cc3159a3c8a31e8ff5ef1f66b0d9ab3667db", "Apache-2.0"),
        ),
        "video": TowerSpec(
            _VIDEOMAE,
            "VideoMAE-S/16, 16 frames at 224 px (transformers.VideoMAEModel), mean over tubelets",
            {"config": _vit(384, 12, 6, image_size=224, patch_size=16), "preprocessing": _IMAGENET},
        ),
        **_sensors(128, 4, 4),
    },
    "lightweight/1",
)

BALANCED = Preset(
    "balanced",
    512,
    {
        "text": TowerSpec(
            "curiosity.embedding.towers.pretrained.text:SiglipText",
            "SigLIP-B text (transformers.SiglipTextModel), pooled",
            {
                "config": _vit(768, 12, 12, vocab_size=32_000, bos_token_id=1, eos_token_id=1),
                "family": "siglip-base-patch16-224",
            },
            _weights("google/siglip-base-patch16-224", "Apache-2.0"),
        ),
        "image": TowerSpec(
            "curiosity.embedding.towers.pretrained.image:SiglipImage",
            "SigLIP-B/16 at 224 px (transformers.SiglipVisionModel), pooled",
            {"config": _vit(768, 12, 12, image_size=224, patch_size=16), "family": "siglip-base-patch16-224"},
            _weights("google/siglip-base-patch16-224", "Apache-2.0"),
        ),
        "audio": TowerSpec(
            "curiosity.embedding.towers.pretrained.audio:AstAudio",
            "Audio Spectrogram Transformer B/16 (transformers.ASTModel), first 10.24 s",
            {"config": _vit(768, 12, 12)},
            _weights("MIT/ast-finetuned-audioset-10-10-0.4593", "BSD-3-Clause"),
        ),
        "video": TowerSpec(
            _VIDEOMAE,
            "VideoMAE-B/16, 16 frames at 224 px (transformers.VideoMAEModel), mean over tubelets",
            {"config": _vit(768, 12, 12, image_size=224, patch_size=16), "preprocessing": _IMAGENET},
            opt_in=(_weights("MCG-NJU/videomae-base", "CC-BY-NC-4.0"),),
        ),
        **_sensors(256, 6, 8),
    },
    "balanced/1",
)

HIGH_CAPACITY = Preset(
    "high_capacity",
    768,
    {
        "text": TowerSpec(
            "curiosity.embedding.towers.pretrained.text:ModernBertText",
            "ModernBERT-large (transformers.ModernBertModel), mean over tokens",
            {
                "config": {
                    "hidden_size": 1024,
                    "num_hidden_layers": 28,
                    "num_attention_heads": 16,
                    "intermediate_size": 2624,
                    "vocab_size": 50_368,
                },
                "preprocessing": {"tokens": 512},
            },
            _weights("answerdotai/ModernBERT-large", "Apache-2.0"),
        ),
        "image": TowerSpec(
            "curiosity.embedding.towers.pretrained.image:ClipImage",
            "CLIP ViT-L/14 at 224 px (transformers.CLIPVisionModelWithProjection)",
            {
                "config": _vit(1024, 24, 16, image_size=224, patch_size=14, projection_dim=768, hidden_act="gelu"),
                "preprocessing": {"shortest": 224},
                "family": "CLIP-ViT-L-14-laion2B-s32B-b82K",
            },
            _weights("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "MIT"),
        ),
        "audio": TowerSpec(
            "curiosity.embedding.towers.pretrained.audio:Wav2Vec2Audio",
            "Wav2Vec2-large (transformers.Wav2Vec2Model), mean over frames, first 10 s; made for speech",
            {
                "config": _vit(
                    1024, 24, 16, conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True, vocab_size=32
                ),
            },
            _weights("facebook/wav2vec2-large-960h-lv60-self@refs/pr/5", "Apache-2.0"),
        ),
        "video": TowerSpec(
            "curiosity.embedding.towers.pretrained.video:VJepaVideo",
            "V-JEPA 2 ViT-L/16, 16 frames at 256 px (transformers.VJEPA2Model), mean over tubelets",
            {
                "config": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "crop_size": 256},
                "preprocessing": _IMAGENET | {"shortest": 292, "frames": 16},
            },
            _weights("facebook/vjepa2-vitl-fpc64-256", "MIT"),
        ),
        **_sensors(384, 8, 8),
    },
    "high_capacity/1",
)

BIG = (LIGHTWEIGHT, BALANCED, HIGH_CAPACITY)
