"""The witness over its HTTP protocol: what it cosigns, what it refuses and how, what it remembers, what it convicts."""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest

from curiosity.host.settings.witness import WitnessConfig
from curiosity.protocol.errors import ConfigError, ProofError, StoreError
from curiosity.protocol.evidence import Evidence, Shown, check_evidence, collect, encode_evidence, parse_evidence
from curiosity.protocol.tlog import Signer, add_signatures, sign_note, verified_cosignatures, verify_checkpoint
from tests.material.log import LOG_SIGNER, LOG_VKEY, ORIGIN, Log, add_checkpoint
from tests.material.witness import NAME, Live, witnessing
from witness.app import build
from witness.config import load_config, trusted_logs
from witness.evidence import EVIDENCE_FOLDER, read_evidence
from witness.files import origin_hash
from witness.heads import LOGS_FOLDER, Memory
from witness.keys import load_keys


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with witnessing(tmp_path / "witness") as made:
        yield made


LOG = Log(700)


# -- what it cosigns


async def test_a_log_that_grows_is_cosigned_by_both_keys_and_shown_to_monitors(live: Live) -> None:
    old = 0
    for size in (0, 1, 4, 255, 256, 700, 700):
        before = int(time.time())
        status, _, lines = await live.post(add_checkpoint(LOG, old, size))
        assert status == 200, lines
        note = add_signatures(LOG.head(size), lines, live.keys.vkeys)
        for vkey in live.keys.vkeys:
            head = verify_checkpoint(note, ORIGIN, [LOG_VKEY], [vkey], 1)
            assert (head.size, head.root) == (size, LOG.root(size))
        assert all(before <= s.timestamp <= time.time() for s in verified_cosignatures(note, live.keys.vkeys))
        async with live.session.get(f"{live.url}/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint") as answer:
            assert await answer.text() == note
        old = size
    assert live.evidence() == []


async def test_a_head_that_cannot_be_kept_is_not_answered_and_stops_that_log_only(tmp_path: Path) -> None:
    other = Log(5, origin="other.example/log", signer=Signer("other.example/log", b"\x66" * 32))
    logs = (LOG_VKEY, other.signer.verifier.vkey())
    file = tmp_path / "w" / LOGS_FOLDER / f"{origin_hash(ORIGIN)}.jsonl"
    async with witnessing(tmp_path / "w", logs) as live:
        file.mkdir()  # no file can be opened there any more
        for _ in range(2):
            status, _, text = await live.post(add_checkpoint(LOG, 0, 4))
            assert (status, text.split(":")[0]) == (500, "WITNESS_STOPPED")
        file.rmdir()  # the disk is whole again, which nobody may assume
        assert (await live.post(add_checkpoint(LOG, 0, 4)))[0] == 500
        assert (await live.post(add_checkpoint(other, 0, 5)))[0] == 200
        async with live.session.get(f"{live.url}/health") as answer:
            assert (answer.status, (await answer.json())["stopped"]) == (503, [ORIGIN])
    async with witnessing(tmp_path / "w", logs) as live:
        assert (await live.post(add_checkpoint(LOG, 0, 4)))[0] == 200
        async with live.session.get(f"{live.url}/health") as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "ok")


async def test_signatures_of_strangers_are_ignored_and_not_kept(live: Live) -> None:
    other = Log(5, signer=Signer(ORIGIN, b"\x55" * 32))
    note = LOG.head(5) + other.head(5).partition("\n\n")[2]
    status, _, lines = await live.post(b"old 0\n\n" + note.encode())
    assert status == 200, lines
    async with live.session.get(f"{live.url}/{origin_hash(ORIGIN)}/checkpoint") as answer:
        assert await answer.text() == LOG.head(5) + lines


# -- what it refuses, with the status that the specification gives


def _flip(body: bytes, position: int) -> bytes:
    return body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]


