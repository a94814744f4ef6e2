"""What an answer, a book row or its absence proves, state by state.

The whole of I3 (no second send without proof).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, Cause, OrderReport, Outcome, SendResult
from execution import lifecycle, transitions
from execution.backoff import EXIT_REST_SECONDS
from execution.state import LiveIntent
from execution.tags import MAX_SENDS
from execution.tests.inmemory import ENTRY_AT, LOT, live_intent, report

NOW = 1000.0
OPEN_STATES = (lifecycle.ACCEPTED, lifecycle.PARTIAL)
ALL_STATES = (
    lifecycle.PLANNED,
    lifecycle.SENDING,
    lifecycle.UNKNOWN,
    *OPEN_STATES,
    *sorted(lifecycle.FINAL),
)


def sending(**fields: Any) -> LiveIntent:
    return live_intent(**{"state": lifecycle.SENDING, "sends": 1, "sent_mono": NOW, **fields})


def answer(intent: LiveIntent, result: SendResult, at: float = NOW) -> None:
    transitions.apply_answer(intent, result, at=ENTRY_AT, now_mono=at, jitter=0.5)


def book(intent: LiveIntent, row: OrderReport, at: float = NOW) -> bool:
    return transitions.apply_report(intent, row, at=ENTRY_AT, now_mono=at)


def absent(intent: LiveIntent, read: float, visibility: float = 0.0) -> bool:
    return transitions.apply_absence(
        intent,
        read_started_mono=read,
        visibility_delay=visibility,
        at=ENTRY_AT,
        now_mono=read,
        jitter=0.5,
    )


# -- answers ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("result", "sends", "state", "cause"),
    [
        (SendResult(Outcome.ACCEPTED, broker_order_id="B1"), 1, lifecycle.ACCEPTED, ""),
        (SendResult(Outcome.UNKNOWN, message="timeout"), 1, lifecycle.UNKNOWN, ""),
        (SendResult(Outcome.UNKNOWN), 3, lifecycle.UNKNOWN, ""),
        (SendResult(Outcome.REFUSED, cause=Cause.MARGIN), 1, lifecycle.REJECTED, "MARGIN"),
        (SendResult(Outcome.REFUSED), 1, lifecycle.REJECTED, "OTHER"),
        (
            SendResult(Outcome.REFUSED, cause=Cause.RATE_LIMIT, retryable=True),
            1,
            lifecycle.PLANNED,
            "RATE_LIMIT",
        ),
        (
            SendResult(Outcome.REFUSED, cause=Cause.RATE_LIMIT, retryable=True),
            3,
            lifecycle.MISSED,
            "RATE_LIMIT",
        ),
        (
            SendResult(Outcome.NOT_SENT, cause=Cause.BROKER_DOWN),
            2,
            lifecycle.PLANNED,
            "BROKER_DOWN",
        ),
        (SendResult(Outcome.NOT_SENT, cause=Cause.BROKER_DOWN), 3, lifecycle.MISSED, "BROKER_DOWN"),
    ],
)
def test_what_an_answer_makes_of_a_send(
    result: SendResult, sends: int, state: str, cause: str
) -> None:
    intent = sending(sends=sends)
    answer(intent, result)
    assert (intent.state, intent.cause) == (state, cause)
    assert intent.answered_at == ENTRY_AT
    assert intent.is_final == (intent.final_at is not None)
    if state == lifecycle.PLANNED:
        assert intent.not_before_mono > NOW
    if state == lifecycle.ACCEPTED:
        assert intent.broker_order_id == "B1"


@pytest.mark.parametrize("state", [s for s in ALL_STATES if s != lifecycle.SENDING])
@pytest.mark.parametrize("result", list(Outcome))
def test_a_late_answer_changes_nothing(state: str, result: Outcome) -> None:
    """The book was quicker, or the answer was given up: only SENDING listens to answers."""
    intent = sending(state=state)
    answer(intent, SendResult(result, broker_order_id="B9"))
    assert (intent.state, intent.broker_order_id, intent.answered_at) == (state, "", None)


def test_only_a_proof_makes_an_intent_sendable_again() -> None:
    for result in Outcome:
        for retryable in (False, True):
            intent = sending()
            answer(intent, SendResult(result, retryable=retryable))
            proven = result is Outcome.NOT_SENT or (result is Outcome.REFUSED and retryable)
            assert (intent.state == lifecycle.PLANNED) == proven


def test_an_accepted_exit_is_withdrawn_after_a_while() -> None:
    """The control: an accepted entry rests."""
    exit_, entry = sending(purpose=lifecycle.EXIT), sending()
    for intent in (exit_, entry):
        answer(intent, SendResult(Outcome.ACCEPTED, broker_order_id="B"))
    assert exit_.cancel_after_mono == NOW + EXIT_REST_SECONDS
    assert entry.cancel_after_mono == 0.0


@given(sends=st.integers(1, MAX_SENDS), jitter=st.floats(0, 1))
def test_back_off_grows_within_its_jitter(sends: int, jitter: float) -> None:
    base = transitions.RETRY_DELAYS[sends - 1]
    assert base <= transitions.retry_delay(sends, jitter) <= base * 1.2


# -- the book -----------------------------------------------------------------------------------
@pytest.mark.parametrize("before", [lifecycle.SENDING, lifecycle.UNKNOWN, *OPEN_STATES])
@pytest.mark.parametrize(
    ("row", "after", "filled", "cause"),
    [
        ((BookState.SUBMITTED, 0), lifecycle.ACCEPTED, 0, ""),
        ((BookState.OPEN, 0), lifecycle.ACCEPTED, 0, ""),
        ((BookState.TRIGGER_PENDING, 0), lifecycle.ACCEPTED, 0, ""),
        ((BookState.OTHER, 0), lifecycle.ACCEPTED, 0, ""),
        ((BookState.OPEN, 20), lifecycle.PARTIAL, 20, ""),
        ((BookState.FILLED, LOT), lifecycle.FILLED, LOT, ""),
        ((BookState.OPEN, LOT), lifecycle.FILLED, LOT, ""),  # fills speak louder than states
        ((BookState.FILLED, 20), lifecycle.PARTIAL, 20, ""),  # state before quantity: keep reading
        ((BookState.CANCELLED, LOT), lifecycle.FILLED, LOT, ""),
        ((BookState.FILLED, LOT + 65), lifecycle.FILLED, LOT, ""),
        ((BookState.REJECTED, 0), lifecycle.REJECTED, 0, "MARGIN"),
        ((BookState.CANCELLED, 0), lifecycle.CANCELLED, 0, "CANCELLED_BY_BROKER"),
        ((BookState.CANCELLED, 20), lifecycle.CANCELLED, 20, "CANCELLED_BY_BROKER"),
    ],
)
def test_what_a_book_row_makes_of_an_order(
    before: str, row: tuple[BookState, int], after: str, filled: int, cause: str
) -> None:
    intent = sending(state=before)
    refusal = Cause.MARGIN if row[0] is BookState.REJECTED else None
    assert book(intent, report(intent, *row, cause=refusal))
    assert (intent.state, intent.filled_quantity, intent.cause) == (after, filled, cause)
    assert intent.broker_order_id == f"B{intent.code}"
    assert intent.is_final == (intent.final_at is not None)


def test_the_same_row_twice_changes_nothing() -> None:
    intent = sending()
    assert book(intent, report(intent, BookState.OPEN, 20))
    assert not book(intent, report(intent, BookState.OPEN, 20))


def test_a_withdrawn_order_says_so() -> None:
    intent = sending(state=lifecycle.ACCEPTED, cancel_sent_mono=NOW)
    book(intent, report(intent, BookState.CANCELLED))
    assert (intent.state, intent.cause) == (lifecycle.CANCELLED, "NOT_FILLED")


def test_fills_never_go_back() -> None:
    intent = sending(state=lifecycle.PARTIAL, filled_quantity=40, average_price=Decimal(101))
    book(intent, report(intent, BookState.OPEN, 20, price=99))
    assert (intent.filled_quantity, intent.average_price) == (40, Decimal(101))


@pytest.mark.parametrize("state", sorted(set(lifecycle.FINAL) - {lifecycle.FILLED}))
def test_a_late_fill_of_a_final_order_is_counted(state: str) -> None:
    intent = sending(state=state, filled_quantity=10, final_at=ENTRY_AT)
    assert book(intent, report(intent, BookState.FILLED, LOT))
    assert (intent.state, intent.filled_quantity) == (lifecycle.FILLED, LOT)
    other = sending(state=state, filled_quantity=10, final_at=ENTRY_AT)
    assert book(other, report(other, BookState.CANCELLED, 30))
    assert other.filled_quantity == 30
    assert other.is_final


@pytest.mark.parametrize("state", sorted(lifecycle.FINAL))
@pytest.mark.parametrize("row", list(BookState))
def test_a_final_order_is_not_moved_without_more_fills(state: str, row: BookState) -> None:
    filled = LOT if state == lifecycle.FILLED else 10
    intent = sending(state=state, filled_quantity=filled, cause="KEPT")
    assert not book(intent, report(intent, row, filled))
    assert (intent.state, intent.filled_quantity, intent.cause) == (state, filled, "KEPT")


def test_an_order_believed_absent_that_turns_up_is_believed() -> None:
    intent = sending(state=lifecycle.PLANNED, sends=2)
    assert book(intent, report(intent, BookState.FILLED, LOT))
    assert intent.state == lifecycle.FILLED


# -- absence ------------------------------------------------------------------------------------
def test_unknown_becomes_sendable_only_by_proven_absence() -> None:
    intent = sending()
    answer(intent, SendResult(Outcome.UNKNOWN))
    assert not absent(intent, NOW + 1)
    assert not absent(intent, NOW + 3)
    assert intent.state == lifecycle.UNKNOWN
    assert absent(intent, NOW + 6.5)
    assert (intent.state, intent.cause) == (lifecycle.PLANNED, "BROKER_DOWN")


def test_the_third_send_that_is_absent_is_missed() -> None:
    intent = sending(sends=3)
    answer(intent, SendResult(Outcome.UNKNOWN))
    for read in (1.0, 3.5, 6.5):
        absent(intent, NOW + read)
    assert (intent.state, intent.cause) == (lifecycle.MISSED, "BROKER_DOWN")


def test_every_send_needs_a_proof_of_its_own() -> None:
    intent = sending()
    answer(intent, SendResult(Outcome.UNKNOWN))
    for read in (1.0, 3.5, 6.5):
        absent(intent, NOW + read)
    intent.state, intent.sends, intent.sent_mono = lifecycle.SENDING, 2, NOW + 8
    answer(intent, SendResult(Outcome.UNKNOWN), NOW + 9)
    assert not absent(intent, NOW + 10)
    assert not absent(intent, NOW + 12)
    assert absent(intent, NOW + 15.5)


def test_seen_once_it_is_not_absent_any_more() -> None:
    intent = sending(state=lifecycle.UNKNOWN)
    absent(intent, NOW + 1)
    book(intent, report(intent, BookState.OPEN))
    assert intent.proof is None
    assert intent.state == lifecycle.ACCEPTED


def test_after_a_restart_the_clock_starts_when_we_began_to_ask() -> None:
    intent = sending(state=lifecycle.UNKNOWN, sent_mono=0.0, unknown_since_mono=NOW)
    for read in (1.0, 3.5):
        assert not absent(intent, NOW + read, visibility=10)
    assert not absent(intent, NOW + 6.5, visibility=10)
    assert absent(intent, NOW + 10.5, visibility=10)


@pytest.mark.parametrize("state", [s for s in ALL_STATES if s != lifecycle.UNKNOWN])
def test_absence_says_nothing_about_any_other_state(state: str) -> None:
    intent = sending(state=state)
    assert not any(absent(intent, NOW + read) for read in (1.0, 3.5, 6.5, 60.0))
    assert intent.state == state


# -- escalation ---------------------------------------------------------------------------------
def test_two_minutes_unknown_page_a_person() -> None:
    intent = sending()
    answer(intent, SendResult(Outcome.UNKNOWN))
    assert not transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=NOW + 119)
    assert transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=NOW + 120)
    assert (intent.state, intent.cause) == (lifecycle.ESCALATED, "UNRESOLVED")
    assert not transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=NOW + 500)


@pytest.mark.parametrize("purpose", [lifecycle.EXIT, lifecycle.UNWIND])
def test_an_exit_is_never_given_up(purpose: str) -> None:
    """Nobody knows whether it filled, so no other one is sent.

    Else I5 (never more than planned or held) would be broken.
    """
    intent = sending(state=lifecycle.UNKNOWN, unknown_since_mono=1.0, purpose=purpose)
    assert not transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=NOW)
    assert intent.state == lifecycle.UNKNOWN


@pytest.mark.parametrize("state", [s for s in ALL_STATES if s != lifecycle.UNKNOWN])
def test_nothing_else_escalates(state: str) -> None:
    intent = sending(state=state, unknown_since_mono=1.0)
    assert not transitions.escalate_if_stuck(intent, at=ENTRY_AT, now_mono=NOW)
    assert intent.state == state


# -- everything at once -------------------------------------------------------------------------
results = st.builds(
    SendResult,
    outcome=st.sampled_from(Outcome),
    broker_order_id=st.sampled_from(["", "B1"]),
    cause=st.none() | st.sampled_from(Cause),
    retryable=st.booleans(),
)
rows = st.tuples(st.sampled_from(BookState), st.integers(0, 2 * LOT))
events = st.lists(results | rows | st.floats(0, 40, allow_nan=False), max_size=25)


@given(events=events)
def test_any_story_keeps_the_rules(events: list[Any]) -> None:
    """Answers, book rows and empty reads in any order: only proofs lead back to PLANNED, fills
    only grow and stay within the order, a final state stays final."""
    intent, now = sending(), NOW
    for event in events:
        before, filled = intent.state, intent.filled_quantity
        proven = False
        if isinstance(event, float):
            now += event
            proven = absent(intent, now)
        elif isinstance(event, SendResult):
            proven = event.outcome is Outcome.NOT_SENT or (
                event.outcome is Outcome.REFUSED and event.retryable
            )
            answer(intent, event, now)
        else:
            book(intent, report(intent, *event), now)
        assert filled <= intent.filled_quantity <= intent.quantity
        assert before not in lifecycle.FINAL or intent.state in lifecycle.FINAL
        if intent.state == lifecycle.PLANNED and before != lifecycle.PLANNED:
            assert proven
            assert before in (lifecycle.SENDING, lifecycle.UNKNOWN)
        if before == lifecycle.UNKNOWN and intent.state != lifecycle.UNKNOWN:
            assert not isinstance(event, SendResult)
        if intent.state == lifecycle.FILLED:
            assert intent.filled_quantity == intent.quantity
        if intent.state == lifecycle.PLANNED:  # the engine sends again
            intent.state, intent.sends, intent.sent_mono = lifecycle.SENDING, intent.sends + 1, now
            assert intent.sends <= MAX_SENDS


def test_a_finished_exit_says_when_its_leg_may_be_tried_again() -> None:
    waits = []
    for attempt in range(6):
        intent = sending(purpose=lifecycle.EXIT, attempt_group=attempt)
        transitions.finish(intent, lifecycle.CANCELLED, ENTRY_AT, NOW)
        waits.append(intent.not_before_mono - NOW)
    assert waits == [0.25, 1.0, 3.0, 5.0, 5.0, 5.0]
    entry = sending()
    transitions.finish(entry, lifecycle.REJECTED, ENTRY_AT + dt.timedelta(seconds=1), NOW)
    assert entry.not_before_mono == 0.0
