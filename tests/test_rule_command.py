"""`curiosity validator rule`: a running network moves to another rule of pay at an epoch that its ledger names."""

import asyncio
from pathlib import Path

import pytest

from curiosity.protocol.entry import EpochEntry, RuleEntry, parse_entry
from curiosity.protocol.errors import ConfigError, Rejected
from curiosity.protocol.orders import RuleOrder
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from node.commands.rule import read_change, read_changes
from tests.material.service import ALICE, BOB, Running, pictures, running
from tests.material.shell import Shell
from validator.announcing import MOST_AHEAD

SOON = {"min_epoch_s": "0", "unpaid_returns": "0"}


async def send(live: Running, key: bytes, start: int) -> None:
    """A pair that may be paid."""
    for pair in pictures(12, start):
        if (await live.client.post_pair(live.sign(pair, key).encode())).verdict.novel:
            return
    pytest.fail("no pair is novel")


async def refused(live: Running, changes: dict[str, str] | None = None, epoch: int = 0, token: str = "") -> str:
    """The code of the refusal, which writes nothing and says what to do."""
    size = live.service.ledger.size
    with pytest.raises(Rejected) as caught:
        await live.client.announce_rule(token or live.service.keys.admin_token, RuleOrder(epoch, changes or {}))
    assert live.service.ledger.size == size
    assert caught.value.remedy.endswith(".")
    return caught.value.code


async def test_a_running_network_moves_with_one_command(tmp_path: Path) -> None:
    async with running(tmp_path / "v", rule2_epoch=0) as live:
        shell, token = Shell(tmp_path / "home", live.client.url), live.service.keys.admin_token
        command = ("validator", "rule", "--token-file", tmp_path / "v" / "keys" / "admin.token", "--json")
        changed = ("--set", "min_epoch_s=0", "--set", "unpaid_returns=0")
        await send(live, ALICE, 0)
        await live.client.close_epoch(token)
        await send(live, BOB, 12)
        assert await refused(live, epoch=2) == "RULE_EPOCH"  # a pair of epoch 2 is there
        assert await refused(live, {"generosity": "1"}) == "RULE_UNKNOWN"
        assert await refused(live, {"version": "4"}) == "RULE_UNKNOWN"
        assert await refused(live, {"cap_wei": "1"}) == "RULE_FIXED"
        assert await refused(live, {"audit_micro": "1000001"}) == "REWARD_PARAMETER_INVALID"
        # A power of that size would never be computed, in the close of this network and in every reader's.
        assert await refused(live, SOON | {"crowd_power": "1" + "0" * 26}) == "REWARD_PARAMETER_INVALID"
        assert await refused(live, SOON, epoch=3 + MOST_AHEAD + 1) == "RULE_EPOCH"  # nothing could follow it
        assert await refused(live, SOON, token="00" * 32) == "ADMIN_TOKEN"

        tried = await asyncio.to_thread(shell.run, *command, *changed, "--dry-run")
        assert (tried.json["epoch"], tried.json["entry"], tried.json["parameters"]["min_epoch_s"]) == (3, None, "0")
        before = live.service.store.leaves(0, 100)
        assert not any(isinstance(parse_entry(leaf), RuleEntry) for leaf in before)
        said = await asyncio.to_thread(shell.run, *command, *changed)
        assert said.status == 0, said.err
        assert said.json == tried.json | {"entry": len(before)}
        assert await refused(live, {"top_n": "7"}) == "RULE_WAITS"

        for _ in range(2):  # epoch 2 of version 1, epoch 3 of version 2
            await live.client.close_epoch(token)
        assert await refused(live) == "RULE_SAME"
        assert await refused(live, {"top_n": "7"}, epoch=9) == "RULE_EPOCH"  # what was earned has not vested by then
        assert await refused(live, {"unpaid_returns": "1"}) == "RULE_FIXED"  # what is awarded relies on it
        later = await live.client.announce_rule(token, RuleOrder(0, {"top_n": "7"}))
        assert (later.epoch, later.before["top_n"], later.parameters["top_n"]) == (10, "1024", "7")
        await send(live, ALICE, 24)
        for _ in range(8):
            await live.client.close_epoch(token)
        leaves = live.service.store.leaves(0, 100)

        derived = list(derive(leaves, RewardParameters()))
        stayed = list(derive(before, RewardParameters()))  # if it had not moved
        assert [one.reward_root for one in derived[:2]] == [one.reward_root for one in stayed]
        assert [one.rule and one.rule.top_n for one in derived[:-1]] == [None, None, *[1024] * 7, *[7] * 2]
        entries = [entry for leaf in leaves if isinstance(entry := parse_entry(leaf), EpochEntry)]
        assert [entry.v for entry in entries] == [1, 1, *[2] * 9]
        emitted = [one.emission_wei for one in derived[:-1]]
        assert [wei > 0 for wei in emitted] == [True, True, *[False] * 3, *[True] * 4, False, False]
        told = await asyncio.to_thread(shell.run, "payouts", "--derive", "--json")
        assert [int(one["emission_wei"]) for one in told.json["epochs"][:-1]] == emitted


def test_a_change_that_is_none_is_refused() -> None:
    for change in ("top_n", "top_n=many", "=7", "top_n=-1", "top_n=" + "1" * 79):
        with pytest.raises(ConfigError, match="RULE_CHANGE"):
            read_change(change)
    assert read_change("top_n=07") == ("top_n", "7")


def test_two_values_of_one_parameter_are_refused() -> None:
    assert read_changes(("top_n=5", "unpaid_returns=0")) == {"top_n": "5", "unpaid_returns": "0"}
    for twice in (("top_n=5", "top_n=7"), ("top_n=5", "unpaid_returns=0", "top_n=5")):
        with pytest.raises(ConfigError, match="RULE_CHANGE"):
            read_changes(twice)
