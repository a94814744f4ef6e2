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


class HoldModel:
    """Everybody, what they follow, and who holds it."""

    def __init__(
        self, people: list[Person], offers: list[Offer], is_trading_day: Callable[[dt.date], bool]
    ) -> None:
        self.people = {person.name: person for person in people}
        self.offers = {offer.name: offer for offer in offers}
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
        for subscription in self.followed.values():
            if subscription.status == "ACTIVE" and subscription.ends is None:
                self._begin_months(subscription)

    def _last_day(self, subscription: Followed) -> dt.date:
        """The last one on which a month of it may begin."""
        plan = self.suspended.get(subscription.person.partner)
        return self.today if plan is None or plan.until is None else min(plan.until, self.today)

    def run_is_over(self, subscription: Followed) -> bool:
        """The day until which its suspended partner's customers trade is over."""
        plan = self.suspended.get(subscription.person.partner)
        return plan is not None and plan.until is not None and plan.until < self.today

    def _begin_months(self, subscription: Followed) -> None:
        while (first := subscription.until) <= self._last_day(subscription):
            count = next(
                n for n in itertools.count(1) if months_on(subscription.anchor, n) >= first
            )
            assert first == months_on(subscription.anchor, count)
            subscription.months.append((first, months_on(subscription.anchor, count + 1)))

    # -- who holds what --------------------------------------------------------------------------
    def standing(self) -> Iterator[Hold]:
        return (hold for hold in self.holds.values() if not hold.lifted)

    def holding(self, subscription: Followed) -> list[Hold]:
        """Everybody's hold that keeps it from trading, the newest first.

        A held account keeps it from trading where it has no other one that is free; one that was
        removed is no way out. A suspension until a day holds from the next one on.
        """
        held = {hold.target for hold in self.standing() if hold.scope == "ACCOUNT"}
        free = any(trades and number not in held for number, trades in subscription.on.items())
        targets: list[tuple[str, Any]] = [
            ("SUBSCRIPTION", subscription.number),
            ("CUSTOMER", subscription.person.name),
            ("PARTNER", (subscription.person.partner, subscription.person.environment)),
        ]
        if not free:
            targets += [("ACCOUNT", number) for number in subscription.on]
        holds = [hold for hold in self.standing() if (hold.scope, hold.target) in targets]
        holds.sort(key=lambda hold: -hold.number)
        if self.run_is_over(subscription) and all(
            hold.holder != "PARTNER_SUSPENDED" for hold in holds
        ):
            target = (subscription.person.partner, subscription.person.environment)
            holds.append(Hold(0, "PARTNER", target, "PARTNER_SUSPENDED", SUSPENDED))
        return holds

    def is_held(self, account: int) -> bool:
        return any(hold.scope == "ACCOUNT" and hold.target == account for hold in self.standing())

    def _under(self, scope: str, target: Any) -> set[int]:
        """What somebody comes by who holds this, or lets it go."""
        return {s.number for s in self.followed.values() if self._is_under(s, scope, target)}

    def _is_under(self, subscription: Followed, scope: str, target: Any) -> bool:
        if scope == "ACCOUNT":
            others = (
                number for number, trades in subscription.on.items() if trades and number != target
            )
            free = any(not self.is_held(number) for number in others)
            return target in subscription.on and (subscription.on[target] or not free)
        person = subscription.person
        own = {
            "SUBSCRIPTION": subscription.number,
            "CUSTOMER": person.name,
            "PARTNER": (person.partner, person.environment),
        }
        return bool(own[scope] == target)

    def settle(self, numbers: set[int]) -> None:
        """PAUSED while anybody holds it, ACTIVE when nobody does; the strongest is shown."""
        for subscription in (self.followed[number] for number in sorted(numbers)):
            if not subscription.live:
                continue
            holds = self.holding(subscription)
            shown = max(holds, key=lambda hold: HANDS.index(hold.holder), default=None)
            if shown is not None and subscription.status == "ACTIVE":
                subscription.status, subscription.since = "PAUSED", self.now
                subscription.spells.append((self.now, None))
                self._leaves(subscription)
            elif (
                shown is None and subscription.ends is not None and subscription.ends <= self.today
            ):
                continue  # it ends as soon as somebody comes by
            elif shown is None and subscription.status == "PAUSED":
                subscription.status, subscription.since = "ACTIVE", self.now
                subscription.spells[-1] = (subscription.spells[-1][0], self.now)
                self._again(subscription)
            subscription.reason, subscription.note = (
                (shown.holder, shown.note) if shown else ("", "")
            )

    def _again(self, subscription: Followed) -> None:
        """The paid month runs on; when it is over a new one begins today, and counts anew."""
        if subscription.until <= self.today:
            subscription.anchor = self.today
            subscription.months.append((self.today, months_on(self.today, 1)))

    def _leaves(self, subscription: Followed) -> None:
        leaving = {part for part in self.armed if part[0] == subscription.number}
        self.armed -= leaving
        self.left |= leaving

    def _hold(self, scope: str, target: Any, holder: str, note: str) -> str:
        if not self._write(scope, target, holder, note):
            return SAME
        self.settle(self._under(scope, target))
        return CHANGED

    def _write(self, scope: str, target: Any, holder: str, note: str) -> bool:
        same = (scope, target, holder)
        if any((hold.scope, hold.target, hold.holder) == same for hold in self.standing()):
            return False
        number = len(self.holds) + 1
        self.holds[number] = Hold(number, scope, target, holder, note)
        return True

    # -- what people do --------------------------------------------------------------------------
    def pause(self, number: int, who: str, note: str) -> str:
        self._refuse_cancelled(self.followed[number])
        return self._hold("SUBSCRIPTION", number, who, note)

    def resume(self, number: int, who: str, note: str) -> str:
        subscription = self.followed[number]
        self._refuse_cancelled(subscription)
        if subscription.status == "ACTIVE":
            return SAME
        mine = [hold for hold in self._own(number) if self._may_lift(hold, who, note)]
        if not mine:
            raise Refused("invalid_transition", status="PAUSED", status_reason=subscription.reason)
        self._lift(mine)
        return CHANGED

    def cancel(self, number: int, who: str) -> str:
        """Whoever asks, and whatever holds it."""
        subscription = self.followed[number]
        if not subscription.live:
            return SAME
        self._end(subscription, who)
        return CHANGED

    def _end(self, subscription: Followed, who: str) -> None:
        if subscription.status == "PAUSED":
            subscription.spells[-1] = (subscription.spells[-1][0], self.now)
        subscription.status, subscription.reason, subscription.since = "CANCELLED", who, self.now
        self._leaves(subscription)
        self._lift([hold for hold in self._own(subscription.number) if hold.holder not in STAYS])

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

    def _refuse_cancelled(self, subscription: Followed) -> None:
        if not subscription.live:
            raise Refused(
                "invalid_transition", status="CANCELLED", status_reason=subscription.reason
            )

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
        mine = [s for s in self.followed.values() if (s.person, s.offer) == (person, offer)]
        if template.state != "LISTED":
            raise Refused("not_found")
        if any(s.live for s in mine):
            raise Refused("duplicate_subscription")
        if any(self._owes(s) for s in mine):
            raise Refused("payment_due")
        if person.partner in self.suspended:
            raise Refused("partner_suspended")
        against = self._against(person, mine, clients)
        if against:
            worst = max(against, key=lambda hold: (HANDS.index(hold.holder), hold.number))
            raise Refused("held", hold_reason=worst.holder, hold_scope=worst.scope)
        number = len(self.followed) + 1
        on = {self.connection(client).number: True for client in clients}
        subscription = Followed(number, person, offer, on, self.now, self.today)
        subscription.billed = person.environment == "live" and bool(template.fee)
        running = next((past for past in mine if self._runs(past)), None)
        if running is not None:
            subscription.anchor, subscription.begun = (
                running.anchor,
                (running.number, running.months[-1]),
            )
        else:
            subscription.months.append((self.today, months_on(self.today, 1)))
        self.followed[number] = subscription
        return CHANGED

    def _runs(self, subscription: Followed) -> bool:
        """A month that it began itself, and that is billed, is not over."""
        return (
            subscription.billed
            and bool(subscription.months)
            and subscription.months[-1][1] > self.today
        )

    def _owes(self, subscription: Followed) -> bool:
        """A month of it is not paid that was invoiced, or that is over."""
        return subscription.billed and any(
            (subscription.number, first) not in self.paid
            and ((subscription.number, first) in self.invoiced or after <= self.today)
            for first, after in subscription.months
        )

    def _against(
        self, person: Person, mine: list[Followed], clients: tuple[str, ...]
    ) -> list[Hold]:
        """What stands against a new subscription: a hold of the customer, the partner, an account
        that was ever connected under that client id, or what outlived an earlier one."""
        accounts = {a.number for a in self.accounts.values() if a.client in clients}
        numbers = {s.number for s in mine}
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
        mine = (a for a in self.accounts.values() if a.client == client and not a.gone)
        return next(mine, None)

    def connection(self, client: str) -> Account:
        """The account of a client id, connected if it was not."""
        account = self.connected(client)
        if account is None:
            number = len(self.accounts) + 1
            account = self.accounts[number] = Account(number, client)
        return account

    def switch(self, number: int, enabled: bool) -> None:
        self.accounts[number].enabled = enabled

    def disconnect(self, number: int) -> None:
        """Whose last account it was is paused as by the customer, and stays so."""
        self.accounts[number].gone = True
        leaving = {part for part in self.armed if part[1] == number}
        self.armed -= leaving
        self.left |= leaving
        touched = [s for s in self.followed.values() if s.on.get(number)]
        for subscription in touched:
            subscription.on[number] = False
            if subscription.live and subscription.accountless:
                self._write("SUBSCRIPTION", subscription.number, "USER", NO_ACCOUNT)
        self.settle({s.number for s in touched})

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
        for subscription in self.followed.values():
            if subscription.offer == offer and subscription.live:
                self._give_back(subscription, template.fee)
                self._end(subscription, "TEMPLATE_WITHDRAWN")
        return CHANGED

    def _give_back(self, subscription: Followed, fee: Decimal) -> None:
        if not subscription.billed or subscription.until <= self.today:
            return
        owner, (first, after) = subscription.running
        unused, days = (after - self.today).days - 1, (after - first).days
        refund = (fee * unused / days).quantize(Decimal("0.01"), ROUND_DOWN)
        if refund:
            self.followed[owner].given_back = (first, refund)

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
            for subscription in self._of(partner):
                subscription.ends = max(subscription.until, self.today)
            self.carry_out(partner)
        return CHANGED

    def _of(self, partner: str) -> list[Followed]:
        return [s for s in self.followed.values() if s.person.partner == partner and s.live]

    def _hold_all(self, partner: str) -> None:
        self.suspended[partner].done = True
        for environment in ("live", "test"):
            self._hold("PARTNER", (partner, environment), "PARTNER_SUSPENDED", SUSPENDED)

    def carry_out(self, partner: str) -> None:
        """What its plan says of days that are over, as beat does it."""
        plan = self.suspended[partner]
        if plan.until is not None and plan.until < self.today and not plan.done:
            self._hold_all(partner)
        for subscription in self._of(partner):
            if subscription.ends is not None and subscription.ends <= self.today:
                self._end(subscription, "PARTNER_SUSPENDED")

    def reinstate(self, partner: str) -> str:
        """What was cancelled stays so; the rest is renewed, and nobody else's hold is lifted."""
        self.carry_out(partner)
        for subscription in self._of(partner):
            subscription.ends = None
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
            for subscription in self.followed.values():
                if subscription.offer == offer.name:
                    self._join(subscription, offer.stopped)

    def _join(self, subscription: Followed, stopped: bool) -> None:
        if (
            subscription.status != "ACTIVE"
            or subscription.since >= instant(self.today, ENTRY) - CLOSES
        ):
            return
        if self.run_is_over(subscription):
            return
        if subscription.ends is not None and subscription.ends <= self.today:
            return
        parts = {
            (subscription.number, account) for account, trades in subscription.on.items() if trades
        }
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
            (s.number, first, after)
            for s in self.followed.values()
            if s.billed
            for first, after in s.months
        }


def may_lift(who: str, holder: str, note: str) -> bool:
    """Everybody their own; customer and partner each other's, with a reason."""
    return who == holder or (bool(note) and {who, holder} == {"USER", "PARTNER"})
