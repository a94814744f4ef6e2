"""A client's paper order book: pure matching of LIMIT orders against a supplied quote.

Fills are whole and at the touch (buys at the ask, sells at the bid), never better than the market
and never worse than the limit. The same orders and quotes always give the same book: ids derive
from tags; there is no randomness and no clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from brokers.base import (
    BookState,
    BrokerInstrument,
    Cause,
    NetPosition,
    OrderReport,
    OrderRequest,
    OrderType,
    Product,
    QuoteRow,
    Side,
)

#: Returns the current quote of an instrument, or None if there is none.
QuoteOf = Callable[[BrokerInstrument], QuoteRow | None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    order: OrderRequest
    report: OrderReport


class PaperBook:
    """Orders and positions of one paper account. Not safe to share between threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._refusals: list[tuple[Cause, str]] = []

    # -- orders ------------------------------------------------------------------------------
    def place(self, order: OrderRequest, quote: QuoteRow | None) -> OrderReport:
        """Accept ``order`` and fill it at once if ``quote`` allows; a known tag changes nothing."""
        order_id = f"PAPER{order.tag}"
        known = self._entries.get(order_id)
        if known is not None:
            return known.report
        entry = _Entry(order, _opened(order_id, order))
        if self._refusals:
            cause, message = self._refusals.pop(0)
            rejected = dataclasses.replace(
                entry.report, state=BookState.REJECTED, cause=cause, message=message
            )
            entry = _Entry(order, rejected)
        else:
            entry = _matched(entry, quote)
        self._entries[order_id] = entry
        return entry.report

    def match(self, quote_of: QuoteOf) -> Sequence[OrderReport]:
        """Try every open order against its current quote; the reports that changed."""
        changed = []
        for order_id, entry in self._entries.items():
            if entry.report.state is not BookState.OPEN:
                continue
            after = _matched(entry, quote_of(entry.order.instrument))
            if after is not entry:
                self._entries[order_id] = after
                changed.append(after.report)
        return changed

    def change(self, broker_order_id: str, price: Decimal) -> OrderReport | None:
        """Give an open order another limit (rupees per unit), at which it is matched from then on;
        None if no such order is open."""
        entry = self._entries.get(broker_order_id)
        if entry is None or entry.report.state is not BookState.OPEN:
            return None
        order = dataclasses.replace(entry.order, price=price)
        report = dataclasses.replace(entry.report, price=price)
        self._entries[broker_order_id] = _Entry(order, report)
        return report

    def cancel(self, broker_order_id: str) -> OrderReport | None:
        """Cancel an open order; a final one stays as it is, an unknown one gives None."""
        entry = self._entries.get(broker_order_id)
        if entry is None:
            return None
        if entry.report.state is BookState.OPEN:
            report = dataclasses.replace(entry.report, state=BookState.CANCELLED)
            entry = self._entries[broker_order_id] = _Entry(entry.order, report)
        return entry.report

    def refuse_next(self, cause: Cause, message: str) -> None:
        """Make the next order end REJECTED with this text (for rehearsals)."""
        self._refusals.append((cause, message))

    # -- reads -------------------------------------------------------------------------------
    def orders(self) -> tuple[OrderReport, ...]:
        """Every order of the day in the order of arrival."""
        return tuple(entry.report for entry in self._entries.values())

    def positions(self) -> tuple[NetPosition, ...]:
        """Net filled units per contract and product, flat ones included."""
        net: dict[tuple[str, str, Product | None], int] = {}
        for report in self.orders():
            key = (report.exchange, report.symbol, report.product)
            sign = report.side.sign if report.side is not None else 0
            net[key] = net.get(key, 0) + report.filled_quantity * sign
        return tuple(NetPosition(*key, quantity=quantity) for key, quantity in net.items())

    def restore(self, known: Iterable[tuple[OrderRequest, OrderReport]]) -> None:
        """Rebuild the book after a restart from what was recorded of it."""
        for order, report in known:
            self._entries[report.broker_order_id] = _Entry(order, report)


def _opened(order_id: str, order: OrderRequest) -> OrderReport:
    return OrderReport(
        broker_order_id=order_id,
        tag=order.tag,
        state=BookState.OPEN,
        quantity=order.quantity,
        filled_quantity=0,
        average_price=Decimal(0),
        symbol=order.instrument.symbol,
        exchange=order.instrument.exchange,
        side=order.side,
        product=order.product,
        price=order.price,
    )


def _matched(entry: _Entry, quote: QuoteRow | None) -> _Entry:
    """``entry`` filled at the touch if its limit reaches it, otherwise the same entry."""
    if quote is None:
        return entry
    order = entry.order
    touch = quote.ask if order.side is Side.BUY else quote.bid
    touch = touch if touch is not None else quote.last_price
    if order.order_type is OrderType.LIMIT and (
        order.price is None or (touch - order.price) * order.side.sign > 0
    ):
        return entry
    filled = dataclasses.replace(
        entry.report,
        state=BookState.FILLED,
        filled_quantity=order.quantity,
        average_price=touch,
    )
    return _Entry(order, filled)
