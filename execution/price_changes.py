"""Another price for an exit that rests: what was asked of the broker, and what became of it. Pure.

A change gives an order another limit and no other quantity, so that whatever becomes of it (taken,
refused, lost, applied a minute later) no more can fill than the order was for. What its answer says
is not where the order rests: only a row of the book, or an update, shows that. A change of which
nothing was heard is therefore no change and no failure but unknown, and what follows is right in
both cases: the order is changed or cancelled again, and another one is sent when it is final.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from brokers.base import Outcome, SendResult
from execution.backoff import EXIT_REST_SECONDS, exit_backoff

if TYPE_CHECKING:
    from execution.state import LiveIntent

#: Written down, and on its way; taken by the broker; shown by its book; refused; no usable answer;
#: kept back at the last moment, so that no byte of it left.
ASKED: Final = "ASKED"
TAKEN: Final = "TAKEN"
DONE: Final = "DONE"
REFUSED: Final = "REFUSED"
UNKNOWN: Final = "UNKNOWN"
KEPT: Final = "KEPT"
#: The order may rest at the new price.
OPEN: Final = frozenset({ASKED, TAKEN, UNKNOWN})
#: Seconds from a change's answer in which the book should show the new price.
HEARD_WITHIN: Final = 3.0
#: Seconds for which one that is on its way is waited for: its pace, the call and its time-out.
ANSWERED_WITHIN: Final = 20.0
_SAID: Final = {Outcome.ACCEPTED: TAKEN, Outcome.REFUSED: REFUSED, Outcome.NOT_SENT: KEPT}


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was asked for: prices in rupees per unit, times UTC.

    ``source`` and ``age`` (seconds) are of the price that it follows (execution.exit_pricing);
    ``cause`` is why it was kept back or refused, ``message`` in the broker's words.
    """

    before: Decimal
    price: Decimal
    at: dt.datetime
    source: str = ""
    age: Decimal | None = None
    state: str = ASKED
    answered_at: dt.datetime | None = None
    cause: str = ""
    message: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the order may rest at its price, and nobody has seen it there."""
        return self.state in OPEN


# -- what comes next -----------------------------------------------------------------------------
def waits(intent: LiveIntent, now_mono: float) -> bool:
    """Whether the newest change may still be heard of: nothing else is asked meanwhile."""
    newest = _newest(intent)
    if newest is None or not newest.is_open:
        return False
    patience = ANSWERED_WITHIN if newest.state == ASKED else HEARD_WITHIN
    return now_mono < intent.change_mono + patience


def is_wanted(intent: LiveIntent, most: int) -> bool:
    """Whether a change is the next thing to ask for this order. ``most``: how many the broker takes
    of one order.

    One that came to nothing is followed by a cancel; a cancel that comes to nothing, when it is to
    be asked for again, by a change. One that somebody else gave another quantity is left alone.
    """
    asked = sum(change.state != KEPT for change in intent.changes)
    if not intent.broker_order_id or intent.resized or asked >= most:
        return False
    tried = max(intent.change_mono, intent.unchanged_mono)
    newest = _newest(intent)
    worked = newest is not None and newest.state == DONE and tried == intent.change_mono
    return worked or not tried or tried <= intent.cancel_sent_mono


def _newest(intent: LiveIntent) -> Change | None:
    return intent.changes[-1] if intent.changes else None


# -- what was asked ------------------------------------------------------------------------------
def note_wanted(intent: LiveIntent, now_mono: float) -> None:
    """A change is to be asked for: a new round of asking begins."""
    intent.round_mono = now_mono
    # An order that is neither changed nor cancelled for long is an alarm: counted from the first.
    intent.cancel_since_mono = intent.cancel_since_mono or now_mono


def note_asked(intent: LiveIntent, change: Change, now_mono: float) -> None:
    """A change is written down, and about to be sent."""
    intent.changes = (*intent.changes, change)
    intent.change_mono = now_mono


def note_none(intent: LiveIntent, now_mono: float) -> None:
    """There was no change to ask for: no other price, or nobody says that the leg is still held."""
    intent.unchanged_mono = now_mono


# -- what became of it ---------------------------------------------------------------------------
def note_kept(intent: LiveIntent, number: int, cause: str, at: dt.datetime) -> bool:
    """Change ``number`` (from 0) did not leave; whether that is news."""
    if intent.changes[number].state != ASKED:
        return False
    _replace(intent, number, state=KEPT, answered_at=at, cause=cause)
    return True


def note_answer(
    intent: LiveIntent, number: int, result: SendResult, *, at: dt.datetime, now_mono: float
) -> bool:
    """The answer to change ``number`` (from 0), or its absence; whether that is news.

    One that names another order says nothing of ours.
    """
    if intent.changes[number].state != ASKED:
        return False  # the book was quicker
    state = _SAID.get(result.outcome, UNKNOWN)
    if state == TAKEN and result.broker_order_id != intent.broker_order_id:
        state = UNKNOWN
    cause = str(result.cause or "") if state != TAKEN else ""
    message = result.message[:300]
    _replace(intent, number, state=state, answered_at=at, cause=cause, message=message)
    intent.change_mono = now_mono
    intent.band = result.band if state == REFUSED else None
    return True


def note_price(
    intent: LiveIntent, price: Decimal | None, *, at: dt.datetime, now_mono: float
) -> None:
    """The book shows the order at ``price`` (rupees per unit; None: it does not say).

    A refusal may have been wrong, and a change may be applied after the next one: what the book
    shows is so. One that it does not show is not disproved, because it may be applied later. A
    price that nobody has asked for is no price of ours (an update of Noren's was seen to count in
    another unit).
    """
    if price is None or price == intent.price:
        return
    asked = [n for n, change in enumerate(intent.changes) if change.price == price]
    if not asked and all(change.before != price for change in intent.changes):
        return
    intent.price = price
    if not asked or intent.changes[asked[-1]].state == DONE:
        return
    number = asked[-1]
    answered = intent.changes[number].answered_at or at
    _replace(intent, number, state=DONE, answered_at=answered, cause="", message="")
    if number == len(intent.changes) - 1:
        intent.change_mono = now_mono
        intent.cancel_since_mono = 0.0
        pause = EXIT_REST_SECONDS + exit_backoff(done(intent) - 1)
        intent.cancel_after_mono = now_mono + pause


def _replace(intent: LiveIntent, number: int, **fields: Any) -> None:
    changed = dataclasses.replace(intent.changes[number], **fields)
    intent.changes = (*intent.changes[:number], changed, *intent.changes[number + 1 :])


# -- counting ------------------------------------------------------------------------------------
def done(intent: LiveIntent) -> int:
    """How many changes the book has shown: at so many prices before this one it did not fill."""
    return sum(change.state == DONE for change in intent.changes)


def quotes(tries: Iterable[LiveIntent]) -> int:
    """At how many prices a leg was offered by these exits; slices of one try are one offer."""
    offers: dict[int, int] = defaultdict(int)
    for intent in tries:
        offers[intent.attempt_group] = max(offers[intent.attempt_group], 1 + done(intent))
    return sum(offers.values())


def quoted_at(intent: LiveIntent) -> dt.datetime:
    """Since when (UTC) the order rests at the price at which it rests, as far as anybody knows."""
    return max(
        (change.at for change in intent.changes if change.state == DONE), default=intent.due_at
    )


# -- as it is stored -----------------------------------------------------------------------------
def to_json(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """For the order's row, the oldest first."""
    return [
        {
            "before": str(change.before),
            "price": str(change.price),
            "at": change.at.isoformat(),
            "source": change.source,
            "age": None if change.age is None else str(change.age),
            "state": change.state,
            "answered_at": None if change.answered_at is None else change.answered_at.isoformat(),
            "cause": change.cause,
            "message": change.message,
        }
        for change in changes
    ]


def from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Change, ...]:
    """From an order's row. One that an earlier process had on its way is unknown now."""
    return tuple(
        Change(
            before=Decimal(row["before"]),
            price=Decimal(row["price"]),
            at=dt.datetime.fromisoformat(row["at"]),
            source=row["source"],
            age=None if row["age"] is None else Decimal(row["age"]),
            state=UNKNOWN if row["state"] == ASKED else row["state"],
            answered_at=(
                None
                if row["answered_at"] is None
                else dt.datetime.fromisoformat(row["answered_at"])
            ),
            cause=row["cause"],
            message=row["message"],
        )
        for row in stored
    )
