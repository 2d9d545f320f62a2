"""The simulated world: equal seeds give equal bytes, and what the factors say is what the sensors feel."""

import hashlib
import io
import os
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from curiosity.embedding.modalities import decode
from curiosity.embedding.modality import Array
from curiosity.protocol.errors import SourceError
from curiosity.sources.made.world.episode import STREAMS, Episode, record_episode
from curiosity.sources.made.world.factors import ACTIONS, COLOURS, SHAPES, Factors, draw_factors
from curiosity.sources.made.world.make import PAIRED, make_world, split_episodes
from curiosity.sources.made.world.physics import Recording, simulate
from curiosity.sources.made.world.plan import plan_commands
from curiosity.sources.made.world.render import RayRenderer, pick_renderer
from curiosity.sources.made.world.sensors import CELL_M2, measure_gaps, sense_emg, sense_pressure, sense_touch
from curiosity.sources.made.world.sentence import say
from curiosity.sources.made.world.sound import RATE_HZ, make_sound
from curiosity.sources.pairset import check_pair_set, read_pairs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    renderer = RayRenderer()
    return [record_episode(7, number, renderer) for number in range(8)]


def _draw(action: str, **changes: object) -> Factors:
    """Factors of an episode of that action on a block in the middle, with some changed."""
    number = next(n for n in range(1000) if draw_factors(1, n).action == action)
    base = replace(
        draw_factors(1, number),
        shape="block",
        material="wooden",
        half_size=(0.025, 0.025, 0.028),
        pad_offset=(0.0, 0.0),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _decoded(episode: Episode, stream: str) -> Array:
    item = episode.items[stream]
    return decode(item.modality, item.content, item.media_type)


def test_the_same_seed_and_number_give_the_same_bytes_in_every_stream(episodes: list[Episode]) -> None:
    again = record_episode(7, 3, RayRenderer())
    assert {s: i.content for s, i in again.items.items()} == {s: i.content for s, i in episodes[3].items.items()}
    other = record_episode(8, 3, RayRenderer())
    assert all(other.items[stream].content != again.items[stream].content for stream in STREAMS)


def test_every_item_decodes_within_its_contract(episodes: list[Episode]) -> None:
    shapes = {
        "video": (16, 64, 64, 3), "camera1": (64, 64, 3), "camera2": (64, 64, 3), "point_cloud": (512, 3),
        "touch": (32, 2, 16, 16), "pressure": (1600,), "emg": (8, 1600), "action": (32, 7), "audio": (25600,),
    }  # fmt: skip
    for episode in episodes:
        for stream, shape in shapes.items():
            assert _decoded(episode, stream).shape == shape
        assert 30 < len(bytes(_decoded(episode, "text"))) < 200


def test_the_video_shows_what_was_drawn(episodes: list[Episode]) -> None:
    """The coding keeps the pictures: a frame differs from the ray caster's by little."""
    recording = simulate(draw_factors(7, 2))
    drawn = RayRenderer().draw(recording, 850, "camera1").astype(float)
    frame = _decoded(episodes[2], "video")[8].astype(float)
    assert np.abs(frame - drawn).mean() < 6
    assert np.abs(frame - _decoded(episodes[4], "video")[8]).mean() > 6


def test_a_heavier_object_presses_harder_when_it_is_pushed() -> None:
    light, heavy = (simulate(_draw("push", fill=fill, releases=False)) for fill in (0.15, 0.50))
    assert heavy.factors.mass > 3 * light.factors.mass
    felt = [float(sense_pressure(one, _rng()).sum()) for one in (light, heavy)]
    assert felt[1] > 1.5 * felt[0]


@pytest.mark.parametrize("side", [-1, 1])
def test_a_poke_is_felt_by_the_pad_that_pokes_and_moves_the_object_away_from_it(side: int) -> None:
    recording = simulate(_draw("poke", side=side, axis=0.0, twist=0.0, pokes=1))
    touch = sense_touch(recording, _rng()).max(axis=(2, 3)) > 0.5  # [32, 2]
    pad = 0 if side < 0 else 1
    assert touch[:, pad].any()
    # The object may coast into the other pad, later.
    first = [int(touch[:, one].argmax()) if touch[:, one].any() else 32 for one in (pad, 1 - pad)]
    assert first[0] < first[1]
    moved = recording.object_position[-1] - recording.object_position[0]
    assert moved[0] * -side > 0.002


def test_the_cells_carry_the_force_that_was_simulated() -> None:
    recording = simulate(_draw("grasp", force=8.0, levels=(1.0,) * 4, releases=False))
    touch = sense_touch(recording, _rng()).astype(np.float64)
    newtons = touch.sum(axis=(2, 3)) * CELL_M2 * 1000.0
    simulated = recording.pad_force.reshape(32, 50, 2).mean(axis=1)
    assert simulated.max() > 2.0
    np.testing.assert_allclose(newtons, simulated, atol=0.03)  # half the noise is cut off at zero
    waveform = sense_pressure(recording, _rng())[1200:1400].mean()
    assert waveform == pytest.approx(touch.mean(axis=(2, 3)).sum(axis=1)[24:28].mean(), rel=0.05)


def test_the_imprint_is_that_of_the_shape() -> None:
    """A ball presses a spot, a lying capsule a line along the pad, a block all that overlaps."""
    cells = {}
    firm = {"force": 8.0, "levels": (1.0,) * 4, "twist": 0.0, "releases": False}
    for shape, half in (("ball", (0.025,) * 3), ("capsule", (0.025, 0.040, 0.025)), ("block", (0.025, 0.025, 0.028))):
        touch = sense_touch(simulate(_draw("grasp", shape=shape, half_size=half, **firm)), _rng())
        pressed = touch[28, 0] > 0.5
        cells[shape] = (int(pressed.sum()), int(pressed.any(axis=0).sum()), int(pressed.any(axis=1).sum()))
    assert cells["ball"][0] < cells["capsule"][0] < cells["block"][0]
    assert cells["capsule"][1] == 16
    assert cells["capsule"][2] < 12


@pytest.mark.parametrize("shape", SHAPES)
def test_the_nearest_cell_lies_on_the_object_that_a_pad_holds(shape: str) -> None:
    """The geometry of the imprints agrees with the contacts that MuJoCo found."""
    number = next(n for n in range(2000) if (f := draw_factors(4, n)).action == "grasp" and f.shape == shape)
    recording = simulate(replace(draw_factors(4, number), releases=False))
    held = [pad for pad in (0, 1) if recording.pad_force[1300, pad] > 0.3]
    assert held
    for pad in held:
        assert abs(float(measure_gaps(recording, 1300, pad).min())) < 0.0045  # the soft layer gives that much


def test_emg_follows_the_forces_of_the_same_episode() -> None:
    """Grip muscles work harder for a firmer grip, and before the grip they rest."""
    loud = []
    for force in (2.5, 8.5):
        signal = sense_emg(simulate(_draw("grasp", force=force, levels=(1.0,) * 4, releases=False)), _rng())
        loud.append((signal[7, :300].std(), signal[7, 1100:1500].std()))
    assert loud[1][1] > 1.5 * loud[0][1]
    assert loud[1][1] > 2 * loud[1][0]


def test_what_an_object_is_made_of_is_heard() -> None:
    """Metal rings higher and longer than rubber, and only after the first contact."""
    heard = {}
    for material in ("metal", "rubber"):
        recording = simulate(_draw("drop", material=material))
        samples = _read_wav(make_sound(recording, _rng()))
        landed = int(np.argmax(np.diff(recording.object_force))) * RATE_HZ // 1000
        after = samples[landed : landed + 4000]
        spectrum = np.abs(np.fft.rfft(after * np.hanning(len(after)))) ** 2
        heard[material] = float((np.fft.rfftfreq(len(after), 1 / RATE_HZ) * spectrum).sum() / spectrum.sum())
    assert heard["metal"] > 2 * heard["rubber"]


def test_sound_of_a_contact_comes_with_the_contact() -> None:
    """What the contacts add to the sound begins when the pads close on the object, and is loud."""
    recording = simulate(_draw("grasp", material="glass", force=8.0, twist=0.0))
    still = replace(recording, object_force=np.full_like(recording.object_force, recording.object_force[0]))
    added = np.abs(_read_wav(make_sound(recording, _rng())) - _read_wav(make_sound(still, _rng())))
    first = 16 * int(np.argmax(recording.pad_force.sum(axis=1) > 0.05))
    assert added[: first - 160].max() < 100
    assert added[first : first + 1600].max() > 1000


def _read_wav(data: bytes) -> NDArray[np.float64]:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float64)


