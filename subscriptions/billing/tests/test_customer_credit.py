"""What we hold of a customer's money: where it comes from, how it is used, and never twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry
from quantleap.core.tests.parallel import at_once
from subscriptions.billing import reports
from subscriptions.billing.errors import InvoiceChanged, NothingToCredit, PaymentKeyReused
from subscriptions.billing.ledger import chart_of_accounts, checks, posting
from subscriptions.billing.models import Commission, Invoice, Payment, Refund
from subscriptions.billing.settlement import customer_credit, refunds
from subscriptions.billing.settlement.payments import Recorded
from subscriptions.billing.tests.factories import (
    START,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)
from subscriptions.models import Subscription
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db
TOTAL = Decimal("1178.82")
NEXT = add_months(START, 1)


def prepare() -> tuple[Invoice, Invoice]:
    """Two months' invoices of one customer."""
    load_billing()
    load_reference_data()
    follow(make_template(), make_partner("zebu"), [START])
    bill(NEXT)
    first, second = Invoice.objects.order_by("id")
    return first, second


@pytest.fixture
def invoices() -> tuple[Invoice, Invoice]:
    return prepare()


def use(
    invoice: Invoice, amount: Decimal | str, *, key: str = "one", seen: Decimal | None = None
) -> Recorded:
    return customer_credit.apply(
        invoice_id=invoice.pk,
        idem_key=f"{invoice.number}:CREDIT:{key}",
        amount=Decimal(amount),
        actor=Actor("STAFF", "clerk"),
        now=noon(NEXT),
        seen=seen,
    )


def pay_out(customer: Customer, amount: Decimal | str, *, key: str = "out", **more: Any) -> Refund:
    return customer_credit.pay_out(
        **{
            "customer_id": customer.pk,
            "idem_key": key,
            "amount": Decimal(amount),
            "method": "UPI",
            "reference": "back",
            "actor": SYSTEM,
            "now": noon(NEXT),
            **more,
        }
    )


def held(invoice: Invoice) -> Decimal:
    return customer_credit.available(invoice.customer)


def assert_books_hold() -> None:
    report = checks.check_ledger(now=noon(NEXT))
    assert report.ok, report.findings


def test_excess_pays_the_next_invoice_and_earns_its_commission(
    invoices: tuple[Invoice, Invoice],
) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    done = use(second, "500.00")
    assert done.created
    paid = done.payment
    assert paid.method == "CUSTOMER_CREDIT"
    assert [paid.amount, paid.applied, paid.excess] == [500, 500, 0]
    second.refresh_from_db()
    assert (second.status, second.paid) == ("PARTLY_PAID", Decimal(500))
    assert held(second) == 0
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == TOTAL + 500, "no money moved"
    earned = Commission.objects.get(invoice=second)
    assert earned.amount == Decimal("127.11")  # 30 % of 999.00 x 500.00 / 1178.82
    assert AuditEntry.objects.filter(action="payment.recorded", actor_id="clerk").count() == 1
    assert_books_hold()


def test_a_months_payments_count_money_once(invoices: tuple[Invoice, Invoice]) -> None:
    """Used credit is no second receipt, kept money no refund."""
    first, second = invoices
    pay(first, TOTAL + 500, day=NEXT)
    use(second, "500.00")
    credit(first, Decimal("200.00"), day=NEXT)
    keep(first, Decimal("100.00"))
    report = reports.month_report(first.partner_id or 0, "live", NEXT.replace(day=1))
    assert (report.payments, report.refunds) == (TOTAL + 500, Decimal(200))


def keep(invoice: Invoice, amount: Decimal, *, key: str = "kept") -> refunds.Credited:
    """A credit note whose money stays with us."""
    return refunds.refund(
        invoice_id=invoice.pk,
        idem_key=f"{invoice.number}:{key}",
        amount=amount,
        reason="Two days without a signal",
        method="CUSTOMER_CREDIT",
        reference="ticket 7",
        actor=SYSTEM,
        now=noon(NEXT),
    )


