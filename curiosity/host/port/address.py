"""Who is at the other end of a connection, as far as limits tell people apart.

An IPv4 address is one sender. Of IPv6 whoever has one address has 2^64 of them, so a sender is a network of 64 bits.
The **network** around a sender is what one party easily rents whole: 24 bits of IPv4, 48 of IPv6 (RFC 6177).
"""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

_SENDER_BITS = {4: 32, 6: 64}
_NETWORK_BITS = {4: 24, 6: 48}


@dataclass(frozen=True)
class Sender:
    """A remote address, and the network around it, each spelled as limits count them."""

    address: str
    network: str


UNKNOWN = Sender("", "")
"""Who is at the other end of something that is no TCP connection."""


@lru_cache(maxsize=4096)
def sender_of(peer: str | None) -> Sender:
    """Return the sender at a remote address as the operating system spells it; `UNKNOWN` if it is none."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = _SENDER_BITS[address.version]
    one = str(address) if bits == address.max_prefixlen else str(_around(address, bits))
    return Sender(one, str(_around(address, _NETWORK_BITS[address.version])))


def _around(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(f"{address}/{bits}", strict=False)
