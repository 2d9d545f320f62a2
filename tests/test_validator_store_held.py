"""The store's rows of held pairs: one row a pair, what earlier entries commit to, and items that are kept for it."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from curiosity.protocol.entry import PairEntry, TakedownEntry, encode_entry, parse_entry
from curiosity.protocol.errors import StoreError
from curiosity.protocol.pair import Item, Part
from curiosity.protocol.takedown import Asker, TakedownReason
from curiosity.protocol.verdict import Opening, Outcome, Reason
from curiosity.protocol.wire import encode, parse
from tests.material.ledger import DOMAIN, Opened, make_entry, open_ledger, submission_of, tamper
from validator.decided import without_bytes
from validator.store import NewEntry

CHECKPOINTS = [bytes([0x60 + n]) * 32 for n in range(5)]


def decided(number: int, outcome: Outcome, checkpoint: int, again: int | None = None) -> NewEntry:
    """A decision about pair ``number`` under the checkpoint with a number, as a validator writes it."""
    made = make_entry(number, accepted=outcome is Outcome.ACCEPTED)
    entry, submission = parse_entry(made.leaf), submission_of(made)
    assert isinstance(entry, PairEntry)
    reason = {Outcome.HELD: Reason.PAIR_UNDECIDED}.get(outcome, entry.verdict.reason)
    verdict = replace(entry.verdict, outcome=outcome, reason=reason, checkpoint=CHECKPOINTS[checkpoint])
    opening = replace(parse(Opening, submission.opening), salt=bytes([checkpoint]) * 32)
    entry = replace(
        entry, verdict=verdict, commitment=opening.commitment(), again=again, v=2 if again is None else 4
    )  # fmt: skip
    held_under = CHECKPOINTS[checkpoint] if outcome is Outcome.HELD else None
    submission = replace(
        submission, opening=encode(opening), held_under=held_under, again=again is not None, items_since=checkpoint
    )
    if again is not None:
        submission = replace(submission, a=_bare(submission.a), b=_bare(submission.b))
    return NewEntry(encode_entry(entry), submission)


def _bare(item: Item) -> Item:
    return without_bytes(Part(item.modality, item.media_type, len(item.data), item.digest))


def uses(opened: Opened, number: int) -> list[tuple[bool, int]]:
    """Of both contents of a pair: whether they are here, and of how many accepted pairs."""
    submission = submission_of(make_entry(number))
    found = [(opened.store.blob(item.digest), opened.store.item(item.digest)) for item in (submission.a, submission.b)]
    return [(blob is not None, item.accepted_uses if item is not None else 0) for blob, item in found]


def waiting(opened: Opened, checkpoint: int) -> list[int]:
    return [row.index for row in opened.store.held(CHECKPOINTS[checkpoint], -1, 100)]


def test_a_held_pair_waits_for_three_other_checkpoints_and_keeps_its_items(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        store = opened.store
        held, rejected = Outcome.HELD, Outcome.REJECTED
        opened.ledger.append([decided(1, held, 0), decided(2, rejected, 0), decided(3, held, 0)])
        assert (waiting(opened, 0), waiting(opened, 1), store.count_held()) == ([], [0, 2], 2)
        assert store.expire(100, 100).pairs == 1, "of the rejected one"
        assert uses(opened, 1) == uses(opened, 3) == [(True, 0)] * 2
        opened.ledger.append([decided(1, held, 1, again=0), decided(3, Outcome.ACCEPTED, 1, again=2)])
        assert (waiting(opened, 1), waiting(opened, 2)) == ([], [3])
        assert uses(opened, 3) == [(True, 1)] * 2
        assert [row.index for row in store.submissions(0, 100)] == [0, 1, 2, 3, 4]
        assert [row.index for row in store.submissions(1, 2)] == [1, 2]
        assert [row.index for row in store.accepted()] == [4]
        opened.ledger.append([decided(1, held, 2, again=3)])
        opened.ledger.append([decided(1, held, 3, again=5)])
        assert store.count_held() == 0
        assert uses(opened, 1) == [(True, 0)] * 2
        for index, checkpoint in ((0, 0), (3, 1), (5, 2)):
            digest = submission_of(make_entry(1)).pair
            earlier = store.find_earlier(digest, index)
            assert earlier is not None
            assert earlier.opening == submission_of(decided(1, held, checkpoint)).opening
            assert store.find_earlier(submission_of(make_entry(3)).pair, index) is None
        opened.ledger.verify_pairs(DOMAIN)
        assert store.expire(100, 100).pairs == 1
        assert uses(opened, 1) == [(False, 0)] * 2
        assert uses(opened, 3) == [(True, 1)] * 2
        opened.ledger.verify_pairs(DOMAIN)


def test_a_takedown_erases_what_every_entry_commits_to(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([decided(1, Outcome.HELD, 0), decided(2, Outcome.HELD, 0)])
        opened.ledger.append([decided(1, Outcome.ACCEPTED, 1, again=0)])
        digests = [submission_of(make_entry(number)).pair for number in (1, 2)]
        for index, digest in ((2, digests[0]), (1, digests[1])):
            gone = TakedownEntry(index, digest, digest, TakedownReason.PRIVACY, "", Asker.OPERATOR, 0, None)
            opened.ledger.append([NewEntry(encode_entry(gone), erases=(index,))])
        assert opened.store.find_earlier(digests[0], 0) is None
        assert (opened.store.submissions(0, 100), opened.store.count_held()) == ([], 0)
        assert uses(opened, 1) == uses(opened, 2) == [(False, 0)] * 2
        opened.ledger.verify()
        opened.ledger.verify_pairs(DOMAIN)


def test_a_changed_bit_of_what_an_earlier_entry_commits_to_is_found(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([decided(1, Outcome.HELD, 0)])
        opened.ledger.append([decided(1, Outcome.ACCEPTED, 1, again=0)])
    for change in ("opening = (SELECT opening FROM pairs)", "embeddings = NULL"):
        with open_ledger(store_url, tmp_path / "head") as opened:
            opened.ledger.verify_pairs(DOMAIN)
        with tamper(store_url) as connection:
            (before,) = connection.execute(text("SELECT opening, embeddings FROM earlier")).all()
            connection.execute(text(f"UPDATE earlier SET {change}"))
        with open_ledger(store_url, tmp_path / "head") as opened, pytest.raises(StoreError, match="first bad index 0"):
            opened.ledger.verify_pairs(DOMAIN)
        with tamper(store_url) as connection:
            values = {"opening": before.opening, "embeddings": before.embeddings}
            connection.execute(text("UPDATE earlier SET opening = :opening, embeddings = :embeddings"), values)


def test_held_pairs_are_given_up_beyond_so_many_bytes_the_oldest_first(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        store = opened.store
        made = [submission_of(make_entry(number)) for number in range(1, 5)]
        sizes = [len(one.a.data) + len(one.b.data) for one in made]
        opened.ledger.append([decided(number, Outcome.HELD, 0) for number in range(1, 5)])
        assert (store.held_beyond(sum(sizes)), store.held_beyond(0)) == (-1, 3)
        last = store.held_beyond(sum(sizes[2:]))
        assert last == 1
        assert store.expire(100, 100).pairs == 0, "as long as they wait"
        assert (store.give_up(last), store.give_up(last)) == (2, 0)
        assert waiting(opened, 1) == [2, 3]
        assert (store.expire(100, 100).pairs, store.expire(100, 100).pairs) == (2, 0)
        assert [uses(opened, number)[0][0] for number in range(1, 5)] == [False, False, True, True]
        opened.ledger.append([decided(3, Outcome.HELD, 1, again=2)])  # those that wait go on
        assert waiting(opened, 2) == [3, 4]
        opened.ledger.verify_pairs(DOMAIN)


def test_a_content_that_many_held_pairs_share_is_counted_once(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        entries = [decided(number, Outcome.HELD, 0) for number in (1, 2, 3)]
        shared = submission_of(entries[0]).a
        entries = [replace(one, submission=replace(submission_of(one), a=shared)) for one in entries]
        opened.ledger.append(entries)
        size = len(shared.data) + sum(len(submission_of(one).b.data) for one in entries)
        assert opened.store.held_beyond(size) == -1
        assert opened.store.held_beyond(size - 1) == 0
