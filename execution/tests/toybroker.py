"""A broker small enough to be checked by eye: orders, fills, a book that may be late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import BookState, Cause, OrderReport
from execution.live import LiveIntent
from execution.tags import parse_tag

#: Seconds after a send for which an accepted order may be missing from the book.
VISIBILITY = 8.0


@dataclass(slots=True)
class ToyOrder:
    """One order that reached the broker. ``visible_from`` is monotonic."""

    intent: LiveIntent
    tag: str
    quantity: int
    visible_from: float
    state: BookState = BookState.OPEN
    filled: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return not self.state.is_terminal


class ToyBroker:
    """Keeps its own truth, which no rule of ours may contradict."""

    def __init__(self) -> None:
        self.orders: list[ToyOrder] = []
        #: leg -> signed units that the customer traded by hand
        self.by_hand: dict[str, int] = defaultdict(int)
        #: leg -> units that the customer ever traded by hand, both ways
        self.turnover: dict[str, int] = defaultdict(int)

    def place(self, intent: LiveIntent, now: float, hidden: float) -> ToyOrder:
        """An order arrives; its book row may be hidden until ``hidden`` seconds after the send."""
        order = ToyOrder(intent, intent.tag, intent.quantity, max(now, intent.sent_mono + hidden))
        if hidden == 0.0:
            order.visible_from = now
        self.orders.append(order)
        return order

    def open_orders(self) -> list[ToyOrder]:
        """Orders that may still fill."""
        return [order for order in self.orders if order.is_open]

    def fill(self, order: ToyOrder, units: int) -> None:
        """Fill at most ``units`` of an open order."""
        order.filled = min(order.quantity, order.filled + units)
        if order.filled == order.quantity:
            order.state = BookState.FILLED

    def trade_by_hand(self, leg_key: str, units: int) -> None:
        """The customer trades ``units`` (signed) in the broker's own app."""
        self.by_hand[leg_key] += units
        self.turnover[leg_key] += abs(units)

    def of(self, intent: LiveIntent) -> list[ToyOrder]:
        """Every order that carries one of the intent's tags."""
        return [order for order in self.orders if order.intent is intent]

    def ours(self, leg_key: str) -> int:
        """Signed units that our orders left in a leg."""
        return sum(
            order.filled * order.intent.side.sign
            for order in self.orders
            if order.intent.leg_key == leg_key
        )

    def net(self, leg_key: str) -> int:
        """What a position read shows for a leg's contract."""
        return self.ours(leg_key) + self.by_hand[leg_key]

    def row(self, intent: LiveIntent, now: float) -> OrderReport | None:
        """The book's row for the intent's newest send, else of an older one that lives."""
        visible = [order for order in self.of(intent) if order.visible_from <= now]
        newest = [order for order in visible if self._attempt(order) == intent.sends]
        alive = [order for order in visible if order.state is not BookState.REJECTED]
        found = newest or alive
        return self._report(found[0]) if found else None

    @staticmethod
    def _attempt(order: ToyOrder) -> int:
        tag = parse_tag(order.tag)
        assert tag is not None
        return tag.attempt

    @staticmethod
    def _report(order: ToyOrder) -> OrderReport:
        return OrderReport(
            broker_order_id=f"B{order.tag}",
            tag=order.tag,
            state=order.state,
            quantity=order.quantity,
            filled_quantity=order.filled,
            average_price=Decimal(100) if order.filled else Decimal(0),
            cause=Cause.MARGIN if order.state is BookState.REJECTED else None,
        )


def at_most_one_each(broker: ToyBroker, intents: Iterable[LiveIntent]) -> bool:
    """Whether no intent ever reached the broker twice (I1, I3)."""
    return all(len(broker.of(intent)) <= 1 for intent in intents)
