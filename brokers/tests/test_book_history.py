"""Books that list each order's history: one broker id is one order, in its latest state."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, OrderReport
from brokers.tests.dialects import Dialect, adapter_of, answer, every_broker

TAG = "Q0123456789abA"
#: A life as its broker tells it, oldest first: status, filled units, second of the day's 09:20.
LIFE = [("OPEN PENDING", 0, 1), ("OPEN", 0, 1), ("OPEN", 65, 2), ("COMPLETE", 130, 3)]


def state_row(dialect: Dialect, life: tuple[str, int, int], *, timed: bool = True) -> Any:
    """One state of the order in the broker's words."""
    status, filled, second = life
    row = dict(dialect.row(TAG, "OPEN"))
    if dialect.kind == "zerodha":
        row |= {"status": status, "filled_quantity": filled, "average_price": 81.35 * bool(filled)}
        stamp = {"exchange_update_timestamp": f"2026-08-25 09:20:{second:02}"}
    else:
        row |= {"status": {"OPEN PENDING": "PENDING"}.get(status, status)}
        row |= {"fillshares": str(filled), "avgprc": "81.35"} if filled else {}
        stamp = {"norentm": f"09:20:{second:02} 25-08-2026"}
    return row | (stamp if timed else {})


def in_their_order(dialect: Dialect, rows: list[Any]) -> list[Any]:
    """Kite tells an order's history oldest first, Noren newest first."""
    return rows if dialect.kind == "zerodha" else rows[::-1]


def orders(dialect: Dialect, rows: list[Any]) -> tuple[OrderReport, ...]:
    read = adapter_of(dialect).parse_order_book(answer(200, _wrapped(dialect, rows)))
    assert read.ok
    return tuple(read.orders)


def _wrapped(dialect: Dialect, rows: list[Any]) -> Any:
    return {"status": "success", "data": rows} if dialect.kind == "zerodha" else rows


@every_broker
@pytest.mark.parametrize("timed", [True, False], ids=["with times", "without"])
def test_the_same_id_three_times_is_one_order(dialect: Dialect, timed: bool) -> None:
    """Bug: DUPLICATE raised falsely, half of the orders stuck, 24 positions open."""
    for length in range(1, len(LIFE) + 1):
        rows = [state_row(dialect, life, timed=timed) for life in LIFE[:length]]
        (order,) = orders(dialect, in_their_order(dialect, rows))
        assert order.filled_quantity == LIFE[length - 1][1]
        assert (order.state is BookState.FILLED) == (length == len(LIFE))
        assert (order.state is BookState.SUBMITTED) == (length == 1)


@every_broker
def test_list_order_decides_within_one_second(dialect: Dialect) -> None:
    rows = [state_row(dialect, ("OPEN PENDING", 0, 1)), state_row(dialect, ("OPEN", 0, 1))]
    (order,) = orders(dialect, in_their_order(dialect, rows))
    assert order.state is BookState.OPEN
    (control,) = orders(dialect, in_their_order(dialect, rows)[::-1])
    assert control.state is BookState.SUBMITTED


@every_broker
def test_a_later_time_beats_the_lists_order(dialect: Dialect) -> None:
    rows = [state_row(dialect, ("OPEN PENDING", 0, 1)), state_row(dialect, ("OPEN", 0, 2))]
    for listed in (rows, rows[::-1]):
        (order,) = orders(dialect, listed)
        assert order.state is BookState.OPEN


@every_broker
@pytest.mark.parametrize("final", ["COMPLETE", "CANCELLED", "REJECTED"])
def test_an_order_never_steps_back_from_a_final_state(dialect: Dialect, final: str) -> None:
    filled = 130 if final == "COMPLETE" else 0
    rows = [state_row(dialect, (final, filled, 1)), state_row(dialect, ("OPEN", 0, 9))]
    for listed in (rows, rows[::-1]):
        (order,) = orders(dialect, listed)
        assert order.state.is_terminal


@every_broker
def test_two_ids_are_two_orders_in_the_books_order(dialect: Dialect) -> None:
    """Control: a real duplicate is still one."""
    name = "order_id" if dialect.kind == "zerodha" else "norenordno"
    rows = [state_row(dialect, LIFE[1]) | {name: number} for number in ("1001", "1002")]
    rows += [state_row(dialect, LIFE[2]) | {name: "1001"}]
    seen = orders(dialect, rows)
    assert [order.broker_order_id for order in seen] == ["1001", "1002"]
    assert [order.filled_quantity for order in seen] == [65, 0]


_lives = st.lists(
    st.tuples(
        st.sampled_from(["OPEN PENDING", "OPEN", "COMPLETE", "CANCELLED", "REJECTED", "ODD"]),
        st.sampled_from([0, 65, 130]),
        st.integers(0, 59),
    ),
    min_size=1,
    max_size=6,
)


@every_broker
@given(lives=_lives, timed=st.lists(st.booleans(), min_size=6, max_size=6), seed=st.integers(0, 99))
def test_any_history_is_one_order_that_loses_no_fill(
    dialect: Dialect, lives: list[tuple[str, int, int]], timed: list[bool], seed: int
) -> None:
    rows = [
        state_row(dialect, life, timed=has_time)
        for life, has_time in zip(lives, timed, strict=False)
    ]
    alone = [orders(dialect, [row])[0] for row in rows]
    random.Random(seed).shuffle(rows)
    (order,) = orders(dialect, rows)
    assert order in alone
    assert order.state.is_terminal == any(report.state.is_terminal for report in alone)
    if not order.state.is_terminal:
        assert order.filled_quantity == max(report.filled_quantity for report in alone)
