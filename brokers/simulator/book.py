"""The simulator's order book: orders, fills and positions by (broker, client). Pure, in memory.

Nothing here knows HTTP, faults or the event loop. The caller supplies market and time; the book
decides what happens to an order. Quantities in units, prices rupees per unit.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from brokers.simulator.contracts import Contract
from brokers.simulator.market import Quote

SHORT_MARGIN: Final = Decimal("0.12")


class Status(enum.StrEnum):
    """State of an order, independent of any broker's words."""

    PENDING = "PENDING"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    OPEN = "OPEN"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        """Whether the order will never change again."""
        return self in (Status.COMPLETE, Status.CANCELLED, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class PlaceCall:
    """One parsed place call. ``side`` BUY/SELL, ``product`` MIS/NRML, ``order_type`` LIMIT, MARKET,
    SL or SL-M, ``protection`` percent (-1 automatic, None none), ``app`` the api key of its
    login."""

    broker: str
    client_id: str
    tag: str
    exchange: str
    symbol: str
    side: str
    quantity: int
    product: str
    order_type: str
    price: Decimal
    received_at: dt.datetime
    trigger_price: Decimal = Decimal(0)
    validity: str = "DAY"
    protection: Decimal | None = None
    app: str = ""


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill of an order."""

    trade_id: str
    quantity: int
    price: Decimal
    at: dt.datetime


@dataclass(slots=True, eq=False)
class Order:
    """One accepted order and its history. ``fill_cap`` limits its fills, ``just_changed`` is set
    while its change is being reported."""

    order_id: str
    call: PlaceCall
    contract: Contract
    quantity: int
    price: Decimal
    order_type: str
    trigger_price: Decimal
    visible_at: dt.datetime
    updated_at: dt.datetime
    status: Status = Status.PENDING
    filled: int = 0
    fill_value: Decimal = Decimal(0)
    cancelled: int = 0
    cause: str = ""
    message: str = ""
    raw_message: str = ""
    exchange_order_id: str = ""
    fill_cap: int | None = None
    changes: int = 0
    just_changed: bool = False
    trades: list[Trade] = field(default_factory=list)
    history: list[tuple[Status, dt.datetime, int]] = field(default_factory=list)

    @property
    def average_price(self) -> Decimal:
        """Mean fill price in rupees, 0 when nothing filled."""
        if not self.filled:
            return Decimal(0)
        return (self.fill_value / self.filled).quantize(Decimal("0.01"))

    @property
    def pending(self) -> int:
        """Units that may still fill."""
        return 0 if self.status.is_final else self.quantity - self.filled

    @property
    def modified(self) -> bool:
        """Whether somebody has changed it."""
        return self.changes > 0

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self.call.side == "BUY" else -1


@dataclass(slots=True)
class Holding:
    """One position row: what was bought and sold of a contract under a product."""

    contract: Contract
    product: str
    buy_quantity: int = 0
    buy_value: Decimal = Decimal(0)
    sell_quantity: int = 0
    sell_value: Decimal = Decimal(0)
    overnight: int = 0

    @property
    def quantity(self) -> int:
        """Net units, signed."""
        return self.overnight + self.buy_quantity - self.sell_quantity

    def add(self, side: str, quantity: int, price: Decimal) -> None:
        """Book one fill."""
        if side == "BUY":
            self.buy_quantity += quantity
            self.buy_value += quantity * price
        else:
            self.sell_quantity += quantity
            self.sell_value += quantity * price


@dataclass(slots=True)
class Account:
    """One client at one broker: funds in rupees, today's orders in order of arrival, net units."""

    broker: str
    client_id: str
    funds: Decimal
    orders: list[Order] = field(default_factory=list)
    carried: dict[tuple[int, str], Holding] = field(default_factory=dict)
    cash_flow: Decimal = Decimal(0)
    net: dict[int, tuple[Contract, int]] = field(default_factory=dict)

    def visible_orders(self, now: dt.datetime) -> Iterator[Order]:
        """Today's orders that the broker's book shows at ``now``."""
        return (order for order in self.orders if order.visible_at <= now)

    def holdings(self, now: dt.datetime | None = None, lag: float = 0.0) -> list[Holding]:
        """Position rows; with ``now``, without the fills of orders still hidden and those of the
        last ``lag`` seconds."""
        until = None if now is None else now - dt.timedelta(seconds=lag)
        rows = {
            key: Holding(row.contract, row.product, overnight=row.quantity)
            for key, row in self.carried.items()
        }
        for order in self.orders:
            if not order.trades or (now is not None and order.visible_at > now):
                continue
            key = (order.contract.token, order.call.product)
            row = rows.get(key)
            if row is None:
                row = rows[key] = Holding(order.contract, order.call.product)
            for trade in order.trades:
                if until is None or trade.at <= until:
                    row.add(order.call.side, trade.quantity, trade.price)
        return list(rows.values())

    def margin_used(self, spots: dict[str, float]) -> Decimal:
        """Blocked rupees: a share of the notional of every short, plus premium paid net."""
        blocked = Decimal(0)
        for contract, net in self.net.values():
            if net < 0 or contract.kind == "FUT":
                notional = abs(net) * Decimal(round(spots[contract.underlying]))
                blocked += notional * SHORT_MARGIN
        return max(blocked - self.cash_flow, Decimal(0))


class Book:
    """Every order ever accepted, by account. No operation is linear in the number of orders."""

    def __init__(self, default_funds: Decimal, last_sequence: int = 0) -> None:
        """``last_sequence`` is the last order number given out before, so that ids never repeat."""
        self.default_funds = default_funds
        self.last_sequence = last_sequence
        self.accounts: dict[tuple[str, str], Account] = {}
        self.orders: list[Order] = []
        self._by_id: dict[tuple[str, str], Order] = {}
        self._resting: dict[int, dict[str, Order]] = {}
        self.last_trades: dict[int, Trade] = {}
        #: Called with every order as it changes.
        self.changed: Callable[[Order], None] = _nobody

    # -- finding ---------------------------------------------------------------------------------
    def account(self, broker: str, client_id: str) -> Account:
        """The account, created with the default funds at its first use."""
        key = (broker, client_id)
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(broker, client_id, self.default_funds)
        return account

    def find(self, broker: str, client_id: str, order_id: str) -> Order | None:
        """An order of this client by the broker's id."""
        order = self._by_id.get((broker, order_id))
        return order if order is not None and order.call.client_id == client_id else None

    def resting_contracts(self) -> list[Contract]:
        """Contracts with resting orders."""
        return [next(iter(orders.values())).contract for orders in self._resting.values()]

    def resting(self, contract: Contract) -> list[Order]:
        """Resting orders of a contract, oldest first."""
        return list(self._resting.get(contract.token, {}).values())

    # -- changing --------------------------------------------------------------------------------
    def accept(
        self,
        call: PlaceCall,
        contract: Contract,
        *,
        price: Decimal,
        order_type: str,
        now: dt.datetime,
        visible_at: dt.datetime | None = None,
    ) -> Order:
        """Take an order into the book as PENDING and give it the broker's id."""
        self.last_sequence += 1
        order_id = self._order_id(call.broker, now)
        order = Order(
            order_id=order_id,
            call=call,
            contract=contract,
            quantity=call.quantity,
            price=price,
            order_type=order_type,
            trigger_price=call.trigger_price,
            visible_at=visible_at or now,
            updated_at=now,
            history=[(Status.PENDING, now, 0)],
        )
        self.account(call.broker, call.client_id).orders.append(order)
        self.orders.append(order)
        self._by_id[(call.broker, order_id)] = order
        self.changed(order)
        return order

    def reject(
        self, order: Order, *, cause: str, message: str, now: dt.datetime, raw_message: str = ""
    ) -> None:
        """Reject an accepted order on behalf of the broker's risk system or the exchange."""
        order.cause, order.message, order.raw_message = cause, message, raw_message
        self._set(order, Status.REJECTED, now)

    def match(self, order: Order, quote: Quote, now: dt.datetime) -> int:
        """Try to fill an order against ``quote``; returns the units filled now.

        A limit at or through the other side fills at that side's price; anything else rests. A
        stop waits until the last price reaches its trigger. IOC cancels what did not fill.
        """
        if order.status.is_final:
            return 0
        if not order.exchange_order_id:
            order.exchange_order_id = f"1{order.order_id[6:]:0>15}"
        if order.order_type == "SL" and not self._triggered(order, quote):
            self._set(order, Status.TRIGGER_PENDING, now)
            return 0
        price = quote.ask if order.sign > 0 else quote.bid
        crosses = order.price >= price if order.sign > 0 else order.price <= price
        ceiling = order.quantity if order.fill_cap is None else order.fill_cap
        quantity = max(ceiling - order.filled, 0) if crosses else 0
        if quantity:
            self._fill(order, quantity, price, now)
        if order.filled == order.quantity:
            self._set(order, Status.COMPLETE, now)
        elif order.call.validity == "IOC":
            self.cancel(order, now)
        elif order.status is not Status.OPEN or quantity:
            self._set(order, Status.OPEN, now)
        return quantity

    def cancel(self, order: Order, now: dt.datetime) -> bool:
        """Cancel the unfilled rest; false if the order is already final."""
        if order.status.is_final:
            return False
        order.cancelled = order.quantity - order.filled
        self._set(order, Status.CANCELLED, now)
        return True

    def modify(
        self,
        order: Order,
        *,
        now: dt.datetime,
        quantity: int | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        order_type: str | None = None,
    ) -> bool:
        """Change an open order (``quantity`` is the new total); false if it is final or would fall
        below what has filled. A changed order may fill completely again."""
        if order.status.is_final or (quantity is not None and quantity < max(order.filled, 1)):
            return False
        order.quantity = quantity if quantity is not None else order.quantity
        order.price = price if price is not None else order.price
        order.trigger_price = trigger_price if trigger_price is not None else order.trigger_price
        order.order_type = order_type or order.order_type
        order.fill_cap = None
        order.changes += 1
        order.updated_at = now
        order.history.append((order.status, now, order.filled))
        order.just_changed = True
        self.changed(order)
        order.just_changed = False
        return True

    def roll_day(self) -> None:
        """Start a new trading day: empty books, no intraday positions; carried ones stay."""
        for account in self.accounts.values():
            carried = {
                (row.contract.token, row.product): row
                for row in account.holdings()
                if row.product == "NRML" and row.quantity
            }
            account.carried = carried
            account.orders = []
            account.cash_flow = Decimal(0)
            account.net = {
                row.contract.token: (row.contract, row.quantity) for row in carried.values()
            }
        self._resting.clear()
        self.last_trades.clear()

    # -- inside ----------------------------------------------------------------------------------
    def _order_id(self, broker: str, now: dt.datetime) -> str:
        width = 9 if broker == "zerodha" else 8
        return f"{now:%y%m%d}{self.last_sequence:0{width}d}"

    @staticmethod
    def _triggered(order: Order, quote: Quote) -> bool:
        if order.sign > 0:
            return quote.last >= order.trigger_price
        return quote.last <= order.trigger_price

    def _fill(self, order: Order, quantity: int, price: Decimal, now: dt.datetime) -> None:
        order.filled += quantity
        order.fill_value += quantity * price
        trade_id = f"{order.exchange_order_id[-8:]}{len(order.trades)}"
        trade = self.last_trades[order.contract.token] = Trade(trade_id, quantity, price, now)
        order.trades.append(trade)
        account = self.account(order.call.broker, order.call.client_id)
        token = order.contract.token
        net = account.net[token][1] if token in account.net else 0
        account.net[token] = (order.contract, net + order.sign * quantity)
        if order.contract.kind != "FUT":
            account.cash_flow -= order.sign * quantity * price

    def _set(self, order: Order, status: Status, now: dt.datetime) -> None:
        if order.status is not status or order.trades:
            order.history.append((status, now, order.filled))
        order.status = status
        order.updated_at = now
        orders = self._resting.get(order.contract.token)
        if status in (Status.OPEN, Status.TRIGGER_PENDING):
            if orders is None:
                orders = self._resting[order.contract.token] = {}
            orders[order.order_id] = order
        elif orders is not None:
            orders.pop(order.order_id, None)
            if not orders:
                del self._resting[order.contract.token]
        self.changed(order)


def _nobody(_order: Order) -> None:
    """Default listener: does nothing."""
