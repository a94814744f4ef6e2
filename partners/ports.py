"""What partners asks of the rooms above it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from quantleap.core.registry import Handlers, Port

if TYPE_CHECKING:
    from django.http import HttpRequest

    from partners.models import Customer
    from quantleap.core.audit import Actor
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


KNOWN_BROKERS: Final[Port[KnownBrokers]] = Port("partners.known_brokers", _none)


class Followers(Protocol):
    """The live subscriptions of a partner's customers, in both environments.

    What changes them runs in the caller's transaction, with the partner's row locked.
    """

    def standing(self, partner_id: int) -> Standing:
        """How many of them trade, are held by the suspension, and are to end."""
        ...

    def hold_all(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """Keep them from trading until :meth:`release_all`; how many it paused."""
        ...

    def pause_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """One step of the same after ``run_until``; no period that began since is billed."""
        ...

    def release_all(self, partner_id: int, *, note: str, actor: Actor, now: dt.datetime) -> int:
        """Lift what :meth:`hold_all` placed, and nobody else's hold; how many trade again."""
        ...

    def end_when_paid(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> Step:
        """Renew none: each ends with the period that is running, those of a period that is over
        now."""
        ...

    def end_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """One step of cancelling those whose last day is over."""
        ...

    def keep_all(self, partner_id: int, *, now: dt.datetime) -> int:
        """Renew again what was to end and has not yet; how many."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """``active`` ones trade, ``held`` are under the suspension's hold (and perhaps others'),
    ``ending`` are not renewed. In both environments."""

    active: int = 0
    held: int = 0
    ending: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Subscriptions that were paused or cancelled now (``done``), and those that the plan has still
    to pause or cancel, on a later day too (``left``). ``more``: some of them are due today."""

    done: int = 0
    left: int = 0
    more: bool = False


class _NobodyFollows:
    """Until subscriptions registers."""

    def standing(self, partner_id: int) -> Standing:
        del partner_id
        return Standing()

    def hold_all(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> int:
        del partner_id, actor, now
        return 0

    def pause_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        del partner_id, now
        return Step()

    def release_all(self, partner_id: int, *, note: str, actor: Actor, now: dt.datetime) -> int:
        del partner_id, note, actor, now
        return 0

    def end_when_paid(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> Step:
        del partner_id, actor, now
        return Step()

    def end_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        del partner_id, now
        return Step()

    def keep_all(self, partner_id: int, *, now: dt.datetime) -> int:
        del partner_id, now
        return 0


FOLLOWERS: Final[Port[Followers]] = Port("partners.followers", _NobodyFollows())


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of what a suspension reaches, as it is read, for each of the two environments."""

    label: str
    live: str
    test: str = "–"


class Reach(Protocol):
    """What a room has that a suspension of this partner would reach, in constant queries."""

    def __call__(self, partner_id: int, now: dt.datetime) -> Sequence[Figure]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
REACH: Final[Handlers[Reach]] = Handlers("partners.reach")


class Belongings(Protocol):
    """What of a customer's a room shows on the customer's page: the newest, and where all are.

    In a constant number of queries; without what the person may not view.
    """

    def __call__(self, request: HttpRequest, customer: Customer) -> Sequence[Panel]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
BELONGINGS: Final[Handlers[Belongings]] = Handlers("partners.belongings")


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
SHOWN_OBJECTS: Final[Handlers[ShownObjects]] = Handlers("partners.shown_objects")
