"""What marketplace asks of the rooms above it."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from marketplace.definition import Definition
from quantleap.core.audit import Actor
from quantleap.core.registry import Port


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices of ``at`` (UTC, the exchange's time), in rupees per unit; ``source`` names who.

    ``bid`` and ``ask`` are of ``at``; ``last`` was traded at ``traded_at``, perhaps long before.
    None there: nobody says when, so ``last`` is no price of today's. An index level has one time.
    ``lowest`` and ``highest`` are the day's circuit limits, None where the broker tells none.
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
    """Who asks for prices. A broker allows few questions: the lower number goes first."""

    TRADE = 0
    RISK = 1
    PAGE = 2


@dataclass(frozen=True, slots=True)
class Market:
    """The answer to one question: index levels by symbol, quotes by contract id.

    ``at`` is when it was there, by the asker's clock; ``trouble`` says in words, feed by feed, why
    something is missing.
    """

    spots: Mapping[str, Quote]
    quotes: Mapping[int, Quote]
    at: dt.datetime
    trouble: str = ""


class QuoteSource(Protocol):
    """The platform's feed. Leaves out what it does not know; never raises for a missing quote."""

    def ask(
        self,
        underlyings: Collection[str],
        contract_ids: Collection[int],
        *,
        now: dt.datetime,
        need: Need = Need.PAGE,
    ) -> Market:
        """Levels and quotes in one question, which a broker may count as one."""
        ...

    def last_level(self, underlying: str) -> Decimal | None:
        """The level that was last heard here, however old; nobody is asked."""
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
    """One that would not enter: its public id, its page in the console, the cause, and words."""

    public_id: str
    link: str
    cause: str
    words: str


class SubscriberView(Protocol):
    """What publishing and withdrawing must know of subscriptions."""

    def count(self, template_id: int) -> int:
        """Live (active or paused) subscriptions."""
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
        """Whether a customer of the partner's (None: a direct one), or this customer, has a live
        subscription of the template."""
        ...

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """Cancel every live subscription (reason TEMPLATE_WITHDRAWN); returns how many."""
        ...


class TaxRates(Protocol):
    """Tax on our service, dated."""

    def rate_on(self, day: dt.date) -> Decimal | None:
        """GST in percent in force on ``day`` (IST); None: none is."""
        ...

    def within_state(
        self,
        day: dt.date,
        *,
        customer_id: int | None = None,
        state: str = "",
    ) -> bool:
        """Whether an invoice of ``day`` would bear CGST and SGST rather than IGST.

        ``state`` is the customer's GST code where the caller knows it, ``customer_id`` the caller.
        Where nothing is known of the customer, they are taken to be where the supplier is.
        InvalidRequest for a ``state`` that is not in force.
        """
        ...


class PartnerNames(Protocol):
    """Who the partners are, for the people who write prices and visibility."""

    def __call__(self) -> Mapping[int, str]:
        """Inner number to name of every partner, in the order of their names."""
        ...


class DayRuns(Protocol):
    """What the trading day has pinned already."""

    def made(self, day: dt.date) -> Collection[str]:
        """Keys of the strategies whose run of ``day`` is armed, with the version of then."""
        ...


class _NoQuotes:
    """Until brokers registers: nothing is known."""

    def ask(
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
    """Until subscriptions registers: nobody subscribes."""

    def count(self, template_id: int) -> int:
        return 0

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
    """Until subscriptions registers: unknown."""

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
    """Until execution registers: no day has begun."""

    def made(self, day: dt.date) -> Collection[str]:
        return ()


def _no_partners() -> Mapping[int, str]:
    """Until partners registers: nobody."""
    return {}


QUOTES: Final[Port[QuoteSource]] = Port("marketplace.quotes", _NoQuotes())
SUBSCRIBERS: Final[Port[SubscriberView]] = Port("marketplace.subscribers", _NoSubscribers())
TAX_RATES: Final[Port[TaxRates]] = Port("marketplace.tax_rates", _NoTaxRates())
PARTNERS: Final[Port[PartnerNames]] = Port("marketplace.partners", _no_partners)
RUNS: Final[Port[DayRuns]] = Port("marketplace.runs", _NoRuns())
