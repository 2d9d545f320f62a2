"""RFC 6962 trees against a naive recursive reference, published vectors, and every kind of damage."""

import random
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import merkle
from protocol.errors import ProofError

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


def make_leaves(size: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(size)]


LEAVES = make_leaves(130)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of section 2.1.1."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of section 2.1.2."""
    n = len(leaves)
    if m == n:
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def expect_refusal(check: Callable[[], None]) -> None:
    with pytest.raises(ProofError) as caught:
        check()
    assert caught.value.code.startswith("PROOF_")


def test_published_vectors() -> None:
    for size, expected in enumerate(CT_ROOTS):
        assert merkle.root(CT_LEAVES[:size]).hex() == expected
    for (index, size), path in CT_INCLUSION.items():
        assert [hash_.hex() for hash_ in merkle.inclusion_proof(index, CT_LEAVES[:size])] == path
    for (first, size), path in CT_CONSISTENCY.items():
        assert [hash_.hex() for hash_ in merkle.consistency_proof(first, CT_LEAVES[:size])] == path


def test_roots_and_frontier_equal_the_definition_for_all_sizes_to_130() -> None:
    frontier = merkle.Frontier()
    for size in range(131):
        expected = naive_root(LEAVES[:size])
        assert merkle.root(LEAVES[:size]) == expected
        assert frontier.root() == expected
        assert len(frontier.nodes) == size.bit_count()
        assert merkle.Frontier(frontier.size, frontier.nodes).root() == expected
        if size < 130:
            frontier.append(merkle.leaf_hash(LEAVES[size]))


def test_inclusion_proofs_equal_the_definition_and_verify_for_all_sizes_to_130() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    for size in range(1, 131):
        root = merkle.root(LEAVES[:size])
        # Every index of the sizes to 40; of larger ones the edges and those around each power of two.
        indices = set(range(size)) if size <= 40 else {0, 1, 31, 32, 33, 63, 64, 65, 127, 128, size - 2, size - 1}
        for index in sorted(i for i in indices if i < size):
            proof = merkle.inclusion_proof(index, LEAVES[:size])
            assert proof == naive_path(index, LEAVES[:size])
            merkle.verify_inclusion(hashes[index], index, size, proof, root)


def test_consistency_proofs_equal_the_definition_and_verify_for_all_sizes_to_130() -> None:
    roots = [merkle.root(LEAVES[:size]) for size in range(131)]
    for size in range(1, 131):
        firsts = set(range(1, size + 1)) if size <= 40 else {1, 2, 3, 31, 32, 33, 63, 64, 65, 100, 128, size - 1, size}
        for first in sorted(f for f in firsts if f <= size):
            proof = merkle.consistency_proof(first, LEAVES[:size])
            assert proof == naive_subproof(first, LEAVES[:size], True)
            merkle.verify_consistency(first, size, proof, roots[first], roots[size])


@settings(max_examples=15, deadline=None)
@given(st.integers(131, 3000), st.data())
def test_larger_trees(size: int, data: st.DataObject) -> None:
    leaves = make_leaves(size)
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    root = merkle.root(leaves)
    assert root == naive_root(leaves)
    inclusion = merkle.inclusion_proof(index, leaves)
    assert inclusion == naive_path(index, leaves)
    merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, size, inclusion, root)
    consistency = merkle.consistency_proof(first, leaves)
    assert consistency == naive_subproof(first, leaves, True)
    merkle.verify_consistency(first, size, consistency, merkle.root(leaves[:first]), root)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 130), st.data())
def test_damaged_inclusion_proofs_are_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    root = merkle.root(LEAVES[:size])
    proof = merkle.inclusion_proof(index, LEAVES[:size])
    leaf = merkle.leaf_hash(LEAVES[index])
    merkle.verify_inclusion(leaf, index, size, proof, root)

    expect_refusal(lambda: merkle.verify_inclusion(flip(leaf, bit), index, size, proof, root))
    expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, proof, flip(root, bit)))
    for position in range(len(proof)):
        damaged = [*proof[:position], flip(proof[position], bit), *proof[position + 1 :]]
        expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, damaged, root))  # noqa: B023
        shorter = [*proof[:position], *proof[position + 1 :]]
        expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, shorter, root))  # noqa: B023
    expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, [*proof, root], root))
    expect_refusal(lambda: merkle.verify_inclusion(leaf, index, size, [leaf, *proof], root))
    for other in (*range(size), -1, size, size + 7):
        if other != index:
            expect_refusal(lambda: merkle.verify_inclusion(leaf, other, size, proof, root))  # noqa: B023


def test_a_wrong_size_is_refused_unless_the_path_has_the_same_shape() -> None:
    """A path proves (index, root); sizes of equal shape for that index share it, and the signed head binds the size."""
    shapes = {(index, size): tuple(naive_sides(index, size)) for size in range(1, 70) for index in range(0, size, 7)}
    refused = 0
    for (index, size), sides in shapes.items():
        root = merkle.root(LEAVES[:size])
        proof = merkle.inclusion_proof(index, LEAVES[:size])
        leaf = merkle.leaf_hash(LEAVES[index])
        for other in range(1, 70):
            if shapes.get((index, other)) not in (None, sides):
                expect_refusal(lambda: merkle.verify_inclusion(leaf, index, other, proof, root))  # noqa: B023
                refused += 1
    assert refused > 10_000


def naive_sides(m: int, n: int) -> list[bool]:
    """Whether each sibling of the path of leaf m in n leaves is on the left."""
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    return [*naive_sides(m, k), False] if m < k else [*naive_sides(m - k, n - k), True]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 130), st.data())
def test_damaged_consistency_proofs_are_refused(size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, size - 1))
    bit = data.draw(st.integers(0, 255))
    old, new = merkle.root(LEAVES[:first]), merkle.root(LEAVES[:size])
    proof = merkle.consistency_proof(first, LEAVES[:size])
    merkle.verify_consistency(first, size, proof, old, new)

    expect_refusal(lambda: merkle.verify_consistency(first, size, proof, flip(old, bit), new))
    expect_refusal(lambda: merkle.verify_consistency(first, size, proof, old, flip(new, bit)))
    for position in range(len(proof)):
        damaged = [*proof[:position], flip(proof[position], bit), *proof[position + 1 :]]
        expect_refusal(lambda: merkle.verify_consistency(first, size, damaged, old, new))  # noqa: B023
        shorter = [*proof[:position], *proof[position + 1 :]]
        expect_refusal(lambda: merkle.verify_consistency(first, size, shorter, old, new))  # noqa: B023
    expect_refusal(lambda: merkle.verify_consistency(first, size, [*proof, new], old, new))
    expect_refusal(lambda: merkle.verify_consistency(size, first, proof, new, old))
    expect_refusal(lambda: merkle.verify_consistency(first, size, [], old, new))
    expect_refusal(lambda: merkle.verify_consistency(-1, size, proof, old, new))


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
