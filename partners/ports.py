"""Ports through which partners calls the rooms above it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from quantleap.core.ports import Handlers, Port

if TYPE_CHECKING:
    from django.http import HttpRequest

    from partners.models import Customer
    from quantleap.core.audit import Actor
    from quantleap.core.console import Panel
    from quantleap.core.models import OutboxEvent


class KnownBrokers(Protocol):
    """The supported brokers."""

    def __call__(self) -> Mapping[str, str]:
        """Kind (as stored) to the name that people read."""
        ...


def _none() -> Mapping[str, str]:
    """Default until brokers registers: none."""
    return {}


KNOWN_BROKERS: Final[Port[KnownBrokers]] = Port("partners.known_brokers", _none)


class Followers(Protocol):
    """The live subscriptions of a partner's customers, in both environments.

    Methods that change them run in the caller's transaction, with the partner's row locked.
    """

    def standing(self, partner_id: int) -> Standing:
        """How many of them trade, are held by the suspension, and are due to end."""
        ...

    def hold_all(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """Keep them from trading until :meth:`release_all`; returns how many were paused."""
        ...

    def pause_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """One step of pausing after ``run_until``; no period that began since then is billed."""
        ...

    def release_all(self, partner_id: int, *, note: str, actor: Actor, now: dt.datetime) -> int:
        """Lift the holds that :meth:`hold_all` placed, and no others; returns how many trade
        again."""
        ...

    def end_when_paid(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> Step:
        """Renew none: each ends with its current period, and those whose period is over end now."""
        ...

    def end_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """One step of cancelling those whose last day is over."""
        ...

    def keep_all(self, partner_id: int, *, now: dt.datetime) -> int:
        """Renew again those that were due to end and have not ended; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """``active`` ones trade, ``held`` are under the suspension's hold (and perhaps others),
    ``ending`` are not renewed. In both environments."""

    active: int = 0
    held: int = 0
    ending: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Subscriptions that were paused or cancelled now (``done``), and those that the plan still has
    to pause or cancel, today or later (``left``). ``more``: some of them are due today."""

    done: int = 0
    left: int = 0
    more: bool = False


class _NobodyFollows:
    """Default until subscriptions registers."""

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
    """One line about what a suspension affects, as text, for each of the two environments."""

    label: str
    live: str
    test: str = "–"


class Reach(Protocol):
    """A room's rows that a suspension of this partner would affect, in a constant number of
    queries."""

    def __call__(self, partner_id: int, now: dt.datetime) -> Sequence[Figure]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
REACH: Final[Handlers[Reach]] = Handlers("partners.reach")


class Belongings(Protocol):
    """A room's rows of a customer, for the customer's page: the newest, and a link to all.

    In a constant number of queries; without what the person may not view.
    """

    def __call__(self, request: HttpRequest, customer: Customer) -> Sequence[Panel]: ...


#: Filled by the rooms in AppConfig.ready, in the order of the rooms.
BELONGINGS: Final[Handlers[Belongings]] = Handlers("partners.belongings")


class ShownObjects(Protocol):
    """The objects of events, as the partner's own GET returns them."""

    def __call__(
        self, events: Sequence[OutboxEvent], now: dt.datetime
    ) -> Mapping[str, Mapping[str, Any]]:
        """The object of each event whose type belongs to the room, by ``event_id``: plain JSON.

        In a constant number of queries for each partner and environment.
        """
        ...


#: Filled by the API layers of the rooms in AppConfig.ready: one serializer, one implementation.
SHOWN_OBJECTS: Final[Handlers[ShownObjects]] = Handlers("partners.shown_objects")
