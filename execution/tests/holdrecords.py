"""What the model of holds keeps: people, what they follow, on which accounts, and who holds it.

Days are Indian days. The rules that change them are in holdmodel.py.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

_INDIA: Final = ZoneInfo("Asia/Kolkata")

#: Part of a run: subscription and account, by their numbers here.
Part: TypeAlias = tuple[int, int]
#: First day of a paid month, and the first day after it.
Month: TypeAlias = tuple[dt.date, dt.date]


class Refused(Exception):
    """The call changes nothing: the API's code, and what stands beside it."""

    def __init__(self, code: str, **beside: Any) -> None:
        super().__init__(code)
        self.code, self.beside = code, beside


def day_of(now: dt.datetime) -> dt.date:
    """The Indian day of an instant."""
    return now.astimezone(_INDIA).date()


def instant(day: dt.date, at: dt.time) -> dt.datetime:
    """A time of an Indian day."""
    return dt.datetime.combine(day, at, _INDIA)


def months_on(anchor: dt.date, months: int) -> dt.date:
    """So many months after the anchor: its day of the month, or the month's last."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    following = dt.date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return min(
        dt.date(year, month + 1, 1) + dt.timedelta(days=anchor.day - 1),
        following - dt.timedelta(days=1),
    )


@dataclass(frozen=True)
class Person:
    """A customer of a partner; ``clients`` are their accounts at the broker."""

    name: str
    partner: str
    environment: str
    clients: tuple[str, ...]


@dataclass
class Offer:
    """A template: what it costs a month, on which weekdays it enters, and its state."""

    name: str
    environment: str
    fee: Decimal
    weekdays: tuple[int, ...] = ()
    state: str = "LISTED"
    version: int = 1
    stopped: bool = False


@dataclass
class Account:
    """One connection of a client id; connected again it is another one."""

    number: int
    client: str
    enabled: bool = True
    gone: bool = False


@dataclass
class Suspension:
    """Of a partner; ``until`` is the last day on which its customers trade (RUN_UNTIL)."""

    plan: str
    until: dt.date | None = None
    done: bool = False


@dataclass
class Hold:
    """``target`` is a subscription's or account's number, a person, or partner and environment."""

    number: int
    scope: str
    target: Any
    holder: str
    note: str
    lifted: bool = False


@dataclass
class Followed:
    """A subscription. ``on``: account number to whether it still trades there."""

    number: int
    person: Person
    offer: str
    on: dict[int, bool]
    since: dt.datetime
    anchor: dt.date
    status: str = "ACTIVE"
    reason: str = ""
    note: str = ""
    months: list[Month] = field(default_factory=list)
    billed: bool = True
    #: The month that an earlier one of theirs (by number) began, and in which this one goes on.
    begun: tuple[int, Month] | None = None
    #: The first day on which it does not trade any more: its partner's plan ends it then.
    ends: dt.date | None = None
    #: First day of the month that the withdrawn template cut short, and what is given back of it.
    given_back: tuple[dt.date, Decimal] | None = None
    #: When it was held: from, and until (None: still).
    spells: list[tuple[dt.datetime, dt.datetime | None]] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.status != "CANCELLED"

    @property
    def accountless(self) -> bool:
        """The last broker account that it traded on was removed."""
        return not any(self.on.values())

    @property
    def running(self) -> tuple[int, Month]:
        """The month that it is in, or was in last, and whose (by number)."""
        if self.begun is not None and not self.months:
            return self.begun
        return self.number, self.months[-1]

    @property
    def until(self) -> dt.date:
        """The first day after that month."""
        return self.running[1][1]

    def held_all_day(self, day: dt.date) -> bool:
        """Whether somebody held it from the day's first moment to its last."""
        first, after = instant(day, dt.time()), instant(day + dt.timedelta(days=1), dt.time())
        return any(
            since <= first and (until is None or until >= after) for since, until in self.spells
        )
