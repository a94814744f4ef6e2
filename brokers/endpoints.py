"""Each broker's addresses, and whether this installation may call it.

A live broker is called only if ``QUANTLEAP_LIVE_BROKERS`` lists it; otherwise its base address must
be the simulator's or another loopback one. By default nobody logs in to a real broker.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from brokers.errors import BrokerNotEnabled


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base addresses of one broker, without a trailing slash; ``stream`` is that of its
    websocket."""

    api: str
    login: str
    instruments: str
    stream: str


def endpoints(kind: str) -> Endpoints:
    """The configured addresses of ``kind``; BrokerNotEnabled (422) if it has none."""
    configured = settings.QUANTLEAP_BROKERS.get(kind)
    if configured is None:
        raise BrokerNotEnabled(f"Broker {kind} is not configured")
    return Endpoints(
        api=configured["api"].rstrip("/"),
        login=configured["login"].rstrip("/"),
        instruments=configured["instruments"],
        stream=configured.get("stream", configured["api"]).rstrip("/"),
    )


def require_enabled(kind: str) -> Endpoints:
    """The addresses of ``kind`` if it may be called, otherwise BrokerNotEnabled (422)."""
    addresses = endpoints(kind)
    if is_enabled(kind):
        return addresses
    raise BrokerNotEnabled(
        f"This installation does not talk to {kind} yet", details={"broker_name": kind}
    )


def is_enabled(kind: str) -> bool:
    """Whether calls to ``kind`` may leave: it is listed as live, or simulated on this machine."""
    if kind in settings.QUANTLEAP_LIVE_BROKERS:
        return True
    addresses = endpoints(kind)
    return is_loopback(addresses.api) and is_loopback(addresses.stream)


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine, by address or as localhost."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
