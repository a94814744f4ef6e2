"""Addresses that somebody else entered: which text is a URL, and which machine may be called.

There are two checks, and both are needed. The text is checked when it is entered, so that its owner
gets an error at once. The address is checked again when a connection is made
(:func:`dialled_socket`), because a name can resolve to anything a moment later and no parser
deserves trust twice.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES

from quantleap.core.hostnames import BadHost, ascii_host, host_address
from quantleap.core.ip_addresses import Address, parse_address

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://", re.ASCII)
_BLANK: Final = re.compile(r"[\s\x00-\x20\x7f-\xa0\u2028\u2029]")
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
# RFC 3986: pchar, "/" and "?"; a percent sign begins two hexadecimal digits
_REST: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_MAX_PORT: Final = 65535
# All of IPv6 that is routed between networks; exceptions are below and in the libraries' tables.
# https://www.iana.org/assignments/ipv6-address-space
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# IETF protocol assignments: Teredo, benchmarking, ORCHID and others (RFC 6890)
_SPECIAL: Final = ipaddress.IPv6Network("2001::/23")
# An interface id that carries an IPv4 address (ISATAP, RFC 5214), within any prefix
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
#: Names that no public server has: https://www.iana.org/assignments/special-use-domain-names, and
#: what resolvers of private networks add.
_PRIVATE_NAMES: Final = (".internal", ".local", ".localdomain", ".home.arpa", ".lan", ".intranet")


class UnsafeTarget(ValueError):
    """The address may not be called; the message tells its owner why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in the spelling in which it is stored and called."""

    scheme: str
    host: str  # A-labels in lower case, or an address (IPv6 in brackets)
    port: int
    rest: str  # path and query as typed

    @property
    def url(self) -> str:
        """The whole URL; a default port is left out."""
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.rest}"

    @property
    def address(self) -> Address | None:
        """The IP address if the host is one; None for a name."""
        return host_address(self.host)

    @property
    def is_private_name(self) -> bool:
        """Whether the host is a name that only a private network resolves."""
        if self.address is not None:
            return False
        return "." not in self.host or self.host.endswith(_PRIVATE_NAMES)

    @property
    def is_loopback(self) -> bool:
        """Whether the host itself says that it is this machine."""
        if self.address is not None:
            return self.address.is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")


def parse_url(text: str, *, schemes: Collection[str] = ("https",)) -> Target:
    """``text`` as a URL of one of ``schemes`` (RFC 3986, without user name and fragment).

    Raises UnsafeTarget with the reason. The host may be an internationalised name.
    """
    if _BLANK.search(text):
        raise UnsafeTarget("A URL holds no spaces, line breaks or control characters.")
    match = _SCHEME.match(text)
    if match is None:
        raise UnsafeTarget(f"Begin it with {' or '.join(f'{allowed}://' for allowed in schemes)}.")
    scheme = match[1].lower()
    if scheme not in schemes:
        raise UnsafeTarget(f"Only {' and '.join(schemes)} may be used here, not {scheme}.")
    if "#" in text:
        raise UnsafeTarget("Leave out the fragment (# and what follows): it is never sent.")
    if "\\" in text:
        raise UnsafeTarget("A URL holds no backslash.")
    authority, rest = _split(text[match.end() :])
    if "@" in authority:
        raise UnsafeTarget("Leave out the user name and password before the @.")
    host, port = _host_and_port(authority, scheme)
    if not _REST.fullmatch(rest):
        raise UnsafeTarget("Percent-encode what is not plain in the path and the query.")
    return Target(scheme, host, port, rest)


def _split(after_scheme: str) -> tuple[str, str]:
    end = min(
        (at for at in (after_scheme.find("/"), after_scheme.find("?")) if at >= 0),
        default=len(after_scheme),
    )
    return after_scheme[:end], after_scheme[end:]


def _host_and_port(authority: str, scheme: str) -> tuple[str, int]:
    typed, given, port = authority, "", ""
    if authority.startswith("["):
        typed, bracket, behind = authority.partition("]")
        typed += bracket
        given, port = behind[:1], behind[1:]
        if given not in ("", ":"):
            raise UnsafeTarget("Only a port may follow the address in brackets.")
    elif ":" in authority:
        typed, given, port = authority.partition(":")
    try:
        host = ascii_host(typed)
    except BadHost as error:
        raise UnsafeTarget(str(error)) from error
    if not given:
        return host, _DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= _MAX_PORT:
        raise UnsafeTarget(f"A port is a number from 1 to {_MAX_PORT}.")
    return host, int(port)


def is_public(address: Address, *, loopback: bool = False) -> bool:
    """Whether ``address`` belongs to the public internet; ``loopback`` also admits this machine.

    Not public: private, shared (CGN), link-local, loopback, unspecified, multicast, reserved,
    documentation and benchmark ranges, and every IPv6 address that carries an IPv4 one (a mapped
    one is checked as IPv4; NAT64, 6to4, Teredo, ISATAP and IPv4-compatible ones are refused
    entirely).
    """
    if loopback and address.is_loopback:
        return True
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST
        or address in _SPECIAL
        or int(address) >> 32 & 0xFFFFFFFF in _ISATAP
    ):
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in EXTRA_BLOCKED_NET_RANGES)
    )


def dialled_socket(address_info: tuple[Any, ...], *, loopback: bool) -> socket.socket:
    """A socket for the one address of ``address_info`` (as ``getaddrinfo`` returns it).

    This is the final check, whatever parsers, resolvers and libraries made of the URL before: it
    raises OSError unless that very address is public. ``loopback`` also admits this machine.
    """
    family, kind, protocol, _, where = address_info
    address = parse_address(str(where[0])) if family in (socket.AF_INET, socket.AF_INET6) else None
    if address is None or not is_public(address, loopback=loopback):
        raise PermissionError(errno.EACCES, "the address is not public")
    return socket.socket(family, kind, protocol)
