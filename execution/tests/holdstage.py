"""How every story of holds begins: who there is, what they follow, and since when."""

from __future__ import annotations

import copy
import datetime as dt
from decimal import Decimal
from typing import Final

from execution.tests.holdmodel import HoldModel
from execution.tests.holdrecords import Offer, Person, instant
from execution.tests.holdrooms import Rooms
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
    """What every story of holds begins with: made once, in the test's transaction."""

    def __init__(self) -> None:
        calendar = load_reference_data(instant(dt.date(2026, 1, 5), dt.time(12)))
        assert load_calendar() == calendar
        load_billing()
        self.rooms = Rooms(from_settings())
        self.hold_model = HoldModel(
            list(PEOPLE),
            [copy.copy(offer) for offer in OFFERS],
            lambda day: calendar.session(day) is not None,
        )
        for person in PEOPLE:
            self.rooms.meets(person)
        for offer in OFFERS:
            self.rooms.offers(offer, instant(dt.date(2026, 1, 5), dt.time(12)))
        for name, follows, clients, day in CAST:
            now = instant(day, dt.time(12))
            self.hold_model.passes(now)
            person = self.hold_model.people[name]
            for client in clients:
                if self.hold_model.connected(client) is None:
                    self.rooms.connects(person, self.hold_model.connection(client), now)
            self.hold_model.subscribe(name, follows, clients)
            key = self.rooms.subscribe(person, follows, clients, now)
            self.rooms.note(key, self.hold_model.followed[len(self.hold_model.followed)], [])
