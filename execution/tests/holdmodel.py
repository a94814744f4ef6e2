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
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from execution.tests.holdrecords import (
    Account,
    Followed,
    Hold,
    Offer,
    Part,
    Person,
    Refused,
    Suspension,
    day_of,
    instant,
    months_on,
)

CHANGED: Final = "changed"
SAME: Final = "same"

#: The weakest hand first (docs/subscriptions.md: the strongest holder is shown).
HANDS: Final = ("USER", "PARTNER", "PAYMENT_FAILED", "PARTNER_SUSPENDED", "ADMIN")
#: Whose hold of a subscription stays when it is cancelled.
STAYS: Final = ("PAYMENT_FAILED", "ADMIN")
ENTRY: Final = dt.time(9, 20)
#: Who became active later than so long before the entry is not in it any more.
CLOSES: Final = dt.timedelta(seconds=3)
SUSPENDED: Final = "The partner is suspended."
NO_ACCOUNT: Final = "Its last broker account was removed: there is none left to trade on."


class House:
    """Everybody, what they follow, and who holds it."""

    def __init__(
        self, people: list[Person], offers: list[Offer], is_trading_day: Callable[[dt.date], bool]
    ) -> None:
        self.people = {one.name: one for one in people}
        self.offers = {one.name: one for one in offers}
        self.is_trading_day = is_trading_day
        self.now = instant(dt.date.min, dt.time())
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

    def run_is_over(self, one: Followed) -> bool:
        """The day until which its suspended partner's customers trade is over."""
        plan = self.suspended.get(one.person.partner)
        return plan is not None and plan.until is not None and plan.until < self.today

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
        removed is no way out. A suspension until a day holds from the next one on.
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
        found.sort(key=lambda hold: -hold.number)
        if self.run_is_over(one) and all(hold.holder != "PARTNER_SUSPENDED" for hold in found):
            target = (one.person.partner, one.person.environment)
            found.append(Hold(0, "PARTNER", target, "PARTNER_SUSPENDED", SUSPENDED))
        return found

    def is_held(self, account: int) -> bool:
        return any(one.scope == "ACCOUNT" and one.target == account for one in self.standing())

    def _under(self, scope: str, target: Any) -> set[int]:
        """What somebody comes by who holds this, or lets it go."""
        return {one.number for one in self.followed.values() if self._is_under(one, scope, target)}

    def _is_under(self, one: Followed, scope: str, target: Any) -> bool:
        if scope == "ACCOUNT":
            others = (number for number, trades in one.on.items() if trades and number != target)
            free = any(not self.is_held(number) for number in others)
            return target in one.on and (one.on[target] or not free)
        person = one.person
        own = {
            "SUBSCRIPTION": one.number,
            "CUSTOMER": person.name,
            "PARTNER": (person.partner, person.environment),
        }
        return bool(own[scope] == target)

    def settle(self, numbers: set[int]) -> None:
        """PAUSED while anybody holds it, ACTIVE when nobody does; the strongest is shown."""
        for one in (self.followed[number] for number in sorted(numbers)):
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
        if not self._write(scope, target, holder, note):
            return SAME
        self.settle(self._under(scope, target))
        return CHANGED

    def _write(self, scope: str, target: Any, holder: str, note: str) -> bool:
        same = (scope, target, holder)
        if any((one.scope, one.target, one.holder) == same for one in self.standing()):
            return False
        number = len(self.holds) + 1
        self.holds[number] = Hold(number, scope, target, holder, note)
        return True

    # -- what people do --------------------------------------------------------------------------
    def pause(self, number: int, who: str, note: str) -> str:
        self._refuse_cancelled(self.followed[number])
        return self._hold("SUBSCRIPTION", number, who, note)

    def resume(self, number: int, who: str, note: str) -> str:
        one = self.followed[number]
        self._refuse_cancelled(one)
        if one.status == "ACTIVE":
            return SAME
        mine = [hold for hold in self._own(number) if self._may_lift(hold, who, note)]
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

    def _may_lift(self, hold: Hold, who: str, note: str) -> bool:
        """Who has no account left is held by the customer for good."""
        theirs = (hold.scope, hold.holder) == ("SUBSCRIPTION", "USER")
        if theirs and self.followed[hold.target].accountless:
            return False
        return may_lift(who, hold.holder, note)

    def _lift(self, holds: list[Hold]) -> None:
        for hold in holds:
            hold.lifted = True
        for hold in holds:
            self.settle(self._under(hold.scope, hold.target))

    def _refuse_cancelled(self, one: Followed) -> None:
        if not one.live:
            raise Refused("invalid_transition", status="CANCELLED", status_reason=one.reason)

    def place(self, scope: str, target: Any, holder: str, note: str) -> str:
        """Also where it is there already: whoever comes by settles what is under it."""
        answer = self._hold(scope, target, holder, note)
        self.settle(self._under(scope, target))
        return answer

    def lift(self, number: int, who: str, note: str) -> str:
        hold = self.holds[number]
        if hold.lifted:
            return SAME
        if not self._may_lift(hold, who, note):
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
        """Whose last account it was is paused as by the customer, and stays so."""
        self.accounts[number].gone = True
        gone = {part for part in self.armed if part[1] == number}
        self.armed -= gone
        self.left |= gone
        touched = [one for one in self.followed.values() if one.on.get(number)]
        for one in touched:
            one.on[number] = False
            if one.live and one.accountless:
                self._write("SUBSCRIPTION", one.number, "USER", NO_ACCOUNT)
        self.settle({one.number for one in touched})

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
            self.carry_out(partner)
        return CHANGED

    def _of(self, partner: str) -> list[Followed]:
        return [one for one in self.followed.values() if one.person.partner == partner and one.live]

    def _hold_all(self, partner: str) -> None:
        self.suspended[partner].done = True
        for environment in ("live", "test"):
            self._hold("PARTNER", (partner, environment), "PARTNER_SUSPENDED", SUSPENDED)

    def carry_out(self, partner: str) -> None:
        """What its plan says of days that are over, as beat does it."""
        plan = self.suspended[partner]
        if plan.until is not None and plan.until < self.today and not plan.done:
            self._hold_all(partner)
        for one in self._of(partner):
            if one.ends is not None and one.ends <= self.today:
                self._end(one, "PARTNER_SUSPENDED")

    def reinstate(self, partner: str) -> str:
        """What was cancelled stays so; the rest is renewed, and nobody else's hold is lifted."""
        self.carry_out(partner)
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
        if self.run_is_over(one):
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
