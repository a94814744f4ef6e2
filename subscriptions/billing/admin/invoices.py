"""Pages of invoices: read and download them, and record payments and refunds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.gst_states import name_of
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyTabularInline, confirmed, display
from quantleap.core.admin_columns import (
    NONE,
    days,
    in_rupees,
    itself,
    link_to,
    linked,
    mark,
    plain,
    rupees,
)
from quantleap.core.audit import Actor
from quantleap.core.large_lists import Search, exactly, through
from subscriptions.billing.admin.common import EarnedInline, ToLookAt, by_number
from subscriptions.billing.admin.credit import UsesCredit, what_is_unused, what_of_tax
from subscriptions.billing.admin.documents import DocumentDownload
from subscriptions.billing.admin.forms import PaymentForm, RefundForm
from subscriptions.billing.admin.receipts import RecordsReceipts, standing_of
from subscriptions.billing.invoicing import documents
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import (
    CreditNote,
    Invoice,
    LedgerTransaction,
    NumberSeries,
    Payment,
)
from subscriptions.billing.settlement import payments, refunds
from subscriptions.billing.settlement.balance_due import due_by, late
from subscriptions.selectors import subscription_keys

_TONES: Final = {
    "Due": "warning",
    "Overdue": "danger",
    "Partly paid": "info",
    "Paid": "success",
    "Credited": "default",
}


class PaymentInline(ReadOnlyTabularInline):
    """Payments of the invoice."""

    model = Payment
    fk_name = "invoice"
    hide_title = True
    fields = (
        itself("public_id", "Payment"),
        "received_on",
        "method",
        "reference",
        rupees("amount"),
        rupees("applied"),
        rupees("excess"),
        "standing",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Fetch the reversals in the same query."""
        return super().get_queryset(request).select_related("reversal")

    @admin.display(description="Standing")
    def standing(self, payment: Payment) -> str:
        return standing_of(payment)


class CreditNoteInline(ReadOnlyTabularInline):
    """Credit notes of the invoice."""

    model = CreditNote
    fk_name = "invoice"
    hide_title = True
    verbose_name_plural = "credit notes"
    fields = (
        itself("number"),
        "issued_on",
        "reason",
        rupees("taxable", "Before tax"),
        rupees("total"),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNote]:
        """Leave out the documents' content."""
        return super().get_queryset(request).defer("snapshot")


class CommissionInline(EarnedInline):
    """Commission that the invoice earned."""

    fk_name = "invoice"


class OverdueFilter(admin.SimpleListFilter):
    """Unpaid, or overdue."""

    title = "outstanding"
    parameter_name = "outstanding"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unpaid", "unpaid"), ("overdue", "overdue")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Invoices with an outstanding sum; overdue: due before today (IST)."""
        if self.value() not in ("unpaid", "overdue"):
            return queryset
        unpaid = queryset.filter(status__in=Invoice.UNPAID)
        return unpaid.filter(late(_today())) if self.value() == "overdue" else unpaid


