"""The address that a request came from, and whether a list contains it. Pure.

Libraries that guess the client from any header believe whatever the caller writes there. Here only
the entry counts that our own outermost proxy appended.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: In the list of trusted proxies: requests that arrive without an address (unix sockets).
UNIX_SOCKET: Final = "unix"
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def parse_address(text: str) -> Address | None:
    """``text`` as an address, IPv4-mapped IPv6 as IPv4; None for anything else (ports, zones,
    names)."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def parse_network(text: str) -> Network:
    """``text`` as an address or a CIDR network; ValueError if it is neither or has host bits
    set."""
    network = ipaddress.ip_network(text.strip())
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ipaddress.IPv4Network((int(mapped or 0), network.prefixlen - 96))
    return network


@functools.lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    networks = []
    for text in texts:
        try:
            networks.append(parse_network(text))
        except ValueError:
            continue  # matches no address; a list of only such entries admits nobody
    return tuple(networks)


def contains(texts: Sequence[str], address: Address | None) -> bool:
    """Whether ``address`` is in one of the addresses and networks in ``texts``."""
    if address is None:
        return False
    return any(
        address in network
        for network in _networks(tuple(texts))
        if network.version == address.version
    )


def client_address(
    remote_addr: str, forwarded_for: str, *, trusted_proxies: Sequence[str], hops: int
) -> Address | None:
    """The caller's address, or None if it cannot be known.

    ``remote_addr`` is the other end of the connection, ``forwarded_for`` the X-Forwarded-For
    header. The header counts only if the connection comes from a trusted proxy; then its
    ``hops``-th entry from the right is what the outermost trusted proxy saw. In any other header
    the caller can write what they like.
    """
    if remote_addr:
        peer = parse_address(remote_addr)
        if not contains(trusted_proxies, peer):
            return peer
    elif UNIX_SOCKET not in trusted_proxies:
        return None
    entries = forwarded_for.split(",")
    if not 1 <= hops <= len(entries):
        return None
    return parse_address(entries[-hops])


def is_allowed(allowed: Sequence[str], address: Address | None) -> bool:
    """Whether a partner's list admits ``address``; an empty list admits everyone."""
    return not allowed or contains(allowed, address)
