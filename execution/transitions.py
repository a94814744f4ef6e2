"""From a broker's answer (or its absence) to the next state of an intent. Pure.

Only a proof of non-acceptance makes an intent sendable again; an answer that proves nothing makes
it UNKNOWN, and only the broker's book ends that. This is I3 (no second send without proof).
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from brokers.base import BookState, OrderReport, Outcome, SendResult
from execution import duplicates, lifecycle, price_changes
from execution.absence_proof import AbsenceProof
from execution.alarms import CHANGED_OUTSIDE, PRICE_BAND
from execution.backoff import EXIT_REST_SECONDS, exit_backoff, price_backoff
from execution.causes import BROKER_DOWN
from execution.next_steps import STUCK_AFTER
from execution.state import LiveIntent
from execution.tags import MAX_SENDS

RETRY_DELAYS: Final = (0.25, 1.0, 3.0)


def retry_delay(sends: int, jitter: float) -> float:
    """Seconds before the next send after ``sends`` sends; ``jitter`` is 0..1 (adds up to 20 %)."""
    base = RETRY_DELAYS[min(sends, len(RETRY_DELAYS)) - 1]
    return base * (1 + 0.2 * jitter)


def finish(intent: LiveIntent, state: str, at: dt.datetime, now_mono: float) -> None:
    """Make an intent final. For an exit, also set when its leg may be tried again."""
    intent.state = state
    intent.final_at = at
    intent.proof = None
    if intent.purpose != lifecycle.ENTRY:
        refused = intent.cause == PRICE_BAND
        pause = (
            price_backoff(intent.attempt_group, told=intent.band is not None)
            if refused
            else exit_backoff(intent.attempt_group)
        )
        # A broker that throttles may have asked for a longer wait.
        intent.not_before_mono = max(intent.not_before_mono, now_mono + pause)


def apply_answer(
    intent: LiveIntent,
    result: SendResult,
    *,
    at: dt.datetime,
    now_mono: float,
    jitter: float,
    wait: float = 0.0,
) -> None:
    """Apply the answer to a place call. ``wait``: seconds to pause, as the broker requested.

    For an UNKNOWN, ``now_mono`` is a moment after which no byte of the order can leave any more.
    """
    if intent.state != lifecycle.SENDING:
        return  # the book was faster, or showed more
    intent.answered_at = at
    intent.message = result.message
    if result.outcome is Outcome.ACCEPTED:
        intent.state = lifecycle.ACCEPTED
        intent.broker_order_id = result.broker_order_id
        intent.cause = ""
        if intent.purpose != lifecycle.ENTRY:
            intent.cancel_after_mono = now_mono + EXIT_REST_SECONDS
    elif result.outcome is Outcome.UNKNOWN:
        become_unknown(intent, now_mono)
    else:
        cause = str(result.cause or "OTHER")
        intent.band = result.band
        retryable = result.retryable or result.outcome is Outcome.NOT_SENT
        refuse(intent, cause, retryable=retryable, at=at, now_mono=now_mono, jitter=jitter)
        intent.not_before_mono = max(intent.not_before_mono, now_mono + wait)


def refuse(
    intent: LiveIntent,
    cause: str,
    *,
    retryable: bool,
    at: dt.datetime,
    now_mono: float,
    jitter: float,
) -> None:
    """Note a proven non-acceptance: sendable again if ``retryable`` and sends are left, else final
    (REJECTED, or MISSED after the last send)."""
    intent.cause = cause
    if not retryable:
        finish(intent, lifecycle.REJECTED, at, now_mono)
    elif intent.sends >= MAX_SENDS:
        finish(intent, lifecycle.MISSED, at, now_mono)
    else:
        intent.state = lifecycle.PLANNED
        intent.not_before_mono = now_mono + retry_delay(intent.sends, jitter)


def not_sent(
    intent: LiveIntent,
    cause: str,
    message: str,
    *,
    at: dt.datetime,
    now_mono: float,
    jitter: float,
) -> None:
    """Note a try without a connection: no byte left, so it uses up none of the three sends.

    An entry is tried until its grace ends. An exit starts over after three tries, at a fresh price.
    """
    intent.cause, intent.message = cause, message
    intent.unconnected += 1
    intent.sends = max(0, intent.sends - 1)
    if intent.purpose != lifecycle.ENTRY and intent.unconnected >= MAX_SENDS:
        finish(intent, lifecycle.MISSED, at, now_mono)
    else:
        intent.state = lifecycle.PLANNED
        intent.not_before_mono = now_mono + retry_delay(intent.unconnected, jitter)


def become_unknown(intent: LiveIntent, now_mono: float) -> None:
    """Note that it is unknown whether the order exists; the book will be read."""
    intent.state = lifecycle.UNKNOWN
    intent.unknown_since_mono = now_mono
    intent.proof = None


def apply_report(
    intent: LiveIntent, report: OrderReport, *, at: dt.datetime, now_mono: float
) -> bool:
    """Apply a row of the broker's book with our tag; return whether the intent changed.

    A final intent's fills are only corrected upward (a late fill of a cancelled order).
    """
    before = _book_fields(intent)
    intent.seen_mono = now_mono
    intent.resized = is_changed(intent, report)
    if intent.is_final and report.filled_quantity <= intent.filled_quantity:
        return False
    intent.broker_order_id = report.broker_order_id or intent.broker_order_id
    intent.proof = None
    price_changes.note_price(intent, report.price, at=at, now_mono=now_mono)
    if report.filled_quantity >= intent.filled_quantity:
        intent.filled_quantity = min(report.filled_quantity, intent.quantity)
        intent.average_price = report.average_price
    if intent.filled_quantity == intent.quantity:
        # Fills decide over the state beside them, which may be a moment older.
        intent.cause = ""
        finish(intent, lifecycle.FILLED, at, now_mono)
    elif is_cut_down(intent, report):
        intent.cause = CHANGED_OUTSIDE
        intent.message = report.message or intent.message
        finish(intent, lifecycle.CANCELLED, at, now_mono)
    elif report.state is BookState.REJECTED:
        intent.cause = str(report.cause or "OTHER")
        intent.band = report.band
        intent.message = report.message or intent.message
        finish(intent, lifecycle.REJECTED, at, now_mono)
    elif report.state is BookState.CANCELLED:
        asked = intent.cancel_cause or "NOT_FILLED"
        withdrawn = asked if intent.cancel_sent_mono else "CANCELLED_BY_BROKER"
        intent.cause = str(report.cause or withdrawn)
        intent.band = report.band
        intent.message = report.message or intent.message
        finish(intent, lifecycle.CANCELLED, at, now_mono)
    elif not intent.is_final:
        if intent.purpose != lifecycle.ENTRY and not intent.cancel_after_mono:
            intent.cancel_after_mono = now_mono + EXIT_REST_SECONDS
        intent.cause = ""
        intent.state = lifecycle.PARTIAL if intent.filled_quantity else lifecycle.ACCEPTED
    return _book_fields(intent) != before


def _book_fields(intent: LiveIntent) -> tuple[object, ...]:
    """The fields of an intent that a row of the book may change."""
    return (
        intent.state,
        intent.filled_quantity,
        intent.average_price,
        intent.broker_order_id,
        intent.price,
        intent.changes,
    )


def is_cut_down(intent: LiveIntent, report: OrderReport) -> bool:
    """Whether the broker completed less than we ordered, because somebody reduced the order.

    The order must be filled to its own full quantity, which a half-written row does not show.
    """
    return (
        report.state is BookState.FILLED
        and 0 < report.quantity < intent.quantity
        and report.filled_quantity == report.quantity
    )


def is_changed(intent: LiveIntent, report: OrderReport) -> bool:
    """Whether the order at the broker is for another quantity than ours, smaller or larger."""
    return report.quantity not in (0, intent.quantity)


def apply_absence(
    intent: LiveIntent,
    *,
    read_started_mono: float,
    visibility_delay: float,
    at: dt.datetime,
    now_mono: float,
    jitter: float,
) -> bool:
    """Apply a successful book read without the tag of an UNKNOWN intent; return whether the intent
    changed."""
    if intent.state != lifecycle.UNKNOWN:
        return False
    if intent.proof is None:
        # Not from the send: the kernel may have retransmitted until the socket was reset. The
        # intent becomes UNKNOWN after that; after a restart, when we began to read the book.
        last = max(intent.sent_mono, intent.unknown_since_mono) or now_mono
        intent.proof = AbsenceProof(last, visibility_delay)
    intent.proof.visibility_delay = visibility_delay  # it may have been learnt anew since
    if not intent.proof.missing(read_started_mono):
        return False
    # The proof is only as good as what we know of the broker: keep watching for a while.
    duplicates.watch(intent, visibility_delay, now_mono)
    refuse(intent, BROKER_DOWN, retryable=True, at=at, now_mono=now_mono, jitter=jitter)
    return True


def escalate_if_stuck(intent: LiveIntent, *, at: dt.datetime, now_mono: float) -> bool:
    """Escalate an entry that was UNKNOWN for two minutes to a person; return whether it changed.

    ESCALATED is one of the ends of I4 (every intent ends by name). An exit is never given up like
    this: an alarm is raised and the book is read further, because another exit beside it might open
    a position and break I5 (never more than planned or held).
    """
    if intent.state != lifecycle.UNKNOWN or not intent.unknown_since_mono:
        return False
    if intent.purpose != lifecycle.ENTRY or now_mono - intent.unknown_since_mono < STUCK_AFTER:
        return False
    intent.cause = "UNRESOLVED"
    finish(intent, lifecycle.ESCALATED, at, now_mono)
    return True
