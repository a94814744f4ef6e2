"""A broker small enough to be checked by eye: one account's orders, fills, hand trades, and what
its positions and its order book say of them: late, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import BookState, Cause, NetPosition, OrderReport, Product, Side
from execution.state import LiveIntent
from execution.tags import parse_tag

#: Seconds after a send for which an accepted order may be missing from the book.
VISIBILITY = 8.0


@dataclass(slots=True)
class ToyOrder:
    """One order that reached the broker. ``visible_from`` is monotonic, ``price`` what it fills at,
    ``limit`` where it rests.

    ``stubborn``: it rests, and no cancel is obeyed. ``yields``: another limit ends that. ``shown``:
    a book that was read has had it.
    """

    intent: LiveIntent | None
    tag: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    visible_from: float
    state: BookState = BookState.OPEN
    filled: int = 0
    stubborn: bool = False
    yields: bool = False
    limit: Decimal | None = None
    hidden: float = 0.0
    shown: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return not self.state.is_terminal

    @property
    def rest(self) -> int:
        """Units that may still fill."""
        return self.quantity - self.filled if self.is_open else 0

    @property
    def signed(self) -> int:
        """Signed units that it has traded."""
        return self.filled * self.side.sign


class ToyBroker:
    """Keeps its own truth, which no rule of ours may contradict."""

    def __init__(self, lag: float = 0.0) -> None:
        """``lag``: seconds by which the list of positions is behind."""
        self.orders: list[ToyOrder] = []
        self.lag = lag
        self.positions_fail = False
        self.book_fails = False
        #: symbol -> (when, net), ascending
        self._nets: dict[str, list[tuple[float, int]]] = {}

    # -- orders --------------------------------------------------------------------------------
    def place(
        self, intent: LiveIntent, tag: str, now: float, hidden: float, price: Decimal
    ) -> ToyOrder | None:
        """An order arrives; its book row is hidden for ``hidden`` seconds. None: refused, because
        an earlier send of the same intent holds the margin."""
        order = ToyOrder(
            intent, tag, symbol(intent.contract_id), intent.side, intent.quantity, price, now
        )
        order.visible_from, order.hidden, order.limit = now + hidden, hidden, intent.price
        if any(other.is_open or other.filled for other in self.of(intent)):
            order.state, order.visible_from = BookState.REJECTED, now
            self.orders.append(order)
            return None
        self.orders.append(order)
        return order

    def of(self, intent: LiveIntent) -> list[ToyOrder]:
        """Every order that carries one of the intent's tags."""
        return [order for order in self.orders if order.intent is intent]

    def open_orders(self) -> list[ToyOrder]:
        """Orders that may still fill."""
        return [order for order in self.orders if order.is_open]

    def fill(self, order: ToyOrder, units: int, now: float) -> None:
        """Fill at most ``units`` of an open order."""
        order.filled = min(order.quantity, order.filled + units)
        if order.filled == order.quantity:
            order.state = BookState.FILLED
        self._note(order.symbol, now)

    def change(self, order: ToyOrder, limit: Decimal) -> bool:
        """Give an open order another limit; False where it is final."""
        if not order.is_open:
            return False
        order.limit = limit
        order.stubborn = order.stubborn and not order.yields
        return True

    def trade_by_hand(self, contract: int, units: int, now: float) -> None:
        """The customer trades ``units`` (signed) in the broker's own app."""
        side = Side.BUY if units > 0 else Side.SELL
        order = ToyOrder(None, "", symbol(contract), side, abs(units), Decimal(90), now)
        self.orders.append(order)
        self.fill(order, abs(units), now)

    # -- the truth -----------------------------------------------------------------------------
    def net(self, contract: int) -> int:
        """Signed units of a contract that the account holds now."""
        return sum(o.signed for o in self.orders if o.symbol == symbol(contract))

    def by_hand(self, contract: int) -> int:
        """Signed units of a contract that the customer has traded."""
        mine = (o for o in self.orders if o.symbol == symbol(contract) and o.intent is None)
        return sum(order.signed for order in mine)

    def _note(self, name: str, now: float) -> None:
        net = sum(order.signed for order in self.orders if order.symbol == name)
        self._nets.setdefault(name, []).append((now, net))

    # -- what it says --------------------------------------------------------------------------
    def positions(self, now: float) -> list[NetPosition] | None:
        """Its list of positions as of :attr:`lag` seconds ago; None when it does not answer."""
        if self.positions_fail:
            return None
        positions = []
        for name, nets in self._nets.items():
            known = [net for at, net in nets if at <= now - self.lag]
            positions.append(NetPosition("NFO", name, Product.INTRADAY, known[-1] if known else 0))
        return positions

    def book(self, now: float) -> list[OrderReport] | None:
        """Its order book; None when it does not answer."""
        if self.book_fails:
            return None
        visible = [(n, order) for n, order in enumerate(self.orders) if order.visible_from <= now]
        for _, order in visible:
            order.shown = True
        return [report(order, number) for number, order in visible]


def report(order: ToyOrder, number: int) -> OrderReport:
    """The book's row of an order."""
    return OrderReport(
        broker_order_id=f"B{number}",
        tag=order.tag,
        state=order.state,
        quantity=order.quantity,
        filled_quantity=order.filled,
        average_price=order.price if order.filled else Decimal(0),
        symbol=order.symbol,
        exchange="NFO",
        side=order.side,
        product=Product.INTRADAY,
        cause=Cause.MARGIN if order.state is BookState.REJECTED else None,
        price=order.limit,
    )


def symbol(contract: int) -> str:
    """The broker's name of a contract."""
    return f"C{contract}"


def by_code(rows: Iterable[OrderReport]) -> dict[str, list[tuple[int, OrderReport]]]:
    """Rows with a tag of ours, by the intent's code, each with the number of its send."""
    by_intent: dict[str, list[tuple[int, OrderReport]]] = {}
    for row in rows:
        tag = parse_tag(row.tag)
        if tag is not None:
            by_intent.setdefault(tag.code, []).append((tag.attempt, row))
    return by_intent
