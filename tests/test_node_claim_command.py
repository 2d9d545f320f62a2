"""`curiosity claim` as a contributor meets it: a real validator, a real chain, and each moment at which he may ask."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from contracts.devchain import DevChain
from curiosity.chain.attestation import ClaimPermission, address_of, sign_digest
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.protocol.wire import encode
from curiosity.rewards.permits import parse_address, read_permit
from tests.material.command import Said
from tests.material.payment import DELAY_S, PaidNetwork, Terminal, lying, paid_network

ALICE, BOB, CAROL, COLD = (bytes([number]) * 32 for number in (0x41, 0x42, 0x43, 0x44))
A, B, C = (address_of(key) for key in (ALICE, BOB, CAROL))
EMISSION = RewardParameters().emission


@pytest.fixture
def net(tmp_path: Path) -> Iterator[PaidNetwork]:
    with paid_network(tmp_path / "net") as made:
        made.client.fund(made.owner, A, eth_wei=10**17)
        yield made


@pytest.fixture
def shell(shell_on_chain: Terminal) -> Terminal:
    shell_on_chain.wallet("alice", ALICE)
    shell_on_chain.wallet("bob", BOB)
    return shell_on_chain


def statuses(said: Said) -> dict[int, str]:
    return {one["epoch"]: one["status"] for one in said.json["epochs"]}


def test_from_the_first_pair_to_the_last_wei(shell: Terminal, net: PaidNetwork) -> None:
    """Every moment: nothing sent, open, pending, claimable, paused, claimed; what is due is paid in one transaction."""
    alice = ("claim", "--wallet", "alice")
    none = shell.run(*alice, "--json")
    assert (none.status, none.json["state"], none.json["epochs"]) == (0, "nothing due", [])
    assert "holds no pair of" in shell.run(*alice).out

    pairs = net.earn(ALICE, 500, 300, 0)
    net.earn(BOB, 200)
    open_ = shell.run(*alice, "--dry-run", "--json").json
    assert (open_["state"], open_["open_wei"], open_["earned_wei"]) == ("nothing due", str(EMISSION(1) * 4 // 5), "0")
    assert open_["epochs"][0]["sent"] == {
        "decided": 3, "accepted": 3, "grey": 0, "held": 0, "not_novel": 1, "outranked": 0, "taken_down": 0,
    }  # fmt: skip

    net.close()
    waits = shell.run(*alice, "--json")
    assert (waits.status, waits.json["state"]) == (13, "waiting")
    error = waits.json["error"]
    assert (error["code"], 0 < error["seconds"] <= DELAY_S) == ("CLAIM_NOT_ACTIVE", True)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", error["at"])
    (epoch,) = waits.json["epochs"]
    assert (epoch["status"], epoch["score_micro"], epoch["whole_score_micro"]) == ("pending", 800, 1000)
    assert epoch["seconds_left"] == error["seconds"]
    assert [(one["pair"], one["score_micro"]) for one in epoch["pairs"]] == [
        ("0x" + pairs[0].hex(), 500), ("0x" + pairs[1].hex(), 300)
    ]  # fmt: skip
    assert sum(int(one["share_wei"]) for one in epoch["pairs"]) == int(epoch["amount_wei"]) == EMISSION(1) * 4 // 5

    net.activate()
    net.earn(ALICE, 40)
    net.close()
    net.activate()
    net.earn(ALICE, 7)
    net.close()
    tried = shell.run(*alice, "--dry-run", "--json")
    assert (tried.status, tried.json["state"], tried.json["due_epochs"]) == (0, "dry run", [1, 2])
    assert statuses(tried) == {1: "claimable", 2: "claimable", 3: "pending"}
    gas = tried.json["gas"]
    assert gas["enough"] is True
    assert int(gas["cost_wei"]) == gas["gas"] * int(gas["fee_wei"])
    assert int(gas["cost_wei"]) < int(gas["most_wei"]) < int(gas["balance_wei"])
    assert net.client.balances(A).token_wei == 0

    net.client.pause(net.owner, 5000)
    paused = shell.run(*alice, "--json")
    assert (paused.status, paused.json["error"]["code"]) == (13, "CLAIM_PAUSED")
    assert 4990 < paused.json["error"]["seconds"] <= 5000
    assert net.client.balances(A).token_wei == 0
    net.dev.advance(5000)

    due = EMISSION(1) * 4 // 5 + EMISSION(2)
    paid = shell.run(*alice, "--json")
    assert (paid.status, paid.json["state"], len(paid.json["transactions"])) == (0, "paid", 1)
    assert paid.json["paid_wei"] == paid.json["balance_after_wei"] == str(due)
    assert net.client.balances(A).token_wei == due
    assert abs(paid.json["gas_used"] - gas["gas"]) <= gas["gas"] // 10
    assert statuses(paid) == {1: "claimed", 2: "claimed", 3: "pending"}

    net.activate()
    assert shell.run(*alice, "--activate", "--json").json["paid_wei"] == str(EMISSION(3))
    done = shell.run(*alice)
    assert done.status == 0
    assert "Nothing is due: " in done.out
    assert "were claimed before" in done.out


def test_people_read_the_same(shell: Terminal, net: PaidNetwork) -> None:
    net.earn(ALICE, 500)
    net.earn(BOB, 500)
    net.close()
    net.activate()
    shown = shell.run("claim", "--wallet", "alice", "--dry-run")
    half = EMISSION(1) // 2
    assert f"Would pay {half // 10**18}.{half % 10**18 // 10**12:06} CURIO (epoch 1)" in shown.out
    assert " wei" not in shown.out
    assert "500 of 1000 (50.00 %)" in shown.out
    assert (
        "All amounts were derived from the validator's ledger; the chain holds the same root for epoch 1." in shown.out
    )
    assert "alice holds 0.100000000 coins." in shown.out
    poor = shell.run("claim", "--wallet", "bob", "--dry-run")
    assert "fund it, or let somebody relay the claim (--permit)" in poor.out
    refused = shell.run("claim", "--wallet", "bob", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (11, "CHAIN_NO_FUNDS")
    assert "--permit" in refused.json["error"]["remedy"]
    assert refused.json["error"]["what"].endswith("holds 0.000000000 coins for gas, the transaction may need more")


def test_a_relayed_claim_pays_whom_the_account_named_and_nobody_else(
    shell: Terminal, net: PaidNetwork, tmp_path: Path
) -> None:
    """Bob has no coins: Alice relays for him, earns nothing by it, and cannot have it paid elsewhere."""
    net.earn(BOB, 500)
    net.close()
    net.activate()
    net.earn(BOB, 5)
    net.close()
    cold, file = address_of(COLD), tmp_path / "bob.permit"
    made = shell.run(
        "claim", "--wallet", "bob", "--permit", file, "--to", checksum(cold), "--valid-days", "2", "--json"
    )
    assert (made.status, made.json["state"]) == (0, "permitted")
    assert made.json["permit"]["epochs"] == [1, 2]
    assert made.json["permit"]["deadline"] - made.json["now"] == pytest.approx(2 * 86_400, abs=5)
    assert (
        shell.run("claim", "--wallet", "bob", "--permit", file, "--json").json["error"]["code"] == "PERMIT_NOT_WRITTEN"
    )

    honest = json.loads(file.read_text())
    for change in (
        {"recipient": "0x" + A.hex()},
        {"account": "0x" + A.hex()},
        {"deadline": honest["deadline"] + 1},
        {"nonce": 1},
        {"chain_id": 1},
        {"rewards": "0x" + "11" * 20},
    ):
        bad = tmp_path / "bad.permit"
        bad.write_bytes(json.dumps(honest | change).encode())
        refused = shell.run("claim", "--wallet", "alice", "--relay", bad, "--json")
        assert (refused.status, refused.json["error"]["code"]) == (5, "PERMIT_SIGNATURE"), change
    for text, code in (("{}", "PERMIT_UNREADABLE"), (json.dumps(honest | {"shares": [], "x": 1}), "PERMIT_UNREADABLE")):
        bad.write_text(text)
        assert shell.run("claim", "--wallet", "alice", "--relay", bad, "--json").json["error"]["code"] == code

    tokens_before = net.client.balances(A).token_wei
    tried = shell.run("claim", "--wallet", "alice", "--relay", file, "--dry-run", "--json").json
    assert (tried["state"], tried["due_epochs"], tried["left_epochs"]) == ("dry run", [1], [2])
    assert tried["gas"]["enough"] is True
    net.client.pause(net.owner, 100)
    assert shell.run("claim", "--wallet", "alice", "--relay", file, "--json").json["error"]["code"] == "CLAIM_PAUSED"
    net.dev.advance(100)
    # Neither the validator nor its ledger is needed: the file and the chain are enough.
    relayed = shell.run("claim", "--wallet", "alice", "--relay", file, "--url", "http://127.0.0.1:9", "--json")
    assert (relayed.status, relayed.json["state"], relayed.json["paid_wei"]) == (0, "relayed", str(EMISSION(1)))
    assert net.client.balances(cold).token_wei == EMISSION(1)
    assert net.client.balances(A).token_wei == tokens_before == 0
    assert net.client.balances(B).token_wei == 0
    again = shell.run("claim", "--wallet", "alice", "--relay", file, "--json")
    assert (again.status, again.json["error"]["code"]) == (5, "PERMIT_SPENT")
    # What was not active is not lost: the account claims it itself, or permits it anew.
    net.activate()
    net.client.fund(net.owner, B, eth_wei=10**17)
    assert shell.run("claim", "--wallet", "bob", "--json").json["paid_wei"] == str(EMISSION(2))


def test_a_permission_ends(shell: Terminal, net: PaidNetwork, tmp_path: Path) -> None:
    net.earn(BOB, 500)
    net.close()
    net.activate()
    file = tmp_path / "bob.permit"
    assert shell.run("claim", "--wallet", "bob", "--permit", file, "--valid-days", "1").status == 0
    assert read_permit(file).recipient == B
    net.dev.advance(86_400 + 1)
    late = shell.run("claim", "--wallet", "alice", "--relay", file, "--json")
    assert (late.status, late.json["error"]["code"]) == (5, "PERMIT_EXPIRED")
    changed = replace(read_permit(file), deadline=2**40)
    with pytest.raises(ProofError, match="PERMIT_SIGNATURE"):
        changed.check()
    domain = net.client.domain
    by_bob = sign_digest(ClaimPermission(B, B, 0, 2**40).digest(domain), BOB)
    replace(changed, signature=by_bob).check()  # so what was refused is the change, and not the time


def test_a_cold_wallet_is_paid_without_ever_being_used(shell: Terminal, net: PaidNetwork) -> None:
    """Two ways: the hot account names the cold one; or the cold one earned, and anybody pays the gas for it."""
    net.earn(ALICE, 500)
    net.earn(CAROL, 500)
    net.close()
    net.activate()
    cold = address_of(COLD)
    to = shell.run("claim", "--wallet", "alice", "--to", checksum(cold), "--dry-run", "--json").json
    paid = shell.run("claim", "--wallet", "alice", "--to", checksum(cold), "--json").json
    assert (paid["paid_wei"], paid["recipient"]) == (str(EMISSION(1) // 2), "0x" + cold.hex())
    assert paid["gas_used"] <= to["gas"]["gas"] <= paid["gas_used"] * 1.3
    assert (net.client.balances(cold).token_wei, net.client.balances(A).token_wei) == (EMISSION(1) // 2, 0)

    carol = checksum(C)
    assert shell.run("claim", "--account", carol, "--dry-run", "--json").json["due_wei"] == str(EMISSION(1) // 2)
    assert shell.run("claim", "--account", carol, "--wallet", "alice", "--json").json["paid_wei"] == str(
        EMISSION(1) // 2
    )
    assert net.client.balances(C).token_wei == EMISSION(1) // 2
    assert shell.run("claim", "--account", carol, "--to", carol, "--wallet", "alice").status == 2
    for wrong in (
        ("--wallet", "alice", "--signature", "0x00"),
        ("--wallet", "alice", "--permit", "x", "--dry-run"),
        ("--wallet", "alice", "--relay", "x", "--to", carol),
        ("--wallet", "alice", "--relay", "x", "--signature", "0x00"),
    ):
        assert shell.run("claim", *wrong).status == 2, wrong
    assert shell.run("claim", "--account", carol, "--permit", "x", "--activate").err.startswith("WALLET_NEEDED")
    for address, code in (
        ("0x" + cold.hex()[:-1], "ADDRESS_MALFORMED"),
        (checksum(cold).swapcase().replace("0X", "0x"), "ADDRESS_CHECKSUM"),
        ("0x" + "00" * 20, "ADDRESS_FORBIDDEN"),
        ("0x" + net.client.addresses.rewards.hex(), "ADDRESS_FORBIDDEN"),
    ):
        refused = shell.run("claim", "--wallet", "alice", "--to", address, "--json")
        assert (refused.status, refused.json["error"]["code"]) == (6, code)


def test_a_key_that_is_nowhere_near_signs_typed_data(shell: Terminal, net: PaidNetwork, tmp_path: Path) -> None:
    """Carol's key is in a wallet of its own kind, which is shown what it signs; here eth-account plays it."""
    net.earn(CAROL, 500)
    net.close()
    net.activate()
    cold, file = checksum(address_of(COLD)), tmp_path / "carol.permit"
    made = shell.run("claim", "--account", checksum(C), "--permit", file, "--to", cold, "--json")
    assert (made.status, made.json["permit"]["signed"]) == (0, False)
    relay = ("claim", "--wallet", "alice", "--relay", file, "--json")
    assert shell.run(*relay).json["error"]["code"] == "PERMIT_UNSIGNED"

    typed = json.loads((tmp_path / "carol.permit.typed-data.json").read_text())
    assert typed == made.json["permit"]["typed_data"]
    assert typed["message"]["recipient"] == cold
    signature = Account.sign_message(encode_typed_data(full_message=typed), CAROL).signature
    by_bob = Account.sign_message(encode_typed_data(full_message=typed), BOB).signature
    assert shell.run(*relay, "--signature", "0x" + by_bob.hex()).json["error"]["code"] == "PERMIT_SIGNATURE"
    counted_from_zero = signature[:64] + bytes([signature[64] - 27])
    done = shell.run(*relay, "--signature", "0x" + counted_from_zero.hex())
    assert (done.status, done.json["paid_wei"]) == (0, str(EMISSION(1)))
    assert net.client.balances(address_of(COLD)).token_wei == EMISSION(1)


