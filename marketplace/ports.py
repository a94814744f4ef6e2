"""Ports through which marketplace calls the rooms above it."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from marketplace.definition import Definition
from quantleap.core.audit import Actor
from quantleap.core.ports import Port


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices as of ``at`` (UTC, the exchange's time), in rupees per unit; ``source`` names the
    feed.

    ``bid`` and ``ask`` are as of ``at``; ``last`` was traded at ``traded_at``, perhaps long before.
    If ``traded_at`` is None, the time is unknown and ``last`` is no price of today. An index level
    has one time. ``lowest`` and ``highest`` are the day's circuit limits, None if the broker gives
    none.
    """

    last: Decimal
    bid: Decimal | None
    ask: Decimal | None
    at: dt.datetime
    source: str
    traded_at: dt.datetime | None = None
    lowest: Decimal | None = None
    highest: Decimal | None = None


class Need(enum.IntEnum):
    """The purpose of a request for prices. A broker allows few requests: the lower number goes
    first."""

    TRADE = 0
    RISK = 1
    PAGE = 2


@dataclass(frozen=True, slots=True)
class Market:
    """The answer to one request: index levels by symbol, quotes by contract id.

    ``at`` is when the answer was there, by the caller's clock; ``trouble`` explains, feed by feed,
    why something is missing.
    """

    spots: Mapping[str, Quote]
    quotes: Mapping[int, Quote]
    at: dt.datetime
    trouble: str = ""


class QuoteSource(Protocol):
    """The platform's feed. Omits what it does not know; never raises for a missing quote."""

    def read(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        """Levels and quotes in one request, which a broker may count as one."""
        ...

    def last_level(self, underlying: str) -> Decimal | None:
        """The last known level, however old; asks nobody."""
        ...

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        """Index levels by underlying symbol, for a page."""
        ...

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        """Quotes by contract id."""
        ...


@dataclass(frozen=True, slots=True)
class RefusedSubscription:
    """A subscription that would not enter: its public id, its console page, the cause, and a
    text."""

    public_id: str
    link: str
    cause: str
    words: str


class SubscriberView(Protocol):
    """What publishing and withdrawing need to know about subscriptions."""

    def count(self, template_id: int) -> int:
        """Live (active or paused) subscriptions."""
        ...

    def partners(self, template_id: int) -> Collection[int]:
        """Database ids of the partners with live subscriptions."""
        ...

    def refused(
        self, template_id: int, definition: Definition, day: dt.date
    ) -> list[RefusedSubscription]:
        """Live subscriptions whose entry ``definition`` would refuse on ``day`` (IST)."""
        ...

    def follows(
        self,
        template_id: int,
        *,
        partner_id: int | None,
        environment: str,
        customer_id: int | None = None,
    ) -> bool:
        """Whether a customer of the partner (None: a direct one), or this customer, has a live
        subscription to the template."""
        ...

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """Cancel every live subscription (reason TEMPLATE_WITHDRAWN); returns how many."""
        ...


class TaxRates(Protocol):
    """Tax on our service, dated."""

    def rate_on(self, day: dt.date) -> Decimal | None:
        """GST in percent in force on ``day`` (IST); None if none is."""
        ...

    def within_state(
        self,
        day: dt.date,
        *,
        customer_id: int | None = None,
        state: str = "",
    ) -> bool:
        """Whether an invoice of ``day`` would have CGST and SGST rather than IGST.

        ``state`` is the customer's GST code if the caller knows it, ``customer_id`` the calling
        customer. An unknown customer counts as living in the supplier's state. InvalidRequest for a
        ``state`` that is not in force.
        """
        ...


class PartnerNames(Protocol):
    """The partners' names, for the people who edit prices and visibility."""

    def __call__(self) -> Mapping[int, str]:
        """Database id to name of every partner, ordered by name."""
        ...


class DayRuns(Protocol):
    """What the trading day has already pinned."""

    def made(self, day: dt.date) -> Collection[str]:
        """Keys of the strategies whose run of ``day`` is armed, with the version in force then."""
        ...


class _NoQuotes:
    """Default until brokers registers: no quotes."""

    def read(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        return Market({}, {}, now, "no feed is registered")

    def last_level(self, underlying: str) -> Decimal | None:
        return None

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        return {}

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        return {}


class _NoSubscribers:
    """Default until subscriptions registers: no subscribers."""

    def count(self, template_id: int) -> int:
        return 0

    def partners(self, template_id: int) -> Collection[int]:
        return ()

    def refused(
        self, template_id: int, definition: Definition, day: dt.date
    ) -> list[RefusedSubscription]:
        return []

    def follows(
        self,
        template_id: int,
        *,
        partner_id: int | None,
        environment: str,
        customer_id: int | None = None,
    ) -> bool:
        return False

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        return 0


class _NoTaxRates:
    """Default until subscriptions registers: the rate is unknown."""

    def rate_on(self, day: dt.date) -> Decimal | None:
        return None

    def within_state(
        self,
        day: dt.date,
        *,
        customer_id: int | None = None,
        state: str = "",
    ) -> bool:
        return True


class _NoRuns:
    """Default until execution registers: nothing is armed."""

    def made(self, day: dt.date) -> Collection[str]:
        return ()


def _no_partners() -> Mapping[int, str]:
    """Default until partners registers: no partners."""
    return {}


QUOTES: Final[Port[QuoteSource]] = Port("marketplace.quotes", _NoQuotes())
SUBSCRIBERS: Final[Port[SubscriberView]] = Port("marketplace.subscribers", _NoSubscribers())
TAX_RATES: Final[Port[TaxRates]] = Port("marketplace.tax_rates", _NoTaxRates())
PARTNERS: Final[Port[PartnerNames]] = Port("marketplace.partners", _no_partners)
RUNS: Final[Port[DayRuns]] = Port("marketplace.runs", _NoRuns())
