"""A book row that cannot be read is no order without fills."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from brokers.base import BookState, BrokerInstrument, Product, Side
from brokers.orders import report
from execution.exit_limits import Grant, Tracked, Witnesses, share
from execution.witnesses import net_of_orders

NAME = BrokerInstrument("NFO", "NIFTY08SEP26C25000", "1")
SOLD = report(
    broker_order_id="1",
    tag="QAAAAAAAAAAAA1",
    state=BookState.FILLED,
    quantity=65,
    filled=65,
    average=Decimal(100),
    symbol=NAME.symbol,
    exchange="NFO",
    side=Side.SELL,
    product=Product.INTRADAY,
    message="",
    cause=None,
)
#: The same with an average price of a hundred million.
ABSURD = dataclasses.replace(
    SOLD, state=BookState.OTHER, filled_quantity=0, average_price=Decimal(0)
)


def test_an_absurd_price_made_an_open_position_closed_outside() -> None:
    """Seen: 65 sold units open for good, the execution CLOSED for CLOSED_OUTSIDE; the row with an
    average price of 100,000,000 had counted as an order that filled nothing."""
    assert net_of_orders([SOLD], NAME) == -65
    book = net_of_orders([ABSURD], NAME)
    assert book is None
    ours = [Tracked(1, -65)]
    assert share(ours, Witnesses(positions=-65, book=book)) == {1: Grant(65)}, "positions speak"
    assert share(ours, Witnesses(positions=0, book=book)) == {1: None}, "wait, and look again"


def test_somebody_elses_unreadable_row_stops_nothing() -> None:
    other = dataclasses.replace(ABSURD, symbol="NIFTY08SEP26P25000")
    assert net_of_orders([SOLD, other], NAME) == -65