def test_staff_credit_stays_with_us_is_used_and_paid_out(
    invoices: tuple[Invoice, Invoice],
) -> None:
    first, second = invoices
    pay(first, TOTAL)
    credited = keep(first, Decimal("300.00"))
    assert credited.refund is not None
    assert (credited.refund.method, held(first)) == ("CUSTOMER_CREDIT", Decimal(300))
    assert posting.balance_of("receivable") == TOTAL, "the second month's"
    use(second, "100.00")
    assert pay_out(first.customer, "150.00").amount == 150
    assert pay_out(first.customer, "150.00").amount == 150, "the same key again"
    with pytest.raises(PaymentKeyReused):
        pay_out(first.customer, "50.00")
    with pytest.raises(NothingToCredit, match=r"has 50\.00 rupees"):
        pay_out(first.customer, "50.01", key="more")
    pay_out(first.customer, "50.00", key="rest")
    assert held(first) == 0
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == TOTAL - 200
    assert AuditEntry.objects.filter(action="customer.credit_paid_out").count() == 2
    assert_books_hold()


def test_an_unpaid_invoice_has_nothing_to_keep(invoices: tuple[Invoice, Invoice]) -> None:
    first, _ = invoices
    credited = keep(first, Decimal("300.00"))
    assert credited.refund is None
    assert held(first) == 0
    first.refresh_from_db()
    assert first.total - first.credited == TOTAL - 300


def test_the_same_use_again_is_the_same(invoices: tuple[Invoice, Invoice]) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    done = use(second, "200.00")
    again = use(second, "200.00")
    assert (again.payment, again.created) == (done.payment, False)
    with pytest.raises(PaymentKeyReused):
        use(second, "201.00")
    assert held(first) == 300


@pytest.mark.parametrize("amount", ["0.00", "-1.00", "0.001", "NaN", "Infinity", "10000000000.00"])
def test_what_is_no_amount(invoices: tuple[Invoice, Invoice], amount: str) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    with pytest.raises(InvalidRequest):
        use(second, amount)
    with pytest.raises(InvalidRequest):
        pay_out(first.customer, amount)
    assert held(first) == 500


def test_what_is_refused(invoices: tuple[Invoice, Invoice]) -> None:
    first, second = invoices
    with pytest.raises(NothingToCredit, match=r"0\.00 rupees of credit"):
        use(second, "1.00")
    pay(first, TOTAL * 3)
    with pytest.raises(NothingToCredit, match=r"owes 1178\.82"):
        use(second, TOTAL + 1)
    with pytest.raises(NothingToCredit, match=r"owes 0\.00"):
        use(first, "1.00")
    with pytest.raises(InvalidRequest):
        pay_out(first.customer, "1.00", method="CUSTOMER_CREDIT")
    with pytest.raises(NotFound):
        pay_out(first.customer, "1.00", customer_id=0)
    with pytest.raises(InvoiceChanged, match=r"owes 1178\.82 rupees now, not 5"):
        use(second, "1.00", seen=Decimal(5))
    assert held(first) == TOTAL * 2
    assert_books_hold()


def test_excess_that_was_used_cannot_be_given_back(invoices: tuple[Invoice, Invoice]) -> None:
    first, second = invoices
    paid = pay(first, TOTAL + 500).payment
    use(second, "400.00")
    arguments: dict[str, Any] = {
        "payment_id": paid.pk, "method": "UPI", "reference": "x", "actor": SYSTEM,
        "now": noon(NEXT),
    }  # fmt: skip
    with pytest.raises(NothingToCredit, match=r"has 100\.00 rupees"):
        customer_credit.return_excess(idem_key="b1", amount=Decimal(500), **arguments)
    customer_credit.return_excess(idem_key="b2", amount=Decimal(100), **arguments)
    assert held(first) == 0
    assert_books_hold()


def test_nobody_uses_another_customers_credit(invoices: tuple[Invoice, Invoice]) -> None:
    first, _ = invoices
    pay(first, TOTAL + 500)
    subscription = Subscription.objects.get()
    (other,) = follow(subscription.template, None, [NEXT])
    bill(NEXT)
    with pytest.raises(NothingToCredit):
        use(Invoice.objects.get(subscription=other), "1.00")