STRANGER = Signer(ORIGIN, b"\x77" * 32)
GOOD = add_checkpoint(LOG, 300, 600)
PROOF_LINE = GOOD.split(b"\n")[1]
NOTE_AT = GOOD.index(b"\n\n") + 2
MISSIGNED = GOOD[:NOTE_AT] + (LOG.head(600).partition("\n\n")[0] + "\n\n" + LOG.head(599).partition("\n\n")[2]).encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, add_checkpoint(Log(600, origin="other.example", signer=LOG_SIGNER), 300)),
        (403, add_checkpoint(Log(600, signer=STRANGER), 300)),
        (403, MISSIGNED),
        (400, add_checkpoint(LOG, 601, 600, proof=[])),
        (400, GOOD.replace(b"old 300\n", b"old 0300\n", 1)),
        (400, GOOD.replace(b"old 300\n", b"old -1\n", 1)),
        (400, GOOD.replace(b"old 300\n", b"Old 300\n", 1)),
        (400, GOOD.replace(b"old 300\n", b"", 1)),
        (400, GOOD.replace(PROOF_LINE, PROOF_LINE[:-4], 1)),
        (400, GOOD.replace(PROOF_LINE, PROOF_LINE[:-1] + b"\r", 1)),
        (400, GOOD.replace(b"\n\n", b"\n", 1)),
        (400, b"old 300\n" + (PROOF_LINE + b"\n") * 64 + b"\n" + GOOD[NOTE_AT:]),
        (400, GOOD[:NOTE_AT] + b"\xff\xfe"),
        (400, b""),
        (400, GOOD[:-1]),
        (422, add_checkpoint(LOG, 300, 600, proof=LOG.consistency(300, 600)[:-1])),
        (422, add_checkpoint(LOG, 300, 600, proof=[*LOG.consistency(300, 600), b"\1" * 32])),
        (422, add_checkpoint(LOG, 300, 600, proof=[])),
        (422, add_checkpoint(LOG.fork(299), 300, 600)),
        (422, add_checkpoint(LOG.fork(7), 300, 300)),
        (413, b"old 300\n" + b"x" * 600_000),
    ],
)  # fmt: skip
async def test_refusals_have_the_status_of_the_specification(live: Live, status: int, body: bytes) -> None:
    assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
    kept = (live.config.folder / LOGS_FOLDER).glob("*")
    before = [path.read_bytes() for path in kept]
    got, _, text = await live.post(body)
    assert got == status, text
    assert "Traceback" not in text
    assert [path.read_bytes() for path in (live.config.folder / LOGS_FOLDER).glob("*")] == before
    assert (await live.post(GOOD))[0] == 200  # and it goes on


async def test_a_first_head_needs_no_proof_and_an_empty_tree_has_one_root(live: Live) -> None:
    assert (await live.post(add_checkpoint(LOG, 0, 300, proof=[b"\1" * 32])))[0] == 422
    wrong_root = LOG.head(1).partition("\n\n")[0].replace("\n1\n", "\n0\n") + "\n"
    signed = sign_note(wrong_root, LOG_SIGNER)
    assert (await live.post(b"old 0\n\n" + signed.encode()))[0] == 422
    assert (await live.post(add_checkpoint(LOG, 0, 0)))[0] == 200


async def test_a_wrong_old_size_is_answered_with_the_right_one(live: Live) -> None:
    assert (await live.post(add_checkpoint(LOG, 3, 300)))[0::2] == (409, "0\n")
    assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
    for old in (0, 299, 301):
        status, kind, text = await live.post(add_checkpoint(LOG, old, 600))
        assert (status, kind, text) == (409, "text/x.tlog.size", "300\n")
    assert live.evidence() == []


# -- forks


