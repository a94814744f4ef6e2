"""Money that a bank took back: owed again, earned by nobody, without a credit note."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions.billing import reports
from subscriptions.billing.errors import AlreadyReversed, NothingToCredit
from subscriptions.billing.ledger import chart_of_accounts, checks, posting
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    Invoice,
    LedgerEntry,
    Payment,
    PaymentReversal,
    Receipt,
    Refund,
    Reversal,
)
from subscriptions.billing.settlement import (
    commission_maturity,
    customer_credit,
    debts,
    payments,
    refunds,
    reversals,
)
from subscriptions.billing.settlement.balance_due import balance_due
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    credit,
    follow,
    load_billing,
    noon,
    pay,
    receive,
)
from subscriptions.models import Subscription
from subscriptions.periods import add_months

pytestmark = pytest.mark.django_db
TOTAL = Decimal("1178.82")
ZERO = Decimal(0)
LATER = START + dt.timedelta(days=10)
NEXT = add_months(START, 1)


@pytest.fixture
def partner() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def template(partner: Partner) -> Template:
    return make_template()


@pytest.fixture
def invoice(template: Template, partner: Partner) -> Invoice:
    follow(template, partner, [START])
    bill(START)
    return Invoice.objects.get()


@pytest.fixture
def months(template: Template, partner: Partner) -> tuple[Invoice, Invoice]:
    """Two months' invoices of one customer."""
    follow(template, partner, [START])
    bill(START)
    bill(NEXT)
    first, second = Invoice.objects.order_by("id")
    return first, second


def use(invoice: Invoice, amount: Decimal | str, day: dt.date, key: str = "use") -> Payment:
    return customer_credit.apply(
        invoice_id=invoice.pk, idem_key=f"{invoice.number}:{key}", amount=Decimal(amount),
        actor=SYSTEM, now=noon(day),
    ).payment  # fmt: skip


def pay_out(invoice: Invoice, amount: Decimal | str, day: dt.date) -> Refund:
    return customer_credit.pay_out(
        customer_id=invoice.customer_id, idem_key="out", amount=Decimal(amount), method="UPI",
        reference="back", actor=SYSTEM, now=noon(day),
    )  # fmt: skip


def keep(invoice: Invoice, amount: Decimal | str, day: dt.date) -> None:
    """A credit note whose money stays as credit."""
    refunds.refund(
        invoice_id=invoice.pk, idem_key=f"{invoice.number}:kept", amount=Decimal(amount),
        reason="Two days without a signal", method="CUSTOMER_CREDIT", reference="ticket",
        actor=SYSTEM, now=noon(day),
    )  # fmt: skip


def standing(*invoices: Invoice) -> list[tuple[str, Decimal, Decimal]]:
    """Status, paid and reversed as the database has them."""
    rows = Invoice.objects.filter(pk__in=[invoice.pk for invoice in invoices]).order_by("id")
    return list(rows.values_list("status", "paid", "reversed"))


def earned(**of: Any) -> Decimal:
    rows = Commission.objects.filter(**of).exclude(kind="MATURITY")
    return rows.aggregate(sum=Sum("amount"))["sum"] or ZERO


