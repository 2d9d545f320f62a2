"""The monitor: logs that grow, lag, fork, hide and lie; the first bad entry is named, and evidence convicts."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from curiosity.client.trust import KEPT_KEYS, Trust
from curiosity.ledger.audit import Target, audit
from curiosity.ledger.monitor import copy_log
from curiosity.ledger.state import MonitorState
from curiosity.ledger.tiles import AHEAD, LogFiles
from curiosity.protocol.entry import CheckpointEntry, EpochEntry, PairEntry, TakedownEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ConfigError, ServiceError, SourceError
from curiosity.protocol.evidence import Shown, check_evidence, parse_evidence
from curiosity.protocol.payouts import Replay
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.takedown import Asker, TakedownReason, TakedownRequest, sign_takedown
from curiosity.protocol.tlog import Signer, cosign
from tests.material.ledger import DOMAIN, make_entry, make_pair
from tests.material.log import LOG_SIGNER, LOG_VKEY, ORIGIN, Log, TileServer, tile_server
from tests.material.monitor import FOREIGN, monitoring
from tests.material.service import pictures, running

LOG = Log(1500)
NETWORK = (b"\x44" * 32, DOMAIN)
OURS = Target(ORIGIN, (LOG_VKEY,), KEPT_KEYS, network=NETWORK)


# -- honest logs


async def test_a_log_that_grows_holds_and_nothing_is_fetched_twice(tmp_path: Path) -> None:
    async with monitoring(tmp_path, LOG) as monitor:
        checked = 0
        for size in (0, 1, 255, 256, 257, 1000, 1000, 1500):
            monitor.server.asked.clear()
            done = await monitor.round(size=size)
            assert (done.finding, done.size, done.root) == (None, size, LOG.root(size)), done.finding
            checked += done.checked
        assert checked == 1500
        bundles = [path for path in monitor.server.asked if "entries" in path]
        assert sorted(bundles) == ["tile/entries/003", "tile/entries/004", "tile/entries/005.p/220"]
        full = [path for path in monitor.server.asked if ".p/" not in path and path != "checkpoint"]
        assert len(set(full)) == len(full)


async def honest_logs_are_never_accused(folder: Path, rounds: int) -> None:
    """A log behind several servers that lag by different amounts, and witnesses that lag too."""
    chance = random.Random(7)
    async with monitoring(folder, LOG) as monitor:
        for number in range(1, rounds + 1):
            newest = LOG.size * number // rounds
            shown = chance.randint(0, newest)
            seen = [LOG.head(chance.randint(0, newest)) for _ in range(2)]
            done = await monitor.round(size=shown, seen=seen)
            assert done.finding is None, done.finding
            assert done.size >= shown


async def test_lagging_honest_logs_are_never_accused(tmp_path: Path) -> None:
    await honest_logs_are_never_accused(tmp_path, 25)


@pytest.mark.slow
async def test_lagging_honest_logs_are_never_accused_in_500_rounds(tmp_path: Path) -> None:
    await honest_logs_are_never_accused(tmp_path, 500)


async def test_a_folder_of_static_files_is_a_log_too(tmp_path: Path) -> None:
    async with monitoring(tmp_path / "state", LOG) as monitor:
        await monitor.round()
        for path in {*monitor.server.asked, "checkpoint"}:
            content = monitor.server.content(path)
            if content is not None:
                (tmp_path / "static" / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "static" / path).write_bytes(content)
    async with LogFiles(str(tmp_path / "static")) as files:
        state = MonitorState(tmp_path / "other", ORIGIN, [LOG_VKEY])
        assert (await audit(files, state, FOREIGN)).size == LOG.size


# -- forks (T21)


async def forks_are_detected(folder: Path, log: Log, rounds: int, seed: int) -> None:
    """Each round the log shows the monitor one branch, then another that differs in a random earlier entry."""
    chance = random.Random(seed)
    known = 0
    async with monitoring(folder, log) as monitor:
        for number in range(rounds):
            known = chance.randint(known + 1, log.size * (number + 1) // rounds)
            assert (await monitor.round(log, known)).finding is None
            index = chance.randrange(known)
            later = chance.choice([known, chance.randint(1, known), chance.randint(known, log.size)])
            done = await monitor.round(log.fork(index), later)
            if later <= index:
                assert done.finding is None  # what it shows is not yet different
                continue
            assert done.finding is not None
            assert (done.finding.code, done.finding.index) == ("LOG_FORKED", index)
            assert done.size == known
            assert done.finding.evidence is not None
            checked = check_evidence(parse_evidence(done.finding.evidence.read_bytes()), [LOG_VKEY])
            assert checked.shown is (Shown.TWO_ROOTS if later == known else Shown.REWRITTEN)
            assert {checked.first.size, checked.second.size} == {known, later}


async def test_forks_are_detected_in_the_next_round(tmp_path: Path) -> None:
    await forks_are_detected(tmp_path, LOG, 15, 1)


@pytest.mark.slow
async def test_forks_of_a_long_log_are_detected_in_200_rounds(tmp_path: Path) -> None:
    await forks_are_detected(tmp_path, Log(60_000), 200, 2)


async def test_a_split_view_is_detected_by_what_witnesses_saw(tmp_path: Path) -> None:
    fork = LOG.fork(400)
    for number, (mine, theirs) in enumerate([(1000, 700), (1000, 512), (700, 1000), (900, 900)]):
        async with monitoring(tmp_path / str(number), LOG) as monitor:
            assert (await monitor.round(size=mine, seen=[LOG.head(theirs)])).finding is None
            shown = fork.head(theirs)
            if theirs > mine:  # the tiles of the other branch are served to somebody: here to us
                for path in ("tile/0/002", "tile/0/003.p/232", "tile/1/000.p/3"):
                    monitor.server.spoil[path] = TileServer(fork, size=theirs).content(path)
            done = await monitor.round(size=mine, seen=[shown])
            assert done.finding is not None
            assert done.finding.code == "LOG_SPLIT"
            assert done.finding.evidence is not None
            assert check_evidence(parse_evidence(done.finding.evidence.read_bytes()), [LOG_VKEY]).is_fork
            strangers = Log(10, signer=Signer(ORIGIN, b"\x77" * 32)).head()
            told = await monitor.round(size=mine, seen=[strangers])
            assert told.finding is None
            assert "did not sign" in told.notes[0]


async def test_a_witness_that_is_ahead_of_what_is_shown_is_told(tmp_path: Path) -> None:
    async with monitoring(tmp_path, LOG) as monitor:
        monitor.server.size = 700
        done = await monitor.round(size=700, seen=[LOG.head(900)])
        assert done.finding is None
        assert "has seen 900 entries, the log shows 700" in done.notes[0]


# -- tiles that are not the tree's


@pytest.mark.parametrize(
    ("path", "code", "index"),
    [
        ("tile/entries/002", "BUNDLE_MISMATCH", 512 + 3),
        ("tile/entries/005.p/220", "BUNDLE_MISMATCH", 1280 + 3),
        ("tile/0/002", "TILE_MISMATCH", None),
        ("tile/0/005.p/220", "TILE_EDGE", None),
        ("tile/1/000.p/5", "TILE_EDGE", None),
    ],
)
async def test_what_is_not_in_the_tree_is_refused_and_named(
    tmp_path: Path, path: str, code: str, index: int | None
) -> None:
    async with monitoring(tmp_path, LOG) as monitor:
        good = monitor.server.content(path)
        assert good is not None
        width = 9 + 2 if "entries/00" in path else 32  # "leaf 5??" behind its length; all of one length there
        if "entries" in path:
            width = 2 + len(LOG.leaf(index or 0))
        at = 3 * width + width - 1
        for change, expected in (
            (good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], code),
            (good[:-1], "BUNDLE_TRUNCATED" if "entries" in path else "TILE_SIZE"),
            (good + b"\0", "BUNDLE_TRAILING" if "entries" in path else "TILE_SIZE"),
            (None, "TILE_MISSING"),
        ):
            monitor.server.spoil = {path: change, path.partition(".p/")[0]: change}
            done = await monitor.round()
            assert done.finding is not None
            assert done.finding.code == expected
            if expected == code:
                assert done.finding.index == index
            assert done.size == 0
        monitor.server.spoil = {}
        assert (await monitor.round()).size == LOG.size


async def test_heads_that_do_not_count_are_findings(tmp_path: Path) -> None:
    witness = Signer("witness.example/w", b"\x08" * 32)
    trust = Trust(witness_vkeys=(witness.witness.vkey(),), quorum=1)
    async with monitoring(tmp_path, LOG, replace(FOREIGN, trust=trust)) as monitor:
        for note, code in (
            (LOG.head(), "HEAD_QUORUM"),
            (Log(10, origin="other.example", signer=LOG_SIGNER).head(), "HEAD_ORIGIN"),
            (Log(10, signer=Signer(ORIGIN, b"\x77" * 32)).head(), "NOTE_UNSIGNED"),
            (LOG.head()[:-3], "NOTE_MALFORMED"),
        ):
            monitor.server.note = note
            done = await monitor.round()
            assert done.finding is not None
            assert done.finding.code == code
        cosigned = cosign(LOG.head(1000), witness, 1)
        monitor.server.note = LOG.head()
        monitor.server.spoil["v1/checkpoint/cosigned"] = cosigned.encode()  # our validators show it apart
        done = await monitor.round()
        assert (done.finding, done.size, done.cosigners) == (None, 1000, ("witness.example/w",))


# -- what entries mean


def make_ledger() -> list[bytes]:
    """A ledger with every kind of entry: two checkpoints, pairs, two epochs, takedowns by both who may ask."""
    leaves: list[bytes] = []
    replay = Replay(RewardParameters())

    def add(leaf: bytes) -> None:
        leaves.append(leaf)
        replay.take(parse_entry(leaf))

    def pair(number: int, **changes: object) -> bytes:
        entry = parse_entry(make_entry(number, accepted=number % 3 != 0).leaf)
        assert isinstance(entry, PairEntry)
        curious = {"novel": True, "curiosity_micro": 8_000 + 1000 * number} if entry.verdict.is_accepted else {}
        verdict = replace(entry.verdict, checkpoint=checkpoint, **curious, **changes)  # type: ignore[arg-type]
        return encode_entry(replace(entry, verdict=verdict))

    checkpoint = b"\x55" * 32
    add(encode_entry(CheckpointEntry(checkpoint, None)))
    for number in range(1, 12):
        add(pair(number))
    own = sign_takedown(
        TakedownRequest(NETWORK[0], make_pair(5).envelope.submission.digest(DOMAIN), TakedownReason.PRIVACY, "", 2**40),
        DOMAIN,
        _key_of(5),
    )
    add(_takedown(5, leaves[5], Asker.CONTRIBUTOR, own.request.expiry, own.signature))
    add(encode_entry(replay.open_epoch().expected_entry(replay.parameters)))
    add(encode_entry(CheckpointEntry(b"\x66" * 32, checkpoint)))
    checkpoint = b"\x66" * 32
    for number in range(12, 20):
        add(pair(number))
    add(_takedown(15, leaves[15], Asker.OPERATOR, 0, None))
    add(encode_entry(replay.open_epoch().expected_entry(replay.parameters)))
    add(pair(20))
    return leaves


def _key_of(number: int) -> bytes:
    return sha256(b"wallet %d" % (number % 5)).digest()  # as tests.material.ledger.make_pair


def _takedown(index: int, leaf: bytes, asker: Asker, expiry: int, signature: bytes | None) -> bytes:
    entry = parse_entry(leaf)
    assert isinstance(entry, PairEntry)
    return encode_entry(
        TakedownEntry(index, entry.pair, entry.pair, TakedownReason.PRIVACY, "", asker, expiry, signature)
    )


LEAVES = make_ledger()


def _changed(at: int, **changes: object) -> Callable[[list[bytes]], None]:
    def change(leaves: list[bytes]) -> None:
        leaves[at] = encode_entry(replace(parse_entry(leaves[at]), **changes))  # type: ignore[arg-type]

    return change


def _verdict(index: int, **changes: object) -> Callable[[list[bytes]], None]:
    def change(leaves: list[bytes]) -> None:
        entry = parse_entry(leaves[index])
        assert isinstance(entry, PairEntry)
        leaves[index] = encode_entry(replace(entry, verdict=replace(entry.verdict, **changes)))  # type: ignore[arg-type]

    return change


def _put(index: int, leaf: bytes) -> Callable[[list[bytes]], None]:
    def change(leaves: list[bytes]) -> None:
        leaves[index] = leaf

    return change


LIES: dict[str, tuple[str, int, Callable[[list[bytes]], None]]] = {
    "no entry at all": ("ENTRY_MALFORMED", 4, _put(4, b"{}")),
    "another spelling of an entry": ("ENTRY_NOT_CANONICAL", 4, _put(4, LEAVES[4].replace(b",", b", ", 1))),
    "the first entry is a pair": ("LEDGER_FIRST", 0, _put(0, LEAVES[1])),
    "the first checkpoint has a parent": ("LEDGER_FIRST", 0, _changed(0, parent=b"\1" * 32)),
    "a checkpoint that is no child": ("LEDGER_CHECKPOINT", 14, _changed(14, parent=b"\1" * 32)),
    "a verdict under another checkpoint": ("LEDGER_CHECKPOINT", 3, _verdict(3, checkpoint=b"\1" * 32)),
    "a pair in somebody else's name": ("LEDGER_SIGNATURE", 6, _changed(6, contributor=address_of(b"\7" * 32))),
    "a signature of nothing": ("LEDGER_SIGNATURE", 6, _changed(6, signature=bytes(65))),
    "one pair paid twice": ("LEDGER_PAIR_TWICE", 8, _put(8, LEAVES[7])),
    "one pair twice across epochs": ("LEDGER_PAIR_TWICE", 25, _put(25, LEAVES[18])),
    "a takedown of another pair": ("TAKEDOWN_OF_NOTHING", 12, _changed(12, index=7)),
    "a takedown of what is no pair": ("TAKEDOWN_OF_NOTHING", 12, _changed(12, index=0)),
    "a takedown of what comes later": ("TAKEDOWN_OF_NOTHING", 12, _changed(12, index=16)),
    "a takedown that nobody signed": ("TAKEDOWN_SIGNATURE", 12, _changed(12, signature=bytes(65))),
    "an epoch that emits more": ("PAYOUT_MISMATCH", 13, _changed(13, emission_wei="99" * 10)),
    "an epoch that pays others": ("PAYOUT_MISMATCH", 13, _changed(13, reward_root=b"\1" * 32)),
    "a later epoch that lies": ("PAYOUT_MISMATCH", 24, _changed(24, paid_pairs=1)),
    "a score that was raised": ("PAYOUT_MISMATCH", 13, _verdict(1, curiosity_micro=900_000)),
}


def ledger_log(leaves: Sequence[bytes]) -> Log:
    return Log(len(leaves), lambda index: leaves[index])


async def test_a_ledger_with_every_kind_of_entry_holds_in_any_number_of_rounds(tmp_path: Path) -> None:
    log = ledger_log(LEAVES)
    for name, sizes in {"one": [len(LEAVES)], "many": list(range(1, len(LEAVES) + 1))}.items():
        async with monitoring(tmp_path / name, log, OURS) as monitor:
            for size in sizes:
                done = await monitor.round(size=size)
                assert done.finding is None, done.finding
            assert (done.size, done.pairs, done.epochs) == (len(LEAVES), 20, 2)
            assert done.accepted == sum(number % 3 != 0 for number in range(1, 21))


@pytest.mark.parametrize("how", LIES)
@pytest.mark.parametrize("rounds", [1, 2])
async def test_a_ledger_that_lies_is_named_with_its_first_bad_entry(tmp_path: Path, how: str, rounds: int) -> None:
    code, index, change = LIES[how]
    leaves = list(LEAVES)
    change(leaves)
    async with monitoring(tmp_path, ledger_log(leaves), OURS) as monitor:
        if rounds == 2:  # the state goes through its file right before the bad entry
            assert (await monitor.round(size=index)).finding is None
        done = await monitor.round()
        assert done.finding is not None
        assert (done.finding.code, done.finding.index) == (code, index), done.finding
        assert done.size == (index if rounds == 2 else 0)
    async with monitoring(tmp_path / "light", ledger_log(leaves)) as monitor:  # the other arm: hashes alone see nothing
        assert (await monitor.round()).finding is None


async def test_a_state_that_looked_at_hashes_only_begins_anew(tmp_path: Path) -> None:
    async with monitoring(tmp_path, ledger_log(LEAVES)) as monitor:
        assert (await monitor.round(size=20)).pairs is None
        monitor.target = OURS
        done = await monitor.round()
        assert (done.finding, done.pairs, done.checked) == (None, 20, len(LEAVES))


# -- the state


async def test_a_damaged_state_is_refused_and_an_interrupted_round_is_forgotten(tmp_path: Path) -> None:
    async with monitoring(tmp_path, LOG) as monitor:
        await monitor.round(size=1000)
        with (tmp_path / "leaf-hashes").open("ab") as file:
            file.write(b"\1" * 100)
        assert (await monitor.round(size=1500)).finding is None
        assert (await monitor.round(size=1500)).size == 1500  # and its state is whole
        for name, at in (("leaf-hashes", 4000), ("state.json", 30)):
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[:at] + b"\7" + whole[at + 1 :])
            with pytest.raises(SourceError, match="MONITOR_STATE"):
                await monitor.round()
            (tmp_path / name).write_bytes(whole[:-40])
            with pytest.raises(SourceError, match="MONITOR_STATE"):
                await monitor.round()
            (tmp_path / name).write_bytes(whole)


async def test_fetching_ahead_is_bounded_and_a_silent_log_is_told(tmp_path: Path) -> None:
    log = Log(20_000)
    async with monitoring(tmp_path, log) as monitor:
        waiting, most = 0, 0
        once = monitor.files._request

        async def counted(url: str) -> bytes | None:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await asyncio.sleep(0.001)
            try:
                return await once(url)
            finally:
                waiting -= 1

        monitor.files._request = counted  # type: ignore[method-assign]
        assert (await monitor.round()).size == 20_000
        assert 4 < most <= AHEAD + 1
    async with LogFiles(monitor.server.url, patience_s=0.0) as files:
        with pytest.raises(ServiceError, match="LOG_UNREACHABLE"):
            await audit(files, MonitorState(tmp_path / "x", ORIGIN, [LOG_VKEY]), FOREIGN)


# -- the command


async def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node.cli", "ledger", "audit", *arguments, "--home", str(home),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_follows_any_log_and_ends_with_status_five(tmp_path: Path) -> None:
    async with tile_server(LOG) as server, tile_server(LOG) as witness:
        witness.spoil[f"{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"] = LOG.head(40).encode()
        arguments = [server.url, "--log-vkey", LOG_VKEY, "--foreign", "--witness", witness.url]
        status, out, err = await run(tmp_path, *arguments, "--json")
        assert status == 0, err
        told = json.loads(out)
        assert (told["size"], told["finding"], told["is_log_pinned"], told["silent_witnesses"]) == (
            1500,
            None,
            True,
            [],
        )
        server.log = LOG.fork(77)
        status, out, _ = await run(tmp_path, *arguments, "--follow", "--interval", "0.1")
        assert status == 5
        assert "LOG_FORKED (first bad index 77)" in out
        evidence = out.rpartition("Evidence for others: ")[2].partition(" (")[0]
        kept = await asyncio.to_thread(Path(evidence).read_bytes)
        assert check_evidence(parse_evidence(kept), [LOG_VKEY]).is_fork
        status, out, err = await run(tmp_path, server.url)
        assert (status, err.split(":")[0]) == (6, "LOG_KEY_NEEDED")


async def test_a_second_audit_without_new_entries_holds_too(tmp_path: Path) -> None:
    """It asked the validator for the openings of no entries, and took the failure for one of the network."""
    async with running(tmp_path / "validator") as live:
        for pair in pictures(2):
            await live.client.post_pair(live.sign(pair).encode())
        for new in (3, 0, 0):
            status, out, err = await run(tmp_path / "home", live.url, "--json")
            assert status == 0, err
            told = json.loads(out)
            assert (told["size"], told["checked"], told["openings"], told["finding"]) == (3, new, max(0, new - 1), None)


def test_keys_are_needed_from_somewhere() -> None:
    with pytest.raises(ConfigError, match="QUORUM_UNREACHABLE"):
        Trust(quorum=1).check()
    assert isinstance(parse_entry(LEAVES[13]), EpochEntry)


async def test_the_folder_that_ledger_tiles_wrote_says_whose_log_it_is(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        for pair in pictures(2):
            await live.client.post_pair(live.sign(pair).encode())
        async with LogFiles(live.url) as files:
            await copy_log(files, tmp_path / "static", Trust())
    status, out, err = await run(tmp_path / "home", str(tmp_path / "static"), "--json")
    assert status == 0, err
    told = json.loads(out)
    assert (told["size"], told["finding"], told["is_log_pinned"]) == (live.service.ledger.size, None, False)
    async with LogFiles(str(tmp_path / "static")) as files:
        await copy_log(files, tmp_path / "again", Trust())
    assert (tmp_path / "again" / "network.json").read_bytes() == (tmp_path / "static" / "network.json").read_bytes()
