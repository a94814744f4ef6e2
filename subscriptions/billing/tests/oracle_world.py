"""The real thing under a portfolio and a history, and what it has made, in the oracle's words.

Portfolios are loaded in bulk; whatever happens to a subscription later goes through the services
with the ``now`` of the moment, and the runs are those of ``manage.py bill``.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Sum

from marketplace.models import Template, TemplateStats
from partners.models import Customer, Partner
from quantleap.core.audit import SYSTEM
from quantleap.core.clock import at_ist
from quantleap.core.models import OutboxEvent
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing import proof, recognition, runs, segments
from subscriptions.billing.models import Invoice, LedgerEntry, TaxRate
from subscriptions.billing.tests.factories import load_billing
from subscriptions.billing.tests.oracle import (
    Bill,
    Change,
    Portfolio,
    books,
    expected,
    numbers,
)
from subscriptions.billing.tests.oracle_portfolios import History
from subscriptions.models import Subscription

# Everything that a portfolio fills; what refers to these tables goes with them.
_EMPTY: Final = """
TRUNCATE partners_customer, core_outboxevent, core_auditentry, billing_numberseries,
         billing_ledgeraccount, billing_ledgertransaction, billing_billingrun, billing_ledgerproof,
         billing_taxrate CASCADE
"""
#: Between how many runs the nightly recognition is played.
_NIGHTS: Final = 7


class Disagreement(AssertionError):
    """The run and the oracle differ."""


@dataclass(frozen=True, slots=True)
class House:
    """What stays: two templates, so that a customer can follow twice, and a partner."""

    templates: Sequence[Template]
    partner: Partner


class World:
    """A loaded portfolio; :meth:`play` lets a history happen to it, once."""

    def __init__(self, house: House, portfolio: Portfolio, *, backwards: bool = False) -> None:
        self.house, self.portfolio = house, portfolio
        with connection.cursor() as cursor:
            cursor.execute(_EMPTY)
        TemplateStats.objects.update(subscriber_count=len(portfolio.followers))
        load_billing()
        TaxRate.objects.all().delete()
        TaxRate.objects.bulk_create(
            TaxRate(effective_from=first, rate_pct=pct) for first, pct in portfolio.rates
        )
        self.customers = self._customers()
        self.subscriptions = self._subscriptions(backwards)
        self.changes = self.invoices = 0

    # -- loading -------------------------------------------------------------------------------
    def _owner(self, customer: int, state: str, *, late: bool) -> dict[str, Any]:
        """Who has no state yet must not be a partner's, whose own would stand in."""
        direct = late or (bool(state) and customer % 3 == 0)
        partner_id = None if direct else self.house.partner.pk
        return {"partner_id": partner_id, "environment": Environment.LIVE}

    def _customers(self) -> dict[int, Customer]:
        made: dict[int, Customer] = {}
        for one in self.portfolio.followers:
            late = one.state_from is not None
            made.setdefault(
                one.customer,
                Customer(
                    **self._owner(one.customer, one.state, late=late),
                    email=f"payer{one.customer}@example.com",
                    name=f"Payer {one.customer}",
                    state="" if late else one.state,
                    created_at=_instant(one.begins),
                ),
            )
        Customer.objects.bulk_create(made.values())
        return made

    def _subscriptions(self, backwards: bool) -> list[Subscription]:
        """In the order of the portfolio; ``backwards``: their ids count down."""
        seen: Counter[int] = Counter()
        rows: list[Subscription] = []
        for one in self.portfolio.followers:
            customer = self.customers[one.customer]
            rows.append(
                Subscription(
                    partner_id=customer.partner_id,
                    environment=customer.environment,
                    customer=customer,
                    template=self.house.templates[seen[one.customer]],
                    monthly_fee=one.fee,
                    partner_bps=3000 if customer.partner_id else 0,
                    anchor=one.begins.date(),
                    status_changed_at=_instant(one.begins),
                    created_at=_instant(one.begins),
                )
            )
            seen[one.customer] += 1
        ordered = rows[::-1] if backwards else rows
        Subscription.objects.bulk_create(ordered)
        services.copy_shares(ordered)
        segments.open_first(ordered)
        return rows

    # -- what happens --------------------------------------------------------------------------
    def play(self, history: History) -> History:
        """Everything in its order, and the last night."""
        steps = sorted(self._steps(history), key=lambda step: step[0])
        for at, step in steps:
            step(_instant(at))
        return history

    def _steps(
        self, history: History
    ) -> Iterator[tuple[dt.datetime, Callable[[dt.datetime], Any]]]:
        for number, one in enumerate(self.portfolio.followers):
            for change in one.changes:
                if change.at < history.until:
                    yield change.at, self._change(number, change)
        for customer, at in {
            (one.customer, one.state_from) for one in self.portfolio.followers if one.state_from
        }:
            yield at, self._state(customer)
        for place, (run, chunk) in enumerate(zip(history.runs, history.chunks, strict=True)):
            yield run.at, self._run(run.as_of, chunk, night=place % _NIGHTS == 0)
        yield history.until, lambda now: recognition.recognise(history.until.date(), now=now)

    def _change(self, number: int, change: Change) -> Callable[[dt.datetime], Any]:
        def call(now: dt.datetime) -> None:
            done = getattr(services, change.what)(
                subscription_id=self.subscriptions[number].pk,
                actor=SYSTEM,
                reason="USER",
                now=now,
            )
            if not done.changed:
                raise Disagreement(f"{change} changed nothing")
            self.changes += 1

        return call

    def _state(self, customer: int) -> Callable[[dt.datetime], Any]:
        (state,) = {one.state for one in self.portfolio.followers if one.customer == customer}
        found = Customer.objects.filter(pk=self.customers[customer].pk)
        return lambda _now: found.update(state=state)

    def _run(self, as_of: dt.date, chunk: int, *, night: bool) -> Callable[[dt.datetime], Any]:
        def call(now: dt.datetime) -> None:
            self.invoices += runs.run(as_of, now=now, chunk=chunk).invoices
            if night:
                recognition.recognise(as_of - dt.timedelta(days=1), now=now)

        return call

    # -- what it made --------------------------------------------------------------------------
    def bills(self) -> list[Bill]:
        """The invoices as the oracle writes them."""
        place = {one.pk: number for number, one in enumerate(self.subscriptions)}
        rows = Invoice.objects.values_list(
            "subscription_id", "segment_no", "period_no", "period_start", "period_end", "taxable",
            "rate_pct", "cgst", "sgst", "igst", "total", "issued_on", "needs_review",
        )  # fmt: skip
        return sorted(Bill(place[row[0]], *row[1:]) for row in rows)

    def balances(self) -> dict[str, Decimal]:
        """From the entries themselves; customers by their number."""
        names = {one.public_id: str(number) for number, one in self.customers.items()}
        found: dict[str, Decimal] = {}
        rows = LedgerEntry.objects.values_list("account__code").annotate(sum=Sum("amount"))
        for code, amount in rows:
            name, colon, kept_for = code.partition(":")
            found[name + colon + names.get(kept_for, kept_for)] = amount
        return {code: amount for code, amount in found.items() if amount}