# -- what the database itself refuses ------------------------------------------------------------
def test_the_database_refuses_credit_that_is_not_there(
    invoices: tuple[Invoice, Invoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service without its looks: the commit is refused."""
    first, second = invoices
    pay(first, TOTAL + 5)
    for name in ("_check_held", "_check_not_overdrawn"):
        monkeypatch.setattr(customer_credit, name, lambda *_arguments: None)

    def commit(call: Callable[[], Any]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            call()
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    for call in (
        lambda: use(second, "6.00"),
        lambda: pay_out(first.customer, "6.00"),
        lambda: pay_out(Invoice.objects.get(pk=first.pk).customer, "5.01", key="other"),
    ):
        with pytest.raises(IntegrityError, match="has not so much credit"):
            commit(call)
    commit(lambda: use(second, "5.00"))


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"excess": 1, "applied": 499}, "payment_credit_fits"),
        ({"amount": 501}, "payment_amount_is_sum"),
    ],
)
def test_the_database_refuses_a_crooked_row(
    invoices: tuple[Invoice, Invoice], change: dict[str, int], constraint: str
) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    row = use(second, "500.00").payment
    row.pk, row.public_id, row.idem_key = None, "pay_other", "other"
    for name, value in change.items():
        setattr(row, name, value)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        row.save(force_insert=True)


# -- arithmetic ----------------------------------------------------------------------------------
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(("pay", "keep", "use", "out")), st.integers(1, 200_000)),
        max_size=12,
    )
)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_steps_leaves_what_came_less_what_went(
    invoices: tuple[Invoice, Invoice], steps: list[tuple[str, int]]
) -> None:
    first, second = invoices
    with transaction.atomic():
        expected = Decimal(0)
        for number, (what, paise) in enumerate(steps):
            amount, key = Decimal(paise) / 100, str(number)
            try:
                if what == "pay":
                    expected += pay(first, amount, key=key, day=NEXT).payment.excess
                elif what == "keep":
                    refund = keep(first, amount, key=key).refund
                    expected += refund.amount if refund else 0
                elif what == "use":
                    use(second, amount, key=key)
                    expected -= amount
                else:
                    pay_out(first.customer, amount, key=key)
                    expected -= amount
            except NothingToCredit:
                continue
        assert held(first) == expected >= 0
        assert_books_hold()
        transaction.set_rollback(True)


# -- races ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_credit_used_and_paid_out_at_once_is_spent_once() -> None:
    first, second = prepare()
    pay(first, TOTAL + 500)

    def call(number: int) -> Any:
        if number % 2:
            return use(second, "300.00", key=str(number))
        return pay_out(first.customer, "300.00", key=str(number))

    outcomes = at_once(6, call, errors=(NothingToCredit,))
    spent = [outcome for outcome in outcomes if not isinstance(outcome, NothingToCredit)]
    assert len(spent) == 1
    assert held(first) == 200
    assert_books_hold()


@pytest.mark.django_db(transaction=True)
def test_control_without_the_second_look_a_commit_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that both saw 500 before either posted: without the second look one fails at commit."""
    first, second = prepare()
    pay(first, TOTAL + 500)
    looked = Barrier(2)

    def look(_customer: Customer, _amount: Decimal) -> None:
        looked.wait(timeout=30)

    monkeypatch.setattr(customer_credit, "_lock_customer", lambda key: Customer.objects.get(pk=key))
    monkeypatch.setattr(customer_credit, "_check_held", look)
    monkeypatch.setattr(customer_credit, "_check_not_overdrawn", lambda _customer: None)

    def call(number: int) -> str:
        try:
            if number:
                use(second, "300.00")
            else:
                pay_out(first.customer, "300.00")
        except IntegrityError as error:
            return "refused" if "so much credit" in str(error) else str(error)
        return "done"

    assert sorted(at_once(2, call)) == ["done", "refused"]
    assert held(first) == 200
    assert Payment.objects.aggregate(sum=Sum("amount"))["sum"] in {TOTAL + 500, TOTAL + 800}


def test_dates_of_use_are_today(invoices: tuple[Invoice, Invoice]) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    paid = use(second, "1.00").payment
    assert paid.received_on == paid.recorded_on == NEXT
    assert isinstance(paid.received_on, dt.date)
