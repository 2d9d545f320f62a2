"""RFC 6962 trees against a second implementation, other projects' vectors, and every kind of damage."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol import merkle
from curiosity.protocol.errors import ProofError
from curiosity.protocol.subtrees import Place, consistency_from, hashes_of, inclusion_from, root_from
from tests.material.merkle_damage import accepts, damaged, expect_refusal, flip, plain_consistency, plain_inclusion
from tests.material.rfc6962_plain import PlainTree, hash_children, hash_leaf, largest_power_below

# Leaves and hashes of the Certificate Transparency reference tests.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_96A2 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_5F08 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_6B47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_BC1A = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_CA85 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_0EBC = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
CT_INCLUSION = {
    (0, 1): [],
    (0, 8): [_96A2, _5F08, _6B47],
    (5, 8): [_BC1A, _CA85, CT_ROOTS[4]],
    (2, 3): [CT_ROOTS[2]],
    (1, 5): [CT_ROOTS[1], _5F08, _BC1A],
}
CT_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [_96A2, _5F08, _6B47],
    (6, 8): [_0EBC, _CA85, CT_ROOTS[4]],
    (2, 5): [_5F08, _BC1A],
}

LEAVES = [b"leaf %d" % index for index in range(300)]
HASHES = [hash_leaf(leaf) for leaf in LEAVES]
PLAIN = PlainTree(HASHES)
ROOTS = [PLAIN.root(0, size) for size in range(301)]


# --- Published vectors ---


def test_published_vectors() -> None:
    for size, expected in enumerate(CT_ROOTS):
        assert merkle.root(CT_LEAVES[:size]).hex() == expected
    for (index, size), path in CT_INCLUSION.items():
        assert [hash_.hex() for hash_ in merkle.inclusion_proof(index, CT_LEAVES[:size])] == path
    for (first, size), path in CT_CONSISTENCY.items():
        assert [hash_.hex() for hash_ in merkle.consistency_proof(first, CT_LEAVES[:size])] == path


def test_the_verdicts_of_another_projects_vectors() -> None:
    """Good proofs and broken ones of transparency-dev/merkle, all with its verdict.

    One differs by choice: it refuses to call a tree a continuation of the empty one, which tlog-witness wants.
    """
    vectors = json.loads((Path(__file__).parent / "vectors" / "merkle_proofs.json").read_text())
    hashes = [bytes.fromhex(text) for text in vectors["hashes"]]
    for index, size, leaf, root, path, holds in vectors["inclusion"]:
        proof = [hashes[number] for number in path]
        check = lambda: merkle.verify_inclusion(hashes[leaf], index, size, proof, hashes[root])  # noqa: B023, E731
        assert accepts(check) == holds, (index, size, path)
    differ = 0
    for first, size, old, new, path, holds in vectors["consistency"]:
        proof = [hashes[number] for number in path]
        check = lambda: merkle.verify_consistency(first, size, proof, hashes[old], hashes[new])  # noqa: B023, E731
        from_nothing = (first, path, hashes[old]) == (0, [], merkle.EMPTY_ROOT) and size > 0
        assert accepts(check) == (holds or from_nothing), (first, size, path)
        differ += from_nothing
    assert differ == 1
    assert len(vectors["inclusion"]) + len(vectors["consistency"]) == 194


# --- The second implementation ---


class Subtrees:
    """The complete subtrees that a frontier gave out, with which of them were asked for."""

    def __init__(self, hashes: Sequence[bytes], step: int = 7) -> None:
        self.known: dict[Place, bytes] = {}
        self.asked: list[Place] = []
        self.frontier = merkle.Frontier()
        for start in range(0, len(hashes), step):
            for run in self.frontier.extend(hashes[start : start + step]):
                for number, hash_ in enumerate(run.hashes):
                    assert (run.level, run.first + number) not in self.known
                    self.known[run.level, run.first + number] = hash_

    def read(self, places: Sequence[Place]) -> list[bytes]:
        self.asked += places
        return [self.known[place] for place in places]


def test_every_way_to_the_root_equals_the_definition_for_all_sizes_to_300() -> None:
    frontier = merkle.Frontier()
    for size in range(301):
        assert frontier.root() == ROOTS[size]
        assert len(frontier.nodes) == size.bit_count()
        assert merkle.Frontier(frontier.size, frontier.nodes).root() == ROOTS[size]
        at_once = merkle.Frontier()
        at_once.extend(HASHES[:size])
        assert (at_once.size, at_once.nodes) == (size, frontier.nodes)
        if size < 300:
            frontier.append(merkle.leaf_hash(LEAVES[size]))
    assert merkle.root(LEAVES) == ROOTS[300]


def test_every_proof_equals_the_definition_and_verifies_for_all_sizes_to_300() -> None:
    subtrees = Subtrees(HASHES)
    chance = random.Random(300)
    for size in range(1, 301):
        everything = size <= 40
        for index in range(size) if everything else {0, size - 1, *(chance.randrange(size) for _ in range(6))}:
            path = inclusion_from(subtrees.read, index, size)
            assert path == PLAIN.path(index, 0, size)
            merkle.verify_inclusion(HASHES[index], index, size, path, ROOTS[size])
        for first in range(1, size + 1) if everything else {1, size, *(chance.randrange(1, size) for _ in range(6))}:
            proof = consistency_from(subtrees.read, first, size)
            assert proof == PLAIN.proof(first, 0, size)
            merkle.verify_consistency(first, size, proof, ROOTS[first], ROOTS[size])
        assert root_from(subtrees.read, size) == ROOTS[size]
    for size in (1, 2, 7, 8, 9, 130):
        assert merkle.inclusion_proof(size // 2, LEAVES[:size]) == PLAIN.path(size // 2, 0, size)
        assert merkle.consistency_proof((size + 1) // 2, LEAVES[:size]) == PLAIN.proof((size + 1) // 2, 0, size)


@pytest.mark.parametrize("step", [1, 2, 7, 64, 100, 300])
def test_a_frontier_gives_out_every_complete_subtree_once(step: int) -> None:
    known = Subtrees(HASHES, step).known
    expected = {(level, at) for level in range(9) for at in range(300 >> level)}
    assert set(known) == expected
    for level, position in expected:
        assert known[level, position] == PLAIN.root(position << level, (position + 1) << level)


def test_adding_nothing_gives_out_nothing() -> None:
    frontier = merkle.Frontier()
    assert frontier.extend([]) == []
    assert frontier.root() == merkle.EMPTY_ROOT
    frontier.extend(HASHES[:5])
    before = frontier.copy()
    assert frontier.extend(iter([])) == []
    assert (frontier.size, frontier.nodes) == (before.size, before.nodes)


def test_proofs_read_no_more_than_they_need_in_one_batch() -> None:
    subtrees = Subtrees(HASHES)
    batches: list[int] = []

    def read(places: Sequence[Place]) -> list[bytes]:
        batches.append(len(places))
        return subtrees.read(places)

    for index in range(300):
        subtrees.asked.clear()
        batches.clear()
        inclusion_from(read, index, 300)
        assert len(batches) == 1
        assert len(set(subtrees.asked)) == len(subtrees.asked) <= 2 * 9
    assert hashes_of(read, [(0, 300), (0, 255)]) == [ROOTS[300], ROOTS[255]]
    for index, size in ((300, 300), (-1, 300), (0, 0)):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            inclusion_from(read, index, size)
    for first, size in ((301, 300), (-1, 300)):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            consistency_from(read, first, size)
    assert consistency_from(read, 0, 300) == []
    assert root_from(read, 0) == merkle.EMPTY_ROOT


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.data())
def test_damaged_inclusion_proofs_are_refused(size: int, data: st.DataObject) -> None:
    """Proofs one step away, and those for another index or size: accepted by both implementations or by neither."""
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    leaf, root, proof = HASHES[index], ROOTS[size], PLAIN.path(index, 0, size)
    merkle.verify_inclusion(leaf, index, size, proof, root)
    for bad in damaged(proof, bit, data.draw(st.sampled_from([leaf, root, *proof]))):
        expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, bad, root))  # noqa: B023
        assert not plain_inclusion(leaf, index, size, bad, root)
    expect_refusal(lambda: merkle.verify_inclusion(flip(leaf, bit), index, size, proof, root))
    expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, proof, flip(root, bit)))
    for other in (0, 1, index - 1, index + 1, index ^ 1, index + 2, size - 1, size, size + 7, -1, -size, 2**63, 2**64):
        if other != index:
            expect_refusal(lambda: merkle.verify_inclusion(leaf, other, size, proof, root))  # noqa: B023
        check = lambda: merkle.verify_inclusion(leaf, index, other, proof, root)  # noqa: B023, E731
        assert accepts(check) == (other > 0 and plain_inclusion(leaf, index, other, proof, root))


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 300), st.data())
def test_damaged_consistency_proofs_are_refused(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, size - 1))
    bit = data.draw(st.integers(0, 255))
    old, new, proof = ROOTS[first], ROOTS[size], PLAIN.proof(first, 0, size)
    merkle.verify_consistency(first, size, proof, old, new)
    expect_refusal(lambda: merkle.verify_consistency(first, size, proof, flip(old, bit), new))
    expect_refusal(lambda: merkle.verify_consistency(first, size, proof, old, flip(new, bit)))
    for bad in damaged(proof, bit, data.draw(st.sampled_from([old, new, *proof]))):
        expect_refusal(lambda: merkle.verify_consistency(first, size, bad, old, new))  # noqa: B023
        assert not plain_consistency(first, size, bad, old, new)
    expect_refusal(lambda: merkle.verify_consistency(size, first, proof, new, old))
    expect_refusal(lambda: merkle.verify_consistency(first, size, [], old, new))
    expect_refusal(lambda: merkle.verify_consistency(-1, size, proof, old, new))
    for other in {1, 2, first - 1, first + 1, size - 1, size + 1, 2 * size} - {first, size, 0}:
        check = lambda: merkle.verify_consistency(other, size, proof, old, new)  # noqa: B023, E731
        assert accepts(check) == (other <= size and plain_consistency(other, size, proof, old, new))
        check = lambda: merkle.verify_consistency(first, other, proof, old, new)  # noqa: B023, E731
        assert accepts(check) == (first <= other and plain_consistency(first, other, proof, old, new))


def test_a_wrong_size_is_refused_unless_the_path_has_the_same_shape() -> None:
    """A path proves (index, root); sizes of equal shape for that index share it, and the signed head binds the size."""
    shapes = {(index, size): tuple(naive_sides(index, size)) for size in range(1, 70) for index in range(0, size, 7)}
    refused = 0
    for (index, size), sides in shapes.items():
        root = ROOTS[size]
        proof = PLAIN.path(index, 0, size)
        leaf = HASHES[index]
        for other in range(1, 70):
            if shapes.get((index, other)) not in (None, sides):
                expect_refusal(lambda: merkle.verify_inclusion(leaf, index, other, proof, root))  # noqa: B023
                refused += 1
    assert refused > 10_000


def naive_sides(m: int, n: int) -> list[bool]:
    """Whether each sibling of the path of leaf m in n leaves is on the left."""
    if n == 1:
        return []
    k = largest_power_below(n)
    return [*naive_sides(m, k), False] if m < k else [*naive_sides(m - k, n - k), True]


def test_a_rewritten_leaf_breaks_consistency() -> None:
    chance = random.Random(7)
    for _ in range(100):
        size = chance.randrange(2, 130)
        first = chance.randrange(1, size)
        changed = list(LEAVES[:size])
        changed[chance.randrange(first)] = b"rewritten"
        proof = merkle.consistency_proof(first, changed)
        old, new = merkle.root(LEAVES[:first]), merkle.root(changed)
        expect_refusal(lambda: merkle.verify_consistency(first, size, proof, old, new))  # noqa: B023


def test_the_empty_tree_and_equal_sizes_need_no_proof() -> None:
    root = merkle.root(LEAVES[:5])
    merkle.verify_consistency(0, 5, [], merkle.EMPTY_ROOT, root)
    merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    merkle.verify_consistency(5, 5, [], root, root)
    other = merkle.root(LEAVES[:4])
    expect_refusal(lambda: merkle.verify_consistency(0, 5, [], other, root))
    expect_refusal(lambda: merkle.verify_consistency(0, 5, [root], merkle.EMPTY_ROOT, root))
    expect_refusal(lambda: merkle.verify_consistency(5, 5, [], root, other))
    expect_refusal(lambda: merkle.verify_consistency(5, 5, [root], root, root))
    expect_refusal(lambda: merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, root))
    expect_refusal(lambda: merkle.verify_consistency(0, 0, [], root, root))


def test_leaves_and_nodes_cannot_stand_for_each_other() -> None:
    """Second preimage: the two hashes of a node, given as a leaf, do not lead to the same root."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.root([b"a", b"b"]) == merkle.node_hash(left, right)
    assert merkle.leaf_hash(left + right) != merkle.root([b"a", b"b"])


