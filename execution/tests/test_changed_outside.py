"""Orders that somebody changed in the broker's own app: final with what they are, and told."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from brokers.base import BookState, OrderReport
from execution import lifecycle, transitions
from execution.alarms import CHANGED_OUTSIDE
from execution.descriptions import explain
from execution.state import LiveIntent
from execution.tests.inmemory import ENTRY_AT, LOT, live_intent, report

NOW = 1000.0


def at_broker(**fields: Any) -> LiveIntent:
    values: dict[str, Any] = {"sends": 1, "quantity": 2 * LOT, "filled_quantity": LOT}
    return live_intent(**({"state": lifecycle.PARTIAL} | values | fields))


def row(intent: LiveIntent, state: BookState, filled: int, quantity: int) -> OrderReport:
    return dataclasses.replace(report(intent, state, filled), quantity=quantity)


@pytest.mark.parametrize("purpose", [lifecycle.ENTRY, lifecycle.EXIT, lifecycle.UNWIND])
@pytest.mark.parametrize(
    "state", [lifecycle.SENDING, lifecycle.UNKNOWN, lifecycle.ACCEPTED, lifecycle.PARTIAL]
)
def test_complete_65_of_our_130_is_final_with_65(purpose: str, state: str) -> None:
    """Seen: PARTIAL for ever, no alarm."""
    filled = LOT if state == lifecycle.PARTIAL else 0
    intent = at_broker(state=state, purpose=purpose, filled_quantity=filled)
    book_row = row(intent, BookState.FILLED, LOT, LOT)
    assert transitions.apply_report(intent, book_row, at=ENTRY_AT, now_mono=NOW)
    assert (intent.state, intent.filled_quantity) == (lifecycle.CANCELLED, LOT)
    assert intent.cause == CHANGED_OUTSIDE
    assert intent.final_at == ENTRY_AT
    assert transitions.is_changed(intent, book_row)
    assert "changed at the broker" in explain(intent.cause)
    assert not transitions.apply_report(intent, book_row, at=ENTRY_AT, now_mono=NOW)


@pytest.mark.parametrize(
    ("state", "filled", "quantity", "changed"),
    [
        (BookState.FILLED, LOT, 2 * LOT, False),  # the state before the quantity: read again
        (BookState.OPEN, LOT, LOT, True),  # cut down, not yet said to be complete
        (BookState.OPEN, LOT, 2 * LOT, False),
        (BookState.OTHER, 0, 0, False),  # could not be read
    ],
)
def test_what_is_not_complete_with_its_own_quantity_is_not_final(
    state: BookState, filled: int, quantity: int, changed: bool
) -> None:
    intent = at_broker()
    book_row = row(intent, state, filled, quantity)
    transitions.apply_report(intent, book_row, at=ENTRY_AT, now_mono=NOW)
    assert intent.state == lifecycle.PARTIAL
    assert transitions.is_changed(intent, book_row) == changed


def test_an_order_made_larger_is_filled_and_told() -> None:
    intent = at_broker()
    book_row = row(intent, BookState.FILLED, 3 * LOT, 3 * LOT)
    assert transitions.apply_report(intent, book_row, at=ENTRY_AT, now_mono=NOW)
    assert (intent.state, intent.filled_quantity) == (lifecycle.FILLED, 2 * LOT)
    assert transitions.is_changed(intent, book_row)