@pytest.mark.parametrize("action", ACTIONS)
def test_the_object_does_what_the_action_says(action: str) -> None:
    recording = simulate(_draw(action, force=6.0, levels=(1.0,) * 4, wait_s=0.0, stroke_s=0.4))
    moved = recording.object_position - recording.object_position[0]
    highest, end = float(moved[:, 2].max()), float(moved[-1, 2])
    away = float(np.hypot(*moved[-1, :2]))
    assert np.isfinite(recording.positions).all()
    assert {
        "push": away > 0.01 and highest < 0.01,
        "poke": away > 0.002 and highest < 0.01,
        "slide": away > 0.015 and highest < 0.01,
        "grasp": away < 0.01 and highest < 0.01,
        "lift": end > 0.02,
        "drop": highest > 0.02 and end < 0.006,
        "rotate": _turned(recording) > 0.25 and away < 0.02,
    }[action], (away, highest, end, _turned(recording))


def _turned(recording: Recording) -> float:
    first, last = recording.object_turn[0], recording.object_turn[-1]
    return float(2 * np.arccos(min(1.0, abs(float(first @ last)))))


def test_commands_stay_within_the_contract_of_actions() -> None:
    for number in range(60):
        commands = plan_commands(draw_factors(11, number))
        assert commands.shape == (1600, 7)
        assert np.abs(commands[:, :3]).max() < 0.6
        assert commands[:, 2].min() > 0.015  # the pads clear the table
        assert commands[:, 6].min() >= 0
        assert commands[:, 6].max() <= 1
        assert np.abs(np.diff(commands, axis=0)).max() < 0.03  # no jumps: the motion is smooth


