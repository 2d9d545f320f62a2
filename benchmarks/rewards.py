"""What rewards cost: gas of posting and claiming from receipts on the embedded chain, and the time of a large tree.

    python -m benchmarks.rewards [--json FILE]

Prints a table and, with ``--json``, writes it. Gas is a fact of the bytecode and the arguments (the same on every
machine, compared with the committed figures by a test). Time is one core's and differs between machines:
``tree_1e6_ratio`` compares that of the tree with that of as many Keccak hashes alone in the same run.

Posting is measured in the steady state: every slot of the ring was written before. A first claim is made for an account
that the chain has never seen; a repeated one by an account that claimed another epoch before; the tree has as many
leaves as the name says, and each leaf's proof its length.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sha3 import keccak_256

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings, Share
from curiosity.chain.evm import ChainClient
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.protocol.rewards import RewardParameters, RewardTree

SIGNERS = (3, 5, 9)
RING = 32
SIZES = {"1e3": 10**3, "1e5": 10**5, "1e6": 10**6}
MANY = 100
# What an account earns: of the order of what a contributor's pair is paid.
AMOUNT_WEI = 10**14


@dataclass
class _Bench:
    chain: DevChain
    client: ChainClient
    key: bytes
    validators: list[bytes]
    total_wei: int = 0
    size: int = 0

    def post(self, tree: RewardTree) -> int:
        """Post an epoch with as many signatures as the threshold; return the gas."""
        state = self.client.state()
        self.total_wei += tree.total_wei
        self.size += 1_000
        attestation = state.next_attestation(
            ledger_size=self.size,
            ledger_root=random.Random(self.size).randbytes(32),
            reward_root=tree.root,
            cumulative_total_wei=self.total_wei,
        )
        signed = [sign_attestation(attestation, self.client.domain, key) for key in self.validators[: state.threshold]]
        receipt = self.client.post_root(self.key, attestation, signed)
        if receipt is None:
            raise AssertionError("the epoch was posted before")
        return receipt.gas_used

    def close(self, tree: RewardTree) -> int:
        """Post and activate an epoch; return its number."""
        self.post(tree)
        epoch = self.client.state().latest_epoch
        self.client.activate(self.key, epoch)
        return epoch

    def share(self, epoch: int, tree: RewardTree, account: bytes) -> Share:
        return Share(epoch, tree.amount_wei(account), tuple(tree.proof(account)))


def make_leaves(count: int, seed: int) -> list[tuple[bytes, int]]:
    """Return that many random accounts with amounts that no emission is too small for."""
    source = random.Random(seed)
    return [(source.randbytes(20), source.randrange(AMOUNT_WEI // 2, AMOUNT_WEI)) for _ in range(count)]


def measure_gas(trees: dict[str, RewardTree]) -> dict[str, int]:
    """Return the gas of each operation, by name; ``trees`` by the names of `SIZES`."""
    gas: dict[str, int] = {}
    with DevChain(engine="anvil") as chain:
        key = chain.private_key(0)
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID, poll_interval_s=0.005))
        source = random.Random(5)
        validators = sorted((source.randbytes(32) for _ in range(2 * max(SIGNERS) - 1)), key=address_of)
        members = tuple(address_of(one) for one in validators)
        # One that emits all in few epochs, so that a tree of a million leaves is within one emission.
        parameters = RewardParameters(decay_numerator=1, decay_denominator=10)
        client.deploy(key, DeploySettings(members, max(SIGNERS), parameters, 0, 0))
        bench = _Bench(chain, client, key, validators)
        for _ in range(RING + 1):
            bench.close(RewardTree(make_leaves(1, bench.size)))
        for signers in SIGNERS:
            client.set_validators(key, members[: 2 * signers - 1], signers)
            # A change of the set discards what waits; after one epoch everything is steady again.
            bench.close(RewardTree(make_leaves(1, bench.size)))
            gas[f"postRoot_{signers}"] = bench.post(RewardTree(make_leaves(1, bench.size)))
            client.activate(key, client.state().latest_epoch)
        for name, tree in trees.items():
            epoch = bench.close(tree)
            account = tree.accounts[len(tree) // 2]
            receipt = client.claim(key, [bench.share(epoch, tree, account)], account=account)
            gas[f"claim_first_{name}"] = receipt.gas_used
        gas |= _measure_later(bench, trees["1e3"])
    return gas


def _measure_later(bench: _Bench, tree: RewardTree) -> dict[str, int]:
    """Measure claims in later epochs of the same thousand accounts."""
    account, *others = tree.accounts[len(tree) // 2 :]
    gas: dict[str, int] = {}
    epoch = bench.close(tree)
    gas["claim_repeat"] = bench.client.claim(bench.key, [bench.share(epoch, tree, account)], account=account).gas_used
    rows = [(one, bench.share(epoch, tree, one)) for one in others[:MANY]]
    gas["claimMany100_1e3_each"] = bench.client.claim_many(bench.key, rows).gas_used // MANY
    # One transaction that collects a month of an account that was never away.
    epochs = [bench.close(tree) for _ in range(30)]
    month = bench.client.claim(bench.key, [bench.share(one, tree, account) for one in epochs], account=account)
    gas["claim_30_epochs_1e3_each"] = month.gas_used // len(epochs)
    return gas


def measure_claims(tree: RewardTree) -> dict[str, int]:
    """Return the gas of an account's first claim and of a later one, with this tree in both epochs."""
    with DevChain(engine="anvil") as chain:
        key = chain.private_key(0)
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID, poll_interval_s=0.005))
        client.deploy(key, DeploySettings((address_of(key),), 1, activation_delay_s=0, min_epoch_interval_s=0))
        bench = _Bench(chain, client, key, [key])
        gas = {}
        for name in ("first", "later"):
            share = bench.share(bench.close(tree), tree, tree.accounts[len(tree) // 2])
            gas[name] = client.claim(key, [share], account=tree.accounts[len(tree) // 2]).gas_used
        return gas


def measure_tree() -> tuple[dict[str, float], RewardTree]:
    """Return a tree of a million leaves, and the seconds of one core that it takes beside those of its hashes alone."""
    leaves = make_leaves(SIZES["1e6"], 6)
    began = time.process_time()
    tree = RewardTree(leaves)
    made = time.process_time()
    for _ in range(3 * len(leaves) - 1):  # two for a leaf, one for a node
        keccak_256(bytes(64)).digest()
    seconds, alone = made - began, time.process_time() - made
    return {
        "tree_1e6_seconds": round(seconds, 2),
        "tree_1e6_hashes_seconds": round(alone, 2),
        "tree_1e6_ratio": round(seconds / alone, 2),
    }, tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rewards", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    try:
        times, largest = measure_tree()
        trees = {name: RewardTree(make_leaves(count, 3)) for name, count in SIZES.items() if name != "1e6"}
        gas = measure_gas(trees | {"1e6": largest})
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    for name, value in gas.items():
        print(f"{name:28} {value:>9,} gas")
    for name, seconds in times.items():
        print(f"{name:28} {seconds:>9.2f}")
    if options.json is not None:
        figures = {"gas": gas, **times}
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
