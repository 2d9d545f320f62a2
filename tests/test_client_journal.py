"""What a journal holds of a row that was sent more than once."""

from pathlib import Path

import pytest

from curiosity.client.journal import Result, SubmissionJournal, SubmissionPlan

ROW = "00" * 32
FIRST, SECOND = "11" * 32, "22" * 32


def plan(nonce: str) -> SubmissionPlan:
    return SubmissionPlan(ROW, nonce, 1, "MIT", 0, "test", "a.png", "a.txt")


def test_a_double_of_an_accepted_pair_does_not_hide_it(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "one.jsonl"
    with SubmissionJournal(path) as journal:
        journal.plan([plan("aa")])
        journal.record(Result(ROW, "accepted", "BELONGS_TOGETHER", FIRST, 1))
        journal.plan([plan("bb")])
        assert ROW not in journal.results  # on its way: sent with the same nonce if the run is cut short
        journal.record(Result(ROW, "rejected", "CONTENT_DUPLICATE", SECOND, 2))
        assert journal.results[ROW].pair == FIRST
    (again,) = SubmissionJournal.read_all(tmp_path)
    assert again.results[ROW] == Result(ROW, "accepted", "BELONGS_TOGETHER", FIRST, 1)
    assert again.sources == {FIRST: ("a.png", "a.txt"), SECOND: ("a.png", "a.txt")}


@pytest.mark.parametrize("code", ["PAIR_TOO_FAR", "GREY_ZONE"])
def test_another_decision_counts_in_place_of_an_earlier_one(tmp_path: Path, code: str) -> None:
    with SubmissionJournal(tmp_path / "one.jsonl") as journal:
        for nonce, one in (("aa", code), ("bb", "CONTENT_DUPLICATE")):  # somebody else's pair was accepted meanwhile
            journal.plan([plan(nonce)])
            journal.record(Result(ROW, "rejected", one, FIRST, 1))
        assert journal.results[ROW].code == "CONTENT_DUPLICATE"
