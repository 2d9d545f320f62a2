"""One modality more, from outside; and several streams of one modality."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from curiosity.embedding.extend import register
from curiosity.embedding.modalities import BY_NAME, MODALITIES, decode
from curiosity.embedding.modalities.arrays import read_array
from curiosity.embedding.modality import Array, Column, Contract, Limits, Modality
from curiosity.embedding.presets import PRESETS
from curiosity.embedding.registration import Registration
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.tower_spec import TowerSpec
from curiosity.protocol.errors import ConfigError
from tests.material.modality import item, npy

LIMITS = Limits(max_bytes=100_000)
CONTRACT = Contract("float32", ((16, 1_000),), -1.0, 1.0, "16 to 1000 readings")


@dataclass(frozen=True)
class Smell:
    """What an electronic nose says; made for this test."""

    name: str = "smell"
    media_types: tuple[str, ...] = ("application/x-npy",)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.5
    natural_unit: str = "readings"
    preparation: str = "Nothing."

    def decode(self, data: bytes, media_type: str) -> Array:
        return read_array(self.name, self.contract, data)


SMELL = Registration(Smell(), {"tiny": TowerSpec("curiosity.embedding.towers.sensors:TinyPressure", "3 convolutions")})
WHIFF = np.linspace(-1, 1, 100, dtype=np.float32)


@pytest.fixture
def clean() -> Iterator[None]:
    """Forgets afterwards what the test registers."""
    modalities, presets = dict(BY_NAME), dict(PRESETS)
    yield
    for registry, before in ((BY_NAME, modalities), (PRESETS, presets)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]


def embed_all(space: EmbeddingSpace) -> dict[str, bytes]:
    """Bits of everything that leaves the space for the modalities of the project."""
    out = {}
    for modality in MODALITIES:
        arrays = [decode(modality.name, item(modality.name, kind), kind) for kind in modality.media_types]
        measured = space.measure(modality.name, arrays, [7] * len(arrays))
        out[modality.name] = b"".join(
            part.tobytes()
            for part in (space.embed(modality.name, arrays), measured.whole, measured.masked, measured.halves)
        )
    return out


@pytest.mark.usefixtures("clean")
def test_registering_one_more_leaves_every_other_embedding_bit_identical() -> None:
    space = EmbeddingSpace("tiny", seed=3)
    before = embed_all(space)
    assert set(before) == {modality.name for modality in MODALITIES}
    assert len(set(before.values())) == len(MODALITIES) == 9
    register(SMELL)
    assert embed_all(space) == before
    space.preset = PRESETS["tiny"]
    space.register("smell", seed=3)  # into the space that is there
    assert embed_all(space) == before
    fresh = EmbeddingSpace("tiny", seed=3)  # and into one that is made with it
    assert "smell" in fresh.modalities
    assert embed_all(fresh) == before
    whiff = decode("smell", npy(WHIFF), "application/x-npy")
    assert np.array_equal(fresh.embed("smell", [whiff]), space.embed("smell", [whiff]))
    assert fresh.measure("smell", [whiff], [1]).halves.shape == (1, 4, 2, 128)


WRONG: list[tuple[Modality, str]] = [
    (replace(Smell(), name="image"), "MODALITY_TAKEN"),
    (replace(Smell(), name="Smell"), "MODALITY_INVALID"),
    (replace(Smell(), name="a-b"), "MODALITY_INVALID"),
    (replace(Smell(), name="x" * 33), "MODALITY_INVALID"),
    (replace(Smell(), media_types=()), "MODALITY_INVALID"),
    (replace(Smell(), limits=Limits(0)), "MODALITY_INVALID"),
    (replace(Smell(), mask_share=0.0), "MODALITY_INVALID"),
    (replace(Smell(), mask_share=1.0), "MODALITY_INVALID"),
    (replace(Smell(), contract=replace(Smell().contract, low=2.0)), "MODALITY_INVALID"),
    (replace(Smell(), contract=replace(Smell().contract, dtype="S4")), "MODALITY_INVALID"),
    (replace(Smell(), contract=replace(Smell().contract, shape=())), "MODALITY_INVALID"),
    (
        replace(Smell(), contract=Contract("float32", (None, 2), 0, 1, "", columns=(Column("a", "", 0, 1),))),
        "MODALITY_INVALID",
    ),
]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("modality", "code"), WRONG, ids=range(len(WRONG)))
def test_wrong_declarations_are_refused_and_leave_nothing(modality: Modality, code: str) -> None:
    before = dict(BY_NAME), dict(PRESETS)
    with pytest.raises(ConfigError) as refused:
        register(Registration(modality, SMELL.towers))
    assert refused.value.code == code
    assert before == (BY_NAME, PRESETS)


@pytest.mark.usefixtures("clean")
def test_an_unknown_preset_and_a_second_time_are_refused() -> None:
    with pytest.raises(ConfigError, match="PRESET_UNKNOWN"):
        register(Registration(Smell(), {"huge": SMELL.towers["tiny"]}))
    assert "smell" not in BY_NAME
    register(SMELL)
    with pytest.raises(ConfigError, match="MODALITY_TAKEN"):
        register(SMELL)


def test_an_installed_package_registers_by_its_entry_point(tmp_path: Path) -> None:
    """Every process knows it then: the interpreter here is a new one. A broken package is left out and named."""
    (tmp_path / "nose.py").write_text(
        "from dataclasses import dataclass\n"
        "from curiosity.embedding.modalities.arrays import read_array\n"
        "from curiosity.embedding.modality import Array, Contract, Limits\n"
        "from curiosity.embedding.registration import Registration\n"
        "from curiosity.embedding.tower_spec import TowerSpec\n"
        f"LIMITS = {LIMITS!r}\nCONTRACT = {CONTRACT!r}\nWHIFF = 1\n"
        f"{inspect.getsource(Smell)}\n"
        "SMELL = Registration(Smell(), {'tiny': TowerSpec('curiosity.embedding.towers.sensors:TinyPressure', 'own')})\n"
    )
    info = tmp_path / "nose-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nose\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[curiosity.modalities]\nsmell = nose:SMELL\nbroken = nose:ABSENT\nnone = nose:WHIFF\n"
    )
    script = (
        "import sys\nfrom curiosity.embedding.modalities import BY_NAME, MODALITIES\n"
        "from curiosity.embedding.presets import PRESETS\n"
        "assert set(BY_NAME) - {m.name for m in MODALITIES} == {'smell'}, set(BY_NAME)\n"
        "assert PRESETS['tiny'].towers['smell'].tower.endswith('TinyPressure')\n"
        "assert 'smell' not in PRESETS['balanced'].towers\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"},
    )
    assert done.returncode == 0, done.stderr
    assert "entry_point=broken" in done.stderr
    assert "entry_point=none" in done.stderr


# -- streams


def test_two_cameras_share_one_tower_and_keep_their_ids() -> None:
    random = np.random.default_rng(0)
    left, right = (list(random.integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)) for count in (3, 2))
    space = EmbeddingSpace("tiny", modalities=["image"])
    weights = len(space.state_dict())
    streams = space.embed_streams("image", {"right": right, "left": left, "off": []})
    assert list(streams) == ["right", "left", "off"]
    assert [rows.shape for rows in streams.values()] == [(2, 128), (3, 128), (0, 128)]
    assert all(rows.dtype == np.float32 for rows in streams.values())
    for name, arrays in (("left", left), ("right", right)):
        assert np.abs(streams[name] - space.embed("image", arrays)).max() < 1e-6
    assert np.abs(space.embed("image", left[:1]) - space.embed("image", right[:1])).max() > 1e-3
    same = space.embed_streams("image", {"camera1": left, "camera2": left})
    assert np.abs(same["camera1"] - same["camera2"]).max() < 1e-6
    assert len(space.state_dict()) == weights
    assert space.embed_streams("image", {}) == {}
    assert space.embed_streams("image", {"off": []})["off"].shape == (0, 128)
