"""The causes of alarms: a sentence for each, and the seconds after which a wait raises one. Pure.

An alarm is a row (execution.models.Alarm), not a flag: it stays open until a person settles it, or
until the fact it reports is over. docs/trading-day.md says what to do about each cause; a test
compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from execution.descriptions import CAUSES

#: Cause and leg ('' for the whole execution): at most one alarm of each key is open.
Key = tuple[str, str]

# -- found by the engine ---------------------------------------------------------------------------
UNWRITABLE: Final = "UNWRITABLE"
CLOSED_OUTSIDE: Final = "CLOSED_OUTSIDE"
#: Somebody changed one of our orders at the broker: it becomes final as found.
CHANGED_OUTSIDE: Final = "CHANGED_OUTSIDE"
DUPLICATE: Final = "DUPLICATE"
UNRESOLVED: Final = "UNRESOLVED"
NO_WITNESS: Final = "NO_WITNESS"
SESSION_EXPIRED: Final = "SESSION_EXPIRED"
SESSION_OVER: Final = "SESSION_OVER"
PRICE_BAND: Final = "PRICE_BAND"
DAILY_LIMIT: Final = "DAILY_LIMIT"
NO_CREDENTIALS: Final = "NO_CREDENTIALS"
EGRESS: Final = "EGRESS"
BROKER_NOT_ENABLED: Final = "BROKER_NOT_ENABLED"
SELF_TRADE: Final = "SELF_TRADE"
PARTLY_ENTERED: Final = "PARTLY_ENTERED"
EXIT_UNFILLED: Final = "EXIT_UNFILLED"
LEFT_LATE: Final = "LEFT_LATE"
# -- raised by time alone (execution.overdue) ------------------------------------------------------
ENTRY_UNKNOWN: Final = "ENTRY_UNKNOWN"
ENTERING_LONG: Final = "ENTERING_LONG"
EXIT_UNKNOWN: Final = "EXIT_UNKNOWN"
EXIT_RESTING: Final = "EXIT_RESTING"
EXITING_LONG: Final = "EXITING_LONG"
CANCEL_UNHEARD: Final = "CANCEL_UNHEARD"
LEG_STAYS: Final = "LEG_STAYS"
PAST_EXIT: Final = "PAST_EXIT"
BOOK_UNREAD: Final = "BOOK_UNREAD"
NO_PRICE: Final = "NO_PRICE"

#: Reasons why an account's broker cannot be reached although orders or positions are there.
UNREACHABLE: Final = frozenset({SESSION_EXPIRED, NO_CREDENTIALS, EGRESS, BROKER_NOT_ENABLED})

#: Seconds after which a wait raises an alarm. docs/trading-day.md lists them.
PROMISES: Final[Mapping[str, float]] = {
    ENTRY_UNKNOWN: 30.0,
    ENTERING_LONG: 30.0,
    EXIT_UNKNOWN: 20.0,
    EXIT_RESTING: 15.0,
    EXITING_LONG: 60.0,
    CANCEL_UNHEARD: 10.0,
    LEG_STAYS: 15.0,
    PAST_EXIT: 15.0,
    BOOK_UNREAD: 30.0,
    NO_PRICE: 10.0,
}

#: Causes whose sentence customers see too, because they are also causes of executions.
TOLD: Final = frozenset(
    {
        UNWRITABLE,
        CLOSED_OUTSIDE,
        CHANGED_OUTSIDE,
        DUPLICATE,
        UNRESOLVED,
        NO_WITNESS,
        SESSION_EXPIRED,
        SESSION_OVER,
        PRICE_BAND,
        DAILY_LIMIT,
        NO_CREDENTIALS,
        EGRESS,
        BROKER_NOT_ENABLED,
        SELF_TRADE,
    }
)

#: A sentence for every cause of an alarm.
ALARMS: Final[Mapping[str, str]] = {
    **{cause: CAUSES[cause] for cause in sorted(TOLD)},
    PARTLY_ENTERED: "A leg failed, and the strategy keeps what was filled; a person decides.",
    LEFT_LATE: "An order left when its process thawed; another may have been sent in its place.",
    EXIT_UNFILLED: "The exit was tried four times and is not filled.",
    ENTRY_UNKNOWN: "Nobody knows whether the broker has the entry order.",
    ENTERING_LONG: "The grace is over, and the entry is neither complete nor given up.",
    EXIT_UNKNOWN: "Nobody knows whether the broker has the exit order; it is not sent again.",
    EXIT_RESTING: "An exit order rests at the broker and does not fill.",
    EXITING_LONG: "The execution has been leaving for longer than it may take.",
    CANCEL_UNHEARD: "The broker was asked to change or cancel an order, and it is as it was.",
    LEG_STAYS: "A leg that had to leave is still open.",
    PAST_EXIT: "A position is open past its exit time.",
    BOOK_UNREAD: "The broker's order book was not read, while orders of the account are under way.",
    NO_PRICE: "A held leg has no usable price, so its stop and target are not judged.",
}

#: Causes whose alarm ends by itself when the wait ends.
CLOCK: Final = frozenset(PROMISES)
#: Causes that report a stuck exit: over when the position is closed.
ENDED_BY_CLOSING: Final = UNREACHABLE | {
    EXIT_UNFILLED,
    PRICE_BAND,
    DAILY_LIMIT,
    NO_WITNESS,
    SELF_TRADE,
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm to raise: its cause, leg and order, and the broker's message if there is one.

    ``leg`` is a leg's key ('' for the whole execution), ``order`` the tag of an order ('' for
    none). ``again``: a new fact for a cause that may have been raised before, such as more units
    closed by somebody else; it is raised again if the earlier alarm was settled.
    """

    cause: str
    leg: str = ""
    words: str = ""
    order: str = ""
    again: bool = False

    @property
    def key(self) -> Key:
        """At most one alarm with this key is open at a time."""
        return self.cause, self.leg


def means(cause: str) -> str:
    """The sentence for the cause of an alarm; the code itself if there is none."""
    return ALARMS.get(cause, CAUSES.get(cause, cause))


def plain(text: str, most: int) -> str:
    """``text`` without NUL and lone surrogates, cut to ``most`` characters.

    A broker's message may contain anything, and the database must not refuse an alarm for its text.
    """
    whole = text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return whole[:most]