def test_sentences_name_the_facts_of_the_episode() -> None:
    seen: set[str] = set()
    for number in range(12):
        recording = simulate(draw_factors(5, number))
        said = {say(recording, np.random.default_rng(draw)) for draw in range(6)}
        seen |= said
        colours = [colour for colour in COLOURS if all(f" {colour} " in f" {one} " for one in said)]
        assert colours == [recording.factors.colour]
        material = {"wooden": "wood"}.get(recording.factors.material, recording.factors.material)
        assert all(material in one for one in said)
    assert len(seen) > 40


def test_factors_are_drawn_independently_and_widely() -> None:
    drawn = [draw_factors(3, number) for number in range(400)]
    assert {factors.action for factors in drawn} == set(ACTIONS)
    assert {factors.shape for factors in drawn} == set(SHAPES)
    together = {(factors.action, factors.shape) for factors in drawn}
    assert len(together) == len(ACTIONS) * len(SHAPES)
    assert len({factors.position for factors in drawn}) == 400
    sizes, forces = ([getattr(f, "half_size")[0] for f in drawn], [f.force for f in drawn])  # noqa: B009
    assert abs(np.corrcoef(sizes, forces)[0, 1]) < 0.15


def test_no_episode_is_in_two_splits_and_more_episodes_leave_the_held_out_alone() -> None:
    small, large = split_episodes(500), split_episodes(2400)
    numbers = [number for each in large.values() for number in each]
    assert sorted(numbers) == list(range(2400))
    assert small["held-out"] == large["held-out"] == list(range(200))
    assert set(small["genesis"]) <= set(large["genesis"])
    with pytest.raises(SourceError, match="401 episodes") as error:
        split_episodes(401)
    assert error.value.code == "EPISODES_FEW"


