"""Templates, contracts and calendar for tests; the other rooms' tests use them too."""

from __future__ import annotations

import datetime as dt
import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from marketplace.calendar import TradingCalendar
from marketplace.definition import Definition, LegSpec, RuleSpec, StrategySpec
from marketplace.expiries import scheduled_monthly, scheduled_weekly
from marketplace.models import (
    Contract,
    Leg,
    LotSize,
    Price,
    Strategy,
    Template,
    TemplateStats,
    Underlying,
)
from marketplace.selectors import load_calendar
from marketplace.services import publish
from marketplace.services.calendar import load_calendar_file
from marketplace.services.reference import load_freeze_quantities, load_underlyings
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import UTC
from quantleap.core.tenancy import Environment

#: A Tuesday with an ordinary session, on which a NIFTY weekly expires.
TEST_DAY = dt.date(2026, 8, 4)
TEST_NOW = dt.datetime(2026, 8, 4, 3, 30, tzinfo=UTC)  # 09:00 IST
TUESDAY = 1
SPOTS = {"NIFTY": 25_000, "BANKNIFTY": 56_000, "FINNIFTY": 26_500}
STEPS = {"NIFTY": 50, "BANKNIFTY": 100, "FINNIFTY": 50}
LOTS = {"NIFTY": 65, "BANKNIFTY": 30, "FINNIFTY": 60}
TICK = Decimal("0.05")

_numbers = itertools.count(1)


# -- plain values -------------------------------------------------------------------------------


def percent(value: int | str) -> RuleSpec:
    """A stop or target of so many percent of the premium."""
    return RuleSpec("PREMIUM_PERCENT", {"value": str(value)})


def points(value: int | str) -> RuleSpec:
    """A stop or target of so many points of premium."""
    return RuleSpec("PREMIUM_POINTS", {"value": str(value)})


def leg_spec(
    side: str = "SELL",
    option_type: str = "CE",
    moneyness: str = "ATM",
    *,
    lots: int = 1,
    expiry: str = "WEEKLY",
    stop: RuleSpec | None = None,
    target: RuleSpec | None = None,
    key: str = "",
) -> LegSpec:
    """One leg; its key is made of its words unless given."""
    return LegSpec(
        key=key or f"{side}-{option_type}-{moneyness}-{expiry}",
        side=side,
        option_type=option_type,
        lots=lots,
        expiry=expiry,
        strike=RuleSpec("STRIKE_TYPE", {"moneyness": moneyness}),
        stop=stop,
        target=target,
    )


def strategy_spec(legs: Iterable[LegSpec] = (), **fields: Any) -> StrategySpec:
    """One NIFTY strategy, 09:20:00 to 15:15:00, unless ``fields`` say otherwise."""
    values: dict[str, Any] = {
        "key": "strategy-1",
        "name": "Strategy",
        "underlying": "NIFTY",
        "entry_time": dt.time(9, 20),
        "exit_time": dt.time(15, 15),
        "weekdays": (),
        "special_sessions": False,
        "product": "INTRADAY",
        "order_rule": "BUY_FIRST",
        "square_off": "PARTIAL",
        "move_to_cost": "OFF",
        "leg_failure": "UNWIND_FILLED",
    }
    return StrategySpec(**{**values, **fields}, legs=tuple(legs) or (leg_spec(),))


def definition_spec(*strategies: StrategySpec) -> Definition:
    """A definition of the given strategies (or of one default one)."""
    return Definition(strategies or (strategy_spec(),))


IRON_CONDOR_LEGS = (
    leg_spec("BUY", "PE", "OTM8"),
    leg_spec("SELL", "PE", "OTM4"),
    leg_spec("SELL", "CE", "OTM4"),
    leg_spec("BUY", "CE", "OTM8"),
)


# -- rows ---------------------------------------------------------------------------------------


def load_reference_data(now: dt.datetime = TEST_NOW) -> TradingCalendar:
    """Underlyings, calendar 2025 and 2026, freeze quantities: the shipped files."""
    load_underlyings()
    load_freeze_quantities()
    load_calendar_file(now=now)
    return load_calendar()


def _rule_json(rule: RuleSpec | None) -> dict[str, Any] | None:
    return None if rule is None else {"kind": rule.kind, "params": dict(rule.params)}


def add_leg(strategy: Strategy, spec: LegSpec, position: int) -> Leg:
    """A draft leg with ``spec``'s values and a key of its own."""
    return Leg.objects.create(
        strategy=strategy,
        position=position,
        side=spec.side,
        option_type=spec.option_type,
        lots=spec.lots,
        expiry=spec.expiry,
        strike=_rule_json(spec.strike),
        stop=_rule_json(spec.stop),
        target=_rule_json(spec.target),
    )


def add_strategy(template: Template, legs: Iterable[LegSpec], **fields: Any) -> Strategy:
    """A draft strategy with legs; ``underlying`` by symbol."""
    symbol = fields.pop("underlying", "NIFTY")
    values = {
        "name": f"Strategy {template.strategies.count() + 1}",
        "position": template.strategies.count(),
        "entry_time": dt.time(9, 20),
        "exit_time": dt.time(15, 15),
        **fields,
    }
    underlying = Underlying.objects.get_or_create(
        symbol=symbol, defaults={"name": symbol, "exchange": "NFO"}
    )[0]
    strategy = Strategy.objects.create(template=template, underlying=underlying, **values)
    for position, spec in enumerate(legs):
        add_leg(strategy, spec, position)
    return strategy


