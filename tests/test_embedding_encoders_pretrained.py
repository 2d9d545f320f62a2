"""Published weights into the towers: every class saved by the test, then loaded through our code."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from curiosity.embedding.modality import Array
from curiosity.embedding.presets import PRESETS, Preset, TowerSpec, Weights
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.build import build_tower
from curiosity.embedding.towers.pretrained.base import PretrainedTower
from curiosity.embedding.towers.pretrained.text import SiglipText
from curiosity.embedding.towers.text import minilm_folder
from curiosity.protocol.errors import CheckpointError, ConfigError
from tests.material.encoder import DIM, PUBLISHED, make_items
from tests.material.pretrained import hf, publish

each_published = pytest.mark.parametrize("name", sorted(PUBLISHED))


def load(name: str, folder: Path) -> PretrainedTower:
    torch.manual_seed(5)
    tower = build_tower(PUBLISHED[name].spec, DIM, str(folder))
    assert isinstance(tower, PretrainedTower)
    return tower


def own_tensors(whole: nn.Module, tower: PretrainedTower, part: str) -> dict[str, torch.Tensor]:
    """Tensors of the whole model by the names that they have in the tower's encoder."""
    others = ("classifier", "decoder", "vision_" if part == "text_config" else "text_")
    given = {key: tensor for key, tensor in whole.state_dict().items() if not key.startswith(others)}
    out = {}
    for name in tower.encoder.state_dict():
        found = [key for key in given if key == name or key.endswith("." + name)]
        assert len(found) < 2, found
        if found:
            out[name] = given[found[0]]
    return out


def direct(name: str, whole: Any, items: list[Array], tower: PretrainedTower) -> Any:
    """What the classes of transformers give for the items, fed by their own processors where they have some."""
    pictures: dict[str, Any] = {"size": {"height": 32, "width": 32}, "resample": 2}
    pictures |= {"image_mean": [0.3, 0.4, 0.5], "image_std": [0.2, 0.3, 0.4]}
    if name in ("siglip-image", "clip-image", "vit-image"):
        pixels = hf.ViTImageProcessorPil(**pictures)(items, return_tensors="pt")["pixel_values"]
        if name == "siglip-image":
            return whole.vision_model(pixels).pooler_output
        if name == "clip-image":
            return whole.get_image_features(pixels).pooler_output
        return whole.vit(pixels).last_hidden_state[:, 0]
    if name.endswith("text"):
        tokenizer = hf.PreTrainedTokenizerFast(
            tokenizer_object=tower.tokenizer, pad_token="[PAD]", mask_token="[MASK]", model_max_length=64
        )
        texts = [bytes(item).decode() for item in items]
        if isinstance(tower, SiglipText):
            rows = [tokenizer(tower.read_text(text))["input_ids"] for text in texts]
            padded = torch.tensor([row + [3] * (64 - len(row)) for row in rows])  # 3 is what config.json says
            return whole.text_model(input_ids=padded).pooler_output
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        if name == "clip-text":
            return whole.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        base = whole.model if name == "modernbert-text" else whole.bert
        mask = tokens["attention_mask"]
        out = base(input_ids=tokens["input_ids"], attention_mask=mask).last_hidden_state
        return (out * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    if name.startswith("wav2vec2"):
        heard = [whole.wav2vec2(torch.from_numpy(np.pad(item, (0, max(0, 400 - len(item)))))[None]) for item in items]
        return torch.cat([row.last_hidden_state.mean(dim=1) for row in heard])
    inputs = tower.collate([tower.prepare(item) for item in items])
    if name == "ast-audio":
        extractor = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-3.0, std=2.5)
        longer = [np.pad(item, (0, max(0, 400 - len(item)))) for item in items]
        values = extractor(longer, sampling_rate=16_000, return_tensors="pt")["input_values"]
        return whole.audio_spectrogram_transformer(values).pooler_output
    if name == "clap-audio":
        assert inputs.shape == (4, 201, 32)  # 1 s in hops of 240 samples at 48 kHz, as the file says
        return whole.audio_projection(whole.audio_model(inputs[:, None]).pooler_output)
    frames = inputs.transpose(1, 2)
    if name == "videomae-video":
        return whole.videomae(frames).last_hidden_state.mean(dim=1)
    assert name == "vjepa-video"
    return whole(frames, skip_predictor=True).last_hidden_state.mean(dim=1)


