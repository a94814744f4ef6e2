"""The story: who trades what, what goes wrong, and the outcome that must follow. Pure.

Every expectation is computed here, before anything runs, from the story alone: the published
strategies, the customers' multipliers and the faults. Lots are contract lots, times are IST.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

IST: Final = ZoneInfo("Asia/Kolkata")
DAY: Final = dt.date(2026, 9, 8)  # a Tuesday, expiry day of NIFTY's weekly contracts
ENTRY: Final = dt.time(9, 20, 0)
HOLD_SECONDS: Final = 55
UNDERLYING: Final = "NIFTY"
STRIKE_STEP: Final = 50
MARKET_SHIFT: Final = 60  # rupees of NIFTY after the entry: far more than 25 % of an ATM call

CONDOR: Final = "condor"
STRADDLE: Final = "straddle"
ZEBU: Final = "zebu"
ZERODHA: Final = "zerodha"

FILLED: Final = "FILLED"
MARGIN: Final = "MARGIN"
NO_LOGIN: Final = "SESSION_EXPIRED"
PAUSED: Final = "PAUSED"
CANCELLED: Final = "CANCELLED"

# Money: rupees per month before tax, per cent, basis points, GST codes of states.
CONDOR_FEE: Final = Decimal("999.00")
STRADDLE_FEE: Final = Decimal("1499.50")  # half of its tax is no whole number of paise
GST_PERCENT: Final = 18
PARTNER_BPS: Final = 2750
HOME_STATE: Final = "33"  # the supplier's, and of most customers
OTHER_STATE: Final = "29"


@dataclass(frozen=True)
class Leg:
    """One leg as staff enter it. ``steps`` are strikes away from the money (0 = ATM)."""

    side: str
    option_type: str
    steps: int
    lots: int

    @property
    def moneyness(self) -> str:
        """The strike type of the authoring form."""
        return f"OTM{self.steps}" if self.steps else "ATM"

    @property
    def label(self) -> str:
        """The leg's name in answers of the API."""
        return f"{self.side} {self.option_type} {self.moneyness} WEEKLY"

    def strike(self, spot: Decimal) -> Decimal:
        """Strike of this leg with the index at ``spot`` (rupees; a tie is rounded down)."""
        at_the_money = math.ceil(spot / STRIKE_STEP - Decimal("0.5")) * STRIKE_STEP
        outward = 1 if self.option_type == "CE" else -1
        return Decimal(at_the_money + outward * self.steps * STRIKE_STEP)


@dataclass(frozen=True)
class Plan:
    """One strategy to publish. ``fee``: rupees per month before tax (0: free)."""

    key: str
    name: str
    description: str
    legs: tuple[Leg, ...]
    fee: Decimal
    stop_percent: str = ""
    move_to_cost: str = "OFF"
    underlying: str = UNDERLYING


PLANS: Final = (
    Plan(
        key=CONDOR,
        name="NIFTY Iron Condor",
        description="Sells both sides two strikes away from the money, hedged two further out.",
        legs=(
            Leg("SELL", "CE", 2, 2),
            Leg("SELL", "PE", 2, 2),
            Leg("BUY", "CE", 4, 2),
            Leg("BUY", "PE", 4, 2),
        ),
        fee=CONDOR_FEE,
    ),
    Plan(
        key=STRADDLE,
        name="NIFTY Short Straddle",
        description="Sells call and put at the money, each with a stop of 25 % of its premium.",
        legs=(Leg("SELL", "CE", 0, 1), Leg("SELL", "PE", 0, 1)),
        fee=STRADDLE_FEE,
        stop_percent="25",
        move_to_cost="ALL_LEGS",
    ),
)


@dataclass(frozen=True)
class Hours:
    """Entry and exit of one strategy of a plan (IST); ``name`` distinguishes it from the others."""

    name: str
    entry: dt.time
    exit: dt.time


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a broker, for one customer, during the entry.

    ``body`` is what the simulator's control port needs besides broker and client.
    """

    name: str
    side: str
    body: tuple[tuple[str, object], ...]

    def order(self, broker: str, client_id: str) -> dict[str, object]:
        """The control port's description of this fault for one client."""
        match = {"broker": broker, "client_id": client_id, "side": self.side}
        return {"match": match, "count": 1, **dict(self.body)}


DROPPED: Final = Fault("accepted-then-dropped", "BUY", (("kind", "drop_after_accept"),))
GATEWAY: Final = Fault(
    "accepted-then-504", "BUY", (("kind", "status_after_accept"), ("status", 504))
)
HIDDEN: Final = Fault("hidden-3s", "BUY", (("kind", "hide"), ("seconds", 3), ("answer", "drop")))
LIMITED: Final = Fault("429", "BUY", (("kind", "rate_limit"),))
# Both shorts are refused, so that it does not matter which one the broker checks first.
REFUSED: Final = Fault(
    "margin-refusal",
    "SELL",
    (("kind", "reject"), ("cause", MARGIN), ("async", True), ("count", 2)),
)
_FAULTS: Final = {
    (ZEBU, 3): DROPPED,
    (ZEBU, 4): HIDDEN,
    (ZEBU, 5): REFUSED,
    (ZERODHA, 1): GATEWAY,
    (ZERODHA, 2): LIMITED,
}
_ABSENT: Final = {(ZEBU, 6): PAUSED, (ZEBU, 7): CANCELLED, (ZEBU, 8): NO_LOGIN}
_MULTIPLIERS: Final = (Decimal(1), Decimal(2), Decimal("0.5"))
SMALLEST: Final = {ZEBU: 9, ZERODHA: 3}


