"""``make play``: a trading morning to look at, on any day of the week, until Ctrl-C.

A fresh installation whose clock begins at 09:14 of a trading day, seeded as ``make run`` seeds it.
Customers connect their accounts, log in and subscribe over the API. The first entry follows within
two minutes, then comes one every three minutes for half an hour, so that whoever subscribes
somebody sees a trade soon after. The seeded templates enter at 09:20, as on any other day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import requests

from clients.demo.broker import Simulator
from clients.demo.forms import PageError
from clients.demo.installation import ROOT, Installation, InstallationError
from clients.demo.keep_open import interrupt_on_signals, stay_open, welcome
from clients.demo.partner import ApiError, PartnerApi, in_parallel
from clients.demo.progress import say
from clients.demo.staff import PartnerKey, Staff
from clients.demo.story import IST, ZEBU, ZERODHA, Customer, Hours, Leg, Plan

#: A Wednesday whose holidays, contracts and freeze limits are known, whatever the real date.
#: NIFTY's weekly options expire six days later, so premiums are those of an ordinary day.
DAY: Final = dt.date(2026, 9, 9)
CLOCK_START: Final = dt.time(9, 14)
MARKET_OPENS: Final = dt.time(9, 15)
#: Minimum time from the last login to the first entry: enough to write and publish the template and
#: to subscribe, with room for a slow machine.
FIRST_AFTER: Final = dt.timedelta(seconds=35)
EVERY: Final = dt.timedelta(minutes=3)
ENTRIES: Final = 10  # as many strategies as one template may have
HOLD: Final = dt.timedelta(minutes=10)
FUNDS: Final = 50_000_000
FILLED_WITHIN: Final = 20.0  # seconds after the entry

STRADDLES: Final = Plan(
    key="straddles",
    name="NIFTY Short Straddle - every three minutes",
    description="Sells call and put at the money every three minutes and leaves ten minutes later.",
    legs=(Leg("SELL", "CE", 0, 1), Leg("SELL", "PE", 0, 1)),
    fee=Decimal("499.00"),
    stop_percent="25",
    move_to_cost="ALL_LEGS",
)


@dataclass(frozen=True)
class Person(Customer):
    """A customer with a name."""

    called: str = ""

    @property
    def name(self) -> str:
        """First and last name."""
        return self.called

    @property
    def email(self) -> str:
        """``bharat@example.com``: the first name."""
        return f"{self.called.split()[0].lower()}@example.com"


# Name, broker, multiplier. The last one never logs in, as happens every morning.
_PEOPLE: Final = (
    ("Bharat Shah", ZEBU, 1),
    ("Chitra Iyer", ZEBU, 2),
    ("Dev Kapoor", ZERODHA, 1),
    ("Farida Khan", ZEBU, 3),
    ("Gopal Nair", ZERODHA, 2),
    ("Hema Reddy", ZEBU, 1),
    ("Irfan Ali", ZERODHA, 1),
    ("Esha Das", ZEBU, 1),
)
PEOPLE: Final = tuple(
    Person(number, broker, Decimal(multiplier), called=called)
    for number, (called, broker, multiplier) in enumerate(_PEOPLE)
)
LATE_RISER: Final = PEOPLE[-1]


def first_entry(now: dt.datetime) -> dt.datetime:
    """The first full minute that leaves FIRST_AFTER for the rest.

    Never within the first minute of the session, so that the day's first prices have arrived.
    """
    earliest = max(
        now + FIRST_AFTER,
        dt.datetime.combine(DAY, MARKET_OPENS, IST) + dt.timedelta(minutes=1),
    )
    minute = earliest.astimezone(IST).replace(second=0, microsecond=0)
    return minute if minute == earliest else minute + dt.timedelta(minutes=1)


def hours(first: dt.datetime) -> list[Hours]:
    """The entries from ``first`` on, each with its exit ten minutes later."""
    entries = [first + number * EVERY for number in range(ENTRIES)]
    return [Hours(f"Straddle {at:%H:%M}", at.time(), (at + HOLD).time()) for at in entries]


class Morning:
    """One trading morning."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def prepare(self) -> dt.datetime:
        """Do everything up to the automatic entries; returns the instant of the first one."""
        self.simulator = Simulator(*self.installation.simulator.values())
        admin, partner = (
            self.installation.read("admin.json"),
            self.installation.read("partner.json"),
        )
        staff = Staff(self.installation.url)
        staff.log_in(admin["username"], admin["password"])
        api = PartnerApi(self.installation.url, PartnerKey(**partner["live"]))
        say("Customers connect their accounts and log in at their brokers")
        in_parallel("broker accounts", PEOPLE, api.connect)
        for person in PEOPLE:
            self.simulator.call(
                "POST",
                "/funds",
                {"broker": person.broker, "client_id": person.client_id, "funds": FUNDS},
            )
        awake = [person for person in PEOPLE if person is not LATE_RISER]
        in_parallel("daily logins", awake, api.daily_login)
        first = first_entry(self.simulator.now())
        say(f"Staff publish: {STRADDLES.name}, from {first:%H:%M} on")
        staff.publish(STRADDLES, hours(first))
        offered = api.templates().values()
        in_parallel(
            "subscriptions",
            [(person, template_id) for person in PEOPLE for template_id in offered],
            lambda pair: self._subscribe(api, *pair),
        )
        return first

    @staticmethod
    def _subscribe(api: PartnerApi, person: Person, template_id: str) -> None:
        api.subscribe(person, template_id)

    def filled(self) -> int:
        """Entry orders that the brokers have filled so far."""
        return sum(order.filled > 0 for order in self.simulator.book())


def play(installation: Installation) -> None:
    """Start, prepare, print the addresses, stay up until Ctrl-C, stop."""
    say("Installation: PostgreSQL, Valkey, web, workers, beat, broker simulator (a minute)")
    installation.start()
    morning = Morning(installation)
    first = morning.prepare()
    admin = installation.read("admin.json")
    now = morning.simulator.now().astimezone(IST)
    say("\n".join(welcome(installation, admin["username"], admin["password"])))
    say(f"\nHere it is {now:%A, %d %B %Y, %H:%M:%S} IST. The next entry: {first:%H:%M:%S}.")
    say(f"Watch it: {installation.url}/admin/execution/run/")
    left = (first - now).total_seconds() + FILLED_WITHIN
    if not stay_open(installation, until=time.monotonic() + left):
        say(f"{first:%H:%M:%S}: {morning.filled()} orders filled; the next one in three minutes.")
        stay_open(installation)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 unless something did not start or ended by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="console and API; default: a free one")
    parser.add_argument("--simulator-port", type=int, help="its control port; the next two follow")
    parser.add_argument("--base-dir", type=Path, default=ROOT / "var" / "play")
    options = parser.parse_args(arguments)
    interrupt_on_signals()
    installation = Installation(
        options.base_dir.absolute(),
        dt.datetime.combine(DAY, CLOCK_START).isoformat(),
        port=options.port,
        simulator_port=options.simulator_port,
        seed=True,
    )
    try:
        play(installation)
    except (InstallationError, PageError, ApiError, requests.RequestException) as error:
        say(f"\nIt stopped: {error}")
        say(f"Logs: {installation.base_dir / 'log'}")
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        installation.stop()
    say("\nStopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
