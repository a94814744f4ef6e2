"""What partners asks of the rooms above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from quantleap.core.registry import Handlers, Port

if TYPE_CHECKING:
    from django.http import HttpRequest

    from partners.models import Customer
    from quantleap.core.console import Panel


class KnownBrokers(Protocol):
    """The brokers we speak to."""

    def __call__(self) -> Mapping[str, str]:
        """Kind (as stored) to the name that people read."""
        ...


def _none() -> Mapping[str, str]:
    """Until brokers registers: nobody."""
    return {}


KNOWN_BROKERS: Port[KnownBrokers] = Port("partners.known_brokers", _none)


class Belongings(Protocol):
    """What of a customer's a room shows on the customer's page: the newest, and where all are.

    In a constant number of queries; without what the person may not view.
    """

    def __call__(self, request: HttpRequest, customer: Customer) -> Sequence[Panel]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
BELONGINGS: Handlers[Belongings] = Handlers("partners.belongings")