@dataclass(frozen=True)
class Customer:
    """One customer with one broker account.

    ``absent`` is the cause for which they cannot trade today ('' = they can).
    ``max_lots_per_order`` slices their orders.
    """

    number: int
    broker: str
    multiplier: Decimal
    max_lots_per_order: int | None = None
    fault: Fault | None = None
    absent: str = ""

    @property
    def email(self) -> str:
        """The customer's address."""
        return f"customer{self.number:03d}@example.com"

    @property
    def name(self) -> str:
        """The customer's name."""
        return f"Customer {self.number:03d}"

    @property
    def client_id(self) -> str:
        """The client id at the broker."""
        return f"{'ZB' if self.broker == ZEBU else 'ZR'}{self.number:04d}"

    @property
    def api_key(self) -> str:
        """Their app at the broker (the simulator knows every key; its secret: ``secret-<key>``)."""
        return f"app{self.number:04d}"

    @property
    def state(self) -> str:
        """GST code of the state that they give when they subscribe."""
        return OTHER_STATE if self.number % 4 == 3 else HOME_STATE

    def lots(self, leg: Leg) -> int:
        """Lots of a leg for this customer, rounded down."""
        return math.floor(leg.lots * self.multiplier)

    def may_follow(self, plan: Plan) -> bool:
        """Whether their multiplier leaves every leg of the strategy with a lot."""
        return all(self.lots(leg) for leg in plan.legs)

    def slices(self, leg: Leg) -> list[int]:
        """Lots of each order of a leg."""
        lots, most = self.lots(leg), self.max_lots_per_order or self.lots(leg)
        full, rest = divmod(lots, most)
        return [most] * full + ([rest] if rest else [])


@dataclass(frozen=True)
class PlannedOrder:
    """One entry order of the story, and how it ends (FILLED or a cause)."""

    leg: Leg
    lots: int
    ending: str


@dataclass(frozen=True)
class Expected:
    """The expected outcome of one customer's part in one strategy."""

    customer: Customer
    plan: Plan
    status: str
    cause: str
    orders: tuple[PlannedOrder, ...]


@dataclass(frozen=True)
class Story:
    """The whole story."""

    customers: tuple[Customer, ...]
    exit: dt.time
    entry: dt.time = ENTRY
    day: dt.date = DAY

    @property
    def entry_at(self) -> dt.datetime:
        """The entry second."""
        return dt.datetime.combine(self.day, self.entry, IST)

    @property
    def exit_at(self) -> dt.datetime:
        """The exit second."""
        return dt.datetime.combine(self.day, self.exit, IST)

    def subscriptions(self) -> Iterator[tuple[Customer, Plan]]:
        """Customers and their strategies, where the multiplier allows it."""
        for customer in self.customers:
            for plan in PLANS:
                if customer.may_follow(plan):
                    yield customer, plan

    def illegal(self) -> Iterator[tuple[Customer, Plan]]:
        """Subscriptions that the API must refuse, naming the leg."""
        for customer in self.customers:
            for plan in PLANS:
                if not customer.may_follow(plan):
                    yield customer, plan

    def absent(self) -> list[Customer]:
        """Customers who do not trade today."""
        return [customer for customer in self.customers if customer.absent]

    def faulty(self) -> list[tuple[Customer, Fault]]:
        """Customers with a fault at their broker."""
        return [
            (customer, customer.fault) for customer in self.customers if customer.fault is not None
        ]

    def expected(self) -> list[Expected]:
        """The outcome of every subscription."""
        return [expected(customer, plan) for customer, plan in self.subscriptions()]


def expected(customer: Customer, plan: Plan) -> Expected:
    """The expected outcome of one subscription."""
    if customer.absent in (PAUSED, CANCELLED):
        return Expected(customer, plan, "WITHDRAWN", customer.absent, ())
    if customer.absent:
        return Expected(customer, plan, "FAILED", customer.absent, ())
    refused = customer.fault is REFUSED
    orders = tuple(
        PlannedOrder(leg, lots, MARGIN if refused and leg.side == "SELL" else FILLED)
        for leg in plan.legs
        for lots in customer.slices(leg)
    )
    if refused:
        return Expected(customer, plan, "FAILED", MARGIN, orders)
    return Expected(customer, plan, "CLOSED", "", orders)


def make_story(zebu: int = 200, zerodha: int = 50, hold_seconds: int = HOLD_SECONDS) -> Story:
    """The story with so many customers at each broker (SMALLEST at least).

    Positions are held for ``hold_seconds``.
    """
    if zebu < SMALLEST[ZEBU] or zerodha < SMALLEST[ZERODHA]:
        raise ValueError(f"the story needs at least {SMALLEST} customers")
    places: Sequence[tuple[str, int]] = [(ZEBU, i) for i in range(zebu)] + [
        (ZERODHA, i) for i in range(zerodha)
    ]
    customers = tuple(
        _customer(number, broker, index) for number, (broker, index) in enumerate(places)
    )
    leave = dt.datetime.combine(DAY, ENTRY) + dt.timedelta(seconds=hold_seconds)
    return Story(customers, exit=leave.time())


def _customer(number: int, broker: str, index: int) -> Customer:
    place = (broker, index)
    fault, absent = _FAULTS.get(place), _ABSENT.get(place, "")
    multiplier = _MULTIPLIERS[2] if fault is REFUSED else _MULTIPLIERS[number % 3]
    sliced = number % 12 == 1 and multiplier == 2 and fault is None and not absent
    return Customer(
        number=number,
        broker=broker,
        multiplier=multiplier,
        max_lots_per_order=3 if sliced else None,
        fault=fault,
        absent=absent,
    )
