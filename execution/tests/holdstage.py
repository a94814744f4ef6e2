"""The house as every story of holds finds it: who there is, what they follow, and since when."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal
from typing import Final

from execution.tests.holdmodel import House
from execution.tests.holdrecords import Offer, Person, instant
from execution.tests.holdworld import World
from execution.timing import from_settings
from marketplace.selectors import load_calendar
from marketplace.tests.factories import load_reference_data
from subscriptions.billing.tests.factories import load_billing

PEOPLE: Final = (
    Person("asha", "one", "live", ("A1", "A2")),
    Person("bala", "two", "live", ("B1",)),
    Person("tara", "one", "test", ("T1",)),
)
OFFERS: Final = (
    Offer("daily", "live", Decimal("999.00")),
    Offer("weekly", "live", Decimal("499.50"), weekdays=(0, 3)),
    Offer("paper", "test", Decimal("999.00")),
)
#: Who follows what on which accounts when a story begins, and since when.
CAST: Final = (
    ("asha", "daily", ("A1", "A2"), dt.date(2026, 1, 31)),
    ("asha", "weekly", ("A1",), dt.date(2026, 2, 9)),
    ("bala", "daily", ("B1",), dt.date(2026, 2, 12)),
    ("tara", "paper", ("T1",), dt.date(2026, 2, 12)),
)
BEGIN: Final = dt.date(2026, 2, 13)


class Stage:
    """The house as every story finds it: made once, in the test's transaction."""

    def __init__(self) -> None:
        calendar = load_reference_data(instant(dt.date(2026, 1, 5), dt.time(12)))
        assert load_calendar() == calendar
        load_billing()
        self.world = World(from_settings())
        self.house = House(
            list(PEOPLE),
            [copy.copy(offer) for offer in OFFERS],
            lambda day: calendar.session(day) is not None,
        )
        for person in PEOPLE:
            self.world.meets(person)
        for offer in OFFERS:
            self.world.offers(offer, instant(dt.date(2026, 1, 5), dt.time(12)))
        for name, follows, clients, day in CAST:
            now = instant(day, dt.time(12))
            self.house.passes(now)
            person = self.house.people[name]
            for client in clients:
                if self.house.connected(client) is None:
                    self.world.connects(person, self.house.connection(client), now)
            self.house.subscribe(name, follows, clients)
            key = self.world.subscribe(person, follows, clients, now)
            self.world.note(key, self.house.followed[len(self.house.followed)], [])