@pytest.mark.parametrize("size", [1, 300, 512])
async def test_two_trees_of_one_size_convict_the_log_whatever_the_old_size(live: Live, size: int) -> None:
    assert (await live.post(add_checkpoint(LOG, 0, size)))[0] == 200
    fork = LOG.fork(size // 2)
    assert (await live.post(add_checkpoint(fork, size, size)))[0] == 422
    assert (await live.post(add_checkpoint(fork, 0, size)))[0] == 409
    (row,) = live.evidence()
    assert (row["shown"], row["is_fork"]) == ("two-roots", True)
    async with live.session.get(f"{live.url}/evidence/{row['id']}") as answer:
        evidence = parse_evidence(await answer.read())
    checked = check_evidence(evidence, [LOG_VKEY])
    assert checked.shown is Shown.TWO_ROOTS
    assert {checked.first.root, checked.second.root} == {LOG.root(size), fork.root(size)}
    assert "it forked" in checked.sentence()


async def test_a_log_that_comes_back_shorter_is_convicted_by_what_it_had(live: Live) -> None:
    for old, size in ((0, 100), (100, 200), (200, 300)):
        assert (await live.post(add_checkpoint(LOG, old, size)))[0] == 200
    assert (await live.post(add_checkpoint(LOG.fork(50), 100, 200)))[0] == 409
    assert [row["sizes"] for row in live.evidence()] == [[200, 200]]
    assert (await live.post(add_checkpoint(LOG, 100, 200)))[0] == 409  # an old head of the same tree accuses nobody
    assert len(live.evidence()) == 1


async def test_a_failed_proof_accuses_nobody_and_a_right_one_clears_it(live: Live) -> None:
    assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
    # Anybody may send these with a head that he found.
    for proof in ([b"\1" * 32], [*LOG.consistency(300, 600)[:-1], b"\1" * 32], [b"\2" * 32]):
        assert (await live.post(add_checkpoint(LOG, 300, 600, proof=proof)))[0] == 422
    assert [(row["shown"], row["is_fork"]) for row in live.evidence()] == [("nothing", False)]
    assert (await live.post(GOOD))[0] == 200
    assert live.evidence() == []


async def test_evidence_is_bounded(tmp_path: Path) -> None:
    async with witnessing(tmp_path, max_evidence=3) as live:
        assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
        for size in range(301, 310):
            assert (await live.post(add_checkpoint(LOG, 300, size, proof=[b"\1" * 32])))[0] == 422
        assert len(live.evidence()) == 3
        # Anybody who has heads of a log can send wrong proofs; they must not take the place of what convicts it.
        for index in range(5):
            assert (await live.post(add_checkpoint(LOG.fork(index), 300, 300)))[0] == 422
        assert Counter(row["shown"] for row in live.evidence()) == {"nothing": 3, "two-roots": 3}
        assert (await live.post(add_checkpoint(LOG, 300, 301)))[0] == 200  # shown to be right after all
        assert Counter(row["shown"] for row in live.evidence()) == {"nothing": 2, "two-roots": 3}
        (one, *_) = live.evidence()
        async with live.session.get(f"{live.url}/evidence/{one['id']}") as answer:
            assert parse_evidence(await answer.read()).id == one["id"]
        async with live.session.get(f"{live.url}/evidence/{'0' * 16}") as answer:
            assert answer.status == 404
    async with witnessing(tmp_path, max_evidence=3) as live:  # a new start counts what is there
        assert (await live.post(add_checkpoint(LOG.fork(7), 301, 301)))[0] == 422
        assert len(live.evidence()) == 5
    (first, *_) = sorted((tmp_path / EVIDENCE_FOLDER).rglob("*.json"))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(StoreError, match=f"WITNESS_STATE_DAMAGED: .*{first.name}"):
        build(live.config)


async def forks_are_detected(live: Live, log: Log, rounds: int, seed: int) -> None:
    """T21: each round the log forks at a random entry and shows the witness the other branch at a later size."""
    chance = random.Random(seed)
    known = 0
    shown: set[str] = set()
    for _ in range(rounds):
        size = chance.randint(known + 1, known + 1 + (log.size - known) // (rounds + 1))
        assert (await live.post(add_checkpoint(log, known, size)))[0] == 200
        known = size
        fork = log.fork(chance.randrange(size))
        later = chance.choice([size, chance.randint(size, log.size)])
        before = {str(row["id"]) for row in live.evidence()}
        status, _, _ = await live.post(add_checkpoint(fork, size, later))
        assert status == 422
        (new,) = [row for row in live.evidence() if row["id"] not in before]
        # Only where the size is a power of two does the log's own proof not name the other root.
        expected = "two-roots" if later == size else "nothing" if size & (size - 1) == 0 else "rewritten"
        assert new["shown"] == expected
        shown.add(expected)
        (evidence,) = [e for _, e in read_evidence(live.config.folder / EVIDENCE_FOLDER) if e.id == new["id"]]
        checked = check_evidence(parse_evidence(encode_evidence(evidence)), [LOG_VKEY])
        assert checked.is_fork is (expected != "nothing")
        with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
            check_evidence(evidence, [STRANGER.verifier.vkey()])
    assert "rewritten" in shown


async def test_forks_are_detected_in_the_round_in_which_they_are_shown(live: Live) -> None:
    await forks_are_detected(live, LOG, 12, 1)


@pytest.mark.slow
async def test_forks_of_a_long_log_are_detected_in_200_rounds(live: Live) -> None:
    await forks_are_detected(live, Log(1_000_000), 200, 2)


async def honest_logs_are_never_accused(live: Live, rounds: int) -> None:
    """Two copies of one honest log ask in turn, each lagging and guessing old sizes: no evidence of anything."""
    chance = random.Random(3)
    known = 0
    for _ in range(rounds):
        size = chance.randint(known, min(LOG.size, known + 1 + LOG.size // rounds))
        old = chance.choice([known, chance.randint(0, size)])
        status, _, text = await live.post(add_checkpoint(LOG, old, size))
        assert status == (200 if old == known else 409)
        if status == 409:
            assert text == f"{known}\n"
            assert (await live.post(add_checkpoint(LOG, known, size)))[0] == 200
        known = size
        if known > 1:
            lagging = chance.randint(1, known - 1)
            assert (await live.post(add_checkpoint(LOG, chance.randint(0, lagging), lagging)))[0] == 409
    assert live.evidence() == []


async def test_lagging_honest_logs_are_never_accused(live: Live) -> None:
    await honest_logs_are_never_accused(live, 40)


@pytest.mark.slow
async def test_lagging_honest_logs_are_never_accused_in_500_rounds(live: Live) -> None:
    await honest_logs_are_never_accused(live, 500)


def test_evidence_that_shows_nothing_new_is_refused() -> None:
    with pytest.raises(ProofError, match="EVIDENCE_HARMLESS"):
        collect(ORIGIN, [LOG_VKEY], LOG.head(300), LOG.head(300))
    with pytest.raises(ProofError, match="EVIDENCE_HARMLESS"):
        collect(ORIGIN, [LOG_VKEY], LOG.head(300), LOG.head(600), LOG.consistency(300, 600))
    honest = (LOG_VKEY,), LOG.head(300), LOG.head(600), tuple(LOG.consistency(300, 600))
    with pytest.raises(ProofError, match="EVIDENCE_HARMLESS"):  # the right proof from the right root accuses nobody
        check_evidence(Evidence(ORIGIN, *honest, other_root=LOG.root(300)))
    fork = LOG.fork(100)
    good = collect(ORIGIN, [LOG_VKEY], fork.head(600), LOG.head(300), fork.consistency(300, 600))
    assert check_evidence(good).shown is Shown.REWRITTEN
    forged = {
        "other_root": b"\2" * 32,
        "proof": (*good.proof[:-1], b"\2" * 32),
        "first": LOG.head(301),
        "second": LOG.head(600),
        "origin": "other.example",
    }
    for name, value in forged.items():
        changed = type(good)(**{**vars(good), name: value})
        with pytest.raises(ProofError):
            check_evidence(changed, [LOG_VKEY])
    swapped = type(good)(**{**vars(good), "first": good.second, "second": good.first})
    with pytest.raises(ProofError, match="EVIDENCE_ORDER"):
        check_evidence(swapped)
    with pytest.raises(ProofError, match="EVIDENCE_MALFORMED"):
        parse_evidence(encode_evidence(good)[:-1])


def test_a_monitor_convicts_where_the_logs_own_proof_does_not_name_the_root() -> None:
    fork = LOG.fork(100)
    proof = fork.consistency(256, 600)
    silent = collect(ORIGIN, [LOG_VKEY], LOG.head(256), fork.head(600), proof)
    assert check_evidence(silent).shown is Shown.NOTHING
    full = collect(ORIGIN, [LOG_VKEY], LOG.head(256), fork.head(600), proof, fork.root(256))
    assert check_evidence(full).shown is Shown.REWRITTEN


# -- what it must not forget


async def test_a_restart_forgets_nothing_and_a_torn_line_was_never_answered(tmp_path: Path) -> None:
    async with witnessing(tmp_path) as live:
        assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
        vkeys = live.keys.vkeys
    (file,) = (tmp_path / LOGS_FOLDER).glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])  # power failed while the next head was written
    async with witnessing(tmp_path) as live:
        assert live.keys.vkeys == vkeys
        assert file.read_bytes() == whole
        assert (await live.post(add_checkpoint(LOG, 0, 200)))[0::2] == (409, "300\n")
        assert (await live.post(add_checkpoint(LOG.fork(3), 300, 600)))[0] == 422
        assert (await live.post(GOOD))[0] == 200


async def test_a_damaged_or_lost_state_is_refused(tmp_path: Path) -> None:
    async with witnessing(tmp_path) as live:
        assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
        assert (await live.post(GOOD))[0] == 200
        with pytest.raises(StoreError, match="WITNESS_IN_USE"):
            build(live.config)
        config = live.config
    (file,) = (tmp_path / LOGS_FOLDER).glob("*.jsonl")
    whole = file.read_bytes()
    taken = 0
    for position in random.Random(4).sample(range(len(whole.split(b"\n")[0]) + 1, len(whole) - 1), 20):
        file.write_bytes(_flip(whole, position))
        with contextlib.suppress(StoreError):
            memory = Memory(config.folder, trusted_logs(config.logs))
            latest = memory.logs[ORIGIN].latest
            memory.close()
            assert latest is not None
            # Not refused: then the damage was in our own line, and the log's head is whole.
            assert (latest.head.size, latest.head.root) == (600, LOG.root(600))
            taken += 1
    assert taken < 20
    file.write_bytes(whole)
    file.unlink()
    (tmp_path / LOGS_FOLDER).rmdir()
    with pytest.raises(StoreError, match="WITNESS_STATE_LOST"):
        load_keys(tmp_path, NAME)


def test_the_keys_keep_the_name_that_they_were_made_under(tmp_path: Path) -> None:
    vkeys = load_keys(tmp_path, NAME).vkeys
    with pytest.raises(ConfigError, match=f"WITNESS_RENAMED: .*{NAME}.*other.example") as caught:
        load_keys(tmp_path, "other.example")
    assert f"--name {NAME}" in caught.value.remedy
    assert load_keys(tmp_path, NAME).vkeys == vkeys
    (tmp_path / "name").unlink()  # as an earlier version left it
    assert load_keys(tmp_path, NAME).vkeys == vkeys
    with pytest.raises(ConfigError, match="WITNESS_RENAMED"):
        load_keys(tmp_path, "other.example")


async def test_very_many_heads_are_thinned_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("witness.heads.MAX_LINES", 6)
    monkeypatch.setattr("witness.heads.KEPT_LINES", 3)
    async with witnessing(tmp_path) as live:
        (memory,) = live.memory.logs.values()
        for size in range(1, 9):
            assert (await live.post(add_checkpoint(LOG, size - 1, size)))[0] == 200
            (file,) = (tmp_path / LOGS_FOLDER).glob("*.jsonl")
            kept = size if size <= 6 else size - 4
            assert file.read_bytes().count(b"\n") == len(memory._kept) == len(memory._by_size) == kept
    async with witnessing(tmp_path) as live:
        (file,) = (tmp_path / LOGS_FOLDER).glob("*.jsonl")
        assert file.read_bytes().count(b"\n") == 4
        assert (await live.post(add_checkpoint(LOG, 8, 9)))[0] == 200
        assert (await live.post(add_checkpoint(LOG.fork(0), 9, 7)))[0] == 400
        assert (await live.post(add_checkpoint(LOG.fork(0), 3, 7)))[0] == 409
        assert [row["sizes"] for row in live.evidence()] == [[7, 7]]


async def test_racing_requests_of_one_log_never_roll_it_back(live: Live) -> None:
    assert (await live.post(add_checkpoint(LOG, 0, 300)))[0] == 200
    fork = LOG.fork(650)
    bodies = [add_checkpoint(log, 300, size) for size in range(600, 640) for log in (LOG,)]
    bodies += [add_checkpoint(fork, 300, 700), add_checkpoint(LOG, 300, 700)] * 5
    random.Random(5).shuffle(bodies)
    answers = await asyncio.gather(*(live.post(body) for body in bodies))
    assert [status for status, _, _ in answers].count(200) == 1
    assert {status for status, _, _ in answers} <= {200, 409, 422}
    (file,) = (live.config.folder / LOGS_FOLDER).glob("*.jsonl")
    assert file.read_bytes().count(b"\n") == 2


async def test_kill_nine_between_the_sync_and_the_answer(tmp_path: Path) -> None:
    await killed_witnesses_remember(tmp_path, 3)


@pytest.mark.slow
async def test_kill_nine_at_two_hundred_moments(tmp_path: Path) -> None:
    await killed_witnesses_remember(tmp_path, 200)


async def killed_witnesses_remember(folder: Path, rounds: int) -> None:
    """A real process is killed at a random moment under load: what it cosigned binds it after the start."""
    chance = random.Random(6)
    promised = 0
    for _ in range(rounds):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "witness", "run", "--data-dir", str(folder), "--name", NAME, "--log", LOG_VKEY,
            "--port", "0", "--json", stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        facts = json.loads(await process.stdout.readline())
        url = facts["url"] + "/add-checkpoint"
        async with aiohttp.ClientSession() as session:
            kill: asyncio.TimerHandle | None = None
            last = chance.randint(1, 6)  # after so many answers it is killed, at once or while it makes the next
            try:
                async with session.post(url, data=add_checkpoint(LOG, LOG.size)) as answer:
                    known = int(await answer.text()) if answer.status == 409 else LOG.size
                assert known >= promised  # what was promised before the kill
                while known < LOG.size:
                    body = add_checkpoint(LOG, known, known + 1)
                    async with session.post(url, data=body) as answer:
                        lines = await answer.text()
                        assert answer.status == 200, lines
                    add_signatures(LOG.head(known + 1), lines, facts["vkeys"])
                    known = promised = known + 1
                    last -= 1
                    if last == 0:
                        wait_s = chance.uniform(0.0, 0.01)
                        kill = asyncio.get_running_loop().call_later(wait_s, process.send_signal, signal.SIGKILL)
            except (aiohttp.ClientError, ConnectionError):
                pass
            finally:
                if kill is not None:
                    kill.cancel()
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    async with witnessing(folder) as live:
        status, _, text = await live.post(add_checkpoint(LOG, LOG.size, LOG.size))
        known = int(text) if status == 409 else LOG.size
        assert known in (promised, promised + 1)
        if 1 < known < LOG.size:
            assert (await live.post(add_checkpoint(LOG.fork(0), known, known + 1)))[0] == 422
    assert promised > 0


# -- settings and command


def test_settings_name_each_log(tmp_path: Path) -> None:
    assert trusted_logs((LOG_VKEY, f"{ORIGIN} {STRANGER.verifier.vkey()}", f"a b {LOG_VKEY}")) == {
        ORIGIN: (LOG_VKEY, STRANGER.verifier.vkey()),
        "a b": (LOG_VKEY,),
    }
    for lines in ((), ("nonsense",), (LOG_VKEY[:-1],)):
        with pytest.raises(ConfigError, match="WITNESS_LOGS"):
            trusted_logs(lines)
    with pytest.raises(ConfigError) as caught:
        trusted_logs(("nonsense",))
    assert caught.value.what == "a log to trust is not named by its key: 'nonsense' is not a signed-note key"
    file = tmp_path / "witness.toml"
    file.write_text(f'[witness]\nname = "{NAME}"\nlogs = ["{LOG_VKEY}"]\nport = 0\n')
    assert load_config(file, {"CURIOSITY_WITNESS__HOST": "::1"}) == WitnessConfig(
        name=NAME, logs=(LOG_VKEY,), port=0, host="::1"
    )
    with pytest.raises(ConfigError, match="CONFIG_UNKNOWN_KEY"):
        load_config(None, {"CURIOSITY_WITNESS__HOTS": "::1"})


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "witness", *arguments], capture_output=True, text=True)


