"""In which order the orders of one second leave."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from execution.engine.entries.rotation import rotated

#: Customer, priority, account: three customers, two of them with several accounts.
ALLOCATIONS = (("a", 1, 11), ("a", 2, 12), ("a", 3, 13), ("b", 1, 14), ("b", 2, 10), ("c", 1, 15))


def order_on(day: dt.date) -> list[tuple[str, int]]:
    """Customers with their priorities, in the order in which they are sent."""
    run = SimpleNamespace(trade_date=day)
    plans: list[Any] = [
        SimpleNamespace(
            execution=SimpleNamespace(
                partner_id=None,
                customer_email=customer,
                priority=priority,
                account_id=account,
                run=run,
            )
        )
        for customer, priority, account in reversed(ALLOCATIONS)
    ]
    return [(p.execution.customer_email, p.execution.priority) for p in rotated(plans)]


DAYS = [dt.date(2026, 9, 7) + dt.timedelta(days=n) for n in range(5)]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_rotation_broke_the_priorities_of_a_customer(day: dt.date) -> None:
    """Seen: 2, 3, 1, 1, 2."""
    order = order_on(day)
    assert len(order) == len(ALLOCATIONS)
    for customer in "abc":
        mine = [priority for whose, priority in order if whose == customer]
        assert mine == sorted(mine)
        places = [n for n, (whose, _) in enumerate(order) if whose == customer]
        assert places == list(range(places[0], places[0] + len(places))), "one after the other"


def test_another_customer_is_first_on_another_day() -> None:
    assert {order_on(day)[0][0] for day in DAYS} == {"a", "b", "c"}


def test_nobody_is_no_order() -> None:
    assert rotated([]) == []