def test_addresses_are_spelled_in_one_case_or_by_their_checksum() -> None:
    address = address_of(COLD)
    for text in ("0x" + address.hex(), "0x" + address.hex().upper(), checksum(address)):
        assert parse_address(text) == address
    for text in ("", "0x", address.hex(), "0x" + "zz" * 20, "0x" + address.hex() + "00"):
        with pytest.raises(ConfigError, match="ADDRESS_MALFORMED"):
            parse_address(text)


def test_a_lying_validator_costs_its_own_epoch_only(shell: Terminal, net: PaidNetwork) -> None:
    """The second of three epochs pays Alice less than the ledger gives: it is told, and the others are paid."""
    for number in (1, 2, 3):
        net.earn(ALICE, 10)
        net.earn(BOB, 10)
        if number == 2:
            with lying(lambda honest: {A: honest[A] - 7, B: honest[B] + 7}):
                net.close()
        else:
            net.close()
    net.activate()
    told = shell.run("claim", "--wallet", "alice", "--json")
    assert told.status == 5
    assert statuses(told) == {1: "claimed", 2: "differs", 3: "claimed"}
    assert told.json["paid_wei"] == str(EMISSION(1) // 2 + EMISSION(3) // 2)
    codes = {one["code"] for one in told.json["problems"]}
    assert codes == {"PAYOUT_MISMATCH", "TICKET_DIFFERS", "CLAIM_ROOT_DIFFERS"}
    shown = shell.run("claim", "--wallet", "alice")
    assert shown.status == 5
    assert "THE CHAIN HOLDS ANOTHER ROOT" in shown.out
    assert "curiosity payouts --derive --check" in shown.err
    # What the lie left is better than nothing, for who says so.
    rest = shell.run("claim", "--wallet", "alice", "--as-posted", "--json")
    assert rest.json["paid_wei"] == str(EMISSION(2) // 2 - 7)
    assert shell.run("claim", "--wallet", "bob", "--derive", "--dry-run", "--json").status == 5


def test_a_lie_behind_an_honest_ledger_is_told_by_the_chain_alone(shell: Terminal, net: PaidNetwork) -> None:
    net.earn(ALICE, 10)
    net.earn(BOB, 10)
    with lying(lambda honest: {A: honest[A] - 7, B: honest[B] + 7}, honest_entry=True):
        net.close()
    net.activate()
    told = shell.run("claim", "--wallet", "alice", "--no-derive", "--dry-run", "--json")
    assert (told.status, told.json["due_wei"]) == (0, str(EMISSION(1) // 2 - 7))  # a ticket is part of the lie
    told = shell.run("claim", "--wallet", "alice", "--entries", mirror_of(net), "--json")
    assert (told.status, told.json["error"]["code"], told.json["paid_wei"]) == (5, "CLAIM_ROOT_DIFFERS", "0")


def mirror_of(net: PaidNetwork) -> Path:
    folder = net.folder / "mirror"
    folder.mkdir()
    leaves = net.live.service.store.leaves(0, 100)
    (folder / "entries.jsonl").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
    (folder / "network.json").write_bytes(encode(net.live.network))
    return folder


def test_without_the_ledger_the_ticket_is_taken_and_without_the_validator_a_mirror_is_enough(
    shell: Terminal, net: PaidNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.earn(ALICE, 500)
    net.close()
    net.activate()
    mirror = mirror_of(net)
    alone = ("--entries", mirror, "--url", "http://127.0.0.1:9")
    tried = shell.run("claim", "--wallet", "alice", "--dry-run", "--json", *alone).json
    assert (tried["source"], tried["due_wei"]) == (str(mirror), str(EMISSION(1)))
    assert shell.run("claim", "--wallet", "alice", "--entries", tmp_path / "none").err.startswith("MIRROR_UNREADABLE")

    word = shell.run("claim", "--wallet", "alice", "--no-derive", "--dry-run", "--json").json
    assert (word["source"], word["due_wei"], word["epochs"][0]["pairs"]) == ("ticket", str(EMISSION(1)), None)

    monkeypatch.setenv("CURIOSITY_NODE__LOG_VKEY", stranger_vkey())  # so that its tree head does not hold
    fallen = shell.run("claim", "--wallet", "alice", "--dry-run", "--json")
    assert (fallen.status, fallen.json["source"], fallen.json["due_wei"]) == (5, "ticket", str(EMISSION(1)))
    assert "The amounts come from the validator" in fallen.json["notes"][0]
    insisted = shell.run("claim", "--wallet", "alice", "--derive", "--dry-run", "--json")
    assert (insisted.status, insisted.json["error"]["code"]) == (5, fallen.json["error"]["code"])
    monkeypatch.delenv("CURIOSITY_NODE__LOG_VKEY")

    net.earn(ALICE, 5)
    net.close()
    paid = shell.run("claim", "--wallet", "alice", "--json", *alone).json
    assert (paid["state"], paid["paid_wei"]) == ("paid", str(EMISSION(1)))
    assert f"{mirror} ends with epoch 1, the chain is at 2" in paid["notes"][0]


def stranger_vkey() -> str:
    from curiosity.protocol.tlog import Signer

    return Signer("curiosity-local", b"\x09" * 32).verifier.vkey()


def test_when_the_validator_sleeps_the_claimer_activates(shell: Terminal, net: PaidNetwork) -> None:
    net.earn(ALICE, 500)
    net.close()
    assert shell.run("claim", "--wallet", "alice", "--activate").status == 13  # too early changes nothing
    net.dev.advance(DELAY_S)
    due = shell.run("claim", "--wallet", "alice", "--json")
    assert (due.status, due.json["error"]["seconds"]) == (13, 0)
    assert "--activate" in due.json["error"]["remedy"]
    done = shell.run("claim", "--wallet", "alice", "--activate", "--json").json
    assert (done["activated"], done["paid_wei"]) == ([1], str(EMISSION(1)))


def test_a_chain_that_is_wrong_or_silent_is_told_with_its_remedy(shell: Terminal, net: PaidNetwork) -> None:
    net.earn(ALICE, 500)
    net.close()
    silent = shell.run("claim", "--wallet", "alice", "--dry-run", "--rpc", "http://127.0.0.1:9", "--json")
    assert (silent.status, silent.json["error"]["code"]) == (11, "CHAIN_UNREACHABLE")
    with DevChain(chain_id=4711) as other:
        wrong = shell.run("claim", "--wallet", "alice", "--dry-run", "--rpc", other.rpc_url, "--json")
    assert (wrong.status, wrong.json["error"]["code"]) == (11, "CHAIN_WRONG_ID")
    with DevChain() as empty:
        bare = shell.run("claim", "--wallet", "alice", "--dry-run", "--rpc", empty.rpc_url, "--json")
    assert (bare.status, bare.json["error"]["code"]) == (11, "CHAIN_NO_CONTRACT")
    lost = shell.run("claim", "--wallet", "alice", "--dry-run", "--url", "http://127.0.0.1:9", "--json")
    assert (lost.status, lost.json["error"]["code"]) == (12, "SERVICE_UNREACHABLE")
    assert "--entries" in lost.json["error"]["remedy"]
    for said in (silent, wrong, bare, lost):
        assert said.json["error"]["remedy"]


def test_many_epochs_are_one_transaction(shell: Terminal, net: PaidNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 7):
        net.earn(ALICE, number)
        net.close()
    net.activate()
    payouts = [one for one in derive(net.live.service.store.leaves(0, 100), RewardParameters()) if one.entry]
    monkeypatch.setattr("validator.epochs._SHARES", 2)  # a ticket comes in pages
    tried = shell.run("claim", "--wallet", "alice", "--no-derive", "--dry-run", "--json").json
    assert tried["due_epochs"] == list(range(1, 7))
    page = net.live.service.epochs.ticket(A)
    assert (len(page.shares), page.next) == (2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(net.live.service.epochs, "ticket", lambda account, first=1: page)  # for ever the same
        endless = shell.run("claim", "--wallet", "alice", "--no-derive", "--json")
    assert (endless.status, endless.json["error"]["code"]) == (5, "TICKET_ORDER")
    monkeypatch.setattr(
        "curiosity.rewards.claims.AT_ONCE", 4
    )  # so that few epochs show what becomes of more than fit in one
    done: dict[str, Any] = shell.run("claim", "--wallet", "alice", "--json").json
    assert len(done["transactions"]) == 2
    assert done["paid_wei"] == str(sum(one.amounts_wei[A] for one in payouts)) == str(net.client.balances(A).token_wei)
    assert done["due_epochs"] == list(range(1, 7))