@admin.register(Invoice)
class InvoiceAdmin(
    UsesCredit, RecordsReceipts, ToLookAt, PartnerColumn, LargeTableMixin, DocumentDownload
):
    """Read only; newest first."""

    list_display = (
        "number",
        linked("customer"),
        "partner_name",
        "period",
        "issued_on",
        rupees("total"),
        rupees("outstanding", read=attrgetter("outstanding")),
        "standing",
        mark("needs_review", "to review", "Review"),
    )
    list_filter = (
        OverdueFilter,
        "status",
        "needs_review",
        PartnerFilter,
        "issued_on",
        ("customer", AutocompleteSelectFilter),
    )
    searches = (
        Search("the beginning or the digits of a number", by_number(NumberSeries.Series.INVOICE)),
        exactly("public_id", "an invoice's id in full"),
        through("subscription_id", subscription_keys, "a subscription's id"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("customer",)
    ordering = ("-id",)
    fields = (
        ("standing", plain("number"), "public_id"),
        ("customer", "subscription", "partner_name"),
        ("period", "issued_on", "due"),
        (rupees("taxable", "Before tax"), rupees("cgst", "CGST"), rupees("sgst", "SGST")),
        (rupees("igst", "IGST"), rupees("total"), "tax"),
        (rupees("paid"), rupees("refunded"), rupees("credited", "Credited, tax included")),
        (
            rupees("outstanding", read=attrgetter("outstanding")),
            rupees("reversed", "Went back at a bank"),
            rupees("recognised", "Recognised as revenue"),
            "posting",
        ),
        (
            mark("needs_review", "issued after its period was over: no automatic debit", "Review"),
            "environment",
            "created_at",
        ),
    )
    inlines = (PaymentInline, CreditNoteInline, CommissionInline)
    actions_detail = ("record_payment", "record_receipt", "use_credit", "refund", "download_pdf")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        """Leave out the documents' content."""
        return super().get_queryset(request).defer("snapshot")

    @admin.display(description="Period", ordering="period_start")
    def period(self, invoice: Invoice) -> str:
        """First and last day (IST)."""
        return days(invoice.period_start, invoice.period_end - dt.timedelta(days=1))

    @display(description="Status", ordering="status", label=_TONES)
    def standing(self, invoice: Invoice) -> str:
        """The status as text; overdue from the day after the due date."""
        overdue = invoice.status in Invoice.UNPAID and due_by(invoice) < _today()
        return "Overdue" if overdue else str(invoice.get_status_display())

    @admin.display(description="Due on")
    def due(self, invoice: Invoice) -> str:
        """The due date as issued, and the new one after a reversal."""
        issued = day(invoice.due_on.isoformat())
        if invoice.due_again_on is None:
            return issued
        return f"{issued}, after a reversal {day(invoice.due_again_on.isoformat())}"

    @admin.display(description="Tax")
    def tax(self, invoice: Invoice) -> str:
        """Rate, place of supply and SAC."""
        place = name_of(invoice.place_of_supply)
        return f"{invoice.rate_pct:f} % GST, {place}, SAC {invoice.sac}"

    @admin.display(description="Posting")
    def posting(self, invoice: Invoice) -> SafeString | str:
        """The ledger transaction of its issue."""
        key = f"invoice:{invoice.subscription.public_id}:{invoice.segment_no}:{invoice.period_no}"
        transaction = LedgerTransaction.objects.filter(idem_key=key).first()
        return NONE if transaction is None else link_to(transaction)

    # -- actions of staff ------------------------------------------------------------------------
    def has_credit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refunds are allowed for users who may add a credit note."""
        return request.user.has_perm("billing.add_creditnote")

    def what_a_payment_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        return (
            f"{invoice.customer} owes {in_rupees(invoice.outstanding)} of "
            f"{in_rupees(invoice.total)}.",
            "What exceeds that becomes the customer's credit.",
            "Commission accrues on what is paid. A recorded payment cannot be changed any more.",
        )

    def what_a_refund_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        return (
            f"A credit note is issued: of {invoice.number} up to "
            f"{in_rupees(invoice.total - invoice.credited)}, tax included.",
            f"Paid and not given back are {in_rupees(invoice.paid - invoice.refunded)}; what is "
            "then paid too much goes back to the customer.",
            "Commission is clawed back in proportion. None of it can be taken back.",
            *what_of_tax(invoice),
            *what_is_unused(invoice),
        )

    @confirmed(
        description="Record payment",
        explain="what_a_payment_does",
        permission="pay",
        form=PaymentForm,
        icon="payments",
    )
    def record_payment(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Record money received for this invoice."""
        done = payments.record_payment(
            invoice_id=invoice.pk,
            idem_key=PaymentForm.key(invoice, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        payment = done.payment
        if not done.created:
            return f"{payment.reference} was recorded before: {in_rupees(payment.amount)}."
        over = f" {in_rupees(payment.excess)} are the customer's credit." if payment.excess else ""
        return f"{in_rupees(payment.applied)} are recorded for {invoice.number}.{over}"

    @confirmed(
        description="Refund",
        explain="what_a_refund_does",
        permission="credit",
        form=RefundForm,
        icon="undo",
        danger=True,
        twice=True,
    )
    def refund(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Record credit note, refund and claw-back."""
        done = refunds.refund(
            invoice_id=invoice.pk,
            idem_key=RefundForm.key(invoice, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        if not done.created:
            return f"{done.note.number} was issued before under this reference."
        refunded = in_rupees(done.refund.amount) if done.refund else "nothing"
        return (
            f"{done.note.number} is issued over {in_rupees(done.note.total)}; {refunded} goes back."
        )

    def document(self, obj: Invoice) -> bytes:
        """The PDF, made on the first download and unchanged afterwards."""
        return documents.invoice_pdf(obj)


def _today() -> dt.date:
    return clock.ist_date(clock.now())
