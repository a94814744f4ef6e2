"""Random portfolios for the oracle, and the way of each through the house: lifecycle, runs, money.

Everything goes in at the front doors, in the order of the days: ``subscriptions.services`` with
their ``now``, ``billing.runs.run`` with its own, ``allocations.record`` and ``reversals.reverse``.
What came out is read back as oracle's bills.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import strategies as st

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing import allocations, recognition, reversals, runs
from subscriptions.billing.models import (
    Invoice,
    LedgerEntry,
    LedgerTransaction,
    Receipt,
    TaxRate,
)
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    follow,
    follow_again,
    load_billing,
    noon,
)
from subscriptions.billing.tests.portfolios_oracle import (
    NOON,
    NOTHING,
    Action,
    Bill,
    Event,
    Followed,
    Moment,
    Portfolio,
    RunDay,
    balances,
    bills,
    months_after,
    numbered,
)
from subscriptions.billing.tests.receipts_oracle import COMES, GOES, Came, settled
from subscriptions.errors import TransitionRefused
from subscriptions.models import Subscription

SIZE: Final = 50
MONTHS: Final = 24
#: First days of portfolios: two of them have 29 February inside.
BEGINNINGS: Final = (
    dt.date(2026, 1, 28),
    dt.date(2026, 8, 31),
    dt.date(2027, 3, 30),
    dt.date(2025, 12, 31),
)
FIRST_RATE: Final = (dt.date(2017, 7, 1), Decimal("18.00"))
RATES: Final = (Decimal("12.00"), Decimal("18.75"), Decimal("5.00"), Decimal("0.00"))
# 499.95 and 0.05 have halves that round up; 0.02 has no tax at all at low rates.
FEES: Final = (
    Decimal("999.00"),
    Decimal("499.95"),
    Decimal("0.05"),
    Decimal("333.33"),
    Decimal("0.02"),
    Decimal("0.00"),
)
#: The fee of somebody who comes back: as it was, or another.
PRICES: Final = (None, None, Decimal("1499.50"), Decimal("0.05"))
STATES: Final = (HOME, AWAY, "07", "")
#: Partners by their state, which decides nothing; None is us.
PARTNER_STATES: Final = (None, "", AWAY, HOME)
MORNING: Final = 4
EVENING: Final = 18
CHUNKS: Final = (1000, 20, 7, 2)
#: Money that comes: a part, one bill, two of them, and what no bill needs; rupees.
AMOUNTS: Final = tuple(map(Decimal, ("0.01", "100.00", "589.94", "1178.82", "2357.64", "9000.00")))
#: What a partner has of each of its customers' fees, percent.
SHARE: Final = Decimal(30)
#: Days between what a customer does; the lengths of months, and around them, more often.
GAPS: Final = (0, 1, 27, 28, 29, 30, 31, 32, 59, 61, 62)
ACTIONS: Final = (Action.PAUSE, Action.RESUME, Action.PAUSE, Action.RESUME, Action.CANCEL)
#: What somebody at a turning point does: leaves, and comes back within days or months.
COMES_BACK: Final = (Action.CANCEL, Action.SUBSCRIBE)


@dataclass(frozen=True, slots=True)
class Case:
    """A portfolio and what the oracle need not know: chunk sizes, and who follows through whom."""

    portfolio: Portfolio
    chunks: tuple[int, ...]
    partners: tuple[int, ...]
    came: tuple[Came, ...] = ()


# -- strategies ------------------------------------------------------------------------------------
@st.composite
def starts(draw: st.DrawFn, first: dt.date) -> dt.date:
    """A day of the portfolio's first 23 months; every second one from the end of a month."""
    if draw(st.booleans()):
        return first + dt.timedelta(days=draw(st.integers(0, 700)))
    day = draw(st.sampled_from((29, 30, 31)))
    month = months_after(first.replace(day=1), draw(st.integers(0, 22)))
    return max(first, months_after(month.replace(month=1, day=day), month.month - 1))


@st.composite
def followed(draw: st.DrawFn, first: dt.date, last: dt.date) -> tuple[Followed, int]:
    """A subscription, and the place of its partner."""
    start = draw(starts(first))
    gaps = st.one_of(st.integers(0, 95), st.sampled_from(GAPS))
    # every second one comes back after leaving, most often inside the month, or on the same day
    actions = ACTIONS if draw(st.booleans()) else (*COMES_BACK, *COMES_BACK, *ACTIONS)
    steps = draw(st.lists(st.tuples(st.sampled_from(actions), gaps), max_size=7))
    day, events = start, []
    for action, gap in steps:
        day += dt.timedelta(days=gap)
        if day <= last:
            events.append(Event(day, action))
            if action is Action.CANCEL and actions is not ACTIONS:
                again = day + dt.timedelta(days=draw(st.sampled_from((0, 0, 1, 12, 27, 31))))
                day = min(again, last)
                events.append(Event(day, Action.SUBSCRIBE, draw(st.sampled_from(PRICES))))
    place = draw(st.integers(0, len(PARTNER_STATES) - 1))
    one = Followed(
        start,
        draw(st.sampled_from(FEES)),
        draw(st.sampled_from(STATES)),
        tuple(events),
        # a test subscription needs a partner
        live=not place or draw(st.integers(0, 9)) < 9,
        partner_state=PARTNER_STATES[place] or "",
    )
    return one, place


