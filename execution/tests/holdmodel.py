"""Who may trade, leave and be billed under any holds: plain Python, written from the docs.

``docs/subscriptions.md``, ``docs/billing.md`` and ``docs/trading-day.md`` say what this says, and
it shares no code with the rooms: it thinks in days and people, where they think in rows and
segments.
Every call answers CHANGED, SAME or raises :class:`Refused` with what the API would say.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

CHANGED: Final = "changed"
SAME: Final = "same"

#: The weakest hand first (docs/subscriptions.md: the strongest holder is shown).
HANDS: Final = ("USER", "PARTNER", "PAYMENT_FAILED", "PARTNER_SUSPENDED", "ADMIN")
#: Whose hold of a subscription stays when it is cancelled.
STAYS: Final = ("PAYMENT_FAILED", "ADMIN")
ENTRY: Final = dt.time(9, 20)
#: Who became active later than so long before the entry is not in it any more.
CLOSES: Final = dt.timedelta(seconds=3)
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


class House:
    """Everybody, what they follow, and who holds it."""

    def __init__(
        self, people: list[Person], offers: list[Offer], is_trading_day: Callable[[dt.date], bool]
    ) -> None:
        self.people = {one.name: one for one in people}
        self.offers = {one.name: one for one in offers}
        self.is_trading_day = is_trading_day
        self.now = dt.datetime.min.replace(tzinfo=_INDIA)
        self.followed: dict[int, Followed] = {}
        self.accounts: dict[int, Account] = {}
        self.holds: dict[int, Hold] = {}
        self.suspended: dict[str, Suspension] = {}
        self.invoiced: set[tuple[int, dt.date]] = set()
        self.paid: set[tuple[int, dt.date]] = set()
        #: Today: the version that a template's run has pinned, who is in it, who was and is not.
        self.pinned: dict[str, int] = {}
        self.armed: set[Part] = set()
        self.stopped: set[Part] = set()
        self.left: set[Part] = set()

    # -- time ------------------------------------------------------------------------------------
    @property
    def today(self) -> dt.date:
        return day_of(self.now)

    def passes(self, now: dt.datetime) -> None:
        """Time goes on: what is not held begins its next months."""
        if day_of(now) != self.today:
            self.pinned, self.armed, self.stopped, self.left = {}, set(), set(), set()
        self.now = now
        for one in self.followed.values():
            if one.status == "ACTIVE" and one.ends is None:
                self._begin_months(one)

    def _last_day(self, one: Followed) -> dt.date:
        """The last one on which a month of it may begin."""
        plan = self.suspended.get(one.person.partner)
        return self.today if plan is None or plan.until is None else min(plan.until, self.today)

    def _begin_months(self, one: Followed) -> None:
        while (first := one.until) <= self._last_day(one):
            count = next(n for n in itertools.count(1) if months_on(one.anchor, n) >= first)
            assert first == months_on(one.anchor, count)
            one.months.append((first, months_on(one.anchor, count + 1)))

    # -- who holds what --------------------------------------------------------------------------
    def standing(self) -> Iterator[Hold]:
        return (one for one in self.holds.values() if not one.lifted)

    def holding(self, one: Followed) -> list[Hold]:
        """Everybody's hold that keeps it from trading, the newest first.

        A held account keeps it from trading where it has no other one that is free; one that was
        removed is no way out.
        """
        held = {hold.target for hold in self.standing() if hold.scope == "ACCOUNT"}
        free = any(trades and number not in held for number, trades in one.on.items())
        targets: list[tuple[str, Any]] = [
            ("SUBSCRIPTION", one.number),
            ("CUSTOMER", one.person.name),
            ("PARTNER", (one.person.partner, one.person.environment)),
        ]
        if not free:
            targets += [("ACCOUNT", number) for number in one.on]
        found = [hold for hold in self.standing() if (hold.scope, hold.target) in targets]
        return sorted(found, key=lambda hold: -hold.number)

    def is_held(self, account: int) -> bool:
        return any(one.scope == "ACCOUNT" and one.target == account for one in self.standing())

    def settle(self) -> None:
        """PAUSED while anybody holds it, ACTIVE when nobody does; the strongest is shown."""
        for one in self.followed.values():
            if not one.live:
                continue
            holds = self.holding(one)
            shown = max(holds, key=lambda hold: HANDS.index(hold.holder), default=None)
            if shown is not None and one.status == "ACTIVE":
                one.status, one.since = "PAUSED", self.now
                one.spells.append((self.now, None))
                self._leaves(one)
            elif shown is None and one.ends is not None and one.ends <= self.today:
                continue  # it ends as soon as somebody comes by
            elif shown is None and one.status == "PAUSED":
                one.status, one.since = "ACTIVE", self.now
                one.spells[-1] = (one.spells[-1][0], self.now)
                self._again(one)
            one.reason, one.note = (shown.holder, shown.note) if shown else ("", "")

    def _again(self, one: Followed) -> None:
        """The paid month runs on; when it is over a new one begins today, and counts anew."""
        if one.until <= self.today:
            one.anchor = self.today
            one.months.append((self.today, months_on(self.today, 1)))

    def _leaves(self, one: Followed) -> None:
        gone = {part for part in self.armed if part[0] == one.number}
        self.armed -= gone
        self.left |= gone

    def _hold(self, scope: str, target: Any, holder: str, note: str) -> str:
        same = (scope, target, holder)
        if any((one.scope, one.target, one.holder) == same for one in self.standing()):
            return SAME
        number = len(self.holds) + 1
        self.holds[number] = Hold(number, scope, target, holder, note)
        self.settle()
        return CHANGED

    # -- what people do --------------------------------------------------------------------------
    def pause(self, number: int, who: str, note: str) -> str:
        self._refuse_cancelled(self.followed[number])
        return self._hold("SUBSCRIPTION", number, who, note)

    def resume(self, number: int, who: str, note: str) -> str:
        one = self.followed[number]
        self._refuse_cancelled(one)
        if one.status == "ACTIVE":
            return SAME
        mine = [hold for hold in self._own(number) if may_lift(who, hold.holder, note)]
        if not mine:
            raise Refused("invalid_transition", status="PAUSED", status_reason=one.reason)
        self._lift(mine)
        return CHANGED

    def cancel(self, number: int, who: str) -> str:
        """Whoever asks, and whatever holds it."""
        one = self.followed[number]
        if not one.live:
            return SAME
        self._end(one, who)
        return CHANGED

    def _end(self, one: Followed, who: str) -> None:
        if one.status == "PAUSED":
            one.spells[-1] = (one.spells[-1][0], self.now)
        one.status, one.reason, one.since = "CANCELLED", who, self.now
        self._leaves(one)
        self._lift([hold for hold in self._own(one.number) if hold.holder not in STAYS])

    def _own(self, number: int) -> list[Hold]:
        own = ("SUBSCRIPTION", number)
        return [hold for hold in self.standing() if (hold.scope, hold.target) == own]

    def _lift(self, holds: list[Hold]) -> None:
        for hold in holds:
            hold.lifted = True
        self.settle()

    def _refuse_cancelled(self, one: Followed) -> None:
        if not one.live:
            raise Refused("invalid_transition", status="CANCELLED", status_reason=one.reason)

    def place(self, scope: str, target: Any, holder: str, note: str) -> str:
        return self._hold(scope, target, holder, note)

    def lift(self, number: int, who: str, note: str) -> str:
        hold = self.holds[number]
        if hold.lifted:
            return SAME
        if not may_lift(who, hold.holder, note):
            raise Refused("invalid_transition", holder=hold.holder)
        self._lift([hold])
        return CHANGED

    def subscribe(self, name: str, offer: str, clients: tuple[str, ...]) -> str:
        person, template = self.people[name], self.offers[offer]
        mine = [one for one in self.followed.values() if (one.person, one.offer) == (person, offer)]
        if template.state != "LISTED":
            raise Refused("not_found")
        if any(one.live for one in mine):
            raise Refused("duplicate_subscription")
        if any(self._owes(one) for one in mine):
            raise Refused("payment_due")
        if person.partner in self.suspended:
            raise Refused("partner_suspended")
        against = self._against(person, mine, clients)
        if against:
            worst = max(against, key=lambda hold: (HANDS.index(hold.holder), hold.number))
            raise Refused("held", hold_reason=worst.holder, hold_scope=worst.scope)
        number = len(self.followed) + 1
        on = {self.connection(client).number: True for client in clients}
        one = Followed(number, person, offer, on, self.now, self.today)
        one.billed = person.environment == "live" and bool(template.fee)
        running = next((past for past in mine if self._runs(past)), None)
        if running is not None:
            one.anchor, one.begun = running.anchor, (running.number, running.months[-1])
        else:
            one.months.append((self.today, months_on(self.today, 1)))
        self.followed[number] = one
        return CHANGED

    def _runs(self, one: Followed) -> bool:
        """A month that it began itself, and that is billed, is not over."""
        return one.billed and bool(one.months) and one.months[-1][1] > self.today

    def _owes(self, one: Followed) -> bool:
        """A month of it is not paid that was invoiced, or that is over."""
        return one.billed and any(
            (one.number, first) not in self.paid
            and ((one.number, first) in self.invoiced or after <= self.today)
            for first, after in one.months
        )

    def _against(
        self, person: Person, mine: list[Followed], clients: tuple[str, ...]
    ) -> list[Hold]:
        """What stands against a new subscription: a hold of the customer, the partner, an account
        that was ever connected under that client id, or what outlived an earlier one."""
        accounts = {one.number for one in self.accounts.values() if one.client in clients}
        numbers = {one.number for one in mine}
        return [
            hold
            for hold in self.standing()
            if (hold.scope, hold.target)
            in (("CUSTOMER", person.name), ("PARTNER", (person.partner, person.environment)))
            or (hold.scope == "ACCOUNT" and hold.target in accounts)
            or (hold.scope == "SUBSCRIPTION" and hold.target in numbers and hold.holder in STAYS)
        ]

    # -- accounts --------------------------------------------------------------------------------
    def connected(self, client: str) -> Account | None:
        mine = (one for one in self.accounts.values() if one.client == client and not one.gone)
        return next(mine, None)

    def connection(self, client: str) -> Account:
        """The account of a client id, connected if it was not."""
        found = self.connected(client)
        if found is None:
            number = len(self.accounts) + 1
            found = self.accounts[number] = Account(number, client)
        return found

    def switch(self, number: int, enabled: bool) -> None:
        self.accounts[number].enabled = enabled

    def disconnect(self, number: int) -> None:
        self.accounts[number].gone = True
        for one in self.followed.values():
            if number in one.on:
                one.on[number] = False
        gone = {part for part in self.armed if part[1] == number}
        self.armed -= gone
        self.left |= gone
        self.settle()

    # -- templates -------------------------------------------------------------------------------
    def close(self, offer: str) -> str:
        return self._move(offer, "LISTED", "CLOSED_TO_NEW")

    def reopen(self, offer: str) -> str:
        return self._move(offer, "CLOSED_TO_NEW", "LISTED")

    def _move(self, offer: str, source: str, target: str) -> str:
        template = self.offers[offer]
        if template.state not in (source, target):
            raise Refused("invalid_transition", status=template.state)
        was, template.state = template.state, target
        return SAME if was == target else CHANGED

    def publish(self, offer: str) -> str:
        template = self.offers[offer]
        if template.state == "WITHDRAWN":
            raise Refused("invalid_transition", status="WITHDRAWN")
        template.version += 1
        return CHANGED

    def withdraw(self, offer: str) -> str:
        """Everybody's subscription ends; the days after today are given back."""
        template = self.offers[offer]
        if template.state == "WITHDRAWN":
            return SAME
        template.state = "WITHDRAWN"
        for one in self.followed.values():
            if one.offer == offer and one.live:
                self._give_back(one, template.fee)
                self._end(one, "TEMPLATE_WITHDRAWN")
        return CHANGED

    def _give_back(self, one: Followed, fee: Decimal) -> None:
        if not one.billed or one.until <= self.today:
            return
        owner, (first, after) = one.running
        unused, days = (after - self.today).days - 1, (after - first).days
        back = (fee * unused / days).quantize(Decimal("0.01"), ROUND_DOWN)
        if back:
            self.followed[owner].given_back = (first, back)

    def stop(self, offer: str) -> None:
        """The kill switch: what is armed does not come back that day."""
        template = self.offers[offer]
        template.stopped = True
        parts = {part for part in self.armed if self.followed[part[0]].offer == offer}
        self.armed -= parts
        self.stopped |= parts

    def release(self, offer: str) -> None:
        self.offers[offer].stopped = False

    # -- a suspended partner ---------------------------------------------------------------------
    def suspend(self, partner: str, plan: str, until: dt.date | None) -> str:
        self.suspended[partner] = Suspension(plan, until)
        if plan == "PAUSE_ALL":
            self._hold_all(partner)
        elif plan == "CANCEL_AT_PERIOD_END":
            for one in self._of(partner):
                one.ends = max(one.until, self.today)
            self.carry_out()
        return CHANGED

    def _of(self, partner: str) -> list[Followed]:
        return [one for one in self.followed.values() if one.person.partner == partner and one.live]

    def _hold_all(self, partner: str) -> None:
        self.suspended[partner].done = True
        for environment in ("live", "test"):
            self._hold(
                "PARTNER", (partner, environment), "PARTNER_SUSPENDED", "The partner is suspended."
            )

    def carry_out(self) -> None:
        """What the plans say of days that are over, as beat does it."""
        for partner, plan in self.suspended.items():
            if plan.until is not None and plan.until < self.today and not plan.done:
                self._hold_all(partner)
            for one in self._of(partner):
                if one.ends is not None and one.ends <= self.today:
                    self._end(one, "PARTNER_SUSPENDED")

    def reinstate(self, partner: str) -> str:
        """What was cancelled stays so; the rest is renewed, and nobody else's hold is lifted."""
        self.carry_out()
        for one in self._of(partner):
            one.ends = None
        del self.suspended[partner]
        self._lift(
            [
                hold
                for hold in self.standing()
                if hold.holder == "PARTNER_SUSPENDED" and hold.target[0] == partner
            ]
        )
        return CHANGED

    # -- the day and the month -------------------------------------------------------------------
    def enters_today(self, offer: Offer) -> bool:
        return (
            offer.state in ("LISTED", "CLOSED_TO_NEW")
            and self.is_trading_day(self.today)
            and (not offer.weekdays or self.today.weekday() in offer.weekdays)
        )

    def arm(self) -> None:
        """The first arming of the day pins the version; each adds who trades and is not in."""
        for offer in self.offers.values():
            if not self.enters_today(offer):
                continue
            self.pinned.setdefault(offer.name, offer.version)
            for one in self.followed.values():
                if one.offer == offer.name:
                    self._join(one, offer.stopped)

    def _join(self, one: Followed, stopped: bool) -> None:
        if one.status != "ACTIVE" or one.since >= instant(self.today, ENTRY) - CLOSES:
            return
        plan = self.suspended.get(one.person.partner)
        if plan is not None and plan.until is not None and plan.until < self.today:
            return
        if one.ends is not None and one.ends <= self.today:
            return
        parts = {(one.number, account) for account, trades in one.on.items() if trades}
        if stopped:
            self.stopped |= parts - self.armed - self.left
        else:
            self.armed |= parts - self.stopped

    def entering(self) -> set[Part]:
        """Who enters: what is armed, in accounts that are switched on and not held."""
        return {
            part
            for part in self.armed
            if self.accounts[part[1]].enabled and not self.is_held(part[1])
        }

    def run(self) -> None:
        """The billing run of today: every month that has begun has its invoice."""
        self.invoiced |= {(number, first) for number, first, _ in self.due()}

    def due(self) -> set[tuple[int, dt.date, dt.date]]:
        """Every paid month that ever began."""
        return {
            (one.number, first, after)
            for one in self.followed.values()
            if one.billed
            for first, after in one.months
        }


def may_lift(who: str, holder: str, note: str) -> bool:
    """Everybody their own; customer and partner each other's, with a reason."""
    return who == holder or (bool(note) and {who, holder} == {"USER", "PARTNER"})
