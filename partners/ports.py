"""What partners asks of the rooms above it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from quantleap.core.registry import Handlers, Port

if TYPE_CHECKING:
    from django.http import HttpRequest

    from partners.models import Customer
    from quantleap.core.console import Panel
    from quantleap.core.models import OutboxEvent


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


class ShownObjects(Protocol):
    """The objects that events tell of, as the partner's own GET answers them."""

    def __call__(
        self, events: Sequence[OutboxEvent], now: dt.datetime
    ) -> Mapping[str, Mapping[str, Any]]:
        """The object of each event whose type is the room's, by ``event_id``: plain JSON.

        In a constant number of queries for each partner and environment.
        """
        ...


#: Filled by the interfaces of the rooms in AppConfig.ready: one serializer, one copy.
SHOWN_OBJECTS: Handlers[ShownObjects] = Handlers("partners.shown_objects")