@st.composite
def run_days(draw: st.DrawFn, first: dt.date, last: dt.date) -> tuple[RunDay, ...]:
    """Runs with outages of 1 to 60 days between them; some days have two, some runs ask for a day
    that is over.
    """
    # hypothesis likes small numbers, and nobody needs so many runs
    outages = st.integers(0, 59).map(lambda less: 60 - less)
    gaps = draw(st.lists(outages, min_size=12, max_size=40))
    twice, late = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    found: list[RunDay] = []
    day = first
    for number, gap in enumerate(itertools.cycle(gaps)):
        if day >= last:
            break
        asked = day - dt.timedelta(days=3) if number % late == late - 1 else day
        found.append(RunDay(Moment(day, (MORNING, EVENING)[number % 2]), asked))
        if number % twice == 0 and number % 2 == 0:
            found.append(RunDay(Moment(day, EVENING), day))
        day += dt.timedelta(days=gap)
    return (*found, RunDay(Moment(last, EVENING), last))


@st.composite
def cases(draw: st.DrawFn, size: int = SIZE, months: int = MONTHS) -> Case:
    """``size`` subscriptions over ``months`` months, with one or two changes of the tax rate."""
    first = draw(st.sampled_from(BEGINNINGS))
    last = months_after(first, months)
    made = draw(st.lists(followed(first, last), min_size=size, max_size=size))
    changes = draw(
        st.lists(
            st.tuples(st.integers(1, 700), st.sampled_from(RATES)),
            min_size=1,
            max_size=2,
            unique_by=lambda change: change[0],
        )
    )
    rates = [(first + dt.timedelta(days=days), percent) for days, percent in changes]
    portfolio = Portfolio(
        tuple(one for one, _ in made),
        (FIRST_RATE, *rates),
        HOME,
        last,
        draw(run_days(first, last)),
    )
    chunks = draw(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=5))
    came = draw(money(portfolio.subscriptions, first, last))
    return Case(portfolio, tuple(chunks), tuple(place for _, place in made), came)


@st.composite
def money(
    draw: st.DrawFn, made: Sequence[Followed], first: dt.date, last: dt.date
) -> tuple[Came, ...]:
    """Receipts of some of the live customers; of every second one the bank takes back."""
    live = [place for place, one in enumerate(made) if one.live]
    if not live:
        return ()
    days = st.integers(0, (last - first).days)
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(live), days, st.sampled_from(AMOUNTS), st.booleans(), days),
            max_size=14,
        )
    )
    found = []
    for place, after, amount, bounces, later in drawn:
        day = first + dt.timedelta(days=after)
        back = day + dt.timedelta(days=later % 60) if bounces else None
        found.append(Came(place, day, amount, min(back, last) if back else None))
    return tuple(found)


def with_runs(case: Case, days: Sequence[dt.date]) -> Case:
    """The same portfolio with evening runs on ``days`` instead."""
    planned = tuple(RunDay(Moment(day, EVENING), day) for day in days)
    return replace(case, portfolio=replace(case.portfolio, runs=planned))


# -- the way through the house ---------------------------------------------------------------------
@contextlib.contextmanager
def undone() -> Iterator[None]:
    """Everything inside is rolled back. The run's durable chunks are savepoints meanwhile."""
    with transaction.atomic():
        real = transaction.atomic

        def within(*_arguments: Any, **_options: Any) -> Any:
            return real()

        vars(transaction)["atomic"] = within
        try:
            yield
        finally:
            vars(transaction)["atomic"] = real
            transaction.set_rollback(True)


@dataclass(frozen=True, slots=True)
class House:
    """What all portfolios share: a template in each environment, and PARTNER_STATES as partners."""

    template: Template
    sandbox: Template
    partners: tuple[Partner | None, ...]


def build_house() -> House:
    """A house without subscriptions; tax and supplier are in force."""
    load_billing()
    load_reference_data()
    return House(
        make_template(),
        make_template(environment=Environment.TEST),
        tuple(
            None if state is None else make_partner(default_state=state) for state in PARTNER_STATES
        ),
    )


