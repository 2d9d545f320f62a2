"""Proofs that are one step from a good one, and the verdict of the second implementation on any."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from curiosity.protocol.errors import ProofError
from tests.material.rfc6962_plain import root_of_path, roots_of_proof


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def expect_refusal(check: Callable[[], None]) -> None:
    with pytest.raises(ProofError) as caught:
        check()
    assert caught.value.code.startswith("PROOF_")


def damaged(proof: Sequence[bytes], bit: int, extra: bytes) -> Iterator[list[bytes]]:
    """Every proof that is one step away: a bit flipped, a hash dropped, put in or doubled, two exchanged."""
    for at in range(len(proof)):
        yield [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]]
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[: at + 1], *proof[at:]]
        if at and proof[at] != proof[at - 1]:
            yield [*proof[: at - 1], proof[at], proof[at - 1], *proof[at + 1 :]]
    for at in range(len(proof) + 1):
        yield [*proof[:at], extra, *proof[at:]]


def accepts(check: Callable[[], None]) -> bool:
    try:
        check()
    except ProofError:
        return False
    return True


def plain_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    try:
        return root_of_path(leaf, index, size, proof) == root
    except ValueError:
        return False


def plain_consistency(first: int, size: int, proof: Sequence[bytes], old: bytes, new: bytes) -> bool:
    try:
        return roots_of_proof(first, size, proof, old) == (old, new)
    except ValueError:
        return False
