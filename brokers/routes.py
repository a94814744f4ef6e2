"""How an account's calls reach its broker: one route for orders, reads, cancels and logins.

Brokers accept orders only from the address that their customer registered (NSE/INVG/67858), so a
cancel from another address than its order would be refused just when it is needed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Route:
    """Base address of the broker, and where calls leave: a source address, a proxy, or neither.

    ``proxy`` may contain a password and is not shown.
    """

    base_url: str
    source: str = ""
    proxy: str = field(default="", repr=False)

    @classmethod
    def of(cls, base_url: str, egress: str = "") -> Route:
        """The route for an account's egress: ``http://host:port``, an IP address or ''.

        ValueError if it is none of them.
        """
        if "://" in egress:
            return cls(base_url, proxy=egress)
        return cls(base_url, source=str(ipaddress.ip_address(egress)) if egress else "")
