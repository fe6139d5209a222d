"""IP addresses that identify a person: as a match key (FIP), and as part of a consent.

Only public addresses do. An address that means something only within one machine or one network
(loopback, link-local, private, shared by a carrier's customers, unspecified, multicast, reserved)
is what a log behind a proxy holds, and many people have the same one. The ranges are those that
IANA's registries call not globally reachable, except the ranges for documentation (RFC 5737, RFC
3849). Those are accepted: whoever sends an example address means it as one, and it is nobody's.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

__all__ = ["LOCAL_NETWORKS", "is_public_address"]

_LONGEST: Final = 45
"""Characters of the longest possible address: IPv6 that ends in IPv4. Bounds the memory of the
cache below."""

LOCAL_NETWORKS: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")
"""All global unicast addresses that IANA has given out. Outside it everything is local, or nothing
yet."""
_LOCAL_6: Final = tuple(map(IPv6Network, ("2001:2::/48", "2001:10::/28")))
"""Benchmarking, and hashes of public keys (ORCHID)."""
_LAST_32_BITS_ARE_IPV4: Final = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
"""IPv4 within IPv6: compatible, mapped, translated, and through NAT64. The first range also holds
``::`` and ``::1``; they are refused as part of 0.0.0.0/8. Two further kinds (6to4, Teredo) are
known to `ipaddress`."""


def is_public_address(text: str) -> bool:
    """Return whether a text is a full, publicly reachable IPv4 or IPv6 address without a zone."""
    return len(text) <= _LONGEST and _is_public(text)


@lru_cache(maxsize=1024)
def _is_public(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        within = _ipv4_within(address)
        if within is None:
            return address in _GLOBAL_6 and not any(address in network for network in _LOCAL_6)
        address = within
    return not any(address in network for network in LOCAL_NETWORKS)


def _ipv4_within(address: IPv6Address) -> IPv4Address | None:
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _LAST_32_BITS_ARE_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