async def test_the_command_shows_keys_and_exports_evidence(tmp_path: Path) -> None:
    async with witnessing(tmp_path / "w") as live:
        await live.post(add_checkpoint(LOG, 0, 300))
        await live.post(add_checkpoint(LOG.fork(9), 300, 300))
        vkeys = live.keys.vkeys
    shown = json.loads(command("keys", "--data-dir", str(tmp_path / "w"), "--name", NAME, "--json").stdout)
    assert (shown["vkey"], shown["ml_dsa_vkey"]) == vkeys
    (row,) = json.loads(command("evidence", "--data-dir", str(tmp_path / "w"), "--json").stdout)["evidence"]
    out = tmp_path / "fork.json"
    done = command("evidence", "--data-dir", str(tmp_path / "w"), "--export", row["id"], "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert check_evidence(parse_evidence(out.read_bytes()), [LOG_VKEY]).is_fork
    wrong = command("evidence", "--data-dir", str(tmp_path / "w"), "--export", "0" * 16)
    assert (wrong.returncode, wrong.stderr.split(":")[0]) == (8, "EVIDENCE_NONE")
    none = command("run", "--data-dir", str(tmp_path / "x"), "--port", "0")
    assert (none.returncode, none.stderr.split(":")[0]) == (6, "WITNESS_LOGS")
    assert (tmp_path / "w" / "ed25519.key").stat().st_mode & 0o777 == 0o600
