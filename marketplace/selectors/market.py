"""The trading calendar, and the listed contracts."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from django.db.models import Max, OuterRef, QuerySet, Subquery

from marketplace.calendar import Hours, TradingCalendar
from marketplace.definition import OPTIONS
from marketplace.expiries import has_weekly
from marketplace.models import (
    CalendarYear,
    Contract,
    FreezeQuantity,
    Holiday,
    LotSize,
    SessionHours,
    SpecialSession,
    Underlying,
)
from marketplace.square_offs import SquareOff, in_force, parse_square_offs
from marketplace.strikes import Rung
from marketplace.validation import Market
from quantleap.core.dates import day_text

SQUARE_OFFS: Final = Path(__file__).resolve().parent.parent / "data" / "square_offs.json"


@dataclass(frozen=True, slots=True)
class ContractInfo:
    """A contract with its data of one day: rupees for strike and tick, units for the rest."""

    id: int
    underlying: str
    expiry: dt.date
    strike: Decimal
    option_type: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int


# -- calendar -----------------------------------------------------------------------------------


@functools.cache
def square_offs() -> tuple[SquareOff, ...]:
    """When brokers close intraday positions automatically: the shipped, dated file, read once."""
    return parse_square_offs(json.loads(SQUARE_OFFS.read_text(encoding="utf-8")))


def load_calendar() -> TradingCalendar:
    """The currently loaded trading calendar (four small queries)."""
    return TradingCalendar(
        years=frozenset(CalendarYear.objects.values_list("year", flat=True)),
        holidays=dict(Holiday.objects.values_list("date", "description")),
        special_sessions={
            row.date: Hours(row.opens_at, row.closes_at, row.description)
            for row in SpecialSession.objects.all()
        },
        hours=tuple(
            (row.effective_from, Hours(row.opens_at, row.closes_at))
            for row in SessionHours.objects.order_by("effective_from")
        ),
    )


# -- contracts ----------------------------------------------------------------------------------


def _listed(underlying: str) -> QuerySet[Contract]:
    """Contracts of the underlying's newest list.

    A contract that is missing from the newest list is gone: when a holiday moves an expiry, the
    exchange withdraws the old contract, whose row must not count as the month's last expiry.
    """
    mine = Contract.objects.filter(underlying__symbol=underlying)
    newest = mine.order_by().values("underlying").annotate(day=Max("last_seen")).values("day")
    return mine.filter(last_seen=Subquery(newest))


def expiries(underlying: str, from_day: dt.date) -> tuple[dt.date, ...]:
    """Listed option expiries from ``from_day`` on, ascending; () if no list is loaded."""
    days = (
        _listed(underlying)
        .filter(option_type__in=OPTIONS, expiry__gte=from_day)
        .order_by("expiry")
        .values_list("expiry", flat=True)
        .distinct()
    )
    return tuple(days)


def strikes(underlying: str, expiry: dt.date, option_type: str) -> tuple[Decimal, ...]:
    """Listed strikes (rupees) of one expiry and type, ascending."""
    contracts = _listed(underlying).filter(expiry=expiry, option_type=option_type)
    return tuple(contracts.order_by("strike").values_list("strike", flat=True))


def ladder(underlying: str, expiry: dt.date, option_type: str, day: dt.date) -> tuple[Rung, ...]:
    """Listed strikes of one expiry and type with their lots in force on ``day``; one query."""
    lot = LotSize.objects.filter(contract=OuterRef("pk"), effective_from__lte=day)
    rows = (
        _listed(underlying)
        .filter(expiry=expiry, option_type=option_type)
        .annotate(lot=Subquery(lot.order_by("-effective_from").values("lot_size")[:1]))
        .order_by("strike")
        .values_list("strike", "lot")
    )
    return tuple(Rung(strike, lot_size) for strike, lot_size in rows)


def contract_ids(
    underlying: str, expiry: dt.date, option_type: str, strikes: Collection[Decimal]
) -> tuple[int, ...]:
    """Contracts of the newest list at ``strikes`` (rupees); one query."""
    contracts = _listed(underlying).filter(
        expiry=expiry, option_type=option_type, strike__in=list(strikes)
    )
    return tuple(contracts.values_list("pk", flat=True))


def ladder_name(underlying: str, expiry: dt.date, option_type: str) -> str:
    """A readable name for one expiry's strikes: ``SENSEX 13 Sep 2024 CE``."""
    return f"{underlying} {day_text(expiry)} {option_type}"


