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
from execution.tests.holdmodel import CHANGED, ENTRY, House
from execution.tests.holdrecords import Followed, Refused, instant
from execution.tests.holdstage import BEGIN, Stage
from execution.tests.holdworld import World

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
    beginning = Story(stage.house, stage.world, f"beginning {seeds[0] // ALIKE}")
    with _undone(beginning, seeds[0]):
        beginning.begins()
        for seed in seeds:
            story = Story(
                beginning.house, beginning.world, seed, beginning.told, beginning.suspending
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
    """What happens in one life of the house."""

    def __init__(
        self,
        house: House,
        world: World,
        seed: int | str,
        told: Sequence[str] = (),
        suspending: float = 1.0,
    ) -> None:
        self.random = Random(seed)
        self.told = list(told)
        self.house = copy.deepcopy(house)
        self.world = world.copy()
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
            (self._beat, 0.5 if self.house.suspended else 0),
        ]

    # -- time --------------------------------------------------------------------------------------
    def _time(self) -> None:
        """To another day: tomorrow, after the weekend, or around the end of a paid month."""
        draw, today = self.random, self.house.today
        days = [today + dt.timedelta(days=many) for many in (1, 1, 3, 10, 31)]
        for subscription in self.house.followed.values():
            if subscription.live:
                after = subscription.until
                days += [after + dt.timedelta(days=many) for many in (-1, 0, 1)]
        for plan in self.house.suspended.values():
            if plan.until is not None:
                days += [plan.until + dt.timedelta(days=many) for many in (1, 2, 5)]
        self._to(draw.choice([day for day in days if day > today]))

    def _to(self, day: dt.date) -> None:
        self._passes(instant(day, self.random.choice(MORNINGS)))
        self._log_step("a new day")

    def _passes(self, now: dt.datetime) -> None:
        """To another day; beat comes by, or is late."""
        self.house.passes(now)
        if self.house.suspended and self.random.random() < PROMPT:
            self._beat()

    def _beat(self) -> None:
        """Beat carries out what the plans of suspended partners say of days that are over."""
        house, world = self.house, self.world
        self._log_step("beat")
        world.carry_out(house.now)
        for partner in house.suspended:
            house.carry_out(partner)
        world.note_holds(house.standing())
        self._look()

    def _log_step(self, what: str) -> None:
        self.told.append(f"{self.house.now:%a %d %b %H:%M:%S} {what}")

    # -- one call, on both sides -------------------------------------------------------------------
    def _do(self, what: str, rule: str, model: Act, service: Act) -> int | None:
        """The model's answer and the service's are one. The key of what was made, if any was."""
        self.house.passes(self.house.now + TICK)
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
            seen = self.world.look(self.house.now)
        except IntegrityError as error:
            raise Broken(f"{STATUS}, as the database says: {error}") from error
        compare(self.house, self.world, seen)

    def _note(self) -> str:
        return self.random.choice(("", f"note {len(self.told)}"))

    # -- who pauses, resumes, cancels, holds, lets go ----------------------------------------------
    def _transition(self) -> None:
        draw, house = self.random, self.house
        subscription = draw.choice([s for s in house.followed.values() if s.live or _rarely(draw)])
        what = draw.choices(("pause", "resume", "cancel"), (3, 3, 1))[0]
        self._ask(subscription, what, draw.choices(WHO, (3, 2, 1, 2))[0], self._note())

    def _ask(self, subscription: Followed, what: str, who: str, note: str) -> None:
        house, world, now = self.house, self.world, self.house.now + TICK
        in_model: dict[str, Act] = {
            "pause": lambda: house.pause(subscription.number, who, note),
            "resume": lambda: house.resume(subscription.number, who, note),
            "cancel": lambda: house.cancel(subscription.number, who),
        }
        rule = {"cancel": LEAVES, "resume": WEAKER}.get(what, STATUS)

        def done() -> tuple[str, int]:
            answer = world.transition(what, subscription.number, who, note, now)
            if what == "pause" and answer == CHANGED:
                world.holds[len(house.holds)] = world.newest_hold()
            return answer, 0

        words = f"{who} {what}s {_words(subscription)}" + (f" ({note})" if note else "")
        self._do(words, rule, in_model[what], done)

    def _place(self) -> None:
        draw, house, world, now = self.random, self.house, self.world, self.house.now + TICK
        accounts = [
            account.number
            for account in house.accounts.values()
            if not account.gone or _rarely(draw)
        ]
        scope, target = draw.choice(
            [
                ("SUBSCRIPTION", draw.choice(list(house.followed))),
                ("CUSTOMER", draw.choice(list(house.people))),
                ("ACCOUNT", draw.choice(accounts or list(house.accounts))),
                ("PARTNER", draw.choice((("one", "live"), ("one", "test"), ("two", "live")))),
            ]
        )
        holder, note = draw.choices(WHO, (1, 2, 2, 8))[0], self._note()

        def done() -> tuple[str, int]:
            answer, key = world.place(scope, target, holder, note, now)
            if answer == CHANGED:
                world.holds[len(house.holds)] = key
            return answer, key

        self._do(
            f"{holder} holds {scope} {target} ({note})",
            STATUS,
            lambda: house.place(scope, target, holder, note),
            done,
        )

    def _lift(self) -> None:
        draw, house = self.random, self.house
        # One that began and ended between two beats never had a row.
        known = [hold for hold in house.holds.values() if hold.number in self.world.holds]
        holds = [hold for hold in known if not hold.lifted or _rarely(draw)]
        if not holds:
            return
        hold = draw.choice(holds)
        who = hold.holder if hold.holder in WHO else "ADMIN"
        self._let_go(hold.number, draw.choice((who, draw.choice(WHO))), self._note())

    def _let_go(self, number: int, who: str, note: str) -> None:
        house, world, now = self.house, self.world, self.house.now + TICK
        hold = house.holds[number]
        self._do(
            f"{who} lifts {hold.holder}'s hold of {hold.scope} {hold.target} ({note})",
            WEAKER,
            lambda: house.lift(number, who, note),
            lambda: (world.lift(number, who, note, now), 0),
        )

    def _suspend(self) -> None:
        """A partner is suspended with a plan for its customers, or taken back."""
        draw, house, world, now = self.random, self.house, self.world, self.house.now + TICK
        partner = draw.choice(sorted({person.partner for person in house.people.values()}))
        if partner in house.suspended:
            self._do(
                f"{partner} is reinstated",
                STATUS,
                lambda: house.reinstate(partner),
                lambda: world.reinstate(partner, now),
            )
            return
        plan = draw.choices(("PAUSE_ALL", "RUN_UNTIL", "CANCEL_AT_PERIOD_END"), (1, 2, 1))[0]
        until = self._until(partner) if plan == "RUN_UNTIL" else None

        def done() -> str:
            answer = world.suspend(partner, plan, until, now)
            world.note_holds(house.standing())
            return answer

        words = f"{partner} is suspended, {plan} {until or ''}"
        self._do(words, STATUS, lambda: house.suspend(partner, plan, until), done)

    def _until(self, partner: str) -> dt.date:
        """Today, some day, or the last day of somebody's month."""
        today = self.house.today
        days = [today + dt.timedelta(days=many) for many in (0, 3, 20)]
        for subscription in self.house.followed.values():
            if subscription.live and subscription.person.partner == partner:
                days.append(subscription.until - dt.timedelta(days=1))
        return self.random.choice([day for day in days if day >= today])

    def _subscribe(self) -> None:
        draw, house, world, now = self.random, self.house, self.world, self.house.now + TICK
        person = draw.choice(list(house.people.values()))
        live = {s.offer for s in house.followed.values() if s.live and s.person == person}
        mine = [o.name for o in house.offers.values() if o.environment == person.environment]
        offer = draw.choice([name for name in mine if name not in live] or mine)
        clients = tuple(draw.sample(person.clients, draw.randint(1, len(person.clients))))
        key = self._do(
            f"{person.name} subscribes to {offer} on {' and '.join(clients)}",
            "subscribes",
            lambda: house.subscribe(person.name, offer, clients),
            lambda: self._subscribed(world.subscribe(person, offer, clients, now)),
        )
        assert key is None or len(house.followed) == len(world.subscriptions)

    def _subscribed(self, key: int) -> tuple[str, int]:
        subscription = self.house.followed[len(self.house.followed)]
        self.world.note(
            key, subscription, [self.house.accounts[number] for number in subscription.on]
        )
        return CHANGED, key

    # -- accounts, templates, money ----------------------------------------------------------------
    def _account(self) -> None:
        """The customer's own switch, and their connection."""
        draw, house, world, now = self.random, self.house, self.world, self.house.now + TICK
        person = draw.choice(list(house.people.values()))
        client = draw.choice(person.clients)
        account = house.connected(client)
        if account is None:
            self._simply(
                f"{person.name} connects {client} anew",
                lambda: house.connection(client),
                lambda: world.connects(person, house.connection(client), now),
            )
        elif draw.random() < 0.5:
            number, enabled = account.number, not account.enabled
            self._simply(
                f"{person.name} switches {client} {'on' if enabled else 'off'}",
                lambda: house.switch(number, enabled),
                lambda: world.switch(number, enabled, now),
            )
        else:
            number = account.number

            def disconnects() -> None:
                world.disconnect(number, now)
                world.note_holds(house.standing())

            self._simply(
                f"{person.name} disconnects {client}",
                lambda: house.disconnect(number),
                disconnects,
            )

    def _simply(self, what: str, model: Callable[[], Any], service: Callable[[], Any]) -> None:
        """What nothing refuses."""
        self._do(what, "answers", _changes(model), _changes(service))

    def _template(self) -> None:
        draw, house, world, now = self.random, self.house, self.world, self.house.now + TICK
        offer = draw.choice(list(house.offers.values()))
        name = offer.name
        what = draw.choices(
            ("close_to_new", "reopen", "publish", "switch", "withdraw"), (2, 2, 2, 2, 1)
        )[0]
        if what == "switch":
            act, word = (house.release, "release") if offer.stopped else (house.stop, "stop")
            real = world.release if offer.stopped else world.stop
            self._simply(f"{word} {name}", lambda: act(name), lambda: real(name, now))
            return
        in_model: dict[str, Callable[[str], str]] = {
            "close_to_new": house.close,
            "reopen": house.reopen,
            "publish": house.publish,
            "withdraw": house.withdraw,
        }
        self._do(
            f"{what} {name}",
            "answers",
            lambda: in_model[what](name),
            lambda: (world.move(what, name, now), 0),
        )

    def _pay(self) -> None:
        """An invoice is paid, and payment lets go of what it had held for it."""
        house, world = self.house, self.world
        owed = sorted(house.invoiced - house.paid)
        if not owed:
            return
        number, first = self.random.choice(owed)
        house.paid.add((number, first))
        self._simply(
            f"{_words(house.followed[number])} is paid from {first}",
            lambda: None,
            lambda: world.pays(number, first, house.now),
        )
        for hold in list(house.standing()):
            if (hold.scope, hold.target, hold.holder) == ("SUBSCRIPTION", number, "PAYMENT_FAILED"):
                self._let_go(hold.number, "PAYMENT_FAILED", "paid")

    # -- the day and the month ---------------------------------------------------------------------
    def _entry(self) -> None:
        """The next entry: armed, perhaps disturbed, armed again, and then who trades."""
        house, draw = self.house, self.random
        if house.now >= instant(house.today, ENTRY) - ARMS:
            self._passes(instant(house.today + dt.timedelta(days=1), dt.time(8)))
        house.passes(instant(house.today, ENTRY) - ARMS)
        self._arm()
        for _ in range(draw.choice((0, 0, 1, 1, 2))):
            draw.choice((self._transition, self._place, self._place, self._lift, self._account))()
        if draw.random() < 0.4:
            house.passes(instant(house.today, ENTRY) - dt.timedelta(seconds=4))
            self._arm()
        self._enter()

    def _arm(self) -> None:
        self._log_step("arming")
        self.house.arm()
        self.world.arm(self.house.now)
        self._look()

    def _enter(self) -> None:
        house, world = self.house, self.world
        house.passes(instant(house.today, ENTRY) - dt.timedelta(seconds=1))
        who = judge_entry(house, world)
        self._log_step(f"the entry: {who}")

    def _bill(self) -> None:
        house, world = self.house, self.world
        self._log_step("the billing run")
        world.run(house.now)
        house.run()
        self._look()
        judge_bills(house, world)

    def _leave(self) -> None:
        """Whatever holds them; and then nothing of theirs trades, or is billed, any more."""
        house, draw = self.house, self.random
        live = [s for s in house.followed.values() if s.live]
        live.sort(key=lambda s: -len(house.holding(s)))
        everybody = draw.random() < 0.1
        for subscription in live if everybody else live[:1]:
            self._ask(subscription, "cancel", draw.choice(("USER", "PARTNER")), "")
            if subscription.live:
                raise Broken(f"{LEAVES}: {_words(subscription)}")
        if everybody or draw.random() < 0.5:
            self._passes(instant(house.today + dt.timedelta(days=40), ENTRY) - ARMS)
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
