"""A network on the genesis checkpoint `offline`: it accepts what it knows, holds the rest, and anybody repeats that."""

from pathlib import Path

from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.ledger.rescore import Rescorer, rescore_all
from curiosity.protocol.pair import Item
from curiosity.protocol.verdict import Outcome, Weighed
from tests.material.service import ALICE, item_of, pictures, running

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


async def test_digits_are_accepted_under_their_names_alone_and_anybody_repeats_it(tmp_path: Path) -> None:
    assert load(SHIPPED["offline"]).calibration.beliefs
    async with running(tmp_path / "v", genesis=Path("offline")) as live:
        beliefs: dict[bool, list[int]] = {True: [], False: []}
        outcomes: dict[bool, list[Outcome]] = {True: [], False: []}
        for number, pair in enumerate(pictures(40)[::4]):
            right = item_of(pair, "b").data.decode()
            wrong = NAMES[(NAMES.index(right) + 1 + number % 8) % 10]
            for name in (right, wrong):
                sent = (item_of(pair, "a"), Item("text", "text/plain", name.encode()))
                decision = await live.client.post_pair(live.sign(sent).encode())
                measured = decision.opening.measurement
                assert isinstance(measured, Weighed)
                beliefs[name == right].append(measured.belief_micro)
                outcomes[name == right].append(decision.verdict.outcome)
        found = await live.client.query("text", "text/plain", b"asdfghjkl", "image", 5)
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
        decided = [i for i, leaf in enumerate(leaves) if b'"kind":"pair"' in leaf]
        async with Rescorer(live.client, live.network, tmp_path / "home", private_key=ALICE) as rescorer:
            again = await rescore_all(rescorer, live.client, decided, leaves.__getitem__)
    assert sum(beliefs[True]) > sum(beliefs[False])
    assert outcomes[True].count(Outcome.ACCEPTED) >= 9
    # Digits have beliefs of their own: a wrong name is rejected, but for a few that look alike.
    assert outcomes[False].count(Outcome.ACCEPTED) <= 1
    assert outcomes[False].count(Outcome.REJECTED) >= 7
    assert found.floor is not None
    assert not found.fitting
    assert {one.result for one in again} == {"agrees"}


async def test_a_new_network_starts_with_it_and_one_that_began_with_another_keeps_that(tmp_path: Path) -> None:
    async with running(tmp_path / "v", genesis=Path("tiny")) as live:
        began = live.network
    async with running(tmp_path / "v", genesis=None) as live:
        assert (live.network.network_id, live.network.checkpoint) == (began.network_id, began.checkpoint)
    async with running(tmp_path / "new", genesis=None) as live:
        assert live.network.checkpoint.hex() == load(SHIPPED["offline"]).digest
