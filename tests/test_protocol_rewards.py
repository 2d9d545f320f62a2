"""Emission, allocation and reward trees: exact sums, order does not matter, and OpenZeppelin's bytes."""

import hashlib
import json
import random
import shutil
import subprocess
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.rewards import (
    EMPTY_REWARD_ROOT,
    RewardParameters,
    RewardTree,
    allocate,
    cumulate,
    leaf_hash,
    verify_claim,
)

VECTORS = Path(__file__).parent / "vectors"
# tests/vectors/rewards.json: {"trees": [{"leaves": [[account, wei as decimal text]], "root", "proofs": a list for each
# leaf}]}, all by OpenZeppelin's JavaScript library (rewards.mjs) from `vector_leaves`, hex with 0x.
VECTOR_SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 31, 64)
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is absent: trees are compared with the committed vectors only"
)
WHOLE = RewardParameters(premint_wei=0)

accounts = st.binary(min_size=20, max_size=20)
amounts = st.integers(0, 2**256 - 1)
emissions = st.integers(0, 10**24)
score_lists = st.lists(st.tuples(st.sampled_from([bytes([i]) * 20 for i in range(12)]), st.integers(0, 10**9)))
leaf_maps = st.dictionaries(accounts, amounts, min_size=1, max_size=40)


# Emission.


def test_the_schedule_keeps_its_promises() -> None:
    # Of a million: 630.2 on the first day, 90 % after ten years, whatever is left halving every three years.
    assert WHOLE.emission(1) == 630_200_000_000_000_000_000
    for years, share in ((1, 0.205672), (5, 0.683772), (10, 0.900000), (20, 0.990000)):
        emitted = WHOLE.emitted_until(round(365.25 * years)) / WHOLE.cap_wei
        assert abs(emitted - share) < 3e-4


def test_each_epoch_emits_a_share_of_what_remains() -> None:
    parameters = RewardParameters()
    remaining = parameters.cap_wei - parameters.premint_wei
    for epoch in range(1, 1_000):
        amount = parameters.emission(epoch)
        exact = Fraction(6302, 10_000_000) * remaining
        assert amount <= exact < amount + 1
        remaining -= amount
        assert parameters.emitted_until(epoch) == parameters.pool_wei - remaining


@settings(max_examples=50, deadline=None)
@given(
    st.integers(2, 10**30),
    st.integers(1, 10**4),
    st.integers(10**4, 10**9),
    st.integers(1, 86_400),
    st.integers(1, 300),
)
def test_no_schedule_ever_passes_the_cap(cap: int, numerator: int, denominator: int, length: int, epoch: int) -> None:
    parameters = RewardParameters(1, cap, cap // 3, numerator, denominator, length)
    assert parameters.premint_wei + parameters.emitted_until(epoch) <= cap
    assert 0 <= parameters.emission(epoch + 1) <= parameters.emission(epoch)
    assert parameters.emitted_until(epoch) == sum(parameters.emission(e) for e in range(1, epoch + 1))


def test_a_shorter_epoch_emits_in_proportion() -> None:
    hourly = replace(WHOLE, epoch_length_s=3_600)
    assert hourly.emission(1) == WHOLE.emission(1) // 24
    # Twenty-four hours emit a little less than a day: each takes its share of what the last one left.
    assert 0.9996 < hourly.emitted_until(24) / WHOLE.emission(1) < 1


@pytest.mark.parametrize("epoch", [0, -1, 1.0, True])
def test_an_epoch_that_is_none(epoch: Any) -> None:
    with pytest.raises(ConfigError) as failure:
        WHOLE.emission(epoch)
    assert failure.value.code == "EPOCH_INVALID"


@pytest.mark.parametrize(
    "change",
    [
        {"cap_wei": 0},
        {"cap_wei": 2**256},
        {"premint_wei": -1},
        {"premint_wei": 10**24},
        {"decay_numerator": 0},
        {"decay_numerator": 5_000_001},
        {"decay_denominator": 2**63},
        {"epoch_length_s": 1.5},
        {"epoch_length_s": 200_000_000},
        {"top_n": 0},
        {"version": "1"},
        {"version": 5},
        {"least_pairs": 0},
        {"vest_epochs": 0},
        {"audit_micro": 1_000_001},
        {"min_epoch_s": -1},
        {"unpaid_returns": 2},
        {"crowd_power": 9},
        {"vest_epochs": 1_001},
        {"beacon_blocks": 2**200},
        {"min_epoch_s": 2**53},
        {"least_pairs": 2**255},
    ],
)
def test_parameters_that_cannot_work(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as failure:
        RewardParameters(**change)
    assert failure.value.code == "REWARD_PARAMETER_INVALID"


def test_the_digest_names_every_parameter() -> None:
    for base, count in ((RewardParameters(), 7), (RewardParameters(version=2, unpaid_returns=0), 14)):
        digests = {base.digest()}
        for name in list(base.values())[1:]:
            digests.add(replace(base, **{name: getattr(base, name) + 1}).digest())
        assert len(digests) == len(base.values()) == count
    base = RewardParameters()
    assert {replace(base, least_pairs=7).digest(), replace(base, version=2).digest()} > {base.digest()}
    # Fixed once and for all: a change here forks every running network.
    assert base.digest().hex() == "cb9904ad7170b3d811ff691907b6a30022d0c5f8771b86ed69abf4f91fb81bf0"


# Allocation.


def test_an_allocation_by_hand() -> None:
    a, b, c, d = (bytes([i]) * 20 for i in range(1, 5))
    # 10 wei over 1 + 1 + 1: the odd one goes to the first account.
    assert allocate([(c, 1), (b, 1), (a, 1)], 10) == {a: 4, b: 3, c: 3}
    # Shares 6.25, 2.5, 1.25: floors 6, 2, 1 and the odd wei to the largest remainder.
    assert allocate([(a, 5), (b, 2), (c, 1)], 10) == {a: 6, b: 3, c: 1}
    # Two pairs of one account count together; one without a score gets nothing and no entry.
    assert allocate([(a, 2), (d, 0), (a, 2), (b, 4)], 7) == {a: 4, b: 3}
    assert allocate([(a, 0)], 10) == {}
    assert allocate([], 10) == {}
    assert allocate([(a, 1)], 0) == {}


@settings(max_examples=200, deadline=None)
@given(score_lists, emissions, st.randoms(use_true_random=False))
def test_the_sum_is_exact_and_the_order_does_not_matter(
    scores: list[tuple[bytes, int]], emission_wei: int, shuffler: random.Random
) -> None:
    result = allocate(scores, emission_wei)
    whole = sum(score for _, score in scores)
    assert sum(result.values()) == (emission_wei if whole else 0)
    assert list(result) == sorted(result)
    assert all(amount > 0 for amount in result.values())
    shuffled = list(scores)
    shuffler.shuffle(shuffled)
    assert list(allocate(shuffled, emission_wei).items()) == list(result.items())
    for account in {account for account, _ in scores}:
        total = sum(score for other, score in scores if other == account)
        if whole:
            # Quota rule: within one wei of the exact share.
            assert abs(result.get(account, 0) - Fraction(total * emission_wei, whole)) < 1


@settings(max_examples=200, deadline=None)
@given(score_lists, st.integers(0, 1_000), st.integers(1, 10**6))
def test_a_better_score_never_earns_less(scores: list[tuple[bytes, int]], emission_wei: int, more: int) -> None:
    result = allocate(scores, emission_wei)
    totals = {account: sum(s for other, s in scores if other == account) for account, _ in scores}
    for one, one_total in totals.items():
        for other, other_total in totals.items():
            if one_total > other_total:
                assert result.get(one, 0) >= result.get(other, 0)
        assert allocate([*scores, (one, more)], emission_wei).get(one, 0) >= result.get(one, 0)


@settings(max_examples=100, deadline=None)
@given(score_lists, score_lists, emissions)
def test_cumulating_adds_account_by_account(
    first: list[tuple[bytes, int]], second: list[tuple[bytes, int]], emission_wei: int
) -> None:
    one, two = allocate(first, emission_wei), allocate(second, emission_wei)
    total = cumulate(one, two)
    assert list(total) == sorted(one.keys() | two.keys())
    assert total == {account: one.get(account, 0) + two.get(account, 0) for account in total}
    assert cumulate({}, one) == one


@pytest.mark.parametrize("bad", [(b"\x01" * 19, 1), (b"\x01" * 20, -1), ("0x01", 1), (b"\x01" * 20, 1.5)])
def test_inputs_that_make_no_sense(bad: Any) -> None:
    for action in (
        lambda: allocate([bad], 10),
        lambda: cumulate({}, dict([bad])),
        lambda: RewardTree([bad]),
        lambda: leaf_hash(*bad),
    ):
        with pytest.raises(ConfigError) as failure:
            action()
        assert failure.value.code == "REWARD_INPUT_INVALID"


# Trees.


@settings(max_examples=100, deadline=None)
@given(leaf_maps)
def test_every_leaf_proves_and_nothing_else_does(leaves: dict[bytes, int]) -> None:
    tree = RewardTree(list(leaves.items()))
    assert RewardTree(list(leaves.items())[::-1]).root == tree.root
    assert len(tree) == len(leaves)
    assert tree.total_wei == sum(leaves.values())
    for account, amount_wei in leaves.items():
        proof = tree.proof(account)
        verify_claim(tree.root, account, amount_wei, proof)
        assert tree.amount_wei(account) == amount_wei
        for broken_root, broken_account, broken_amount, broken_proof in (
            (tree.root[::-1], account, amount_wei, proof),
            (tree.root, bytes([account[0] ^ 1]) + account[1:], amount_wei, proof),
            (tree.root, account, amount_wei ^ 1, proof),
            (tree.root, account, amount_wei, [*proof, bytes(32)]),
        ):
            with pytest.raises(ProofError):
                verify_claim(broken_root, broken_account, broken_amount, broken_proof)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(accounts, amounts, min_size=2, max_size=40), st.data())
def test_a_corrupted_proof_fails(leaves: dict[bytes, int], data: st.DataObject) -> None:
    tree = RewardTree(list(leaves.items()))
    account = data.draw(st.sampled_from(sorted(leaves)))
    proof = tree.proof(account)
    position = data.draw(st.integers(0, len(proof) - 1))
    byte, bit = data.draw(st.integers(0, 31)), 1 << data.draw(st.integers(0, 7))
    damaged = bytearray(proof[position])
    damaged[byte] ^= bit
    for bad in (
        [*proof[:position], bytes(damaged), *proof[position + 1 :]],
        proof[:position] + proof[position + 1 :],
        [*proof[:position], proof[position][:-1], *proof[position + 1 :]],
    ):
        with pytest.raises(ProofError) as failure:
            verify_claim(tree.root, account, leaves[account], bad)
        assert failure.value.code == "REWARD_PROOF_INVALID"


def test_a_hash_of_another_length_is_named() -> None:
    tree = RewardTree([(b"\x01" * 20, 1), (b"\x02" * 20, 2)])
    (sibling,) = tree.proof(b"\x01" * 20)
    for bad in (sibling[:-1], sibling + b"\x00"):
        with pytest.raises(ProofError) as failure:
            verify_claim(tree.root, b"\x01" * 20, 1, [bad])
        assert f"hash 0 of the proof has {len(bad)} bytes" in failure.value.what


def test_an_empty_tree_proves_nothing() -> None:
    tree = RewardTree([])
    assert (tree.root, tree.total_wei, len(tree)) == (EMPTY_REWARD_ROOT, 0, 0)
    with pytest.raises(ProofError) as failure:
        tree.proof(b"\x01" * 20)
    assert failure.value.code == "REWARD_NO_LEAF"
    with pytest.raises(ProofError):
        verify_claim(tree.root, b"\x01" * 20, 0, [])


def test_two_leaves_of_one_account_are_refused() -> None:
    with pytest.raises(ConfigError) as failure:
        RewardTree([(b"\x01" * 20, 1), (b"\x01" * 20, 2)])
    assert "two leaves" in failure.value.what


def vector_leaves(size: int, seed: str = "vector") -> list[tuple[bytes, int]]:
    """Deterministic accounts and amounts: small ones, equal ones and the largest."""
    leaves = []
    for index in range(size):
        digest = hashlib.sha256(f"{seed} {size} {index}".encode()).digest()
        amount_wei = (0, 1, 2**256 - 1, int.from_bytes(digest[20:32], "big"))[min(index, 3)]
        leaves.append((digest[:20], amount_wei))
    return leaves


def ask_openzeppelin(trees: list[list[tuple[bytes, int]]], folder: Path) -> str:
    request = folder / "trees.json"
    request.write_text(json.dumps([[["0x" + a.hex(), str(amount)] for a, amount in leaves] for leaves in trees]))
    command = [str(NODE), str(VECTORS / "rewards.mjs"), str(request)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout


def compare_with(answers: list[dict[str, Any]]) -> int:
    compared = 0
    for answer in answers:
        leaves = [(bytes.fromhex(account[2:]), int(amount)) for account, amount in answer["leaves"]]
        tree = RewardTree(leaves)
        assert "0x" + tree.root.hex() == answer["root"]
        for (account, amount_wei), proof in zip(leaves, answer["proofs"], strict=True):
            assert ["0x" + sibling.hex() for sibling in tree.proof(account)] == proof
            verify_claim(tree.root, account, amount_wei, [bytes.fromhex(sibling[2:]) for sibling in proof])
            compared += 1
    return compared


def test_trees_equal_the_committed_vectors() -> None:
    answers = json.loads((VECTORS / "rewards.json").read_text())["trees"]
    assert [len(answer["leaves"]) for answer in answers] == list(VECTOR_SIZES)
    assert compare_with(answers) == sum(VECTOR_SIZES)


@needs_node
def test_the_vectors_are_what_openzeppelin_says(tmp_path: Path) -> None:
    fresh = json.loads(ask_openzeppelin([vector_leaves(size) for size in VECTOR_SIZES], tmp_path))
    assert json.loads((VECTORS / "rewards.json").read_text()) == {"trees": fresh}


@needs_node
def test_trees_equal_openzeppelins_on_random_accounts(tmp_path: Path) -> None:
    source = random.Random(time.time_ns())
    sizes = [1, 2, *(source.randrange(3, 300) for _ in range(4)), 1_000]
    trees = [[(source.randbytes(20), source.randrange(2**256)) for _ in range(size)] for size in sizes]
    assert compare_with(json.loads(ask_openzeppelin(trees, tmp_path))) == sum(sizes)


def test_a_hundred_thousand_leaves_have_short_proofs() -> None:
    source = random.Random(5)
    leaves = [(source.randbytes(20), source.randrange(10**21)) for _ in range(100_000)]
    tree = RewardTree(leaves)
    account, amount_wei = leaves[77_777]
    verify_claim(tree.root, account, amount_wei, tree.proof(account))
    assert len(tree.proof(account)) in (16, 17)