def contract_info(
    underlying: str, expiry: dt.date, strike: Decimal, option_type: str, day: dt.date
) -> ContractInfo | None:
    """A contract with the lot size and freeze quantity in force on ``day``; one query.

    None if it is not listed, or if its lot size or its underlying's freeze quantity on that day is
    unknown: nothing trades on unknown data.
    """
    listed = Contract.objects.filter(
        underlying__symbol=underlying, expiry=expiry, strike=strike, option_type=option_type
    )
    row = (
        listed.annotate(lot=_lot(day), freeze=_freeze(day))
        .values_list("id", "tick_size", "lot", "freeze")
        .first()
    )
    if row is None or row[2] is None or row[3] is None:
        return None
    contract_id, tick_size, lot_size, freeze_quantity = row
    return ContractInfo(
        id=contract_id,
        underlying=underlying,
        expiry=expiry,
        strike=strike,
        option_type=option_type,
        tick_size=tick_size,
        lot_size=lot_size,
        freeze_quantity=freeze_quantity,
    )


def lots_per_order(underlyings: Iterable[str], day: dt.date) -> dict[str, int]:
    """Lots that the exchange allows in one order of each underlying on ``day``; one query each.

    Computed from the nearest expiry's lot size and the freeze quantity in force. An underlying
    without a contract list, or without a freeze quantity, is omitted.
    """
    lots = {}
    for symbol in underlyings:
        row = (
            Contract.objects.filter(
                underlying__symbol=symbol, option_type__in=OPTIONS, expiry__gte=day
            )
            .annotate(lot=_lot(day), freeze=_freeze(day))
            .order_by("expiry", "id")
            .values_list("lot", "freeze")
            .first()
        )
        if row is not None and None not in row:
            lots[symbol] = row[1] // row[0]
    return lots


def _lot(day: dt.date) -> Subquery:
    """A contract's lot size (units) in force on ``day``."""
    known = LotSize.objects.filter(contract=OuterRef("pk"), effective_from__lte=day)
    return Subquery(known.order_by("-effective_from").values("lot_size")[:1])


def _freeze(day: dt.date) -> Subquery:
    """The freeze quantity (units) of a contract's underlying in force on ``day``."""
    known = FreezeQuantity.objects.filter(
        underlying=OuterRef("underlying"), effective_from__lte=day
    )
    return Subquery(known.order_by("-effective_from").values("quantity")[:1])


def load_market(day: dt.date) -> Market:
    """What a definition is validated against on ``day``: underlyings, weeklies, hours, cut-offs."""
    symbols = frozenset(Underlying.objects.filter(is_active=True).values_list("symbol", flat=True))
    newest = (
        Contract.objects.filter(underlying=OuterRef("underlying"))
        .order_by()
        .values("underlying")
        .annotate(day=Max("last_seen"))
        .values("day")
    )
    listed: dict[str, list[dt.date]] = {}
    rows = (
        Contract.objects.filter(
            option_type__in=OPTIONS, expiry__gte=day, last_seen=Subquery(newest)
        )
        .order_by("underlying__symbol", "expiry")
        .values_list("underlying__symbol", "expiry")
        .distinct()
    )
    for symbol, expiry in rows:
        listed.setdefault(symbol, []).append(expiry)
    return Market(
        underlyings=symbols,
        weekly={symbol: has_weekly(days) for symbol, days in listed.items()},
        hours=load_calendar().ordinary_hours(day),
        square_offs=in_force(square_offs(), day),
    )
