"""What a network takes, as far as its own message says: modalities, licences, and items alone."""

from collections.abc import Collection

from curiosity.protocol.errors import Rejected, SourceError
from curiosity.protocol.license import match_license
from curiosity.protocol.messages import Network
from curiosity.sources.pairset import SourcePair


def stated_license(source: SourcePair, otherwise: str, allowed: Collection[str] | None) -> str:
    """Return a pair's licence as the network spells it; ``allowed`` None: as it is, nothing is known of the network.

    Raises:
        SourceError: LICENSE_MISSING, LICENSE_NOT_ALLOWED (with those that are).
    """
    license = source.license or otherwise
    if not license:
        raise SourceError(
            "LICENSE_MISSING",
            f"{source.id} states no licence",
            "Give one, such as CC-BY-4.0 (--license, in a program license).",
        )
    if allowed is None:
        return license
    try:
        return match_license(license, allowed)
    except Rejected as error:
        raise SourceError(error.code, f"{source.id}: {error.what}", error.remedy) from None


def check_taken(source: SourcePair, network: Network) -> None:
    """Check that the network's checkpoint judges such a modality pair, or that it takes such an item alone.

    Raises:
        SourceError: PAIR_NOT_TAKEN, ITEM_ALONE.
    """
    if len(source.items) == 1 and not network.item_micro:
        raise SourceError(
            "ITEM_ALONE",
            f"{source.a.path.name} is one item, and this network's rule of pay has no pool for single items",
            "Submit it with another item that belongs to it, as a pair.",
        )
    taken = network.pairs if len(source.items) > 1 else network.modalities
    if source.modalities in taken and all(item.modality in network.max_item_bytes for item in source.items):
        return
    raise SourceError(
        "PAIR_NOT_TAKEN",
        f"{source.id} is {source.modalities}, which this network does not judge yet",
        f"It judges {', '.join(sorted(taken))}.",
    )
