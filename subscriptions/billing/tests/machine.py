"""A portfolio under anything that can happen to it, in any order.

What must hold after each step is in machine_books.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, ClassVar, Final

import pytest
from django.db import OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from marketplace.models import Template
from partners.identity import find_or_create_customer
from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from quantleap.core import outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from subscriptions import services
from subscriptions.billing.errors import FutureDate
from subscriptions.billing.invoicing import runs
from subscriptions.billing.ledger import revenue_recognition
from subscriptions.billing.models import Invoice, InvoiceMail, Payment, Receipt
from subscriptions.billing.settlement import (
    allocations,
    commission_maturity,
    customer_credit,
    proration,
    withdrawal_credits,
)
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    bill,
    bounce,
    credit,
    follow,
    noon,
    pay,
    receive,
)
from subscriptions.billing.tests.machine_books import Books, floored, total
from subscriptions.billing.tests.portfolios_oracle import Action, Followed
from subscriptions.errors import TransitionRefused
from subscriptions.models import Subscription

# Month ends, so that anchors 28 to 31 are common; the financial year ends two months on.
FIRST: Final = dt.date(2026, 1, 28)
FEES: Final = (Decimal("999.00"), Decimal("499.99"), Decimal("0.50"))
SHARES: Final = (3000, 3333, 10_000)

MOVES: Final = (Action.PAUSE, Action.RESUME, Action.RESUME, Action.CANCEL)
pick = st.integers(0, 10_000)
part = st.one_of(st.integers(1, 99), st.just(100))


class Dies:
    """Raises once, at the ``at``-th statement from here on that is not about savepoints."""

    def __init__(self, at: int, error: type[Exception]) -> None:
        self.left, self.error, self.happened = at, error, False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "SAVEPOINT" not in sql and not self.happened:
            self.left -= 1
            if self.left < 0:
                self.happened = True
                raise self.error("died here")
        return execute(sql, params, many, context)

    def spare(self) -> None:
        """Nothing dies from here on."""
        self.left = 1_000_000


class Portfolio(Books):
    """A partner's and direct customers' subscriptions, on a clock that jumps."""

    template: ClassVar[Template]
    partner: ClassVar[Partner]

    def __init__(self) -> None:
        super().__init__()
        # Every example works in a transaction of its own that is never committed.
        self.stack = ExitStack()
        self.stack.enter_context(transaction.atomic())
        self.today = FIRST
        self.keys = 0
        #: What may die in the step that is played now.
        self.mortal: Dies | None = None
        #: A step failed in a walk: nothing more is to be asked.
        self.broken = False

    def teardown(self) -> None:
        """Whatever ran and when: a run at the end leaves what any others would have; then undo."""
        try:
            self.stack.callback(transaction.set_rollback, True)
            if not self.broken:
                bill(self.today)
                self.all_is_billed()
        finally:
            self.stack.close()

    @initialize()
    def set_up(self) -> None:
        for values in ((HOME, 999, 3000), (HOME, 999, 3000), (AWAY, FEES[1], 3333)):
            self.followed(self.partner, *values)
        self.followed(None, HOME, 999, 0)
        self.run(twice=False, chunk=1000)

    # -- helpers ---------------------------------------------------------------------------------
    def followed(self, partner: Partner | None, state: str, fee: Decimal | int, bps: int) -> None:
        (subscription,) = follow(
            self.template, partner, [self.today], state=state, fee=fee, bps=bps
        )
        self.known[subscription.pk] = Followed(self.today, Decimal(fee), state)

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def chosen(self, rows: Any, number: int) -> Any:
        candidates = list(rows.order_by("id"))
        return candidates[number % len(candidates)] if candidates else None

    def invoice(self, number: int) -> Invoice | None:
        picked: Invoice | None = self.chosen(Invoice.objects.all(), number)
        return picked

    def unchanged(self, act: Callable[[], object]) -> None:
        """``act`` leaves every row of the books as it is."""
        before = self.prints()
        act()
        after = self.prints()
        changed = [name for name in before if before[name] != after[name]]
        assert not changed, f"done twice is not done once: {changed}"

    # -- customers -------------------------------------------------------------------------------
    @rule(
        fee=st.sampled_from(FEES),
        state=st.sampled_from((HOME, AWAY)),
        direct=st.booleans(),
        bps=st.sampled_from(SHARES),
    )
    def subscribe(self, fee: Decimal, state: str, direct: bool, bps: int) -> None:
        self.followed(None if direct else self.partner, state, fee, 0 if direct else bps)

    @rule()
    def subscribe_from_nowhere(self) -> None:
        """Without a state nobody can be taxed: withheld until he says where he lives."""
        self.followed(None, "", FEES[0], 0)

    @rule(number=pick, state=st.sampled_from((HOME, AWAY)))
    def say_where(self, number: int, state: str) -> None:
        nowhere = [pk for pk, followed in self.known.items() if not followed.state]
        if not nowhere:
            return
        pk = nowhere[number % len(nowhere)]
        subscription = Subscription.objects.select_related("customer").get(pk=pk)
        find_or_create_customer(
            partner_id=subscription.partner_id,
            environment=subscription.environment,
            email=subscription.customer.email,
            state=state,
            now=noon(self.today),
        )
        held = self.known[pk]
        self.known[pk] = Followed(held.start, held.fee, state, held.events)
        self.seen["state told"] += 1

    @rule(number=pick, action=st.sampled_from(MOVES))
    def act(self, number: int, action: Action) -> None:
        """Pause, resume, cancel; a cancelled one stays as it is."""
        moving = {"pause": ["ACTIVE"], "resume": ["PAUSED"], "cancel": ["ACTIVE", "PAUSED"]}
        ended = ["CANCELLED"] if number % 5 == 0 else []
        allowed = Subscription.objects.filter(status__in=ended or moving[action])
        subscription = self.chosen(allowed, number)
        if subscription is None:
            return

        def call() -> None:
            getattr(services, action)(
                subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=noon(self.today)
            )

        if subscription.status != "CANCELLED":
            call()
            self.happened(subscription.pk, action)
            self.seen[action] += 1
        elif action is Action.CANCEL:
            self.unchanged(call)
        else:
            with pytest.raises(TransitionRefused):
                call()

    @rule(luck=st.integers(0, 3))
    def withdraw(self, luck: int) -> None:
        """Everybody loses the template; new ones may come after it, and lose it too."""
        if luck:  # else hardly anybody would live to see the rest
            return
        lost = list(Subscription.objects.exclude(status="CANCELLED").values_list("pk", flat=True))
        services.cancel_for_withdrawal(self.template.pk, actor=SYSTEM, now=noon(self.today))
        for pk in lost:
            self.happened(pk, Action.CANCEL)

    def moved(self) -> None:
        """A movement of money is whole: what the machine itself asks after it does not die.

        Seen: the statement that counts a receipt's payments died, and the receipt was there.
        """
        if self.mortal is not None:
            self.mortal.spare()

    # -- the clock and the runs ------------------------------------------------------------------
    @rule(days=st.sampled_from((1, 3, 10, 31, 62)))
    def time_passes(self, days: int) -> None:
        self.today += dt.timedelta(days=days)

    @rule(twice=st.booleans(), chunk=st.sampled_from((1, 2, 1000)))
    def run(self, twice: bool, chunk: int) -> None:
        bill(self.today, chunk=chunk)
        self.all_is_billed()
        if twice:
            self.unchanged(lambda: bill(self.today))

    @rule(days=st.sampled_from((1, 40, 400)))
    def clock_goes_back(self, days: int) -> None:
        """All that runs by the clock, on an earlier day than before."""
        self.run(twice=False, chunk=1000)
        self.night()
        past = self.today - dt.timedelta(days=days)

        def again() -> None:
            runs.run(past, now=noon(past))
            revenue_recognition.recognise(past, now=noon(past))
            commission_maturity.mature(past, now=noon(past))

        self.unchanged(again)
        with pytest.raises(FutureDate):
            runs.run(self.today, now=noon(past))

    @rule()
    def night(self) -> None:
        """Recognition and maturity, each twice."""
        yesterday = self.today - dt.timedelta(days=1)

        def books() -> None:
            revenue_recognition.recognise(yesterday, now=noon(self.today))
            commission_maturity.mature(self.today, now=noon(self.today))

        books()
        self.unchanged(books)
        for invoice in Invoice.objects.filter(credited=0):
            assert invoice.recognised == self.earned(invoice, yesterday), "not what was earned"

    @rule(limit=st.sampled_from((1, 100)))
    def credit_withdrawals(self, limit: int) -> None:
        self.seen["withdrawal credited"] += withdrawal_credits.credit_due(
            now=noon(self.today), limit=limit
        )
        if limit > 1:
            self.unchanged(lambda: withdrawal_credits.credit_due(now=noon(self.today), limit=limit))

    # -- money -----------------------------------------------------------------------------------
    @rule(number=pick, much=st.one_of(part, st.just(160)), twice=st.booleans())
    def pay(self, number: int, much: int, twice: bool) -> None:
        """So many percent of the invoice's total, also where less is owed."""
        invoice = self.invoice(number)
        if invoice is None or not (amount := floored(invoice.total * much / 100)):
            return
        key = self.key()
        payment = pay(invoice, amount, key=key, day=self.today).payment
        self.seen["paid too much"] += payment.excess > 0
        if twice:
            self.unchanged(lambda: pay(invoice, amount, key=key, day=self.today))

    @rule(number=pick, much=st.one_of(part, st.just(160)), twice=st.booleans())
    def receive(self, number: int, much: int, twice: bool) -> None:
        """One receipt over all that a customer owes, the oldest first."""
        invoice = self.invoice(number)
        if invoice is None:
            return
        owing = allocations.open_invoices(invoice.customer)
        owed = sum((open_invoice.outstanding for open_invoice in owing), Decimal(0))
        if not (amount := floored(owed * much / 100)):
            return
        known = {open_invoice.pk: open_invoice for open_invoice in owing}
        parts = allocations.oldest_first(owing, amount)
        given = {known[part.invoice_id]: part.amount for part in parts}
        key = self.key()

        def take() -> Receipt:
            return receive(given, amount=amount, key=key, day=self.today)

        receipt = take()
        self.moved()
        assert (receipt.amount, receipt.payments.count()) == (amount, len(parts))
        self.seen["received for several"] += len(parts) > 1
        if twice:
            self.unchanged(take)

    @rule(number=pick, twice=st.booleans())
    def bounce(self, number: int, twice: bool) -> None:
        """The bank takes a receipt back, whatever became of its money."""
        receipt: Receipt | None = self.chosen(Receipt.objects.filter(reversal__isnull=True), number)
        if receipt is None:
            return
        charges = 118 if number % 3 == 0 else 0
        done = bounce(receipt, self.today, charges=charges).reversal
        self.moved()
        own = receipt.payments.count()
        self.seen["bounced"] += 1
        self.seen["use of credit undone"] += done.payments.count() > own
        payer = receipt.customer
        self.seen["owes what was paid out"] += payer is not None and (
            customer_credit.available(payer) < 0
        )
        if twice:
            self.unchanged(lambda: bounce(receipt, self.today, charges=charges))

    @rule(number=pick, part=part, twice=st.booleans())
    def credit(self, number: int, part: int, twice: bool) -> None:
        """A part of what is left of the invoice."""
        invoice = self.invoice(number)
        if invoice is None:
            return
        amount = floored((invoice.total - invoice.credited) * part / 100)
        if not proration.may_credit(invoice.total, invoice.credited, amount):
            return
        key = self.key()
        credit(invoice, amount, key=key, day=self.today)
        if twice:
            self.unchanged(lambda: credit(invoice, amount, key=key, day=self.today))

    @rule(number=pick, days=st.sampled_from((29, 30)), half=st.sampled_from((50, 100)))
    def refund_around_the_window(self, number: int, days: int, half: int) -> None:
        """Pending the day before, payable after: what is taken back comes out of the right one."""
        self.pay(number, 100, twice=False)
        self.today += dt.timedelta(days=days)
        commission_maturity.mature(self.today, now=noon(self.today))
        self.credit(number, half, twice=False)

    @rule(number=pick)
    def give_back_excess(self, number: int) -> None:
        given_back = Payment.objects.filter(excess__gt=0, reversal__isnull=True)
        payment = self.chosen(given_back, number)
        if payment is None:
            return
        left = payment.excess - total(payment.refunds.all())
        available = min(left, customer_credit.available(payment.customer))
        if available <= 0:
            return
        given: dict[str, Any] = {
            "payment_id": payment.pk, "idem_key": self.key(), "amount": available, "method": "UPI",
            "reference": "back", "actor": SYSTEM, "now": noon(self.today),
        }  # fmt: skip
        customer_credit.return_excess(**given)
        self.unchanged(lambda: customer_credit.return_excess(**given))

    @rule(number=pick, part=part, out=st.booleans())
    def take_credit(self, number: int, part: int, out: bool) -> None:
        """Use a customer's credit for an invoice of his, or pay it out."""
        holders = Invoice.objects.filter(customer__in=_holders())
        if not out:
            holders = holders.filter(status__in=("DUE", "PARTLY_PAID"))
        invoice: Invoice | None = self.chosen(holders, number)
        if invoice is None:
            return
        available, owed = customer_credit.available(invoice.customer), invoice.outstanding
        amount = floored((available if out else min(available, owed)) * part / 100)
        if amount <= 0:
            return
        act: dict[str, Any] = {
            "idem_key": self.key(), "amount": amount, "actor": SYSTEM, "now": noon(self.today),
        }  # fmt: skip
        to: dict[str, Any] = {"customer_id": invoice.customer_id, "method": "UPI"}

        def take() -> None:
            if out:
                customer_credit.pay_out(**to, reference="out", **act)
            else:
                customer_credit.apply(invoice_id=invoice.pk, **act)

        take()
        self.unchanged(take)
        assert customer_credit.available(invoice.customer) == available - amount
        self.seen["credit paid out" if out else "credit used"] += 1

    # -- what goes wrong -------------------------------------------------------------------------
    @rule(
        what=st.sampled_from(
            ("run", "run", "night", "withdrawals", "pay", "credit", "receive", "bounce")
        ),
        at=st.integers(0, 40),
        error=st.sampled_from((OperationalError, RuntimeError)),
        number=pick,
    )
    def dies(self, what: str, at: int, error: type[Exception], number: int) -> None:
        """At any statement, of any chunk: it leaves whole chunks, and the next time does the rest.

        One movement of money is one chunk: it leaves nothing.
        """
        keys, today = self.keys, self.today
        yesterday = today - dt.timedelta(days=1)
        acts: dict[str, Callable[[], object]] = {
            "run": lambda: bill(today, chunk=2),
            "night": lambda: (
                revenue_recognition.recognise(yesterday, now=noon(today), chunk=2),
                commission_maturity.mature(today, now=noon(today), chunk=2),
            ),
            "withdrawals": lambda: withdrawal_credits.credit_due(now=noon(today)),
            "pay": lambda: self.pay(number, 60, twice=False),
            "credit": lambda: self.credit(number, 40, twice=False),
            "receive": lambda: self.receive(number, 70, twice=False),
            "bounce": lambda: self.bounce(number, twice=False),
        }
        if what == "withdrawals" and number % 2:
            self.run(twice=False, chunk=1000)
            self.withdraw(luck=0)
        before, dies = self.prints(), Dies(at, error)
        self.mortal = dies
        try:
            with connection.execute_wrapper(dies):
                acts[what]()
        except (error, TransactionManagementError):
            assert dies.happened
        self.mortal = None
        if dies.happened:
            # outside a chunk Django gives up the transaction, here that of the whole example
            transaction.set_rollback(False)
            self.seen[f"died: {what}"] += 1
            if what in ("pay", "credit", "receive", "bounce"):
                assert self.prints() == before, "half a movement of money"
            self.transactions_add_up_and_balances_are_their_entries()
            self.periods_tile_from_the_anchor()
            self.keys = keys  # the same money again
        acts[what]()
        if what == "run":
            self.all_is_billed()

    @rule()
    def relay_twice(self) -> None:
        """Told again after a crash, and the other way round: one mail, one delivery each."""
        now = noon(self.today)
        while outbox.relay(now=now):
            pass
        relayed = (set(InvoiceMail.objects.values_list("invoice", flat=True)), _deliveries())
        assert relayed[0] == set(Invoice.objects.values_list("pk", flat=True))
        events = list(OutboxEvent.objects.order_by("-id"))
        for handler in outbox.HANDLERS.all():
            handler(events, now)
        assert InvoiceMail.objects.count() == len(relayed[0])
        assert _deliveries() == relayed[1]
        self.seen["told twice"] += bool(relayed[0] and relayed[1])


def _holders() -> list[int]:
    """Customers whose money we hold or held."""
    excess = Payment.objects.filter(excess__gt=0).values_list("customer_id", flat=True)
    left = Receipt.objects.filter(credit__gt=0).values_list("customer_id", flat=True)
    kept_invoices = Invoice.objects.filter(credit_notes__refund__method="CUSTOMER_CREDIT")
    return [*excess, *filter(None, left), *kept_invoices.values_list("customer_id", flat=True)]


def _deliveries() -> int:
    return WebhookDelivery.objects.count()


def endpoint(partner: Partner) -> WebhookEndpoint:
    """Somebody who wants to be told everything; nothing is sent in these tests."""
    return WebhookEndpoint.objects.create(partner_id=partner.pk, url="https://hooks.example/")