@each_published
def test_published_weights_arrive_and_give_what_the_class_itself_gives(name: str, tmp_path: Path) -> None:
    whole = publish(name, tmp_path).eval()
    tower = load(name, tmp_path).eval()
    given = own_tensors(whole, tower, PUBLISHED[name].part)
    absent = set(tower.encoder.state_dict()) - set(given)
    assert all(any(part in key for part in tower.ABSENT) for key in absent), absent
    for key, tensor in given.items():
        assert torch.equal(tower.encoder.state_dict()[key], tensor), key
    items = make_items(PUBLISHED[name].modality)
    with torch.inference_mode():
        got = tower.encode(tower.collate([tower.prepare(item) for item in items]))
        want = direct(name, whole, items, tower)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=3e-5)


@each_published
def test_a_seeded_tower_has_the_shapes_of_the_published_one(name: str, tmp_path: Path) -> None:
    """Else a checkpoint that was trained from published weights could not be read into the preset."""
    publish(name, tmp_path)
    published, seeded = load(name, tmp_path), build_tower(PUBLISHED[name].spec, DIM)
    shapes = [{key: tuple(t.shape) for key, t in tower.state_dict().items()} for tower in (published, seeded)]
    assert shapes[0] == shapes[1]
    assert published.weights is not None
    assert seeded.weights is None


def code_of(folder: Path, name: str = "siglip-image") -> str:
    with pytest.raises(CheckpointError) as caught:
        load(name, folder)
    return caught.value.code