def test_the_set_is_whole_and_made_once(tmp_path: Path) -> None:
    out, cache = tmp_path / "world", tmp_path / "episodes"
    asked: list[tuple[str, int, int]] = []
    card = make_world(out, seed=9, limit=2, cache=cache, progress=lambda *step: asked.append(step))
    assert asked == [("world", 8, 8)]
    assert check_pair_set(out) == 8 * len(PAIRED)
    pairs = list(read_pairs(out))
    splits: dict[str, set[str]] = {}
    files: dict[str, set[str]] = {}
    for pair in pairs:
        splits.setdefault(pair.split, set()).add(pair.concept)
        files.setdefault(pair.split, set()).update(
            item.path.name for item in (pair.a, pair.b) if item.modality != "text"
        )
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 8
    assert sum(map(len, files.values())) == len(set.union(*files.values()))
    assert {item.stream for pair in pairs for item in (pair.a, pair.b) if item.modality == "image"} == {
        "camera1",
        "camera2",
    }
    assert card["parameters"]["synthesised"] == ["audio", "emg"]
    assert set(card["licenses"]) == {"MIT"}
    stamp = (out / "card.json").stat().st_mtime_ns
    assert make_world(out, seed=9, limit=2) == card
    assert (out / "card.json").stat().st_mtime_ns == stamp
    # A kept episode is taken from the cache; another seed's is not.
    mark = next(cache.glob("9-*/pressure.npy"))
    made = mark.stat().st_mtime_ns
    again = make_world(tmp_path / "again", seed=9, limit=2, cache=cache)
    assert again["digest"] == card["digest"]
    assert mark.stat().st_mtime_ns == made
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# A machine that has no OpenGL library at all: none is found, and none can be loaded.
HIDE_GL = """
import ctypes, ctypes.util
hidden = ("EGL", "GL", "OSMesa", "GLESv2")
find, load = ctypes.util.find_library, ctypes.CDLL.__init__
ctypes.util.find_library = lambda name: None if name in hidden else find(name)
def refuse(self, name, *more, **options):
    if any(f"lib{one}" in str(name) for one in hidden):
        raise OSError(f"{name}: cannot open shared object file")
    load(self, name, *more, **options)
ctypes.CDLL.__init__ = refuse
"""


@pytest.mark.parametrize("missing", ["switched off", "no library"])
def test_without_opengl_the_renderer_falls_back_and_says_so(missing: str) -> None:
    """In a process of its own, since MuJoCo reads its backend once."""
    code = HIDE_GL if missing == "no library" else ""
    code += (
        "import sys, hashlib\n"
        "from curiosity.sources.made.world.render import pick_renderer\n"
        "from curiosity.sources.made.world.episode import record_episode\n"
        "from curiosity.protocol.errors import SourceError\n"
        "try:\n    pick_renderer('gl')\n    sys.exit('GL was there')\n"
        "except SourceError as error:\n    assert error.code == 'NO_GL', error\n"
        "chosen = pick_renderer('auto')\n"
        "print(chosen.name, hashlib.sha256(record_episode(7, 1, chosen).items['camera1'].content).hexdigest())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    if missing == "switched off":
        environment["MUJOCO_GL"] = "disable"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = hashlib.sha256(record_episode(7, 1, RayRenderer()).items["camera1"].content).hexdigest()
    assert done.stdout.split() == ["cpu", here]


def test_opengl_and_the_ray_caster_see_the_same_scene() -> None:
    try:
        gl = pick_renderer("gl")
    except SourceError as error:
        pytest.skip(f"no OpenGL here: {error.what}")
    recording = simulate(draw_factors(7, 5))
    for step, camera in ((300, "camera1"), (1200, "camera2")):
        drawn, cast = (one.draw(recording, step, camera).astype(float) for one in (gl, RayRenderer()))
        assert np.corrcoef(drawn.ravel(), cast.ravel())[0, 1] > 0.9


def test_an_unknown_renderer_is_refused() -> None:
    with pytest.raises(SourceError) as error:
        pick_renderer("vulkan")
    assert error.value.code == "UNKNOWN_RENDERER"