def test_hashes_of_another_length_are_malformed() -> None:
    root = merkle.root(LEAVES[:2])
    proof = merkle.inclusion_proof(0, LEAVES[:2])
    for bad in (b"", root[:31], root + b"\0"):
        with pytest.raises(ProofError, match="PROOF_MALFORMED"):
            merkle.verify_inclusion(merkle.leaf_hash(LEAVES[0]), 0, 2, [bad], root)
        with pytest.raises(ProofError, match="PROOF_MALFORMED"):
            merkle.verify_inclusion(bad, 0, 2, proof, root)
        with pytest.raises(ProofError, match="PROOF_MALFORMED"):
            merkle.verify_consistency(1, 2, [bad], root, root)


def test_proofs_that_cannot_be_made() -> None:
    for index in (-1, 3, 4):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            merkle.inclusion_proof(index, LEAVES[:3])
    for first in (-1, 0, 4):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            merkle.consistency_proof(first, LEAVES[:3])
    with pytest.raises(ValueError, match="complete subtrees"):
        merkle.Frontier(3, [b"\0" * 32])


def test_proofs_of_another_length_are_refused_even_if_their_hashes_meet_the_root() -> None:
    """The roots here are made to fit, as a log that signs any root it likes could make them."""
    leaf, other, third = (merkle.leaf_hash(leaf) for leaf in LEAVES[:3])
    longer = merkle.node_hash(other, leaf)
    expect_refusal(lambda: merkle.verify_inclusion(leaf, 0, 1, [other], longer))
    shorter = merkle.node_hash(leaf, other)
    expect_refusal(lambda: merkle.verify_inclusion(leaf, 0, 4, [other], shorter))
    expect_refusal(lambda: merkle.verify_consistency(1, 4, [other], leaf, shorter))
    longer = merkle.node_hash(third, merkle.node_hash(leaf, other))
    expect_refusal(lambda: merkle.verify_consistency(1, 2, [other, third], merkle.node_hash(third, leaf), longer))
    expect_refusal(lambda: merkle.verify_consistency(1, 2, [other, third], leaf, longer))
    proof = merkle.consistency_proof(3, LEAVES[:4])
    old, new = (merkle.node_hash(other, merkle.root(LEAVES[:size])) for size in (3, 4))
    expect_refusal(lambda: merkle.verify_consistency(3, 4, [*proof, other], old, new))


def test_hash_functions_are_those_of_the_definition() -> None:
    assert merkle.leaf_hash(b"x") == hash_leaf(b"x")
    assert merkle.node_hash(b"l" * 32, b"r" * 32) == hash_children(b"l" * 32, b"r" * 32)
