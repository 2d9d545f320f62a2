"""Whether a network takes a pair, before anything of it is signed: its licence and its modalities."""

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
    """Check that the network's checkpoint judges such a modality pair.

    Raises:
        SourceError: PAIR_NOT_TAKEN.
    """
    if source.modalities not in network.pairs:
        raise not_taken(source, network)


def not_taken(source: SourcePair, network: Network) -> SourceError:
    """Return the refusal of a pair of modalities that a network does not judge."""
    return SourceError(
        "PAIR_NOT_TAKEN",
        f"{source.id} is {source.modalities}, which this network does not judge yet",
        f"It judges {', '.join(sorted(network.pairs))}.",
    )
