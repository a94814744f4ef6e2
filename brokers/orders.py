"""Checks on an order before it becomes bytes: our own mistakes raise, brokers' answers never do."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.base import (
    BookState,
    Capabilities,
    Cause,
    OrderReport,
    OrderRequest,
    OrderType,
    PriceChange,
    Product,
    Side,
)
from brokers.causes import cause_of
from brokers.price_bands import band_of
from brokers.wire_values import MAX_PRICE, MAX_UNITS
from quantleap.core.identifiers import ascii_upper

_TAG: Final = re.compile(r"[0-9A-Za-z]+")


def check_order(order: OrderRequest, capabilities: Capabilities) -> None:
    """Raise ``ValueError`` if this broker cannot carry ``order``: that is our bug, not a
    refusal."""
    if not _TAG.fullmatch(order.tag) or len(order.tag) > capabilities.max_tag_length:
        raise ValueError(f"tag {order.tag!r} does not fit {capabilities.label}")
    if order.quantity <= 0:
        raise ValueError("quantity must be above 0 units")
    if order.order_type is OrderType.LIMIT:
        if order.price is None or not order.price.is_finite() or order.price <= 0:
            raise ValueError("a LIMIT order needs a price above 0 rupees")
    elif not capabilities.market_with_protection:
        raise ValueError(f"{capabilities.label} takes no market orders")


def check_change(change: PriceChange) -> None:
    """Raise ``ValueError`` if ``change`` is impossible for any order: that is our bug, not a
    refusal."""
    if not change.broker_order_id:
        raise ValueError("an order is changed by the broker's id, which must not be empty")
    if change.quantity <= 0:
        raise ValueError("quantity must be above 0 units")
    if not change.price.is_finite() or change.price <= 0:
        raise ValueError("the price must be above 0 rupees")


def book_state(status: str, states: Mapping[str, BookState]) -> BookState:
    """Our state for a broker's status text; an unknown text is OTHER (keep polling)."""
    return states.get(ascii_upper(status).replace("_", " "), BookState.OTHER)


def cause_in_book(state: BookState, message: str, raw: str = "") -> Cause | None:
    """Why an order of the book has ended: for a rejected one by its text, or by the raw text.

    The exchange *cancels* an order whose price it does not permit when it would match
    (https://kite.trade/forum/discussion/13838); no other text of a cancelled order counts.
    """
    if state not in (BookState.REJECTED, BookState.CANCELLED):
        return None
    cause = cause_of(message)
    if cause is Cause.OTHER:
        cause = cause_of(raw)
    return cause if state is BookState.REJECTED or cause is Cause.PRICE_BAND else None


def report(
    *,
    broker_order_id: str,
    tag: str,
    state: BookState,
    quantity: int | None,
    filled: int | None,
    average: Decimal | None,
    symbol: str,
    exchange: str,
    side: Side | None,
    product: Product | None,
    message: str,
    cause: Cause | None,
    price: Decimal | None = None,
) -> OrderReport:
    """A book row whose figures agree with each other, or the same row as OTHER.

    A row that says FILLED without its fills or their price was read half-written (or worse):
    believing it would settle an order on wrong figures, dropping it would prove absence. So is one
    with an impossible price or quantity, which none of our columns could store. As OTHER it is
    noted and read again.
    """
    sane = (
        quantity is not None
        and 0 < quantity <= MAX_UNITS
        and filled is not None
        and 0 <= filled <= quantity
        and average is not None
        and 0 <= average <= MAX_PRICE
        and side is not None
    )
    if sane and filled:
        sane = average is not None and average > 0
    if sane and state is BookState.FILLED:
        sane = filled == quantity
    if not sane:
        state = BookState.OTHER
        message = message or "The order book row could not be read in full."
    return OrderReport(
        broker_order_id=broker_order_id,
        tag=tag,
        state=state,
        quantity=quantity if quantity is not None and 0 < quantity <= MAX_UNITS else 0,
        filled_quantity=filled if sane and filled is not None else 0,
        average_price=average if sane and average is not None else Decimal(0),
        symbol=symbol,
        exchange=exchange,
        side=side,
        product=product,
        message=message,
        cause=cause,
        band=band_of(message) if cause is Cause.PRICE_BAND else None,
        price=price,
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a book: its content, and when the broker changed it (UTC, None: not given)."""

    report: OrderReport
    at: dt.datetime | None


def latest(rows: Sequence[Listed], *, newest_first: bool) -> tuple[OrderReport, ...]:
    """Every order of a book once, in its latest state, in order of appearance.

    Some books list an order's whole history: one id is one order. The latest row is the one with
    the broker's latest time and, within a second, the last one in its list (``newest_first`` says
    which end that is). Whatever the clocks say, an order never goes back from a final state and
    never loses fills.
    """
    by_id: dict[str, list[tuple[int, Listed]]] = {}
    for position, row in enumerate(rows):
        rank = -position if newest_first else position
        by_id.setdefault(row.report.broker_order_id, []).append((rank, row))
    return tuple(_latest(states) for states in by_id.values())


def _latest(states: Sequence[tuple[int, Listed]]) -> OrderReport:
    if len(states) == 1:
        return states[0][1].report
    # Times are compared only if every state has one; otherwise the list's own order decides.
    timed = all(row.at is not None for _, row in states)

    def rank(state: tuple[int, Listed]) -> tuple[bool, int, float, int]:
        position, row = state
        at = row.at.timestamp() if timed and row.at is not None else 0.0
        return row.report.state.is_terminal, row.report.filled_quantity, at, position

    return max(states, key=rank)[1].report
