"""A portfolio under anything that can happen to it, in any order: the books' invariants hold.

The applicable ones of the reference (billing.md 7.8): 1 to 7, 8 (twice is once), 10, 13, 14.
"""

from __future__ import annotations

import datetime as dt
import itertools
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count, Max, Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from marketplace.services import adjust_subscriber_count
from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.money import share
from subscriptions import services
from subscriptions.billing import (
    customer_credit,
    maturity,
    proof,
    recognition,
    runs,
    shares,
    withdrawals,
)
from subscriptions.billing.commissions import standing
from subscriptions.billing.errors import FutureDate
from subscriptions.billing.models import (
    Commission,
    Invoice,
    LedgerEntry,
    Payment,
    Refund,
    WithdrawalCredit,
)
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    bill,
    credit,
    days_of,
    follow,
    load_billing,
    noon,
    pay,
)
from subscriptions.models import Subscription
from subscriptions.periods import add_months

ZERO = Decimal(0)
# Month ends, so that anchors 28 to 31 are common.
FIRST = dt.date(2026, 1, 28)
FEES = (Decimal(999), Decimal("499.99"), Decimal("0.50"))

pick = st.integers(0, 10_000)
percent = st.integers(1, 99)


class Portfolio(RuleBasedStateMachine):
    """A partner's and direct customers' subscriptions, on a clock that jumps."""

    def __init__(self) -> None:
        super().__init__()
        # Every example works in a transaction of its own that is never committed.
        self.stack = ExitStack()
        self.stack.enter_context(transaction.atomic())
        self.today = FIRST
        self.keys = 0

    def teardown(self) -> None:
        """Undo the example."""
        transaction.set_rollback(True)
        self.stack.close()

    @initialize()
    def house(self) -> None:
        load_billing()
        load_reference_data()
        self.partner = make_partner("zebu")
        self.template = make_template()
        follow(self.template, self.partner, [FIRST] * 2)
        follow(self.template, self.partner, [FIRST], state=AWAY, fee=FEES[1], bps=3333)
        follow(self.template, None, [FIRST])
        adjust_subscriber_count(template_id=self.template.pk, delta=4)
        bill(FIRST)

    # -- helpers ---------------------------------------------------------------------------------
    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def chosen(self, rows: Any, number: int) -> Any:
        found = list(rows.order_by("id"))
        return found[number % len(found)] if found else None

    def invoice(self, number: int) -> Invoice | None:
        found: Invoice | None = self.chosen(Invoice.objects.all(), number)
        return found

    def transition(self, name: str, number: int) -> None:
        moving = {"pause": ["ACTIVE"], "resume": ["PAUSED"], "cancel": ["ACTIVE", "PAUSED"]}
        one = self.chosen(Subscription.objects.filter(status__in=moving[name]), number)
        if one is not None:
            getattr(services, name)(
                subscription_id=one.pk, actor=SYSTEM, reason="USER", now=noon(self.today)
            )

    # -- what happens ----------------------------------------------------------------------------
    @rule(
        fee=st.sampled_from(FEES),
        state=st.sampled_from((HOME, AWAY)),
        direct=st.booleans(),
        bps=st.sampled_from((3000, 3333, 10_000)),
    )
    def subscribe(self, fee: Decimal, state: str, direct: bool, bps: int) -> None:
        partner = None if direct else self.partner
        follow(self.template, partner, [self.today], state=state, fee=fee, bps=bps)
        adjust_subscriber_count(template_id=self.template.pk, delta=1)

    @rule(days=st.sampled_from((1, 3, 10, 31, 62)))
    def time_passes(self, days: int) -> None:
        self.today += dt.timedelta(days=days)

    @rule(twice=st.booleans(), chunk=st.sampled_from((1, 2, 1000)))
    def run(self, twice: bool, chunk: int) -> None:
        bill(self.today, chunk=chunk)
        if twice:
            assert bill(self.today).invoices == 0

    @rule()
    def run_of_yesterday(self) -> None:
        """The clock of a run may stand behind: what is invoiced by now stays so."""
        before = Invoice.objects.count()
        runs.run(self.today - dt.timedelta(days=400), now=noon(self.today))
        assert Invoice.objects.count() == before
        with pytest.raises(FutureDate):
            runs.run(self.today + dt.timedelta(days=1), now=noon(self.today))

    @rule(number=pick)
    def pause(self, number: int) -> None:
        self.transition("pause", number)

    @rule(number=pick)
    def resume(self, number: int) -> None:
        self.transition("resume", number)

    @rule(number=pick)
    def cancel(self, number: int) -> None:
        self.transition("cancel", number)

    @rule(number=pick, part=percent, twice=st.booleans())
    def pay_a_part(self, number: int, part: int, twice: bool) -> None:
        invoice = self.invoice(number)
        amount = invoice and (invoice.total * part / 100).quantize(Decimal("0.01"))
        if not invoice or not amount:
            return
        key = self.key()
        first = pay(invoice, amount, key=key, day=self.today)
        if twice:
            entries = LedgerEntry.objects.count()
            again = pay(invoice, amount, key=key, day=self.today)
            assert (again.payment, again.created) == (first.payment, False)
            assert LedgerEntry.objects.count() == entries

    @rule(number=pick)
    def pay_in_full(self, number: int) -> None:
        self.paid_in_full(number)

    def paid_in_full(self, number: int) -> None:
        if invoice := self.invoice(number):
            pay(invoice, invoice.total, key=self.key(), day=self.today)

    @rule(number=pick, part=st.one_of(percent, st.just(100)), twice=st.booleans())
    def credit(self, number: int, part: int, twice: bool) -> None:
        self.credited(number, part, twice)

    def credited(self, number: int, part: int, twice: bool) -> None:
        invoice = self.invoice(number)
        if invoice is None:
            return
        left = invoice.total - invoice.credited
        amount = (left * part / 100).quantize(Decimal("0.01"))
        if not shares.may_credit(invoice.total, invoice.credited, amount):
            return
        key = self.key()
        first = credit(invoice, amount, key=key, day=self.today)
        if twice:
            again = credit(invoice, amount, key=key, day=self.today)
            assert (again.note, again.created) == (first.note, False)

    @precondition(lambda self: Payment.objects.filter(excess__gt=0).exists())
    @rule(number=pick)
    def give_back_excess(self, number: int) -> None:
        payment = self.chosen(Payment.objects.filter(excess__gt=0), number)
        given = payment.refunds.aggregate(sum=Sum("amount"))["sum"] or ZERO
        there = min(payment.excess - given, customer_credit.available(payment.customer))
        if there > 0:
            customer_credit.return_excess(
                payment_id=payment.pk,
                idem_key=self.key(),
                amount=there,
                method="UPI",
                reference="back",
                actor=SYSTEM,
                now=noon(self.today),
            )

    @rule(number=pick, part=st.one_of(percent, st.just(100)), out=st.booleans())
    def take_credit(self, number: int, part: int, out: bool) -> None:
        """Use a customer's credit for an invoice of his, or pay it out; each twice."""
        invoice = self.invoice(number)
        if invoice is None:
            return
        there, owed = customer_credit.available(invoice.customer), standing(invoice).outstanding
        most = there if out else min(there, owed)
        amount = (most * part / 100).quantize(Decimal("0.01"))
        if amount <= 0:
            return
        act: dict[str, Any] = {
            "idem_key": self.key(), "amount": amount, "actor": SYSTEM, "now": noon(self.today),
        }  # fmt: skip
        for _ in range(2):
            if out:
                customer_credit.pay_out(
                    customer_id=invoice.customer_id, method="UPI", reference="out", **act
                )
            else:
                customer_credit.apply(invoice_id=invoice.pk, **act)
        assert customer_credit.available(invoice.customer) == there - amount

    @rule()
    def withdraw(self) -> None:
        """Everybody loses the template; new ones may come after it, and lose it too."""
        services.cancel_for_withdrawal(self.template.pk, actor=SYSTEM, now=noon(self.today))

    @rule(limit=st.sampled_from((1, 100)))
    def credit_withdrawals(self, limit: int) -> None:
        withdrawals.credit_due(now=noon(self.today), limit=limit)

    @rule(number=pick, days=st.sampled_from((29, 30)), part=st.sampled_from((50, 100)))
    def refund_around_the_window(self, number: int, days: int, part: int) -> None:
        """Pending the day before, payable after: what is taken back comes out of the right one."""
        self.paid_in_full(number)
        self.today += dt.timedelta(days=days)
        maturity.mature(self.today, now=noon(self.today))
        self.credited(number, part, twice=False)

    @rule()
    def night(self) -> None:
        """Recognition and maturity, each twice."""
        yesterday = self.today - dt.timedelta(days=1)
        recognition.recognise(yesterday, now=noon(self.today))
        assert recognition.recognise(yesterday, now=noon(self.today)) == 0
        maturity.mature(self.today, now=noon(self.today))
        assert maturity.mature(self.today, now=noon(self.today)).accruals == 0

    # -- what always holds -----------------------------------------------------------------------
    @invariant()
    def books_balance_and_agree_with_the_documents(self) -> None:
        with connection.cursor() as cursor:  # what the database judges at a commit
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert (LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] or ZERO) == 0
        report = proof.prove(now=noon(self.today))
        assert report.ok, report.findings

    @invariant()
    def periods_tile_from_the_anchor(self) -> None:
        for one in Subscription.objects.all():
            for segment in one.segments.all():
                mine = one.invoices.filter(segment=segment).order_by("period_no")
                numbers = list(mine.values_list("period_no", flat=True))
                assert numbers == list(range(len(numbers))), "no gap, nothing twice"
                for invoice in mine:
                    start, end = (
                        add_months(segment.anchor, invoice.period_no + more) for more in (0, 1)
                    )
                    assert (invoice.period_start, invoice.period_end) == (start, end)
                    stopped = segment.stop_on
                    assert stopped is None or start <= stopped, "nothing after the stop"
            days = days_of(one)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(days))

    @invariant()
    def numbers_follow_each_other(self) -> None:
        for year in (
            Invoice.objects.values("fy").order_by("fy").annotate(count=Count("pk"), last=Max("seq"))
        ):
            assert year["count"] == year["last"]
        dates = list(Invoice.objects.order_by("fy", "seq").values_list("issued_on", flat=True))
        assert dates == sorted(dates)

    @invariant()
    def money_is_within_its_bounds_and_shared_exactly(self) -> None:
        for invoice in Invoice.objects.select_related("subscription"):
            state = standing(invoice)
            assert 0 <= invoice.refunded <= invoice.paid <= invoice.total
            assert state.kept <= invoice.total - invoice.credited, "too much goes back at once"
            assert invoice.cgst == invoice.sgst
            assert not (invoice.igst and invoice.cgst)
            rows = Commission.objects.filter(invoice=invoice)
            accrued, taken, released = (
                rows.filter(kind=kind).aggregate(sum=Sum("amount"))["sum"] or ZERO
                for kind in ("ACCRUAL", "CLAWBACK", "MATURITY")
            )
            assert -taken <= accrued
            assert 0 <= released <= accrued
            bps = invoice.subscription.partner_bps
            expected = share(shares.base_paid(state), bps)
            # exact but for a credit of what was only partly paid, which never adds a commission
            assert expected - Decimal("0.01") * 2 <= accrued + taken <= expected
            if invoice.credited == 0:
                assert accrued == expected
            if invoice.credited == 0 and state.outstanding == 0:
                assert accrued == share(invoice.taxable, bps)
            if invoice.credited == invoice.total:
                assert accrued + taken == 0

    @invariant()
    def nobody_is_given_more_than_he_paid(self) -> None:
        """Money that came, less what went, is what is owed to nobody but us and to the credit."""
        kept = "CUSTOMER_CREDIT"
        came = Payment.objects.exclude(method=kept).aggregate(sum=Sum("amount"))["sum"] or ZERO
        went = Refund.objects.exclude(method=kept).aggregate(sum=Sum("amount"))["sum"] or ZERO
        assert went <= came

    @invariant()
    def a_withdrawal_credits_no_more_than_the_days_after_it(self) -> None:
        for row in WithdrawalCredit.objects.select_related("credit_note__invoice"):
            if row.credit_note is not None:
                invoice = row.credit_note.invoice
                days = (invoice.period_end - invoice.period_start).days
                unused = (invoice.period_end - row.withdrawn_on).days - 1
                assert 0 < row.credit_note.taxable <= invoice.taxable * unused / days
                assert invoice.period_start <= row.withdrawn_on < invoice.period_end
            elif row.done_at is None:
                assert row.subscription.status == "CANCELLED"


@pytest.fixture
def run_in_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's durable chunks are savepoints here, as everything an example does."""
    real = transaction.atomic

    def within(*_arguments: Any, **_options: Any) -> Any:
        return real()

    monkeypatch.setattr(transaction, "atomic", within)


@pytest.mark.django_db
@pytest.mark.usefixtures("run_in_a_transaction")
def test_whatever_happens_the_books_hold() -> None:
    run_state_machine_as_test(
        Portfolio,
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )
