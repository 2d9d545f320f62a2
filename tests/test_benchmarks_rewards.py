"""The committed gas of posting and claiming is what the embedded chain gives, and within what was promised."""

import json

import pytest

from benchmarks.embedding import RESULTS, ROOT
from benchmarks.protections import VARIANTS
from benchmarks.rewards import SIZES, make_leaves, measure_gas
from contracts.devchain import find_anvil
from curiosity.protocol.rewards import RewardTree

# The most that each may cost.
LIMITS = {
    "postRoot_3": 75_000,
    "postRoot_5": 90_000,
    "postRoot_9": 120_000,
    "claim_first_1e3": 93_000,
    "claim_first_1e5": 98_000,
    "claim_first_1e6": 101_000,
    "claim_repeat": 58_500,
    "claimMany100_1e3_each": 62_000,
}

needs_anvil = pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: gas is measured on it alone")


def test_the_committed_gas_is_within_its_limits() -> None:
    committed = json.loads((RESULTS / "rewards.json").read_text())
    assert {name: gas for name, gas in committed["gas"].items() if gas > LIMITS.get(name, gas)} == {}
    assert committed["gas"].keys() >= LIMITS.keys()


def test_a_tree_costs_little_beyond_its_hashes() -> None:
    """Seconds are those of the machine that committed them; their ratio is of the code."""
    committed = json.loads((RESULTS / "rewards.json").read_text())
    ratio = committed["tree_1e6_seconds"] / committed["tree_1e6_hashes_seconds"]
    assert committed["tree_1e6_ratio"] == pytest.approx(ratio, rel=0.01)
    assert 1 <= committed["tree_1e6_ratio"] < 4


@needs_anvil
def test_the_committed_gas_is_what_the_chain_gives() -> None:
    committed = json.loads((RESULTS / "rewards.json").read_text())["gas"]
    measured = measure_gas({"1e3": RewardTree(make_leaves(SIZES["1e3"], 3))})
    assert measured.keys() == committed.keys() - {"claim_first_1e5", "claim_first_1e6"}
    assert measured == {name: committed[name] for name in measured}


def test_protections_are_measured_on_what_the_sources_say() -> None:
    committed = json.loads((RESULTS / "protections.json").read_text())
    assert list(committed["saved"]) == [name for name, *_ in VARIANTS]
    # Isolation costs no more than an addition: the pool's balance takes the place of the contract's.
    assert committed["saved"]["a pool for each epoch"]["first"] < 50
    for _, name, text, instead in VARIANTS:
        assert text in (ROOT / f"contracts/src/{name}.sol").read_text()
        assert text != instead
