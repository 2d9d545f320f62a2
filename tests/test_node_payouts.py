"""`curiosity payouts --check` against real chains: an honest validator, and ways of lying about who earned what."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings, EpochRecord
from curiosity.chain.evm import ChainClient
from curiosity.ledger.leaves import read_leaves
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.rewards.payouts import EpochState, blame_leaves, check_epoch, compare_leaves
from tests.material.payment import PaidNetwork, Terminal, lying, paid_network, terminal

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (0x31, 0x32, 0x33))
A, B, C = (address_of(key) for key in (ALICE, BOB, CAROL))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaidNetwork]:
    """Epochs 1 and 4 are honest; 2 overpays Alice, 3 leaves Carol out, on the chain as in the ledger."""
    with paid_network(tmp_path_factory.mktemp("net")) as made:
        made.earn(ALICE, 500, 300)
        made.earn(BOB, 200)
        made.close()
        for key in (ALICE, BOB, CAROL):
            made.earn(key, 400)
        with lying(lambda honest: honest | {A: honest[A] + honest[B] - 1, B: 1}):
            made.close()
        for key in (ALICE, BOB, CAROL):
            made.earn(key, 250)
        with lying(lambda honest: {A: honest[A], B: honest[B] + honest[C]}):
            made.close()
        made.activate()
        made.earn(BOB, 77)
        made.close()
        made.earn(CAROL, 99)
        yield made


def test_a_check_names_every_epoch_and_leaf_that_a_validator_lied_about(
    shell_on_chain: Terminal, net: PaidNetwork
) -> None:
    refused = shell_on_chain.run("payouts", "--derive")
    assert (refused.status, refused.err.splitlines()[-1].split(":")[0]) == (5, "PAYOUT_MISMATCH")

    told = shell_on_chain.run("payouts", "--derive", "--check", "--json")
    assert told.status == 5
    found = {one["epoch"]: one["check"] for one in told.json["epochs"]}
    assert {epoch: (one["state"], one["equal"]) for epoch, one in found.items()} == {
        1: ("active", True), 2: ("active", False), 3: ("active", False), 4: ("waiting", True), 5: ("open", None),
    }  # fmt: skip
    for epoch in (2, 3):
        assert [one["code"] for one in found[epoch]["problems"]] == ["PAYOUT_MISMATCH", "CHAIN_ROOT_DIFFERS"]
    third = RewardParameters().emission(2) // 3
    overpaid = {one["account"]: (one["derived_wei"], one["said_wei"]) for one in found[2]["leaves"]}
    assert overpaid.keys() == {"0x" + A.hex(), "0x" + B.hex()}
    assert int(overpaid["0x" + A.hex()][1] or 0) - int(overpaid["0x" + A.hex()][0] or 0) >= third - 1
    assert overpaid["0x" + B.hex()][1] == "1"
    missing = {one["account"]: one["said_wei"] for one in found[3]["leaves"]}
    assert missing["0x" + C.hex()] is None
    assert missing.keys() == {"0x" + B.hex(), "0x" + C.hex()}
    assert told.json["chain"] == {
        "active_epoch": 3, "latest_epoch": 4, "compared": [1, 2, 3, 4], "not_posted": [], "equal": False,
        "problems": [],
    }  # fmt: skip
    assert told.json["error"]["code"] == "PAYOUT_MISMATCH"
    assert f"0x{min(A, B).hex()} has" in told.json["error"]["what"]

    shown = shell_on_chain.run("payouts", "--check", "--epoch", "3")
    assert shown.status == 5
    assert "no leaf" in shown.out
    assert "NOT as the ledger gives it: 3" in shown.out
    assert " wei" not in shown.out + shown.err
    told_exactly = shell_on_chain.run("payouts", "--check", "--epoch", "2").out
    assert "0.000000000000000001 CURIO" in told_exactly  # of Bob's leaf: a rounded amount would hide it
    assert shell_on_chain.run("payouts", "--check", "--epoch", "1").status == 0
    honest = shell_on_chain.run("payouts", "--check", "--epoch", "4")
    assert honest.status == 0
    assert "waits for activation; the chain holds the same root and total" in honest.out
    assert shell_on_chain.run("payouts", "--check", "--epoch", "9", "--json").json["error"]["code"] == "EPOCH_MISSING"


def test_a_copy_is_checked_without_the_validator_which_then_cannot_be_asked_for_its_leaves(
    shell_on_chain: Terminal, net: PaidNetwork, tmp_path: Path
) -> None:
    entries = tmp_path / "entries.jsonl"
    entries.write_bytes(b"".join(leaf + b"\n" for leaf in net.live.service.store.leaves(0, 1000)))
    leaves = read_leaves(entries)
    short = tmp_path / "short.jsonl"
    short.write_bytes(b"".join(leaf + b"\n" for leaf in leaves[:6]))
    told = shell_on_chain.run("payouts", "--check", "--entries", short, "--json")
    assert told.status == 5
    assert [one["code"] for one in told.json["epochs"][-1]["check"]["problems"]] == ["CHAIN_EPOCH_UNKNOWN"]
    assert [one["code"] for one in told.json["chain"]["problems"]] == ["CHAIN_EPOCH_UNKNOWN"]
    # A mirror knows the network, so that nobody needs to be asked but the chain.
    (tmp_path / "network.json").write_text(shell_network(net))
    alone = shell_on_chain.run("payouts", "--check", "--entries", tmp_path, "--url", "http://127.0.0.1:9", "--json")
    assert alone.status == 5
    notes = {one["epoch"]: one["check"]["note"] for one in alone.json["epochs"]}
    assert "which leaf differs cannot be said: SERVICE_UNREACHABLE" in notes[2]
    assert notes[1] is None


def shell_network(net: PaidNetwork) -> str:
    from curiosity.protocol.wire import encode

    return encode(net.live.network).decode()


def test_a_chain_that_is_lied_to_behind_an_honest_ledger_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with paid_network(tmp_path / "net") as net, terminal(tmp_path / "home", capsys, net) as shell:
        net.earn(ALICE, 500)
        net.earn(BOB, 500)
        with lying(lambda honest: {A: honest[A] - 5, B: honest[B] + 5}, honest_entry=True):
            net.close()
        assert shell.run("payouts", "--derive").status == 0  # the ledger alone shows nothing
        told = shell.run("payouts", "--derive", "--check", "--json")
        assert told.status == 5
        check = told.json["epochs"][0]["check"]
        assert [one["code"] for one in check["problems"]] == ["CHAIN_ROOT_DIFFERS"]
        assert {one["account"] for one in check["leaves"]} == {"0x" + A.hex(), "0x" + B.hex()}
        # A validator that hides its leaves is still convicted, only not to the leaf.
        closed = net.live.service.epochs._closed
        closed[0] = replace(next(derive(net.live.service.store.leaves(0, 9), RewardParameters())))
        hidden = shell.run("payouts", "--check", "--json").json["epochs"][0]["check"]
        assert (hidden["equal"], hidden["leaves"]) == (False, [])
        assert "serves the leaves that the ledger gives, not those of the other root" in hidden["note"]


def test_what_the_chain_forgot_is_said_and_the_rest_is_compared(net: PaidNetwork) -> None:
    payout = next(derive(net.live.service.store.leaves(0, 1000), RewardParameters(), check_entries=False))
    whole = EpochRecord(1, payout.reward_root, payout.cumulative_total_wei, True, payout.size, 9)
    old = replace(whole, ledger_size=None, activates_at=None)
    for record, codes, note in [
        (whole, [], ""),
        (old, [], "the chain does not remember the ledger size any more"),
        (replace(old, reward_root=b"\1" * 32), ["CHAIN_ROOT_DIFFERS"], "the chain does not remember"),
        (replace(whole, cumulative_total_wei=1), ["CHAIN_TOTAL_DIFFERS"], ""),
        (replace(whole, ledger_size=2), ["CHAIN_SIZE_DIFFERS"], ""),
    ]:
        check = check_epoch(payout, RewardParameters(), record)
        assert ([one.code for one in check.problems], check.state) == (codes, EpochState.ACTIVE)
        assert note in check.note
    assert check_epoch(payout, RewardParameters(), None).state is EpochState.CLOSED
    other = RewardParameters(version=2)
    assert [one.code for one in check_epoch(payout, other, whole).problems] == ["PAYOUT_PARAMETERS"]
    twice = blame_leaves(check_epoch(payout, RewardParameters(), old), payout, [(A, 1), (A, 2)])
    assert "has two leaves" in twice.note
    assert compare_leaves({A: 1}, {A: 1}) == ()


def test_a_chain_remembers_the_roots_of_all_active_epochs() -> None:
    """More epochs than the contract keeps records of: the old ones lose their ledger size and nothing else."""
    with DevChain() as dev:
        owner, validator = dev.private_key(0), dev.private_key(1)
        client = ChainClient.connect(ChainConfig(dev.rpc_url, DEFAULT_CHAIN_ID))
        settings = DeploySettings((address_of(validator),), 1, activation_delay_s=0, min_epoch_interval_s=0)
        client.deploy(owner, settings)
        for number in range(1, 36):
            attestation = client.state().next_attestation(
                ledger_size=10 * number, ledger_root=bytes(32), reward_root=bytes([number]) * 32,
                cumulative_total_wei=7 * number,
            )  # fmt: skip
            client.post_root(owner, attestation, [sign_attestation(attestation, client.domain, validator)])
            if number < 34:
                client.activate(owner, number)
        state = client.state()
        records = [client.epoch(number, state) for number in range(37)]
    assert records[0] is records[36] is None
    known = [one for one in records if one is not None]
    assert [(one.epoch, one.reward_root, one.cumulative_total_wei) for one in known] == [
        (number, bytes([number]) * 32, 7 * number) for number in range(1, 36)
    ]
    assert [one.ledger_size for one in known] == [None] * 3 + [10 * number for number in range(4, 36)]
    assert [one.epoch for one in known if not one.is_active] == [34, 35]


def test_payouts_are_derived_without_torch_and_without_web3(net: PaidNetwork, tmp_path: Path) -> None:
    entries = tmp_path / "entries.jsonl"
    entries.write_bytes(b"".join(leaf + b"\n" for leaf in net.live.service.store.leaves(0, 5)))
    code = (
        "import sys, node.cli as c; "
        f"s = c.run(['payouts', '--derive', '--json', '--entries', {str(entries)!r}]); "
        "sys.exit(9 if {'torch', 'web3', 'numpy', 'sqlalchemy'} & set(sys.modules) else s)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
