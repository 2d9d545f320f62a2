"""Pairs are exported, mirrored and learned from under the licences that somebody asked for, and under no other."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest

from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.layout import SELECTION
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.decision import ExportedPair
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.license import NO_FILTER, LicenseFilter, is_permitted, match_license
from curiosity.protocol.pair import Item
from curiosity.protocol.tiles import bundles_for
from tests.material.evaluation import make_set, write_set
from tests.material.export import bring
from tests.material.ledger import decide
from tests.material.service import Running, running
from trainer.feed import FedPair, LedgerSlice
from trainer.mirror import read_mirror
from trainer.recipe import Recipe
from trainer.round_training import run

CURIOSITY = str(Path(sys.executable).parent / "curiosity")
IDS = ("Apache-2.0", "CC-BY-4.0", "CC0-1.0", "GPL-3.0-or-later", "MIT", "Unicode-3.0")
WANTED = ("CC-BY-4.0", "CC0-1.0", "MIT")
ODD = ("", "NOASSERTION", "MIT CC0-1.0", "(MIT", "MIT OR", "GPL-3.0-or-later WITH MIT")
"""What no network of today takes; a ledger may hold it all the same."""


def drawn(source: random.Random, depth: int = 2) -> tuple[str, Callable[[Sequence[str]], bool]]:
    """Return a random expression and what it says, told by how it was made."""
    if not depth or source.random() < 0.3:
        one = source.choice(IDS)
        spelled = source.choice((one, one.lower()))
        return spelled, lambda ids: one in ids
    (left, one_side), (right, other_side) = drawn(source, depth - 1), drawn(source, depth - 1)
    if source.random() < 0.5:
        return f"({left}) OR ({right})", lambda ids: one_side(ids) or other_side(ids)
    return f"({left}) AND ({right})", lambda ids: one_side(ids) and other_side(ids)


def test_expressions_mean_what_spdx_says() -> None:
    source, both = random.Random(1), Counter[bool]()
    for _ in range(2_000):
        expression, holds = drawn(source, 4)
        ids = source.sample(IDS, source.randint(1, 5))
        said = is_permitted(expression, {one.lower() for one in ids})
        assert said is holds(ids), (expression, ids)
        both[said] += 1
    assert min(both.values()) > 300
    assert is_permitted("MIT OR CC0-1.0 AND GPL-3.0-or-later", {"mit"})  # AND binds closer
    assert not is_permitted("(MIT OR CC0-1.0) AND GPL-3.0-or-later", {"mit"})


@pytest.mark.parametrize("expression", ["", " ", *ODD[2:5], "AND MIT", "()", "MIT)", "MIT (CC0-1.0)", "MIT AND OR MIT"])
def test_what_is_no_expression_is_rejected_with_a_code_and_never_taken(expression: str) -> None:
    with pytest.raises(Rejected, match="LICENSE_MALFORMED"):
        is_permitted(expression, {"mit", "cc0-1.0"})
    assert not LicenseFilter(WANTED).permits(expression)
    with pytest.raises(Rejected) as caught:
        match_license(expression, IDS)
    assert caught.value.code == ("LICENSE_MALFORMED" if "MIT" in expression else "LICENSE_NOT_ALLOWED")


def test_a_filter_of_what_is_not_there_is_refused() -> None:
    assert LicenseFilter.named(["cc0-1.0", "MIT"], ["MIT OR CC0-1.0"]).ids == ("CC0-1.0", "MIT")
    for wrong in ("CC0", "MIT OR CC0-1.0", ""):
        with pytest.raises(SourceError, match="LICENSE_UNKNOWN"):
            LicenseFilter.named([wrong], ["MIT OR CC0-1.0"])
    with pytest.raises(SourceError, match="LICENSE_NOT_COPIED"):
        LicenseFilter(WANTED).within(LicenseFilter(WANTED[:2]))
    assert LicenseFilter(WANTED[:1]).within(LicenseFilter(WANTED)).ids == WANTED[:1]
    assert NO_FILTER.within(LicenseFilter(WANTED)).ids == WANTED


async def fill(live: Running, count: int) -> dict[bytes, str]:
    """Write the entries of so many accepted pairs under mixed licences; return the allowed ones by digest."""
    source, allowed = random.Random(2), dict[bytes, str]()
    for start in range(0, count, 250):
        entries = []
        for number in range(start, min(count, start + 250)):
            expression, holds = drawn(source)
            if source.random() < 0.1:
                expression, holds = source.choice(ODD), lambda _ids: False
            picture, text = (Item("image", "image/png", b"p%d" % number), Item("text", "text/plain", b"t%d" % number))
            pair = live.sign((picture, text), license=expression, nonce=sha256(b"n%d" % number).digest())
            entries.append(decide(pair, live.network.domain))
            if holds(WANTED):
                allowed[pair.envelope.submission.digest(live.network.domain)] = expression
        await live.service.threads.on_writer(lambda entries=entries: live.service.ledger.append(entries))  # type: ignore[misc]
    return allowed


def exported(folder: Path) -> dict[int, ExportedPair]:
    copy = LedgerCopy(folder)
    return {index: pair for bundle in bundles_for(copy.head.size) for index, pair in copy.pairs(bundle).items()}


def is_allowed(pair: FedPair, allowed: dict[bytes, str]) -> bool:
    return allowed.get(pair.digest) == pair.license


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_mixed_pairs_are_exported_and_learned_from_under_the_licences_asked_for(
    count: int, tmp_path: Path
) -> None:
    async with running(tmp_path / "validator") as live:
        allowed = await fill(live, count)
        assert count // 5 < len(allowed) < count // 2

        # Without the filter everything is there, and a trainer learns from it.
        whole = await copy_ledger(live.client, tmp_path / "whole")
        _, fed = read_mirror(tmp_path / "whole")
        assert (whole.accepted, whole.items, len(fed)) == (count, 2 * count, count)
        assert sum(not is_allowed(pair, allowed) for pair in fed) == count - len(allowed)

        # With it, none of the others is in the export, in its items, or in what a trainer learns from.
        out = tmp_path / "some"
        some = await copy_ledger(live.client, out, licenses=[one.lower() for one in WANTED])
        assert (some.accepted, some.left_out) == (len(allowed), count - len(allowed))
        pairs = exported(out).values()
        assert Counter(p.submission.license for p in pairs) == Counter(allowed.values())
        items = {part.sha256.hex() for p in pairs for part in (p.submission.a, p.submission.b)}
        assert {path.name for path in (out / "blobs").iterdir()} == items
        named = json.loads((out / SELECTION).read_bytes())
        assert named == {
            "licenses": list(WANTED),
            "pairs": dict(sorted(Counter(allowed.values()).items())),
            "left_out": count - len(allowed),
        }
        for ledger, fed in (read_mirror(out), read_mirror(tmp_path / "whole", licenses=WANTED)):
            assert {pair.digest: pair.license for pair in fed} == allowed
            assert (ledger.licenses.ids, ledger.left_out) == (WANTED, count - len(allowed))
        fewer = {digest for digest, text in allowed.items() if is_permitted(text, {"mit"})}
        assert {pair.digest for pair in read_mirror(out, licenses=["MIT"])[1]} == fewer
        with pytest.raises(SourceError, match="LICENSE_NOT_COPIED"):
            read_mirror(out, licenses=["Apache-2.0"])


async def test_a_copy_cannot_hide_or_slip_in_a_pair(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        await fill(live, 60)
        whole, some = tmp_path / "whole", tmp_path / "some"
        await copy_ledger(live.client, whole)
        await copy_ledger(live.client, some, licenses=WANTED)
        (kept,) = (some / "pairs").rglob("*.jsonl")
        (others,) = (whole / "pairs").rglob("*.jsonl")
        lines = kept.read_bytes().splitlines(keepends=True)

        kept.write_bytes(b"".join(lines[1:]))
        with pytest.raises(ProofError, match="MIRROR_SUBMISSION"):
            read_mirror(some)
        kept.write_bytes(others.read_bytes())
        with pytest.raises(ProofError, match="IMPORT_LICENSE"):
            read_mirror(some)
        # Nobody's word but the signed entry's counts: a licence written over in the file is not the one signed.
        foreign = next(line for line in others.read_bytes().splitlines() if b'"license":"Unicode-3.0"' in line)
        kept.write_bytes(b"".join(lines) + foreign.replace(b"Unicode-3.0", b"CC0-1.0") + b"\n")
        assert {pair.license for pair in read_mirror(some)[1]} == {pair.license for pair in read_mirror_of(lines, some)}

        # A filtered copy is not whole, so it does not serve as a start; a copy without the filter completes it.
        with pytest.raises(ProofError, match="IMPORT_FILTERED"):
            bring(some, tmp_path / "second")
        await copy_ledger(live.client, some)
        assert not (some / SELECTION).exists()
        assert exported(some) == exported(whole)
        await copy_ledger(live.client, some, licenses=["MIT"])
        assert len(exported(some)) < len(lines)


def read_mirror_of(lines: Sequence[bytes], folder: Path) -> list[FedPair]:
    (kept,) = (folder / "pairs").rglob("*.jsonl")
    kept.write_bytes(b"".join(lines))
    return read_mirror(folder)[1]


async def test_the_command_copies_by_licence_and_refuses_what_nothing_is_under(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        allowed = await fill(live, 30)
        settings = {"CURIOSITY_NODE__VALIDATOR_URL": live.url, "CURIOSITY_NODE__HOME": str(tmp_path / "home")}

        def run(command: str, *licenses: str) -> dict[str, Any]:
            words = [CURIOSITY, "ledger", command, "--out", str(tmp_path / command), "--json"]
            words += [f"--license={one}" for one in licenses]
            done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, stdin=DEVNULL)
            assert done.stdout, done.stderr
            said: dict[str, Any] = json.loads(done.stdout)
            return said

        done = await asyncio.to_thread(run, "mirror", *WANTED)
        assert (done["accepted"], done["left_out"], done["licenses"]) == (len(allowed), 30 - len(allowed), list(WANTED))
        wrong = await asyncio.to_thread(run, "export", "CC0")
        assert wrong["error"]["code"] == "LICENSE_UNKNOWN"


def test_a_checkpoint_names_the_filter_and_learned_from_nothing_else(tmp_path: Path) -> None:
    names = ("image", "text")
    marked = [
        replace(pair, license=(*IDS, "")[n % 7]) for n, pair in enumerate(make_set(names, 14, 1, split="genesis"))
    ]
    learned = [pair for pair in marked if pair.license in WANTED]
    accepted = [replace(pair, license="MIT") for pair in make_set(names, 6, 1, split="submit", seed=5)]
    trusted = write_set(
        tmp_path / "set",
        [*marked, *make_set(names, 12, 1, split="calibration", seed=1), *make_set(names, 6, 1, seed=7)],
    )
    made = {}
    for ids in ((), WANTED):
        ledger = LedgerSlice("log.example", 0, 90, "ab" * 32, licenses=LicenseFilter(ids), left_out=40 if ids else 0)
        out = tmp_path / f"child{len(ids)}"
        run(GENESIS, accepted, [trusted], out, ledger=ledger, recipe=Recipe(steps=1, batch=4, junk_each=4, junk_pool=3))
        made[ids] = load(out).manifest.data["pair_licenses"], (out / "README.md").read_text()
    everything, card = made[()]
    assert everything["replayed"] == dict(sorted(Counter(pair.license for pair in marked).items()))
    assert (everything["filter"], everything["left_out"]) == ([], 0)
    assert "left out" not in card
    chosen, card = made[WANTED]
    assert chosen["replayed"] == dict(sorted(Counter(pair.license for pair in learned).items()))
    assert chosen["accepted"] == {"MIT": len(accepted)}
    assert (chosen["filter"], chosen["left_out"]) == (list(WANTED), 40)
    assert "CC-BY-4.0, CC0-1.0, MIT; 40 accepted pairs of the ledger were left out" in card
    assert len(learned) < len(marked)
