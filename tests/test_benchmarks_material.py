"""The counts of the sets from Debian packages, on small trees in their form."""

import json
from pathlib import Path

from benchmarks.material import SETS, find_groups, main
from tests.material.packages import describe, record, write, write_clipart, write_sounds, write_stamps


def test_the_counts_are_those_of_the_sets(tmp_path: Path) -> None:
    names = ["frog", "lark", "yak", "zebra", "otter", "goat"]
    root = write_stamps(tmp_path / "tree", {f"animals/{name}": f"A {name}.\nde.utf8=Ein {name}.\n" for name in names})
    write(root, {f"usr/share/tuxpaint/stamps/animals/{name}.ogg": record(at) for at, name in enumerate(names)})
    write(root, {"usr/share/tuxpaint/stamps/animals/frog_desc_de.ogg": record(9)})
    write_clipart(root, {f"animals/{name}": describe(name.title()) for name in ["frog", "bus", "tram", "kite"]})
    write_sounds(root, samples={"misc_crow.flac": record(20, form="FLAC")}, sample_copyright="")
    assert main(["--from", str(root), "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert {name: found[name]["concepts_kept"] for name in SETS} == {"photos": 6, "clipart": 4, "sounds": 9}
    assert found["photos"]["languages"] == {"en": 6, "de": 6}
    assert found["sounds"]["spoken"] == {"de": 1}
    assert found["photos"]["share_animals"] == 1
    assert found["sounds"]["left_out"]["LICENSE_UNCLEAR"] == 2
    assert {name: found[name]["largest_group"] for name in SETS} == {"photos": 1, "clipart": 1, "sounds": 1}
    held_out = found["photos"]["counts"]["held-out"]["concepts"]
    assert found["trainable"]["sounds with photos judged"] == {"captions": 9, "strict": 9 - held_out}


def test_groups_are_connected_by_shared_words() -> None:
    words = {"red bus": {"red", "bus"}, "owl": {"owl"}, "old tram": {"old", "tram"}, "old bus": {"old", "bus"}}
    groups = find_groups({concept: frozenset(own) for concept, own in words.items()})
    assert sorted(map(sorted, groups)) == [["old bus", "old tram", "red bus"], ["owl"]]
