"""Submitting many pairs to a real validator: nothing twice and nothing lost, whatever happens on the way."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curiosity.client.journal import Result, SubmissionJournal, SubmissionPlan
from curiosity.client.receipts import read_saved, verify_saved
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import Overloaded, ProofError, ServiceError, SourceError
from curiosity.protocol.pair import read_envelope
from curiosity.sources.pairset import SourceItem
from tests.material.contributor import RULES, submit
from tests.material.front import Front
from tests.material.service import Running, pictures

OVERLOAD = {"code": "QUEUE_FULL", "what": "full", "remedy": "later", "fault": "infrastructure"}


def pair_entries(live: Running) -> list[PairEntry]:
    entries = [parse_entry(leaf) for leaf in live.service.store.leaves(0, 1000)]
    return [entry for entry in entries if isinstance(entry, PairEntry)]


def nonces(made: Front) -> list[bytes]:
    return [read_envelope(body)[0].submission.nonce for body in made.bodies]


async def test_every_pair_gets_a_receipt_that_holds_and_a_second_run_sends_nothing(
    live: Running, before: Front, tmp_path: Path
) -> None:
    rows = pictures(6)
    tally = await submit(live, before.url, tmp_path, [*rows, rows[0]])
    assert tally.decided == tally.receipts_verified == len(rows) == len(before.bodies) == len(pair_entries(live))
    assert tally.known == 1  # the row that the source repeats
    assert tally.accepted >= 4
    files = sorted((tmp_path / "home" / "receipts").glob("*.json"))
    assert {verify_saved(read_saved(file)).pair for file in files} == {entry.pair for entry in pair_entries(live)}

    again = await submit(live, before.url, tmp_path, rows)
    assert (again.known, again.decided, len(before.bodies)) == (len(rows), 0, len(rows))

    third = await submit(live, before.url, tmp_path, rows[:1], replace(RULES, again=True))
    assert third.rejected == {"CONTENT_DUPLICATE": 1}  # a fresh nonce: a new submission of old content


async def test_a_lost_answer_is_asked_for_with_the_same_bytes(live: Running, before: Front, tmp_path: Path) -> None:
    before.drop_answer = lambda number: number <= 2
    before.deny = lambda path, number: (503, {"Retry-After": "0"}, OVERLOAD) if number == 3 else None
    tally = await submit(live, before.url, tmp_path, pictures(2))
    assert (tally.decided, tally.replayed) == (2, 2)
    assert len(before.bodies) > 2
    assert len(set(before.bodies)) == 2
    assert len(pair_entries(live)) == 2


async def test_a_killed_run_goes_on_with_the_nonces_it_had_planned(
    live: Running, before: Front, tmp_path: Path
) -> None:
    rows = pictures(5)
    two_decided = asyncio.Event()

    def drop(number: int) -> bool:  # decided, but the contributor never hears of it
        if number == 2:
            two_decided.set()
        return True

    before.drop_answer = drop
    task = asyncio.create_task(submit(live, before.url, tmp_path, rows))
    await two_decided.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before.drop_answer = lambda number: False
    tally = await submit(live, before.url, tmp_path, rows)
    assert tally.decided == tally.receipts_verified == 5
    assert tally.replayed >= 2
    assert len(pair_entries(live)) == len(set(nonces(before))) == 5


async def test_an_expired_plan_is_signed_anew_only_if_it_was_never_decided(
    live: Running, before: Front, tmp_path: Path
) -> None:
    decided, unsent = pictures(2)
    before.drop_answer = lambda number: True
    with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
        await submit(live, before.url, tmp_path, [decided], replace(RULES, lifetime_s=600), patience_s=0.1)
    before.drop_answer = lambda number: False
    before.deny = lambda path, number: "drop"
    with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
        await submit(live, before.url, tmp_path, [unsent], replace(RULES, lifetime_s=600), patience_s=0.1)
    before.deny = lambda path, number: None
    planned = set(nonces(before))
    live.set_clock_forward(1200)

    tally = await submit(live, before.url, tmp_path, [decided, unsent])
    assert (tally.decided, tally.replayed) == (2, 1)
    assert len(set(nonces(before)) - planned) == 1
    assert len(pair_entries(live)) == 2


async def test_a_validator_that_is_away_ends_the_run_at_once_and_the_next_run_goes_on(
    live: Running, before: Front, tmp_path: Path
) -> None:
    rows = pictures(8)
    before.deny = lambda path, number: "drop"
    with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
        await submit(live, before.url, tmp_path, rows, replace(RULES, concurrency=1), patience_s=0.5)
    assert len(set(nonces(before))) == 1  # not once for each row
    before.deny = lambda path, number: None
    assert (await submit(live, before.url, tmp_path, rows)).decided == 8


@pytest.mark.parametrize("status", [429, 503])
async def test_overload_that_stays_is_not_a_refusal(live: Running, before: Front, tmp_path: Path, status: int) -> None:
    before.deny = lambda path, number: (status, {}, OVERLOAD)
    with pytest.raises(Overloaded, match="QUEUE_FULL"):
        await submit(live, before.url, tmp_path, pictures(1), patience_s=0.2)
    before.deny = lambda path, number: None
    assert (await submit(live, before.url, tmp_path, pictures(1))).decided == 1


async def test_what_was_refused_is_counted_and_tried_again_by_the_next_run(
    live: Running, before: Front, tmp_path: Path
) -> None:
    wrong = [replace(pair, license="LicenseRef-Mine") for pair in pictures(2)]
    allowed = (*live.network.licenses, "LicenseRef-Mine")  # the validator's list is another since
    stale = replace(live, network=replace(live.network, licenses=allowed))
    tally = await submit(stale, before.url, tmp_path, [*wrong, *pictures(1, 2)])
    assert tally.refused == {"LICENSE_NOT_ALLOWED": 2}
    assert tally.decided == 1
    assert (await submit(stale, before.url, tmp_path, wrong)).refused == {"LICENSE_NOT_ALLOWED": 2}


async def test_rows_that_cannot_be_sent_are_named_and_the_others_go_on(live: Running, tmp_path: Path) -> None:
    good = pictures(1)[0]
    gone = replace(good, id="gone", a=SourceItem("image", "image/png", tmp_path / "no.png"))
    fat = replace(good, id="fat", b=SourceItem("text", "text/plain", tmp_path, b"x" * 200_000))
    film = replace(good, id="film", a=SourceItem("video", "video/mp4", tmp_path, b"film"))
    bare = replace(good, id="bare", license="")
    tally = await submit(
        live, live.url, tmp_path, [gone, fat, film, bare, SourceError("ROW_NOT_JSON", "line 7", "x"), good]
    )
    assert [error.code for error in tally.unreadable] == [
        "CANNOT_READ", "ITEM_TOO_LARGE", "LICENSE_MISSING", "ROW_NOT_JSON"
    ]  # fmt: skip
    assert tally.not_taken == {"text-video": 1}
    never = [one for one in tally.pairs if one.outcome in ("not sent", "unreadable")]
    assert sorted(one.code for one in never) == sorted(["PAIR_NOT_TAKEN", *(error.code for error in tally.unreadable)])
    assert [one.outcome for one in never if one.code == "PAIR_NOT_TAKEN"] == ["not sent"]
    assert tally.decided == 1


async def test_what_no_decoder_takes_is_told_before_anything_is_signed(
    live: Running, before: Front, tmp_path: Path
) -> None:
    good, other = pictures(2)
    whole = good.a.read()
    torn = replace(good, id="torn", a=SourceItem("image", "image/png", Path("torn.png"), whole[: len(whole) // 2]))
    tally = await submit(live, before.url, tmp_path, [torn, other])
    assert [(error.code, "torn.png" in error.what) for error in tally.unreadable] == [("IMAGE_NOT_DECODABLE", True)]
    assert (tally.decided, len(before.bodies)) == (1, 1)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("receipt", "index"), 999, "RECEIPT_INDEX"),
        (("receipt", "note"), "x", "RECEIPT_VERSION"),
        (("verdict", "curiosity_micro"), 77, "VERDICT_DIFFERS"),
        (("embeddings", "final_a"), "AAAA", "EMBEDDING_DIFFERS"),
        (("embeddings", "a"), "not base64!", "EMBEDDING_DIFFERS"),
        (("embeddings",), None, "EMBEDDING_DIFFERS"),
    ],
)
async def test_a_decision_that_was_changed_on_the_way_is_not_believed(
    live: Running, before: Front, tmp_path: Path, path: tuple[str, ...], value: object, code: str
) -> None:
    def change(where: str, answer: Any) -> Any:
        if where == "/v1/pairs":
            inner = answer
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        return answer

    before.change = change
    with pytest.raises(ProofError) as caught:
        await submit(live, before.url, tmp_path, pictures(1))
    assert caught.value.code == code
    assert not list((tmp_path / "home").glob("receipts/*"))


async def test_the_receipt_of_another_pair_is_not_believed(live: Running, before: Front, tmp_path: Path) -> None:
    first = json.loads((await _raw(live)).decode())
    before.change = lambda where, answer: first if where == "/v1/pairs" else answer
    with pytest.raises(ProofError, match="RECEIPT_OF_ANOTHER"):
        await submit(live, before.url, tmp_path, pictures(1, 3))


async def _raw(live: Running) -> bytes:
    return await live.client._request("POST", "/v1/pairs", data=live.sign(pictures(1)[0]).encode())


@pytest.mark.parametrize(
    ("name", "value"), [("receipt_vkey", "other+0+AA"), ("log_vkey", "other+0+AA"), ("origin", "x")]
)
async def test_a_validator_with_another_key_than_the_pinned_one_gets_nothing(
    live: Running, before: Front, tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ProofError, match="KEY_NOT_PINNED"):
        await submit(live, before.url, tmp_path, pictures(1), replace(RULES, **{name: value}))  # type: ignore[arg-type]
    assert not before.bodies


def plan_of(row: str) -> SubmissionPlan:
    return SubmissionPlan(row, "00" * 32, 1, "CC0-1.0", 0, "test")


def test_the_journal_forgets_a_torn_line_and_keeps_the_rest(tmp_path: Path) -> None:
    with SubmissionJournal(tmp_path / "j.jsonl") as journal:
        journal.plan([plan_of("a"), plan_of("b")])
        journal.record(Result("a", "accepted", "BELONGS_TOGETHER", "00", 3))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"kind": "plan", "row": "c"')
    with SubmissionJournal(journal.path) as journal:
        assert (set(journal.plans), set(journal.results)) == ({"a", "b"}, {"a"})
        journal.plan([plan_of("d")])
    assert journal.path.read_bytes().startswith(whole)
    with SubmissionJournal(journal.path) as journal:
        assert set(journal.plans) == {"a", "b", "d"}


def test_a_corrupt_journal_and_one_in_use_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"kind": "plan"}\n')
    with pytest.raises(SourceError, match=r"JOURNAL_CORRUPT: .* line 1 "), SubmissionJournal(path):
        pass
    path.unlink()
    with SubmissionJournal(path), pytest.raises(SourceError, match="JOURNAL_IN_USE"), SubmissionJournal(path):
        pass


def test_pairs_of_one_journal_do_not_count_for_another_network_or_contributor(tmp_path: Path) -> None:
    paths = {
        SubmissionJournal.of(tmp_path, a, b).path for a in (b"\1" * 20, b"\2" * 20) for b in (b"\1" * 32, b"\2" * 32)
    }
    assert len(paths) == 4
