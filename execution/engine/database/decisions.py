"""Decisions taken once for all subscribers of a run: contracts and prices, triggers, the end.

The first executor to insert the row decides; the others read it (docs/adr/0021).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from django.db import connection, transaction

from brokers.base import Side
from execution.descriptions import NotPriced
from execution.engine.database import loader
from execution.hedges import standing_hedges
from execution.models import Execution, LegWatch, OrderIntent, Run, RunDecision
from execution.plan import ResolvedLeg
from execution.pricing import Mark, mark, touch
from execution.risk import Watch, move_to_cost, stop_level, target_level
from execution.state import LiveRun
from marketplace import selectors as marketplace
from marketplace.definition import LegSpec, leg_label
from marketplace.expiries import ExpiryError, select_expiry
from marketplace.ports import QUOTES, Market, Need, Quote
from marketplace.selectors import ContractInfo
from marketplace.strikes import (
    LadderError,
    StrikeError,
    check_ladder,
    select_strike,
    strikes_around,
)
from quantleap.core import clock
from quantleap.core.inserts import insert_missing

NOTIFY: Final = "quantleap_decision"
#: How far (as a fraction) the index may move from the last known level to the deciding one.
AROUND: Final = Decimal("0.003")


class NoQuote(Exception):
    """The run cannot be priced or resolved.

    ``cause`` is NO_QUOTE, WIDE_QUOTE (its book is too wide to trade at), NO_CONTRACT (no listed
    contract fits) or CONTRACT_LIST (the contract list cannot be right); ``message`` gives staff the
    details.
    """

    def __init__(self, cause: NotPriced, message: str) -> None:
        super().__init__(message)
        self.cause: NotPriced = cause
        self.message = message

    @property
    def may_pass(self) -> bool:
        """Whether a later quote may help: a contract list does not change within the grace."""
        return self.cause in ("NO_QUOTE", "WIDE_QUOTE")


class Missed(Exception):
    """The decision is that nobody enters. ``cause`` and ``message`` as in :class:`NoQuote`."""

    def __init__(self, cause: NotPriced, message: str) -> None:
        super().__init__(message)
        self.cause: NotPriced = cause
        self.message = message


def resolve_legs(run: LiveRun, *, now: dt.datetime, max_age: float) -> dict[str, ResolvedLeg]:
    """Contracts, dated data and prices of a run's legs from the platform's feed.

    A leg whose last trade is older than ``max_age`` seconds is priced by the middle of its book.
    Raises NoQuote if, when the answer arrives, the index or a leg has no quote younger than that or
    no usable price, or if no listed contract fits. One request covers the level and all likely
    strikes; a second one follows only if the index has moved beyond them.
    """
    source, underlying = QUOTES.get(), run.strategy.underlying
    market = source.ask([underlying], _candidates(run), now=now, need=Need.TRADE)
    oldest = market.at - dt.timedelta(seconds=max_age)
    spot = market.spots.get(underlying)
    if spot is None or spot.at < oldest:
        raise NoQuote("NO_QUOTE", _missing(f"level of {underlying}", market))
    contracts = {leg.key: _contract(leg, run, spot) for leg in run.strategy.legs}
    quotes = dict(market.quotes)
    rest = {info.id for info in contracts.values()} - quotes.keys()
    if rest:
        market = source.ask((), rest, now=market.at, need=Need.TRADE)
        oldest = market.at - dt.timedelta(seconds=max_age)
        quotes |= market.quotes
    resolved = {}
    for leg in run.strategy.legs:
        info = contracts[leg.key]
        quote = quotes.get(info.id)
        if quote is None or quote.at < oldest:
            raise NoQuote("NO_QUOTE", _missing(f"quote of {leg_label(leg)}", market))
        worth = mark(quote, oldest=oldest, tick=info.tick_size)
        if worth is None:
            raise _unpriced(leg_label(leg), quote)
        _check_book(leg, worth.price, quote, info.tick_size)
        resolved[leg.key] = ResolvedLeg(
            leg_key=leg.key,
            contract_id=info.id,
            label=leg_label(leg),
            tick_size=info.tick_size,
            lot_size=info.lot_size,
            freeze_quantity=info.freeze_quantity,
            reference_price=worth.price,
            bid=quote.bid,
            ask=quote.ask,
            basis=worth.basis,
            age=Decimal(str(round((market.at - worth.at).total_seconds(), 3))),
        )
    return resolved


def _check_book(leg: LegSpec, price: Decimal, quote: Quote, tick: Decimal) -> None:
    """Raise NoQuote(WIDE_QUOTE) if the other side of the book is too far away to trade at.

    All subscribers would pay that price, one after another.
    """
    side = Side(leg.side)
    opposite = quote.ask if side is Side.BUY else quote.bid
    if opposite and touch(side, last=price, bid=quote.bid, ask=quote.ask, tick=tick) is None:
        message = f"{leg_label(leg)}: price {price}, bid {quote.bid}, ask {quote.ask}"
        raise NoQuote("WIDE_QUOTE", message)


def _unpriced(label: str, quote: Quote) -> NoQuote:
    """The error for a fresh quote without a usable price, with a message for staff."""
    traded = "has not traded today"
    if quote.traded_at is not None:
        traded = f"last traded at {clock.to_ist(quote.traded_at):%d %b %H:%M:%S}"
    bid, ask = quote.bid, quote.ask
    if bid is not None and ask is not None:
        shape = "crossed" if bid > ask else "too wide"
        message = f"{label} {traded}, and its book is {shape} (bid {bid}, ask {ask})"
        return NoQuote("NO_QUOTE" if bid > ask else "WIDE_QUOTE", message)
    side = f"bid {bid}" if bid is not None else f"ask {ask}" if ask is not None else "no side"
    return NoQuote("NO_QUOTE", f"{label} {traded}, and its book has {side} only")


def _missing(what: str, market: Market) -> str:
    """A message on what is missing and, by feed, why."""
    return f"no fresh {what}" + (f" ({market.trouble})" if market.trouble else "")


def _candidates(run: LiveRun) -> set[int]:
    """Ids of contracts that the legs may resolve to near the last known level; none without it."""
    underlying, day = run.strategy.underlying, run.trade_date
    level = QUOTES.get().last_level(underlying)
    contract_ids: set[int] = set()
    if level is None:
        return contract_ids
    for leg in run.strategy.legs:
        try:
            expiry = select_expiry(marketplace.expiries(underlying, day), leg.expiry, day)
            listed = marketplace.strikes(underlying, expiry, leg.option_type)
            near = strikes_around(listed, level, AROUND, leg.option_type, leg.strike)
        except (ExpiryError, StrikeError):
            continue  # reported when the leg is resolved
        contract_ids.update(marketplace.contract_ids(underlying, expiry, leg.option_type, near))
    return contract_ids


def _contract(leg: LegSpec, run: LiveRun, spot: Quote) -> ContractInfo:
    underlying, day = run.strategy.underlying, run.trade_date
    try:
        expiry = select_expiry(marketplace.expiries(underlying, day), leg.expiry, day)
        rungs = marketplace.ladder(underlying, expiry, leg.option_type, day)
        name = marketplace.ladder_name(underlying, expiry, leg.option_type)
        strikes = check_ladder(rungs, spot.last, name)
        strike = select_strike(strikes, spot.last, leg.option_type, leg.strike)
    except LadderError as error:
        raise NoQuote("CONTRACT_LIST", str(error)) from error
    except (ExpiryError, StrikeError) as error:
        raise NoQuote("NO_CONTRACT", str(error)) from error
    info = marketplace.contract_info(underlying, expiry, strike, leg.option_type, day)
    if info is None:
        raise NoQuote("NO_CONTRACT", f"{leg_label(leg)}: not in the contract list of {day}")
    return info


def decide_entry(
    run: LiveRun, *, owner: str, max_age: float, now: dt.datetime
) -> dict[str, ResolvedLeg]:
    """The legs of the run's ENTRY decision: ours if we are first, else the stored one.

    Raises Missed if the stored decision is to miss the run, NoQuote if none can be taken now.
    """
    standing = RunDecision.objects.filter(run_id=run.id, kind="ENTRY").first()
    if standing is not None:
        return _standing(standing)
    resolved = resolve_legs(run, now=now, max_age=max_age)
    payload = {"legs": loader.resolved_json(resolved.values())}
    with transaction.atomic():
        insert_missing(
            [
                RunDecision(
                    run_id=run.id,
                    kind="ENTRY",
                    payload=payload,
                    decided_at=now,
                    decided_by=owner,
                )
            ],
            unique=("run", "kind"),
        )
        insert_missing(
            [_watch(run, leg, resolved[leg.key]) for leg in run.strategy.legs],
            unique=("run", "leg_key"),
        )
    return _standing(RunDecision.objects.get(run_id=run.id, kind="ENTRY"))


def decide_missed(
    run: LiveRun, problem: NoQuote, *, owner: str, now: dt.datetime
) -> dict[str, ResolvedLeg]:
    """Decide that nobody enters, because of ``problem``, unless another executor decided first.

    Returns the legs that the other one decided; otherwise raises Missed.
    """
    insert_missing(
        [
            RunDecision(
                run_id=run.id,
                kind="ENTRY",
                payload={"legs": {}, "missed": problem.cause, "message": problem.message},
                decided_at=now,
                decided_by=owner,
            )
        ],
        unique=("run", "kind"),
    )
    return _standing(RunDecision.objects.get(run_id=run.id, kind="ENTRY"))


def _standing(decision: RunDecision) -> dict[str, ResolvedLeg]:
    missed = decision.payload.get("missed")
    if missed:
        raise Missed(missed, decision.payload.get("message", ""))
    return loader.resolved_legs(decision.payload)


def _watch(run: LiveRun, leg: LegSpec, resolved: ResolvedLeg) -> LegWatch:
    side, reference = Side(leg.side), resolved.reference_price
    return LegWatch(
        run_id=run.id,
        leg_key=leg.key,
        contract_id=resolved.contract_id,
        side=leg.side,
        reference_price=reference,
        stop_price=stop_level(side, reference, leg.stop, resolved.tick_size),
        target_price=target_level(side, reference, leg.target, resolved.tick_size),
    )


def decide_trigger(
    run: LiveRun,
    watch: Watch,
    *,
    kind: str,
    worth: Mark,
    source: str,
    owner: str,
    now: dt.datetime,
) -> bool:
    """Decide once that a stop or target was hit, and move the other stops to cost with it.

    True if this call decided, False if it had been decided already.
    """
    complete = run.strategy.square_off == "COMPLETE"
    decision = "RUN_EXIT" if complete else f"LEG_EXIT:{watch.leg_key}"
    with transaction.atomic():
        inserted = insert_missing(
            [
                RunDecision(
                    run_id=run.id,
                    kind=decision,
                    payload={
                        "reason": kind,
                        "leg": watch.leg_key,
                        "price": str(worth.price),
                        "basis": worth.basis,
                        "age": str(round((now - worth.at).total_seconds(), 3)),
                        "level": str(watch.stop if kind == "STOP" else watch.target),
                        "source": source,
                    },
                    decided_at=now,
                    decided_by=owner,
                )
            ],
            unique=("run", "kind"),
        )
        # The row count of this update is the lock: a second decider changes nothing.
        won = LegWatch.objects.filter(
            run_id=run.id, leg_key=watch.leg_key, triggered_at__isnull=True
        ).update(triggered_at=now, trigger=kind, trigger_price=worth.price)
        if won and kind == "STOP" and not complete:
            _move_stops(run, watch, now)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY, str(run.id)])
    return bool(inserted and won)


def _move_stops(run: LiveRun, stopped: Watch, now: dt.datetime) -> None:
    triggered = {key for key, watch in run.watches.items() if watch.triggered} | {stopped.leg_key}
    hedges = standing_hedges(run.strategy.legs, triggered)
    moved = move_to_cost(run.watches.values(), stopped.leg_key, run.strategy.move_to_cost, hedges)
    for leg_key, price in moved.items():
        LegWatch.objects.filter(run_id=run.id, leg_key=leg_key, triggered_at__isnull=True).update(
            stop_price=price, moved_to_cost_at=now
        )


def close_finished_run(run_id: int, now: dt.datetime) -> str:
    """Advance a run's status with its executions: ARMED -> ENTERED -> CLOSED, or MISSED.

    Conditional updates; any executor may call it at any time. Returns the new status, '' if none.
    """
    executions = Execution.objects.filter(run_id=run_id)
    if executions.filter(status="ARMED").exists():
        return ""
    if executions.filter(status__in=Execution.WORKING).exists():
        changed = Run.objects.filter(pk=run_id, status="ARMED", grace_until__lt=now)
        return "ENTERED" if changed.update(status="ENTERED") else ""
    traded = OrderIntent.objects.filter(run_id=run_id, sends__gt=0).exists()
    status = "CLOSED" if traded or not executions.exists() else "MISSED"
    over = Run.objects.filter(pk=run_id, grace_until__lt=now).exclude(status__in=Run.OVER)
    return status if over.update(status=status, closed_at=now) else ""


def prices_of(run: LiveRun, quotes: Mapping[int, Quote]) -> dict[str, Quote]:
    """The quotes of a run's resolved legs, by leg key."""
    prices: dict[str, Quote] = {}
    for leg_key, leg in run.resolved.items():
        quote = quotes.get(leg.contract_id)
        if quote is not None:
            prices[leg_key] = quote
    return prices