def load(case: Case, house: House) -> list[list[Subscription]]:
    """The subscriptions in the order of the portfolio, each of a customer of its own, as the first
    of its turns.
    """
    for since, percent in case.portfolio.rates:
        TaxRate.objects.get_or_create(effective_from=since, defaults={"rate_pct": percent})
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, (one, place) in enumerate(
        zip(case.portfolio.subscriptions, case.partners, strict=True)
    ):
        groups.setdefault((one.live, place, one.state, one.fee), []).append(number)
    made: dict[int, Subscription] = {}
    for (live, place, state, fee), numbers in groups.items():
        days = [case.portfolio.subscriptions[number].start for number in numbers]
        subscriptions = follow(
            house.template if live else house.sandbox,
            house.partners[place],
            days,
            state=state,
            fee=fee,
            environment=Environment.LIVE if live else Environment.TEST,
        )
        made.update(zip(numbers, subscriptions, strict=True))
    return [[made[number]] for number in range(len(made))]


def drive(case: Case, made: Sequence[list[Subscription]]) -> int:
    """Everything that happens, in its order; then revenue. How many invoices the runs counted.

    Who comes back is one turn more in ``made``.
    """
    agenda: list[tuple[Moment, int, RunDay | Event | Came]] = [
        (Moment(event.day, NOON), number, event)
        for number, one in enumerate(case.portfolio.subscriptions)
        for event in one.events
    ]
    agenda += [(run.at, -1, run) for run in case.portfolio.runs]
    agenda += [(Moment(one.day, COMES), number, one) for number, one in enumerate(case.came)]
    agenda += [
        (Moment(one.back, GOES), number, one)
        for number, one in enumerate(case.came)
        if one.back is not None
    ]
    receipts: dict[int, Receipt] = {}
    chunks = itertools.cycle(case.chunks)
    counted = 0
    for moment, number, what in sorted(agenda, key=lambda entry: entry[0]):
        now = at_ist(moment.day, dt.time(moment.hour))
        if isinstance(what, RunDay):
            counted += runs.run(what.as_of, now=now, chunk=next(chunks)).invoices
            continue
        if isinstance(what, Came):
            if moment.hour == COMES:
                receipts[number] = receive(what, number, made[what.place][0], now)
            else:
                take_back(receipts[number], moment.day, now)
            continue
        newest = made[number][-1]
        if what.action is Action.SUBSCRIBE:
            newest.refresh_from_db()
            if newest.status == Subscription.Status.CANCELLED:
                free = not newest.monthly_fee
                made[number].append(follow_again(newest, what.day, fee=None if free else what.fee))
            continue
        with contextlib.suppress(TransitionRefused):  # of one that was cancelled
            getattr(services, what.action.value)(
                subscription_id=newest.pk, actor=SYSTEM, reason="USER", now=now
            )
    last = case.portfolio.last
    recognition.recognise(last, now=noon(last))
    judged_at_the_commit()
    return counted


def judged_at_the_commit() -> None:
    """What the database would say of all that is deferred."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def receive(one: Came, number: int, made: Subscription, now: dt.datetime) -> Receipt:
    """Over the customer's open invoices, as the console proposes it."""
    open_now = allocations.open_invoices(made.customer)
    return allocations.record(
        amount=one.amount,
        method="UPI",
        reference=f"UTR {number}",
        received_on=one.day,
        parts=allocations.oldest_first(open_now, one.amount),
        customer_id=made.customer_id,
        actor=SYSTEM,
        now=now,
    ).receipt


def take_back(receipt: Receipt, day: dt.date, now: dt.datetime) -> None:
    """It bounced, and nobody charged for it."""
    reversals.reverse(
        receipt_id=receipt.pk,
        reversed_on=day,
        reason="Bounced",
        bank_charges=Decimal(0),
        actor=SYSTEM,
        now=now,
    )


def _places(made: Sequence[list[Subscription]]) -> dict[int, tuple[int, int]]:
    """Subscription key -> its place in the portfolio, and its turn."""
    return {
        one.pk: (number, turn)
        for number, turns in enumerate(made)
        for turn, one in enumerate(turns)
    }


def invoiced(made: Sequence[list[Subscription]]) -> list[Bill]:
    """The invoices of the books as the oracle writes them, in its order."""
    places = _places(made)
    rows: Any = Invoice.objects.values_list(
        "subscription_id", "segment_no", "period_no", "period_start", "period_end", "taxable",
        "rate_pct", "cgst", "sgst", "igst", "total", "issued_on", "needs_review",
    )  # fmt: skip
    return sorted(Bill(*(*places[row[0]], *row[1:])) for row in rows)


