"""Random lives of a few subscriptions under any holds, told from a seed, on the real services.

Two partners, three customers (one of them in the test environment), four broker accounts, three
templates. Customers, partners, staff and payment pause, resume, cancel and subscribe; everything is
held and let go; accounts are switched off, disconnected and connected anew; templates are closed,
published anew, stopped and withdrawn; partners are suspended with each plan and taken back, and
what a plan says of a day is often carried out late; days and months pass, entries are armed, months
are billed. In the end one of them leaves, or everybody, whatever holds them.

``play(stage, seed)`` raises :class:`Broken` with the seed and what happened. The same seed tells
the same story. What must hold is asked after every step (holdjudge.py). Stories of seeds that
follow each other have a beginning in common and go on apart: a savepoint is cheap, a call is not.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from random import Random
from typing import Any, Final

from django.db import IntegrityError, transaction

from execution.tests.holdjudge import (
    LEAVES,
    STATUS,
    WEAKER,
    Broken,
    compare,
    judge_bills,
    judge_entry,
)
from execution.tests.holdmodel import CHANGED, ENTRY, HoldModel
from execution.tests.holdrecords import Followed, Refused, instant
from execution.tests.holdrooms import Rooms
from execution.tests.holdstage import BEGIN, Stage

#: So many stories, of seeds that follow each other, begin alike: the beginning is played once.
ALIKE: Final = 8
BEGINNING: Final = 7
ENDING: Final = 3
#: So many beginnings of all are mostly about suspended partners, and how much more then.
SUSPENDING: Final = 0.35
MORE: Final = 6.0
#: How often beat comes by at once when a day has begun, and not only later.
PROMPT: Final = 0.5
MORNINGS: Final = (dt.time(0, 1), dt.time(4, 0), dt.time(8, 0), dt.time(10, 0), dt.time(23, 50))
#: Before an entry: the arming, and until when somebody may still change his mind.
ARMS: Final = dt.timedelta(seconds=75)
#: Who pauses, holds and lets go; only a partner's suspension holds by itself.
WHO: Final = ("USER", "PARTNER", "PAYMENT_FAILED", "ADMIN")
#: From one call to the next.
TICK: Final = dt.timedelta(seconds=20)


class Told(Broken):
    """A broken rule with the seed and the course of its story."""


def play(stage: Stage, seed: int) -> Story:
    """One story from its beginning to its end; Broken when a rule broke."""
    return next(_stories(stage, [seed]))


def play_all(stage: Stage, seeds: Iterable[int]) -> None:
    """Stories in the order of their seeds: those that begin alike share the beginning."""
    for _, alike in groupby(seeds, lambda seed: seed // ALIKE):
        for _ in _stories(stage, list(alike)):
            pass


def _stories(stage: Stage, seeds: Sequence[int]) -> Iterator[Story]:
    """Stories with one beginning; everything of them is undone."""
    beginning = Story(stage.hold_model, stage.rooms, f"beginning {seeds[0] // ALIKE}")
    with _undone(beginning, seeds[0]):
        beginning.begins()
        for seed in seeds:
            story = Story(
                beginning.hold_model, beginning.rooms, seed, beginning.told, beginning.suspending
            )
            with _undone(story, seed):
                story.ends()
            yield story


@contextmanager
def _undone(story: Story, seed: int) -> Iterator[None]:
    begun = transaction.savepoint()
    try:
        yield
    except Told:
        raise
    except (AssertionError, IntegrityError, KeyError, Refused) as error:
        course = "\n  ".join(story.told)
        raise Told(f"story {seed}: {type(error).__name__}: {error}\n  {course}") from error
    finally:
        transaction.savepoint_rollback(begun)


class Story:
    """What happens in one life of the rooms."""

    def __init__(
        self,
        hold_model: HoldModel,
        rooms: Rooms,
        seed: int | str,
        told: Sequence[str] = (),
        suspending: float = 1.0,
    ) -> None:
        self.random = Random(seed)
        self.told = list(told)
        self.hold_model = copy.deepcopy(hold_model)
        self.rooms = rooms.copy()
        self.suspending = suspending

    def begins(self) -> None:
        if self.random.random() < SUSPENDING:
            self.suspending = MORE
        self._to(BEGIN + dt.timedelta(days=self.random.choice((0, 0, 3, 13, 14, 17, 26))))
        self._steps(BEGINNING)

    def ends(self) -> None:
        """Some more steps, and then one leaves, or everybody does."""
        self._steps(ENDING)
        self._leave()

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self.random.choices(*zip(*self._happenings(), strict=True))[0]()

    def _happenings(self) -> list[tuple[Callable[[], None], float]]:
        return [
            (self._time, 3),
            (self._entry, 2.5),
            (self._bill, 0.7),
            (self._transition, 5),
            (self._place, 3.5),
            (self._lift, 3),
            (self._subscribe, 1.5),
            (self._account, 1.2),
            (self._template, 1),
            (self._pay, 0.5),
            (self._suspend, self.suspending),
            (self._beat, 0.5 if self.hold_model.suspended else 0),
        ]

    # -- time --------------------------------------------------------------------------------------
    def _time(self) -> None:
        """To another day: tomorrow, after the weekend, or around the end of a paid month."""
        draw, today = self.random, self.hold_model.today
        days = [today + dt.timedelta(days=many) for many in (1, 1, 3, 10, 31)]
        for subscription in self.hold_model.followed.values():
            if subscription.live:
                after = subscription.until
                days += [after + dt.timedelta(days=many) for many in (-1, 0, 1)]
        for plan in self.hold_model.suspended.values():
            if plan.until is not None:
                days += [plan.until + dt.timedelta(days=many) for many in (1, 2, 5)]
        self._to(draw.choice([day for day in days if day > today]))

    def _to(self, day: dt.date) -> None:
        self._passes(instant(day, self.random.choice(MORNINGS)))
        self._log_step("a new day")

    def _passes(self, now: dt.datetime) -> None:
        """To another day; beat comes by, or is late."""
        self.hold_model.passes(now)
        if self.hold_model.suspended and self.random.random() < PROMPT:
            self._beat()

    def _beat(self) -> None:
        """Beat carries out what the plans of suspended partners say of days that are over."""
        hold_model, rooms = self.hold_model, self.rooms
        self._log_step("beat")
        rooms.carry_out(hold_model.now)
        for partner in hold_model.suspended:
            hold_model.carry_out(partner)
        rooms.note_holds(hold_model.standing())
        self._look()

    def _log_step(self, what: str) -> None:
        self.told.append(f"{self.hold_model.now:%a %d %b %H:%M:%S} {what}")

    # -- one call, on both sides -------------------------------------------------------------------
    def _do(self, what: str, rule: str, model: Act, service: Act) -> int | None:
        """The model's answer and the service's are one. The key of what was made, if any was."""
        self.hold_model.passes(self.hold_model.now + TICK)
        self._log_step(what)
        expected, _ = _answer(model)
        answer, key = _answer(service)
        self.told[-1] += f": {answer}"
        if answer != expected:
            raise Broken(f"{rule}: {what}: {answer}, not {expected}")
        self._look()
        return key if answer == CHANGED else None

    def _look(self) -> None:
        try:
            seen = self.rooms.look(self.hold_model.now)
        except IntegrityError as error:
            raise Broken(f"{STATUS}, as the database says: {error}") from error
        compare(self.hold_model, self.rooms, seen)

    def _note(self) -> str:
        return self.random.choice(("", f"note {len(self.told)}"))

    # -- who pauses, resumes, cancels, holds, lets go ----------------------------------------------
    def _transition(self) -> None:
        draw, hold_model = self.random, self.hold_model
        subscription = draw.choice(
            [s for s in hold_model.followed.values() if s.live or _rarely(draw)]
        )
        what = draw.choices(("pause", "resume", "cancel"), (3, 3, 1))[0]
        self._ask(subscription, what, draw.choices(WHO, (3, 2, 1, 2))[0], self._note())

    def _ask(self, subscription: Followed, what: str, who: str, note: str) -> None:
        hold_model, rooms, now = self.hold_model, self.rooms, self.hold_model.now + TICK
        in_model: dict[str, Act] = {
            "pause": lambda: hold_model.pause(subscription.number, who, note),
            "resume": lambda: hold_model.resume(subscription.number, who, note),
            "cancel": lambda: hold_model.cancel(subscription.number, who),
        }
        rule = {"cancel": LEAVES, "resume": WEAKER}.get(what, STATUS)

        def done() -> tuple[str, int]:
            answer = rooms.transition(what, subscription.number, who, note, now)
            if what == "pause" and answer == CHANGED:
                rooms.holds[len(hold_model.holds)] = rooms.newest_hold()
            return answer, 0

        words = f"{who} {what}s {_words(subscription)}" + (f" ({note})" if note else "")
        self._do(words, rule, in_model[what], done)

    def _place(self) -> None:
        draw, hold_model, rooms = self.random, self.hold_model, self.rooms
        now = hold_model.now + TICK
        accounts = [
            account.number
            for account in hold_model.accounts.values()
            if not account.gone or _rarely(draw)
        ]
        scope, target = draw.choice(
            [
                ("SUBSCRIPTION", draw.choice(list(hold_model.followed))),
                ("CUSTOMER", draw.choice(list(hold_model.people))),
                ("ACCOUNT", draw.choice(accounts or list(hold_model.accounts))),
                ("PARTNER", draw.choice((("one", "live"), ("one", "test"), ("two", "live")))),
            ]
        )
        holder, note = draw.choices(WHO, (1, 2, 2, 8))[0], self._note()

        def done() -> tuple[str, int]:
            answer, key = rooms.place(scope, target, holder, note, now)
            if answer == CHANGED:
                rooms.holds[len(hold_model.holds)] = key
            return answer, key

        self._do(
            f"{holder} holds {scope} {target} ({note})",
            STATUS,
            lambda: hold_model.place(scope, target, holder, note),
            done,
        )

    def _lift(self) -> None:
        draw, hold_model = self.random, self.hold_model
        # One that began and ended between two beats never had a row.
        known = [hold for hold in hold_model.holds.values() if hold.number in self.rooms.holds]
        holds = [hold for hold in known if not hold.lifted or _rarely(draw)]
        if not holds:
            return
        hold = draw.choice(holds)
        who = hold.holder if hold.holder in WHO else "ADMIN"
        self._let_go(hold.number, draw.choice((who, draw.choice(WHO))), self._note())

    def _let_go(self, number: int, who: str, note: str) -> None:
        hold_model, rooms, now = self.hold_model, self.rooms, self.hold_model.now + TICK
        hold = hold_model.holds[number]
        self._do(
            f"{who} lifts {hold.holder}'s hold of {hold.scope} {hold.target} ({note})",
            WEAKER,
            lambda: hold_model.lift(number, who, note),
            lambda: (rooms.lift(number, who, note, now), 0),
        )

    def _suspend(self) -> None:
        """A partner is suspended with a plan for its customers, or taken back."""
        draw, hold_model, rooms = self.random, self.hold_model, self.rooms
        now = hold_model.now + TICK
        partner = draw.choice(sorted({person.partner for person in hold_model.people.values()}))
        if partner in hold_model.suspended:
            self._do(
                f"{partner} is reinstated",
                STATUS,
                lambda: hold_model.reinstate(partner),
                lambda: rooms.reinstate(partner, now),
            )
            return
        plan = draw.choices(("PAUSE_ALL", "RUN_UNTIL", "CANCEL_AT_PERIOD_END"), (1, 2, 1))[0]
        until = self._until(partner) if plan == "RUN_UNTIL" else None

        def done() -> str:
            answer = rooms.suspend(partner, plan, until, now)
            rooms.note_holds(hold_model.standing())
            return answer

        words = f"{partner} is suspended, {plan} {until or ''}"
        self._do(words, STATUS, lambda: hold_model.suspend(partner, plan, until), done)

    def _until(self, partner: str) -> dt.date:
        """Today, some day, or the last day of somebody's month."""
        today = self.hold_model.today
        days = [today + dt.timedelta(days=many) for many in (0, 3, 20)]
        for subscription in self.hold_model.followed.values():
            if subscription.live and subscription.person.partner == partner:
                days.append(subscription.until - dt.timedelta(days=1))
        return self.random.choice([day for day in days if day >= today])

    def _subscribe(self) -> None:
        draw, hold_model, rooms = self.random, self.hold_model, self.rooms
        now = hold_model.now + TICK
        person = draw.choice(list(hold_model.people.values()))
        live = {s.offer for s in hold_model.followed.values() if s.live and s.person == person}
        mine = [o.name for o in hold_model.offers.values() if o.environment == person.environment]
        offer = draw.choice([name for name in mine if name not in live] or mine)
        clients = tuple(draw.sample(person.clients, draw.randint(1, len(person.clients))))
        key = self._do(
            f"{person.name} subscribes to {offer} on {' and '.join(clients)}",
            "subscribes",
            lambda: hold_model.subscribe(person.name, offer, clients),
            lambda: self._subscribed(rooms.subscribe(person, offer, clients, now)),
        )
        assert key is None or len(hold_model.followed) == len(rooms.subscriptions)

    def _subscribed(self, key: int) -> tuple[str, int]:
        subscription = self.hold_model.followed[len(self.hold_model.followed)]
        self.rooms.note(
            key, subscription, [self.hold_model.accounts[number] for number in subscription.on]
        )
        return CHANGED, key

    # -- accounts, templates, money ----------------------------------------------------------------
    def _account(self) -> None:
        """The customer's own switch, and their connection."""
        draw, hold_model, rooms = self.random, self.hold_model, self.rooms
        now = hold_model.now + TICK
        person = draw.choice(list(hold_model.people.values()))
        client = draw.choice(person.clients)
        account = hold_model.connected(client)
        if account is None:
            self._simply(
                f"{person.name} connects {client} anew",
                lambda: hold_model.connection(client),
                lambda: rooms.connects(person, hold_model.connection(client), now),
            )
        elif draw.random() < 0.5:
            number, enabled = account.number, not account.enabled
            self._simply(
                f"{person.name} switches {client} {'on' if enabled else 'off'}",
                lambda: hold_model.switch(number, enabled),
                lambda: rooms.switch(number, enabled, now),
            )
        else:
            number = account.number

            def disconnects() -> None:
                rooms.disconnect(number, now)
                rooms.note_holds(hold_model.standing())

            self._simply(
                f"{person.name} disconnects {client}",
                lambda: hold_model.disconnect(number),
                disconnects,
            )

    def _simply(self, what: str, model: Callable[[], Any], service: Callable[[], Any]) -> None:
        """What nothing refuses."""
        self._do(what, "answers", _changes(model), _changes(service))

    def _template(self) -> None:
        draw, hold_model, rooms = self.random, self.hold_model, self.rooms
        now = hold_model.now + TICK
        offer = draw.choice(list(hold_model.offers.values()))
        name = offer.name
        what = draw.choices(
            ("close_to_new", "reopen", "publish", "switch", "withdraw"), (2, 2, 2, 2, 1)
        )[0]
        if what == "switch":
            act, word = (
                (hold_model.release, "release") if offer.stopped else (hold_model.stop, "stop")
            )
            real = rooms.release if offer.stopped else rooms.stop
            self._simply(f"{word} {name}", lambda: act(name), lambda: real(name, now))
            return
        in_model: dict[str, Callable[[str], str]] = {
            "close_to_new": hold_model.close,
            "reopen": hold_model.reopen,
            "publish": hold_model.publish,
            "withdraw": hold_model.withdraw,
        }
        self._do(
            f"{what} {name}",
            "answers",
            lambda: in_model[what](name),
            lambda: (rooms.move(what, name, now), 0),
        )

    def _pay(self) -> None:
        """An invoice is paid, and payment lets go of what it had held for it."""
        hold_model, rooms = self.hold_model, self.rooms
        owed = sorted(hold_model.invoiced - hold_model.paid)
        if not owed:
            return
        number, first = self.random.choice(owed)
        hold_model.paid.add((number, first))
        self._simply(
            f"{_words(hold_model.followed[number])} is paid from {first}",
            lambda: None,
            lambda: rooms.pays(number, first, hold_model.now),
        )
        for hold in list(hold_model.standing()):
            if (hold.scope, hold.target, hold.holder) == ("SUBSCRIPTION", number, "PAYMENT_FAILED"):
                self._let_go(hold.number, "PAYMENT_FAILED", "paid")

    # -- the day and the month ---------------------------------------------------------------------
    def _entry(self) -> None:
        """The next entry: armed, perhaps disturbed, armed again, and then who trades."""
        hold_model, draw = self.hold_model, self.random
        if hold_model.now >= instant(hold_model.today, ENTRY) - ARMS:
            self._passes(instant(hold_model.today + dt.timedelta(days=1), dt.time(8)))
        hold_model.passes(instant(hold_model.today, ENTRY) - ARMS)
        self._arm()
        for _ in range(draw.choice((0, 0, 1, 1, 2))):
            draw.choice((self._transition, self._place, self._place, self._lift, self._account))()
        if draw.random() < 0.4:
            hold_model.passes(instant(hold_model.today, ENTRY) - dt.timedelta(seconds=4))
            self._arm()
        self._enter()

    def _arm(self) -> None:
        self._log_step("arming")
        self.hold_model.arm()
        self.rooms.arm(self.hold_model.now)
        self._look()

    def _enter(self) -> None:
        hold_model, rooms = self.hold_model, self.rooms
        hold_model.passes(instant(hold_model.today, ENTRY) - dt.timedelta(seconds=1))
        who = judge_entry(hold_model, rooms)
        self._log_step(f"the entry: {who}")

    def _bill(self) -> None:
        hold_model, rooms = self.hold_model, self.rooms
        self._log_step("the billing run")
        rooms.run(hold_model.now)
        hold_model.run()
        self._look()
        judge_bills(hold_model, rooms)

    def _leave(self) -> None:
        """Whatever holds them; and then nothing of theirs trades, or is billed, any more."""
        hold_model, draw = self.hold_model, self.random
        live = [s for s in hold_model.followed.values() if s.live]
        live.sort(key=lambda s: -len(hold_model.holding(s)))
        everybody = draw.random() < 0.1
        for subscription in live if everybody else live[:1]:
            self._ask(subscription, "cancel", draw.choice(("USER", "PARTNER")), "")
            if subscription.live:
                raise Broken(f"{LEAVES}: {_words(subscription)}")
        if everybody or draw.random() < 0.5:
            self._passes(instant(hold_model.today + dt.timedelta(days=40), ENTRY) - ARMS)
            if everybody or draw.random() < 0.4:
                self._arm()
                self._enter()
            self._bill()


Act = Callable[[], Any]


def _answer(act: Act) -> tuple[Any, int | None]:
    """What came of a call, and the key of what it made; a refusal with all that it says."""
    try:
        answer = act()
    except Refused as refused:
        return f"refused, {refused.code} {sorted(refused.beside.items())}", None
    return answer if isinstance(answer, tuple) else (answer, None)


def _changes(act: Callable[[], Any]) -> Act:
    def changed() -> str:
        act()
        return CHANGED

    return changed


def _rarely(draw: Random) -> bool:
    return draw.random() < 0.1


def _words(subscription: Followed) -> str:
    return f"{subscription.number} ({subscription.person.name}'s {subscription.offer})"
