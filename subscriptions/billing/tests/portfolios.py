"""The way of a random portfolio through the rooms (lifecycle, runs, money), and what differs.

Portfolios are drawn in portfolios_drawn.py. Everything goes in at the front doors, in the order of
the days: ``subscriptions.services`` with their ``now``, ``billing.runs.run`` with its own,
``allocations.record`` and ``reversals.reverse``. What came out is read back as oracle's bills.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing.invoicing import runs
from subscriptions.billing.ledger import revenue_recognition
from subscriptions.billing.models import (
    Invoice,
    LedgerEntry,
    LedgerTransaction,
    Receipt,
    TaxRate,
)
from subscriptions.billing.settlement import allocations, reversals
from subscriptions.billing.tests.factories import follow, follow_again, load_billing, noon
from subscriptions.billing.tests.portfolios_drawn import PARTNER_STATES, SHARE, Case
from subscriptions.billing.tests.portfolios_oracle import (
    NOON,
    NOTHING,
    Action,
    Bill,
    Event,
    Moment,
    RunDay,
    balances,
    bills,
    numbered,
)
from subscriptions.billing.tests.receipts_oracle import COMES, GOES, Came, settled
from subscriptions.errors import TransitionRefused
from subscriptions.models import Subscription


# -- the way through the rooms --------------------------------------------------------------------
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
class Setup:
    """What all portfolios share: a template in each environment, and PARTNER_STATES as partners."""

    template: Template
    sandbox: Template
    partners: tuple[Partner | None, ...]


def build_setup() -> Setup:
    """Make a setup without subscriptions, in which tax and supplier are in force."""
    load_billing()
    load_reference_data()
    return Setup(
        make_template(),
        make_template(environment=Environment.TEST),
        tuple(
            None if state is None else make_partner(default_state=state) for state in PARTNER_STATES
        ),
    )


def load(case: Case, setup: Setup) -> list[list[Subscription]]:
    """The subscriptions in the order of the portfolio, each of a customer of its own, as the first
    of its turns.
    """
    for since, percent in case.portfolio.rates:
        TaxRate.objects.get_or_create(effective_from=since, defaults={"rate_pct": percent})
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, (followed, place) in enumerate(
        zip(case.portfolio.subscriptions, case.partners, strict=True)
    ):
        groups.setdefault((followed.live, place, followed.state, followed.fee), []).append(number)
    first_turns: dict[int, Subscription] = {}
    for (live, place, state, fee), numbers in groups.items():
        days = [case.portfolio.subscriptions[number].start for number in numbers]
        subscriptions = follow(
            setup.template if live else setup.sandbox,
            setup.partners[place],
            days,
            state=state,
            fee=fee,
            environment=Environment.LIVE if live else Environment.TEST,
        )
        first_turns.update(zip(numbers, subscriptions, strict=True))
    return [[first_turns[number]] for number in range(len(first_turns))]


def drive(case: Case, by_customer: Sequence[list[Subscription]]) -> int:
    """Play the case's events in order, then revenue; return how many invoices the runs counted.

    A return after a cancellation is one subscription more in ``by_customer``.
    """
    agenda: list[tuple[Moment, int, RunDay | Event | Came]] = [
        (Moment(event.day, NOON), number, event)
        for number, followed in enumerate(case.portfolio.subscriptions)
        for event in followed.events
    ]
    agenda += [(run.at, -1, run) for run in case.portfolio.runs]
    agenda += [
        (Moment(transfer.day, COMES), number, transfer) for number, transfer in enumerate(case.came)
    ]
    agenda += [
        (Moment(transfer.back, GOES), number, transfer)
        for number, transfer in enumerate(case.came)
        if transfer.back is not None
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
                receipts[number] = receive(what, number, by_customer[what.place][0], now)
            else:
                take_back(receipts[number], moment.day, now)
            continue
        newest = by_customer[number][-1]
        if what.action is Action.SUBSCRIBE:
            newest.refresh_from_db()
            if newest.status == Subscription.Status.CANCELLED:
                free = not newest.monthly_fee
                by_customer[number].append(
                    follow_again(newest, what.day, fee=None if free else what.fee)
                )
            continue
        with contextlib.suppress(TransitionRefused):  # of one that was cancelled
            getattr(services, what.action.value)(
                subscription_id=newest.pk, actor=SYSTEM, reason="USER", now=now
            )
    last = case.portfolio.last
    revenue_recognition.recognise(last, now=noon(last))
    judged_at_the_commit()
    return counted


def judged_at_the_commit() -> None:
    """What the database would say of all that is deferred."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def receive(transfer: Came, number: int, subscription: Subscription, now: dt.datetime) -> Receipt:
    """Over the customer's open invoices, as the console proposes it."""
    open_now = allocations.open_invoices(subscription.customer)
    return allocations.record(
        amount=transfer.amount,
        method="UPI",
        reference=f"UTR {number}",
        received_on=transfer.day,
        parts=allocations.oldest_first(open_now, transfer.amount),
        customer_id=subscription.customer_id,
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


def _places(by_customer: Sequence[list[Subscription]]) -> dict[int, tuple[int, int]]:
    """Subscription key -> its place in the portfolio, and its turn."""
    return {
        subscription.pk: (number, turn)
        for number, turns in enumerate(by_customer)
        for turn, subscription in enumerate(turns)
    }


def invoiced(by_customer: Sequence[list[Subscription]]) -> list[Bill]:
    """The invoices of the books as the oracle writes them, in its order."""
    places = _places(by_customer)
    rows: Any = Invoice.objects.values_list(
        "subscription_id", "segment_no", "period_no", "period_start", "period_end", "taxable",
        "rate_pct", "cgst", "sgst", "igst", "total", "issued_on", "needs_review",
    )  # fmt: skip
    return sorted(Bill(*(*places[row[0]], *row[1:])) for row in rows)


def booked(by_customer: Sequence[list[Subscription]], setup: Setup) -> Mapping[str, Decimal]:
    """The sums of the entries by account, those that are 0 left out."""
    places = {
        f"{name}:{turns[0].customer.public_id}": f"{name}:{number}"
        for number, turns in enumerate(by_customer)
        for name in ("receivable", "customer_credit")
    }
    places |= {
        f"partner_payable_pending:{partner.slug}": f"partner_payable_pending:{number}"
        for number, partner in enumerate(setup.partners)
        if partner is not None
    }
    sums = LedgerEntry.objects.values_list("account__code").annotate(sum=Sum("amount"))
    return {places.get(code, code): amount for code, amount in sums.order_by() if amount}


# -- the comparison --------------------------------------------------------------------------------
def differences(
    case: Case, by_customer: Sequence[list[Subscription]], counted: int, setup: Setup
) -> list[str]:
    """Everything in which the books and the oracle do not agree, in words."""
    expected, actual = bills(case.portfolio), invoiced(by_customer)
    money = settled(expected, case.came, case.partners, SHARE)
    sums = dict(balances(expected, case.portfolio.last))
    for code, amount in money.accounts.items():
        sums[code] = sums.get(code, NOTHING) + amount
    return [
        *_invoices(expected, actual),
        *_paid(money.paid, by_customer),
        *_books(
            {code: amount for code, amount in sums.items() if amount}, booked(by_customer, setup)
        ),
        *_numbers(numbered(expected)),
        *([] if counted == len(actual) else [f"runs counted {counted} of {len(actual)} invoices"]),
    ]


def _invoices(expected: Sequence[Bill], actual: Sequence[Bill]) -> Iterator[str]:
    ours, theirs = ({bill[:4]: bill for bill in side} for side in (expected, actual))
    if len(ours) != len(expected) or len(theirs) != len(actual):
        yield "a period was invoiced twice"
    for key in sorted(ours.keys() | theirs.keys()):
        expected_bill, actual_bill = ours.get(key), theirs.get(key)
        if expected_bill is None:
            yield f"invoice {key} should not be: {actual_bill}"
        elif actual_bill is None:
            yield f"invoice {key} is missing: {expected_bill}"
        elif expected_bill != actual_bill:
            wrong = [
                f"{name} {was} instead of {should}"
                for name, should, was in zip(Bill._fields, expected_bill, actual_bill, strict=True)
                if should != was
            ]
            yield f"invoice {key} has {', '.join(wrong)}"


def _paid(
    expected: Mapping[tuple[int, int, int, int], Decimal], by_customer: Sequence[list[Subscription]]
) -> Iterator[str]:
    """What is paid of each invoice, and whether its status says so."""
    places = _places(by_customer)
    columns = ("subscription_id", "segment_no", "period_no", "total", "paid", "status")
    for subscription, segment, period, total, paid, status in Invoice.objects.values_list(*columns):
        key = (*places[subscription], segment, period)
        should = expected.get(key, NOTHING)
        says = "PAID" if should == total else "PARTLY_PAID" if should else "DUE"
        if (paid, status) != (should, says):
            yield f"invoice {key} is {status} with {paid} instead of {says} with {should}"


def _books(expected: Mapping[str, Decimal], actual: Mapping[str, Decimal]) -> Iterator[str]:
    for code in sorted(expected.keys() | actual.keys()):
        if expected.get(code) != actual.get(code):
            yield f"account {code} is {actual.get(code)} instead of {expected.get(code)}"
    if sum(actual.values()):
        yield f"all entries add up to {sum(actual.values())}"
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


def compare(case: Case, setup: Setup) -> tuple[list[str], int]:
    """Play a case to its end and undo it: the differences, and the invoices that agree or not."""
    with undone():
        by_customer = load(case, setup)
        counted = drive(case, by_customer)
        return differences(case, by_customer, counted, setup), counted
