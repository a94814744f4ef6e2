"""Price changes of a resting exit: what was requested of the broker, and the outcome. Pure.

A change sets another limit and keeps the quantity, so whatever its outcome (taken, refused, lost,
applied a minute later) no more can fill than the order was for. Its answer does not show where the
order rests: only a row of the book, or an update, does. A change without an answer is therefore
neither done nor failed but unknown, and the next step is right in both cases: the order is changed
or cancelled again, and another one is sent when it is final.
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

#: States of a change, in this order: stored and on its way; taken by the broker; shown by its book;
#: refused; no usable answer; kept back at the last moment, so that no byte of it left.
ASKED: Final = "ASKED"
TAKEN: Final = "TAKEN"
DONE: Final = "DONE"
REFUSED: Final = "REFUSED"
UNKNOWN: Final = "UNKNOWN"
KEPT: Final = "KEPT"
#: The order may rest at the new price.
OPEN: Final = frozenset({ASKED, TAKEN, UNKNOWN})
#: Seconds after a change's answer within which the book should show the new price.
HEARD_WITHIN: Final = 3.0
#: Seconds to wait for the answer to a change: its pacing, the call and its time-out.
ANSWERED_WITHIN: Final = 20.0
_SAID: Final = {Outcome.ACCEPTED: TAKEN, Outcome.REFUSED: REFUSED, Outcome.NOT_SENT: KEPT}


@dataclass(frozen=True, slots=True)
class Change:
    """One requested change: prices in rupees per unit, times UTC.

    ``source`` and ``age`` (seconds) belong to the price that it follows (execution.exit_pricing);
    ``cause`` is why it was kept back or refused, ``message`` is the broker's text.
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
        """Whether the order may rest at this price, and the book has not shown it there."""
        return self.state in OPEN


# -- what comes next -----------------------------------------------------------------------------
def waits(intent: LiveIntent, now_mono: float) -> bool:
    """Whether to wait for the outcome of the newest change before requesting anything else."""
    newest = _newest(intent)
    if newest is None or not newest.is_open:
        return False
    patience = ANSWERED_WITHIN if newest.state == ASKED else HEARD_WITHIN
    return now_mono < intent.change_mono + patience


def is_wanted(intent: LiveIntent, most: int) -> bool:
    """Whether a change is the next request for this order. ``most``: how many changes the broker
    allows per order.

    A change without effect is followed by a cancel, and a cancel without effect by a change when
    its turn comes again. An order whose quantity somebody else changed gets no change.
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


# -- requests ------------------------------------------------------------------------------------
def note_wanted(intent: LiveIntent, now_mono: float) -> None:
    """Note that a change is to be requested: a new round of requests begins."""
    intent.round_mono = now_mono
    # An order that stays neither changed nor cancelled raises an alarm, timed from the first try.
    intent.cancel_since_mono = intent.cancel_since_mono or now_mono


def note_asked(intent: LiveIntent, change: Change, now_mono: float) -> None:
    """Note a change that is stored and about to be sent."""
    intent.changes = (*intent.changes, change)
    intent.change_mono = now_mono


def note_none(intent: LiveIntent, now_mono: float) -> None:
    """Note that no change was possible: no other price, or no proof that the leg is still held."""
    intent.unchanged_mono = now_mono


# -- outcomes ------------------------------------------------------------------------------------
def note_kept(intent: LiveIntent, number: int, cause: str, at: dt.datetime) -> bool:
    """Note that change ``number`` (from 0) did not leave; return whether that is new."""
    if intent.changes[number].state != ASKED:
        return False
    _replace(intent, number, state=KEPT, answered_at=at, cause=cause)
    return True


def note_answer(
    intent: LiveIntent, number: int, result: SendResult, *, at: dt.datetime, now_mono: float
) -> bool:
    """Note the answer to change ``number`` (from 0), or its absence; return whether that is new.

    An answer that names another order proves nothing about ours.
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
    """Note that the book shows the order at ``price`` (rupees per unit; None: not given).

    A refusal may have been wrong, and a change may be applied after the next one, so the book
    decides. A change that it does not show is not disproved: it may be applied later. A price that
    was never requested is ignored (an update of Noren's was observed to use another unit).
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
    """How many changes the book has shown: the number of earlier prices that did not fill."""
    return sum(change.state == DONE for change in intent.changes)


def quotes(tries: Iterable[LiveIntent]) -> int:
    """The number of prices at which these exits offered a leg; slices of one try count once."""
    offers: dict[int, int] = defaultdict(int)
    for intent in tries:
        offers[intent.attempt_group] = max(offers[intent.attempt_group], 1 + done(intent))
    return sum(offers.values())


def quoted_at(intent: LiveIntent) -> dt.datetime:
    """Since when (UTC) the order has rested at its current price, as far as we know."""
    return max(
        (change.at for change in intent.changes if change.state == DONE), default=intent.due_at
    )


# -- storage -------------------------------------------------------------------------------------
def to_json(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Changes for the order's row, oldest first."""
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
    """Changes from an order's row. Those that an earlier process had on their way are UNKNOWN."""
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