def _instant(local: dt.datetime) -> dt.datetime:
    return at_ist(local.date(), local.time())


def compare(world: World, history: History) -> list[Bill]:
    """The bills, if everything is as the oracle says; else Disagreement with the first ones."""
    wanted = expected(_until(world.portfolio, history), history.runs)
    made = world.bills()
    _same("invoices", _tally(wanted), _tally(made))
    _same("how many the runs say", {len(wanted)}, {world.invoices})
    through = history.until.date()
    _same(
        "balances",
        set(books(world.portfolio, wanted, through).items()),
        set(world.balances().items()),
    )
    rows = list(Invoice.objects.order_by("fy", "seq").values_list("number", "issued_on"))
    _same("numbers", _places(numbers(wanted)), _places([number for number, _ in rows]))
    dates = [day for _, day in rows]
    if dates != sorted(dates):
        raise Disagreement(f"dates of issue fall: {dates}")
    told = OutboxEvent.objects.filter(type="invoice.issued").values_list("payload__invoice_id")
    _same("events", _tally(Invoice.objects.values_list("public_id")), _tally(told))
    report = proof.prove(now=_instant(history.until))
    if not report.ok:
        raise Disagreement(f"the proof of the books finds {report.findings}")
    return made


def facts(bills: Sequence[Bill]) -> list[Bill]:
    """Bills without what may depend on when runs happened."""
    return [replace(one, issued_on=dt.date.min, needs_review=False) for one in bills]


def _until(portfolio: Portfolio, history: History) -> Portfolio:
    """Without what would happen after the history's last run."""
    return replace(
        portfolio,
        followers=tuple(
            replace(one, changes=tuple(x for x in one.changes if x.at < history.until))
            for one in portfolio.followers
        ),
    )


def _tally(rows: Any) -> set[Any]:
    """Rows with how often they are there."""
    return set(Counter(rows).items())


def _places(rows: Sequence[str]) -> set[Any]:
    return set(enumerate(rows))


def _same(what: str, wanted: set[Any], found: set[Any]) -> None:
    if wanted != found:
        missing, more = sorted(wanted - found)[:3], sorted(found - wanted)[:3]
        raise Disagreement(
            f"{what}: {len(wanted - found)} missing, {len(found - wanted)} too much; "
            f"the oracle has {missing}, the run {more}"
        )
