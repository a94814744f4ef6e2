"""The story and the evidence side by side, in the forms that the checks need. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from clients.demo.evidence import BookOrder, Evidence, Execution, Order
from clients.demo.story import Customer, Expected, Leg, Story


@dataclass(frozen=True)
class Part:
    """One subscription: the story's expectation and what was observed."""

    expected: Expected
    seen: Execution | None

    @property
    def name(self) -> str:
        return f"{self.expected.customer.client_id} {self.expected.plan.key}"

    @property
    def entries(self) -> list[Order]:
        return self.seen.entries if self.seen else []

    @property
    def is_resolved(self) -> bool:
        return self.seen is None or self.seen.is_resolved


class Day:
    """The story and the evidence side by side."""

    def __init__(self, story: Story, evidence: Evidence) -> None:
        self.story = story
        self.evidence = evidence
        self.parts = [
            Part(outcome, evidence.executions.get((outcome.customer.email, outcome.plan.key)))
            for outcome in story.expected()
        ]
        self.entries = [order for part in self.parts for order in part.entries]
        self.entry_codes = {order.code for order in self.entries}
        self.known_codes = {order.code for _, seen in self.executions() for order in seen.orders}
        self.by_code: dict[str, list[BookOrder]] = defaultdict(list)
        for row in sorted(evidence.book, key=lambda order: order.received_at):
            if row.code and row.status != "REJECTED":
                self.by_code[row.code].append(row)

    def executions(self) -> Iterator[tuple[str, Execution]]:
        """Name and execution of everything traded: by customers of one partner, and of two."""
        yield from ((part.name, part.seen) for part in self.parts if part.seen)
        yield from self.evidence.twice.executions.items()

    def symbol(self, customer: Customer, leg: Leg) -> str:
        """The name of the leg's contract at the customer's broker today."""
        key = (customer.broker, leg.option_type, leg.strike(self.evidence.spot))
        return self.evidence.symbols.get(key, f"no {leg.option_type} {key[2]}")

    def planned(self, expected: Expected) -> Counter[tuple[str, str, int]]:
        """The entry orders of the story: symbol, side, units."""
        return Counter(
            (
                self.symbol(expected.customer, order.leg),
                order.leg.side,
                order.lots * self.evidence.lot_size,
            )
            for order in expected.orders
        )

    def is_whole(self, part: Part) -> bool:
        """Whether exactly the orders of the story were planned."""
        seen = Counter((order.symbol, order.side, order.quantity) for order in part.entries)
        return seen == self.planned(part.expected)

    def filled_at_broker(self, code: str) -> int:
        """Units filled by the first order of an intent (a second one is a duplicate)."""
        return self.by_code[code][0].filled if self.by_code.get(code) else 0