def make_template(
    *,
    published: bool = True,
    legs: Sequence[LegSpec] = (),
    strategy: Mapping[str, Any] | None = None,
    fee: Decimal | int | None = 999,
    environment: str = Environment.LIVE,
    now: dt.datetime = TEST_NOW,
    **fields: Any,
) -> Template:
    """A template with one strategy (``strategy`` overrides its fields), published by default.

    ``fee`` rupees a month from 2025-01-01 on; None makes it FREE. ``fields`` go to Template.
    """
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": f"Template {number}",
        "index": (strategy or {}).get("underlying", "NIFTY"),
        "pricing_type": Template.PricingType.FREE if fee is None else Template.PricingType.PAID,
        "created_at": now,
        "updated_at": now,
        **fields,
    }
    template = Template.objects.create(environment=environment, **values)
    TemplateStats.objects.create(template=template)
    if fee is not None:
        Price.objects.create(
            template=template, monthly_fee=Decimal(fee), effective_from=dt.date(2025, 1, 1)
        )
    add_strategy(template, legs or (leg_spec(),), **(strategy or {}))
    if published:
        publish(template_id=template.pk, actor=SYSTEM, note="first version", now=now)
        template.refresh_from_db()
    return template


def make_iron_condor(**fields: Any) -> Template:
    """NIFTY iron condor: 4 strikes out sold, 8 strikes out bought, BUY_FIRST, COMPLETE."""
    strategy = {"name": "Iron condor", "square_off": "COMPLETE", **fields.pop("strategy", {})}
    fields.setdefault("name", f"NIFTY Iron Condor - Weekly {next(_numbers)}")
    fields.setdefault("tags", ["NIFTY", "WEEKLY", "IRON_CONDOR"])
    return make_template(legs=IRON_CONDOR_LEGS, strategy=strategy, **fields)


def make_short_straddle(
    *, stop_pct: int | None = 25, move_to_cost: str = "ALL_LEGS", **fields: Any
) -> Template:
    """NIFTY short straddle at the money, each leg with a stop of ``stop_pct`` percent."""
    stop = None if stop_pct is None else percent(stop_pct)
    strategy = {
        "name": "Short straddle",
        "move_to_cost": "OFF" if stop is None else move_to_cost,
        **fields.pop("strategy", {}),
    }
    fields.setdefault("name", f"NIFTY Short Straddle {next(_numbers)}")
    legs = (leg_spec("SELL", "CE", stop=stop), leg_spec("SELL", "PE", stop=stop))
    return make_template(legs=legs, strategy=strategy, **fields)


# -- contracts ----------------------------------------------------------------------------------


def listed_expiries(calendar: TradingCalendar, underlying: str, day: dt.date) -> list[dt.date]:
    """What the exchange lists on ``day``: NIFTY has weeklies, the rest monthlies."""
    months = [(day.year, day.month + ahead) for ahead in range(3) if day.month + ahead <= 12]
    expiries = {scheduled_monthly(calendar, TUESDAY, year, month) for year, month in months}
    if underlying == "NIFTY":
        weeks = min(5, (dt.date(day.year, 12, 31) - day).days // 7)
        expiries.update(scheduled_weekly(calendar, TUESDAY, day, weeks))
    return sorted(expiry for expiry in expiries if expiry >= day)


def load_test_contracts(
    day: dt.date = TEST_DAY,
    *,
    underlyings: Sequence[str] = ("NIFTY", "BANKNIFTY"),
    strikes_each_side: int = 32,
    spots: Mapping[str, int] = SPOTS,
) -> list[Contract]:
    """A small contract list as of ``day`` with lots, freeze limits and the calendar.

    Strikes lie ``strikes_each_side`` steps around ``spots`` (rupees), so every moneyness from
    ITM20 to OTM30 exists at that spot. Tokens are made from the contract's own terms.
    """
    calendar = load_reference_data()
    rows: list[Contract] = []
    for symbol in underlyings:
        underlying = Underlying.objects.get(symbol=symbol)
        centre = Decimal(spots[symbol] // STEPS[symbol] * STEPS[symbol])
        for expiry in listed_expiries(calendar, symbol, day):
            for step in range(-strikes_each_side, strikes_each_side + 1):
                strike = centre + step * STEPS[symbol]
                for option_type in ("CE", "PE"):
                    name = f"{symbol}{expiry:%y%m%d}{strike}{option_type}"
                    rows.append(
                        Contract(
                            underlying=underlying,
                            exchange=underlying.exchange,
                            expiry=expiry,
                            strike=strike,
                            option_type=option_type,
                            tick_size=TICK,
                            exchange_token=str(zlib.crc32(name.encode())),
                            first_seen=day,
                            last_seen=day,
                        )
                    )
    Contract.objects.bulk_create(rows)
    LotSize.objects.bulk_create(
        LotSize(
            contract=row,
            effective_from=day,
            lot_size=LOTS[row.underlying.symbol],
            source="test list",
        )
        for row in rows
    )
    return rows
