"""`curiosity data`: sets are made, shown and checked; what a set does not know is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.material.command import Said
from tests.material.packages import write_stamps


def run(*arguments: str | Path) -> Said:
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "data", *map(str, arguments)],
        capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sets") / "world"
    done = run("make", "world", "--out", out, "--limit", "1", "--episodes", "402", "--seed", "5", "--renderer", "cpu")
    assert done.status == 0, done.err
    return out


def test_the_world_is_made_shown_and_checked(world: Path) -> None:
    shown = run("show", world, "--json").json["card"]
    assert shown["parameters"]["seed"] == 5
    assert shown["counts"]["submit"]["touch-video"] == 1
    assert shown["licenses"] == {"MIT": 40}
    table = run("show", world).out
    assert "touch-video" in table
    assert "mujoco" in table
    checked = run("check", world, "--json").json
    assert checked == {"pairs": 40, "items": 40, "broken": []}


def test_a_changed_and_an_undecodable_file_are_told(world: Path, tmp_path: Path) -> None:
    import shutil

    from curiosity.sources.pairset import DraftHalf, DraftPair, write_pair_set

    changed = tmp_path / "changed"
    shutil.copytree(world, changed)
    one = next((changed / "media").glob("*.npy"))
    one.write_bytes(one.read_bytes()[:-1] + b"\x01")
    refused = run("check", changed, "--json")
    assert (refused.status, refused.json["error"]["code"]) == (8, "PAIR_SET_CHANGED")

    halves = (DraftHalf("text", "text/plain", b"a"), DraftHalf("touch", "application/x-npy", npy_of_wrong_shape()))
    write_pair_set(
        tmp_path / "odd", name="odd", parameters={}, origins=[],
        drafts=[DraftPair("1", "submit", "c", "MIT", "", None, halves)],
    )  # fmt: skip
    told = run("check", tmp_path / "odd", "--json")
    assert told.status == 8
    assert [one["code"] for one in told.json["broken"]] == ["ARRAY_RANK"]


def npy_of_wrong_shape() -> bytes:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 4), "<f4"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("make", "digits", "--out", "x", "--episodes", "5"), "USAGE", 2),
        (("make", "world", "--out", "x", "--voices", "5"), "USAGE", 2),
        (("make", "world", "--out", "x", "--episodes", "5"), "EPISODES_FEW", 8),
        (("make", "faces", "--out", "x"), "USAGE", 2),
        (("make", "clipart", "--out", "x", "--language", "de"), "USAGE", 2),
        (("make", "emoji", "--out", "x", "--from", "/"), "USAGE", 2),
        (("make", "photos", "--out", "x", "--from", "/nowhere"), "MATERIAL_MISSING", 8),
        (("show", "/nowhere"), "NOT_A_PAIR_SET", 8),
        (("check", "/nowhere"), "NOT_A_PAIR_SET", 8),
    ],
)
def test_bad_input_gets_a_code(arguments: tuple[str, ...], code: str, status: int, tmp_path: Path) -> None:
    done = run(*arguments)
    assert (done.status, done.err.split(":")[0]) == (status, code), done.err
    assert len(done.err.strip().splitlines()) == 1


def test_photos_of_a_given_copy_are_made_and_shown(tmp_path: Path) -> None:
    stamps = {f"animals/{name}": f"A {name}.\nde.utf8=Ein {name}.\n" for name in ("frog", "lark", "yak", "zebra")}
    root = write_stamps(tmp_path / "tree", stamps)
    out = tmp_path / "photos"
    made = run("make", "photos", "--out", out, "--from", root, "--language", "de", "--json")
    assert made.json["card"]["about"]["languages"] == {"de": 4, "en": 4}
    shown = run("show", out).out
    assert "GPL-2.0-only" in shown
    assert shown.count("use: To measure with.") == 1
    assert "languages: de 4, en 4" in shown
    assert "left out: nothing" in shown
    assert run("check", out, "--json").json == {"pairs": 8, "items": 12, "broken": []}


def test_a_broken_card_is_told(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    assert run("show", tmp_path).err.startswith("CARD_BROKEN: ")
    (tmp_path / "card.json").write_text(json.dumps({"format": 0}))
    assert run("show", tmp_path).err.startswith("CARD_BROKEN: ")


def test_mujoco_is_loaded_only_for_the_world(tmp_path: Path) -> None:
    code = (
        "import sys, node.cli as c\n"
        f"s = c.run(['data', 'make', 'digits', '--limit', '1', '--out', {str(tmp_path / 'set')!r}])\n"
        "sys.exit(9 if 'mujoco' in sys.modules else s)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
