"""What partners asks of the rooms above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from quantleap.core.registry import Port


class KnownBrokers(Protocol):
    """The brokers we speak to."""

    def __call__(self) -> Mapping[str, str]:
        """Kind (as stored) to the name that people read."""
        ...


def _none() -> Mapping[str, str]:
    """Until brokers registers: nobody."""
    return {}


KNOWN_BROKERS: Port[KnownBrokers] = Port("partners.known_brokers", _none)