def booked(made: Sequence[list[Subscription]], house: House) -> Mapping[str, Decimal]:
    """The sums of the entries by account, those that are 0 left out."""
    places = {
        f"{name}:{turns[0].customer.public_id}": f"{name}:{number}"
        for number, turns in enumerate(made)
        for name in ("receivable", "customer_credit")
    }
    places |= {
        f"partner_payable_pending:{one.slug}": f"partner_payable_pending:{number}"
        for number, one in enumerate(house.partners)
        if one is not None
    }
    sums = LedgerEntry.objects.values_list("account__code").annotate(sum=Sum("amount"))
    return {places.get(code, code): amount for code, amount in sums.order_by() if amount}


# -- the comparison --------------------------------------------------------------------------------
def differences(
    case: Case, made: Sequence[list[Subscription]], counted: int, house: House
) -> list[str]:
    """Everything in which the books and the oracle do not agree, in words."""
    expected, found = bills(case.portfolio), invoiced(made)
    came = settled(expected, case.came, case.partners, SHARE)
    sums = dict(balances(expected, case.portfolio.last))
    for code, amount in came.accounts.items():
        sums[code] = sums.get(code, NOTHING) + amount
    return [
        *_invoices(expected, found),
        *_paid(came.paid, made),
        *_books({code: amount for code, amount in sums.items() if amount}, booked(made, house)),
        *_numbers(numbered(expected)),
        *([] if counted == len(found) else [f"runs counted {counted} of {len(found)} invoices"]),
    ]


def _invoices(expected: Sequence[Bill], found: Sequence[Bill]) -> Iterator[str]:
    ours, theirs = ({bill[:4]: bill for bill in side} for side in (expected, found))
    if len(ours) != len(expected) or len(theirs) != len(found):
        yield "a period was invoiced twice"
    for key in sorted(ours.keys() | theirs.keys()):
        ours_one, theirs_one = ours.get(key), theirs.get(key)
        if ours_one is None:
            yield f"invoice {key} should not be: {theirs_one}"
        elif theirs_one is None:
            yield f"invoice {key} is missing: {ours_one}"
        elif ours_one != theirs_one:
            wrong = [
                f"{name} {was} instead of {should}"
                for name, should, was in zip(Bill._fields, ours_one, theirs_one, strict=True)
                if should != was
            ]
            yield f"invoice {key} has {', '.join(wrong)}"


def _paid(
    expected: Mapping[tuple[int, int, int, int], Decimal], made: Sequence[list[Subscription]]
) -> Iterator[str]:
    """What is paid of each invoice, and whether its status says so."""
    places = _places(made)
    columns = ("subscription_id", "segment_no", "period_no", "total", "paid", "status")
    for subscription, segment, period, total, paid, status in Invoice.objects.values_list(*columns):
        key = (*places[subscription], segment, period)
        should = expected.get(key, NOTHING)
        says = "PAID" if should == total else "PARTLY_PAID" if should else "DUE"
        if (paid, status) != (should, says):
            yield f"invoice {key} is {status} with {paid} instead of {says} with {should}"


def _books(expected: Mapping[str, Decimal], found: Mapping[str, Decimal]) -> Iterator[str]:
    for code in sorted(expected.keys() | found.keys()):
        if expected.get(code) != found.get(code):
            yield f"account {code} is {found.get(code)} instead of {expected.get(code)}"
    if sum(found.values()):
        yield f"all entries add up to {sum(found.values())}"
    unbalanced = LedgerTransaction.objects.annotate(sum=Sum("entries__amount")).exclude(sum=0)
    if unbalanced.exists():
        yield f"{unbalanced.count()} transactions are not 0"


def _numbers(expected: Mapping[str, int]) -> Iterator[str]:
    """Numbers 1 to n in each financial year, with dates that never fall."""
    rows = list(Invoice.objects.order_by("fy", "seq").values_list("fy", "seq", "number"))
    taken = Counter(year for year, *_ in rows)
    if taken != expected:
        yield f"numbers of {dict(taken)} instead of {dict(expected)}"
    for year, count in taken.items():
        if [seq for held, seq, _ in rows if held == year] != list(range(1, count + 1)):
            yield f"the numbers of {year} are not 1 to {count}"
    yield from (
        f"{number} is not {year} {seq}"
        for year, seq, number in rows
        if number != f"QL{year[2:4]}-{str(seq).zfill(8)}"
    )
    days = list(Invoice.objects.order_by("fy", "seq").values_list("issued_on", flat=True))
    if days != sorted(days):
        yield "dates fall while numbers rise"


def compare(case: Case, house: House) -> tuple[list[str], int]:
    """Play a case to its end and undo it: the differences, and the invoices that agree or not."""
    with undone():
        made = load(case, house)
        counted = drive(case, made)
        return differences(case, made, counted, house), counted
