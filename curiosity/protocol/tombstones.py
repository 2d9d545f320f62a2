"""What a ledger's takedown entries say, each held to the pair entry that it names and to whoever may ask for it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from curiosity.protocol.entry import PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.signing import Domain
from curiosity.protocol.takedown import Asker, check_everywhere, check_takedown
from curiosity.protocol.verdict import Reason

_MARK = b'"kind":"takedown"'  # in canonical JSON no text can hold it: its quotes would be escaped


def find_takedowns(leaves: Iterable[bytes]) -> Iterator[tuple[int, TakedownEntry]]:
    """Yield (place among the leaves, entry) of each takedown; the place is the entry's index if all leaves are given.

    Raises:
        ProofError: ENTRY_ codes.
    """
    for index, leaf in enumerate(leaves):
        if _MARK in leaf:
            entry = parse_entry(leaf)
            if isinstance(entry, TakedownEntry):
                yield index, entry


def check_takedowns(leaves: Sequence[bytes], network_id: bytes, domain: Domain) -> dict[int, TakedownEntry]:
    """Return the takedowns among all leaves from index 0, by the index of the pair's entry, once each is found valid.

    Raises:
        ProofError: As `check_found`.
    """
    return check_found(find_takedowns(leaves), leaves.__getitem__, network_id, domain)


def check_found(
    takedowns: Iterable[tuple[int, TakedownEntry]], leaf_at: Callable[[int], bytes], network_id: bytes, domain: Domain
) -> dict[int, TakedownEntry]:
    """Return all of a ledger's takedown entries by the index of the pair's entry, once each is found valid.

    ``takedowns`` are they by their own index, in order; ``leaf_at`` returns an earlier leaf. Step 21 of
    docs/protocol.md.

    Raises:
        ProofError: ENTRY_ codes; TAKEDOWN_OF_NOTHING if no earlier entry at that index is of that pair, TAKEDOWN_TWICE,
            TAKEDOWN_SIGNATURE if the contributor did not ask for it, TAKEDOWN_REACH if the request does not reach the
            pair.
    """
    found: dict[int, TakedownEntry] = {}
    named: dict[bytes, tuple[PairEntry, TakedownEntry]] = {}  # pairs that a request named, by digest
    for index, entry in takedowns:
        pair = parse_entry(leaf_at(entry.index)) if entry.index < index else None
        if not isinstance(pair, PairEntry) or pair.pair != entry.pair:
            raise ProofError(
                "TAKEDOWN_OF_NOTHING", f"entry {index}: entry {entry.index} is not about pair 0x{entry.pair.hex()}"
            )
        if entry.index in found:
            raise ProofError("TAKEDOWN_TWICE", f"entry {index} takes down entry {entry.index} again")
        if entry.named == entry.pair:
            named[entry.pair] = pair, entry
        if entry.named not in named:
            raise ProofError(
                "TAKEDOWN_REACH", f"entry {index}: the pair that was named, 0x{entry.named.hex()}, is not taken down"
            )
        _check_asker(index, entry, pair, named[entry.named], network_id, domain)
        found[entry.index] = entry
    return found


def _check_asker(
    index: int,
    entry: TakedownEntry,
    pair: PairEntry,
    named: tuple[PairEntry, TakedownEntry],
    network_id: bytes,
    domain: Domain,
) -> None:
    first, request = named
    try:
        check_everywhere(entry.everywhere, first.modalities)
        if entry.asker is Asker.CONTRIBUTOR:
            check_takedown(entry.signed(network_id), domain, first.contributor)
    except Rejected as error:
        raise ProofError("TAKEDOWN_SIGNATURE", f"entry {index}: {error.what}") from None
    if entry.asker is Asker.OPERATOR and (entry.signature is not None or entry.expiry != 0):
        raise ProofError(
            "TAKEDOWN_SIGNATURE", f"entry {index}: the operator's takedown carries a signature or an expiry"
        )
    if (entry.asker, entry.everywhere, entry.reason) != (request.asker, request.everywhere, request.reason):
        raise ProofError(
            "TAKEDOWN_REACH", f"entry {index} says something else than the request for 0x{first.pair.hex()}"
        )
    is_copy = pair.verdict.reason is Reason.CONTENT_DUPLICATE
    is_reached = entry.everywhere != "" and (entry.asker is Asker.OPERATOR or pair.contributor == first.contributor)
    if entry.pair != entry.named and not is_copy and not is_reached:
        raise ProofError(
            "TAKEDOWN_REACH", f"entry {index}: the request for 0x{first.pair.hex()} does not reach this pair"
        )