def test_what_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert code_of(tmp_path / "nowhere" / "at" / "all") == "PRETRAINED_MISSING"
    assert code_of(Path("no-such-owner/no-such-model")) == "PRETRAINED_MISSING"
    (tmp_path / "bare").mkdir()
    assert code_of(tmp_path / "bare") == "PRETRAINED_MISSING"

    good = tmp_path / "good"
    publish("siglip-image", good)
    with pytest.raises(CheckpointError, match=r"PRETRAINED_DIFFERS.*holds a 'siglip', expected vit"):
        load("vit-image", good)

    broken = shutil.copytree(good, tmp_path / "broken")
    data = (good / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert code_of(broken) == "PRETRAINED_BROKEN"
    (broken / "model.safetensors").write_bytes(b"\xff" * 100)
    assert code_of(broken) == "PRETRAINED_BROKEN"
    (broken / "config.json").write_text("{")
    assert code_of(broken) == "PRETRAINED_BROKEN"

    pickled = shutil.copytree(good, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    assert code_of(pickled) == "PRETRAINED_NOT_SAFETENSORS"

    other = shutil.copytree(good, tmp_path / "other")
    config = json.loads((good / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 128
    (other / "config.json").write_text(json.dumps(config))
    assert code_of(other) == "PRETRAINED_DIFFERS"
    config["vision_config"] |= {"intermediate_size": 64, "num_hidden_layers": 3}
    (other / "config.json").write_text(json.dumps(config))
    assert code_of(other) == "PRETRAINED_DIFFERS"

    fused = tmp_path / "fused"
    publish("clap-audio", fused)
    config = json.loads((fused / "config.json").read_text())
    config["audio_config"]["enable_fusion"] = True
    (fused / "config.json").write_text(json.dumps(config))
    assert code_of(fused, "clap-audio") == "PRETRAINED_DIFFERS"

    mute = tmp_path / "mute"
    publish("bert-text", mute)
    (mute / "tokenizer.json").write_text('{"version": "1.0"}')
    assert code_of(mute, "bert-text") == "PRETRAINED_BROKEN"
    (mute / "tokenizer.json").unlink()
    assert code_of(mute, "bert-text") == "PRETRAINED_MISSING"


def test_a_configuration_cannot_have_code_fetched_and_run(tmp_path: Path) -> None:
    """transformers loads attention kernels and model code from the hub where a configuration names them."""
    publish("siglip-image", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for part in (config, config["vision_config"]):
        part |= {"attn_implementation": "owner/kernel", "_attn_implementation": "owner/kernel"}
        part |= {"auto_map": {"AutoModel": "own--code.Model", "AutoConfig": "own--code.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tower = load("siglip-image", tmp_path)
    assert tower.config._attn_implementation == "sdpa"
    assert type(tower.encoder) is hf.SiglipVisionModel


def test_the_minilm_of_the_package_loads_as_published_weights() -> None:
    """The only real published weights that are at hand offline, against the tower that tiny has of them."""
    folder = minilm_folder()
    assert folder is not None
    spec = PRESETS["lightweight"].towers["text"]
    tower = build_tower(spec, DIM, Weights(str(folder), "Apache-2.0")).eval()
    assert isinstance(tower, PretrainedTower)
    tiny = build_tower(PRESETS["tiny"].towers["text"], DIM)
    items = make_items("text")
    with torch.inference_mode():
        got = tower.encode(tower.collate([tower.prepare(item) for item in items]))
        want = tiny.collate([tiny.prepare(item) for item in items])
    torch.testing.assert_close(nn.functional.normalize(got, dim=1), want, rtol=0, atol=1e-5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The preset ``small`` of two towers, and a folder of published weights for its pictures."""
    publish("siglip-image", tmp_path / "siglip")
    text, image = PUBLISHED["siglip-text"].spec, PUBLISHED["siglip-image"].spec
    declared = Weights(str(tmp_path / "siglip"), "Apache-2.0", "a test")
    towers = {
        "image": TowerSpec(image.tower, "tiny", image.options, declared),
        "text": TowerSpec(text.tower, "tiny", text.options, opt_in=(Weights("owner/paid", "CC-BY-NC-4.0"),)),
        "touch": TowerSpec("curiosity.embedding.towers.patches:PatchTouch", "tiny", {"width": 32, "layers": 1}),
    }
    monkeypatch.setitem(PRESETS, "small", Preset("small", DIM, towers, "small/1"))
    return tmp_path / "siglip"


def test_a_space_says_which_towers_start_from_published_weights(small: Path) -> None:
    seeded = EmbeddingSpace("small")
    declared = EmbeddingSpace("small", pretrained=True)
    by_folder = EmbeddingSpace("small", pretrained={"image": small})
    items = make_items("image")
    np.testing.assert_array_equal(declared.embed("image", items), by_folder.embed("image", items))
    assert np.abs(seeded.embed("image", items) - declared.embed("image", items)).max() > 1e-3
    # Towers that were not asked for are the seeded ones, bit for bit.
    np.testing.assert_array_equal(
        seeded.embed("touch", make_items("touch")), declared.embed("touch", make_items("touch"))
    )
    assert declared.licenses() == {"weights": "MIT", f"image encoder from {small} (fine-tuned)": "Apache-2.0"}
    declared.freeze("image", stored=False)
    assert f"image encoder from {small} (frozen, not stored here)" in declared.licenses()
    stranger = EmbeddingSpace("small", modalities=["image"], pretrained={"image": str(small) + "/"})
    assert "unknown" in stranger.licenses()[f"image encoder from {small}/ (fine-tuned)"]
    assert seeded.licenses() == {"weights": "MIT"}


def test_weights_that_a_preset_cannot_give_are_refused(small: Path) -> None:
    with pytest.raises(ConfigError, match=r"WEIGHTS_NOT_DECLARED.*owner/paid \(CC-BY-NC-4.0\)"):
        EmbeddingSpace("small", modalities=["text"], pretrained={"text": True})
    with pytest.raises(ConfigError, match="WEIGHTS_NOT_TAKEN"):
        EmbeddingSpace("small", modalities=["touch"], pretrained={"touch": small})
    with pytest.raises(ConfigError, match="MODALITY_NOT_REGISTERED"):
        EmbeddingSpace("small", modalities=["touch"], pretrained={"image": small})


def test_the_halves_of_one_model_keep_their_angles_through_the_projection(small: Path) -> None:
    """What SigLIP learned of text and pictures together must survive our projections untrained."""
    space = EmbeddingSpace("small")
    text, image = space.tower("text").projection, space.tower("image").projection
    assert isinstance(text, nn.Linear)
    assert isinstance(image, nn.Linear)
    assert torch.equal(text.weight, image.weight)
    torch.testing.assert_close(text.weight @ text.weight.T, torch.eye(DIM), atol=1e-5, rtol=0)
    other = build_tower(PUBLISHED["clip-image"].spec, 24)
    assert isinstance(other.projection, nn.Linear)
    rows = torch.randn(5, 24)
    torch.testing.assert_close(other.projection(rows) @ other.projection(rows).T, rows @ rows.T, atol=1e-4, rtol=1e-4)