def commit() -> None:
    """What the database judges of each act by itself."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def assert_books_hold() -> None:
    commit()
    assert LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] == 0
    report = checks.check_ledger(now=noon(NEXT))
    assert report.ok, report.findings


# -- as it was seen --------------------------------------------------------------------------------
def test_a_bounced_cheque_took_the_debt_with_it(invoice: Invoice) -> None:
    """Only a refund was there: a credit note, GST taken back, and nobody owed anything."""
    before = {
        code: posting.balance_of(code) for code in ("receivable", "gst_output")
    } | {"deferred": posting.balance(chart_of_accounts.DEFERRED_REVENUE)}  # fmt: skip
    paid = pay(invoice, TOTAL).payment
    done = bounce(paid.receipt, LATER, charges=118, reason="Cheque returned: funds insufficient")
    assert done.created
    assert standing(invoice) == [("DUE", ZERO, TOTAL)]
    assert not CreditNote.objects.exists()
    assert before == {
        code: posting.balance_of(code) for code in ("receivable", "gst_output")
    } | {"deferred": posting.balance(chart_of_accounts.DEFERRED_REVENUE)}  # fmt: skip
    assert earned() == 0
    assert posting.balance(chart_of_accounts.partner_payable_pending("zebu")) == 0
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == -118
    assert posting.balance(chart_of_accounts.BANK_CHARGES) == 118
    mirror = PaymentReversal.objects.get().transaction
    assert mirror.corrects == paid.transaction
    sides = dict(mirror.entries.values_list("account__code", "amount"))
    assert sides == {
        "gateway_clearing:manual": -TOTAL, f"receivable:{invoice.customer.public_id}": TOTAL,
    }  # fmt: skip
    assert_books_hold()
    # paid once more, it is as if it had been paid at once
    pay(Invoice.objects.get(), TOTAL, key="another", day=LATER)
    assert standing(invoice) == [("PAID", TOTAL, TOTAL)]
    assert earned() == Decimal("299.70")
    assert OutboxEvent.objects.filter(type="invoice.paid").count() == 2
    assert_books_hold()


def test_a_bounced_cheque_matured_to_the_partner(invoice: Invoice) -> None:
    """Seen: 299.70 were payable after thirty days. A bounce now takes back what matured, too."""
    early = pay(invoice, TOTAL).payment
    bounce(early.receipt, LATER)
    on = START + dt.timedelta(days=60)
    assert commission_maturity.mature(on, now=noon(on)).amount == 0
    assert posting.balance(chart_of_accounts.partner_payable("zebu")) == 0
    again = pay(Invoice.objects.get(), TOTAL, key="again", day=on).payment
    late = on + dt.timedelta(days=30)
    assert commission_maturity.mature(late, now=noon(late)).amount == Decimal("299.70")
    assert posting.balance(chart_of_accounts.partner_payable("zebu")) == Decimal("-299.70")
    bounce(again.receipt, late)
    assert posting.balance(chart_of_accounts.partner_payable("zebu")) == 0
    assert posting.balance(chart_of_accounts.partner_payable_pending("zebu")) == 0
    assert earned(payment=again) == 0
    assert_books_hold()


def test_a_customer_is_not_late_when_the_bank_takes_it_back(
    invoice: Invoice,
) -> None:
    """The invoice was due on 7 Feb; its cheque came back on 20 Feb."""
    paid = pay(invoice, TOTAL).payment
    returned_on = dt.date(2026, 2, 20)
    bounce(paid.receipt, returned_on)
    subscription = Subscription.objects.get()
    seen = [
        (balance_due(Subscription.objects.get(), day).status.value)
        for day in (
            returned_on,
            returned_on + dt.timedelta(days=7),
            returned_on + dt.timedelta(days=8),
        )
    ]
    assert seen == ["DUE", "DUE", "OVERDUE"]
    owed = balance_due(subscription, returned_on)
    assert (owed.due_by, owed.amount) == (returned_on + dt.timedelta(days=7), TOTAL)
    issued = Invoice.objects.get()
    assert issued.due_on == invoice.due_on, "what was issued stays"


# -- the whole receipt -----------------------------------------------------------------------------
def test_a_receipt_of_several_invoices_is_reversed_as_a_whole(
    months: tuple[Invoice, Invoice],
) -> None:
    first, second = months
    receipt = receive({first: TOTAL, second: Decimal("500.00")}, amount=TOTAL + 800, day=NEXT)
    assert customer_credit.available(first.customer) == 300
    bounce(receipt, NEXT, on=NEXT)
    assert standing(first, second) == [("DUE", ZERO, TOTAL), ("DUE", ZERO, Decimal(500))]
    assert customer_credit.available(first.customer) == 0
    assert posting.balance(chart_of_accounts.MANUAL_CLEARING) == 0
    assert earned() == 0
    events = OutboxEvent.objects.filter(type="payment.reversed").order_by("id")
    assert [event.object_id for event in events] == [first.public_id, second.public_id]
    assert events[0].payload["outstanding"] == 1178.82
    assert events[0].payload["status"] == "DUE"
    entry = AuditEntry.objects.get(action="receipt.reversed").data
    assert entry["invoices"] == {first.number: "1178.82", second.number: "500.00"}
    assert_books_hold()


def test_once_and_the_same_again_is_the_same(invoice: Invoice) -> None:
    receipt = pay(invoice, TOTAL).payment.receipt
    done = bounce(receipt, LATER)
    again = bounce(receipt, LATER)
    assert (again.reversal, again.created) == (done.reversal, False)
    for other in ({"reason": "Stopped by the drawer"}, {"charges": 5}):
        with pytest.raises(AlreadyReversed, match="was reversed by"):
            bounce(receipt, LATER, **other)
    assert Reversal.objects.count() == PaymentReversal.objects.count() == 1
    assert_books_hold()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reversed_on": LATER + dt.timedelta(days=1)}, "reversed_on"),
        ({"reversed_on": START - dt.timedelta(days=1)}, "reversed_on"),
        ({"reason": "  "}, "reason"),
        ({"bank_charges": Decimal("-1")}, "bank_charges"),
        ({"bank_charges": Decimal("0.001")}, "bank_charges"),
        ({"bank_charges": Decimal("NaN")}, "bank_charges"),
    ],
    ids=["tomorrow", "before it came", "no reason", "negative", "crumbs", "no number"],
)
def test_what_cannot_be_is_refused_by_name(
    invoice: Invoice, change: dict[str, Any], field: str
) -> None:
    receipt = pay(invoice, TOTAL).payment.receipt
    assert receipt is not None
    given: dict[str, Any] = {
        "receipt_id": receipt.pk, "reversed_on": LATER, "reason": "Bounced",
        "bank_charges": Decimal(0), "actor": SYSTEM, "now": noon(LATER),
    }  # fmt: skip
    with pytest.raises(InvalidRequest) as refused:
        reversals.reverse(**{**given, **change})
    assert list(refused.value.details) == [field]
    with pytest.raises(NotFound):
        reversals.reverse(**{**given, "receipt_id": 0})
    assert not Reversal.objects.exists()


def test_a_cheque_that_is_presented_again_keeps_its_number(invoice: Invoice) -> None:
    def present(day: dt.date, key: str) -> Payment:
        return payments.record_payment(
            invoice_id=invoice.pk, idem_key=key, amount=TOTAL, method="CHEQUE",
            reference="000123 HDFC", received_on=day, actor=SYSTEM, now=noon(day),
        ).payment  # fmt: skip

    bounce(present(START, "one").receipt, LATER)
    again = present(LATER, "two")
    assert standing(invoice) == [("PAID", TOTAL, TOTAL)]
    assert again.receipt is not None
    assert again.receipt.presentation == 2
    bounce(again.receipt, LATER)
    assert present(LATER, "three").receipt_id == Receipt.objects.latest("id").pk
    assert Receipt.objects.latest("id").presentation == 3
    assert_books_hold()


# -- credit that came of it ------------------------------------------------------------------------
def test_credit_that_paid_another_invoice_is_taken_out_of_it(
    months: tuple[Invoice, Invoice],
) -> None:
    first, second = months
    paid = pay(first, TOTAL + 500, day=NEXT).payment
    use(second, "500.00", NEXT)
    assert earned(invoice=second) == Decimal("127.11")
    bounce(paid.receipt, NEXT)
    assert standing(first, second) == [("DUE", ZERO, TOTAL), ("DUE", ZERO, Decimal(500))]
    assert earned() == 0
    assert customer_credit.available(first.customer) == 0
    assert_books_hold()


def test_a_bounce_undoes_only_the_uses_it_had_made_possible(
    months: tuple[Invoice, Invoice],
) -> None:
    """700 of credit, 300 of them from the receipt that bounced; two uses of 200 and 400."""
    first, second = months
    pay(first, TOTAL + 400, key="good", day=NEXT)
    bad = pay(first, Decimal(300), key="bad", day=NEXT).payment
    use(second, "200.00", NEXT, key="older")
    use(second, "400.00", NEXT, key="newer")
    bounce(bad.receipt, NEXT)
    # the newer use is gone as a whole; what of it was good money is credit again
    assert standing(second) == [("PARTLY_PAID", Decimal(200), Decimal(400))]
    assert customer_credit.available(first.customer) == 200
    assert_books_hold()


def test_credit_that_was_paid_out_is_a_debt_by_name(months: tuple[Invoice, Invoice]) -> None:
    first, second = months
    paid = pay(first, TOTAL + 500, day=NEXT).payment
    pay_out(first, "400.00", NEXT)
    commit()
    bounce(paid.receipt, NEXT)
    assert customer_credit.available(first.customer) == -400
    assert_books_hold()
    with pytest.raises(NothingToCredit):
        use(second, "1.00", NEXT)
    with pytest.raises(NothingToCredit):
        customer_credit.return_excess(
            payment_id=paid.pk, idem_key="more", amount=Decimal(100), method="UPI", reference="b",
            actor=SYSTEM, now=noon(NEXT),
        )  # fmt: skip
    # what comes in pays it first
    receive({first: TOTAL}, amount=TOTAL + 450, key="good", day=NEXT)
    assert customer_credit.available(first.customer) == 50
    assert_books_hold()


# -- credit notes of money that then bounced -------------------------------------------------------
def test_money_given_back_for_a_credit_note_is_owed_again(invoice: Invoice) -> None:
    paid = pay(invoice, TOTAL).payment
    credit(invoice, Decimal("500.00"), day=LATER)
    assert earned() == Decimal("172.57")
    bounce(paid.receipt, LATER)
    current = Invoice.objects.get()
    # 678.82 of the invoice, and 500.00 that were given back and had never come
    assert (current.status, balance_due(current.subscription, LATER).amount) == ("DUE", TOTAL)
    assert earned() == 0
    assert_books_hold()
    pay(current, TOTAL, key="good", day=LATER)
    assert standing(invoice) == [("PAID", TOTAL, TOTAL)]
    assert earned() == Decimal("172.57")
    assert_books_hold()


def test_a_refunded_invoice_that_bounced_is_not_settled(
    invoice: Invoice,
) -> None:
    """We gave back 1,178.82 that never came."""
    paid = pay(invoice, TOTAL).payment
    credit(invoice, TOTAL, day=LATER)
    assert standing(invoice) == [("CREDITED", TOTAL, ZERO)]
    bounce(paid.receipt, LATER)
    assert standing(invoice) == [("DUE", ZERO, TOTAL)]
    assert balance_due(invoice.subscription, LATER).amount == TOTAL
    assert earned() == 0
    assert_books_hold()
    pay(Invoice.objects.get(), TOTAL, key="good", day=LATER)
    assert standing(invoice) == [("CREDITED", TOTAL, TOTAL)]
    assert earned() == 0
    assert_books_hold()


def test_credit_from_a_note_pays_the_bounced_invoice(
    months: tuple[Invoice, Invoice],
) -> None:
    """300.00 could have been paid out of a cheque that never came."""
    first, _ = months
    paid = pay(first, TOTAL, day=NEXT).payment
    keep(first, "300.00", NEXT)
    assert customer_credit.available(first.customer) == 300
    bounce(paid.receipt, NEXT)
    assert customer_credit.available(first.customer) == 0
    assert standing(first) == [("PARTLY_PAID", Decimal(300), TOTAL)]
    current = Invoice.objects.get(pk=first.pk)
    assert current.total - current.paid + current.refunded - current.credited == TOTAL - 300
    assert earned() == 0
    assert_books_hold()


# -- commission of several payments ----------------------------------------------------------------
@pytest.mark.parametrize("which", [0, 1, 2])
def test_of_several_payments_the_bounced_one_earns_nothing(invoice: Invoice, which: int) -> None:
    parts = [Decimal("333.33"), Decimal("500.01"), Decimal("345.48")]
    recorded = [
        pay(invoice, part, key=f"part {number}").payment for number, part in enumerate(parts)
    ]
    bounce(recorded[which].receipt, LATER)
    assert earned(payment=recorded[which]) == 0
    remaining = TOTAL - parts[which]
    base = (999 * remaining / TOTAL).quantize(Decimal("0.01"), "ROUND_DOWN")
    assert earned() == (base * 3 / 10).quantize(Decimal("0.01"), "ROUND_DOWN")
    assert_books_hold()
    pay(Invoice.objects.get(), parts[which], key="good", day=LATER)
    assert earned() == Decimal("299.70")
    assert_books_hold()


def test_a_reversed_customer_cannot_subscribe_anew_with_the_debt(
    template: Template, invoice: Invoice
) -> None:
    paid = pay(invoice, TOTAL).payment
    Subscription.objects.update(
        status="CANCELLED", status_changed_at=noon(LATER), cancelled_at=noon(LATER)
    )
    assert debts.unpaid_invoice(invoice.customer_id, template.pk) is None
    bounce(paid.receipt, LATER)
    assert debts.unpaid_invoice(invoice.customer_id, template.pk) == invoice


def test_a_month_says_what_came_and_what_banks_took_back(
    months: tuple[Invoice, Invoice], partner: Partner
) -> None:
    first, second = months
    receipt = receive({first: TOTAL, second: TOTAL}, amount=TOTAL * 2 + 10, day=NEXT)
    bounce(receipt, NEXT)
    month = reports.month_report(partner.pk, "live", NEXT.replace(day=1))
    received = TOTAL * 2 + 10
    assert (month.payments, month.reversed, month.refunds) == (received, received, ZERO)
    assert (month.accrued, month.clawed_back) == (Decimal("599.40"), Decimal("-599.40"))


# -- what the database itself refuses --------------------------------------------------------------
def test_the_database_refuses_half_a_reversal(months: tuple[Invoice, Invoice]) -> None:
    first, second = months
    receipt = receive({first: TOTAL, second: TOTAL}, day=NEXT)
    half = Reversal(
        receipt=receipt, reversed_on=NEXT, reason="Half", recorded_by="x", recorded_on=NEXT,
        partner_id=receipt.partner_id,
    )  # fmt: skip
    half.save()
    with (
        pytest.raises(IntegrityError, match="leaves 2 payments"),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_database_reverses_nothing_twice(invoice: Invoice) -> None:
    reversal = bounce(pay(invoice, TOTAL).payment.receipt, LATER).reversal
    reversal.pk, reversal.public_id = None, "rev_other"
    with pytest.raises(IntegrityError, match="reversal_receipt_id"), transaction.atomic():
        reversal.save(force_insert=True)
    payment_reversal = PaymentReversal.objects.get()
    payment_reversal.pk = None
    with pytest.raises(IntegrityError, match="paymentreversal"), transaction.atomic():
        payment_reversal.save(force_insert=True)
