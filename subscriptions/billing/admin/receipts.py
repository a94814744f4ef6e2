"""Pages of receipts: record money over a customer's open invoices, reverse it if it bounced."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from django.contrib import admin
from django.db.models import F, Prefetch, Q, QuerySet, Sum
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from partners.admin.common import PartnerFilter
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import ExportsList, ReadOnlyTabularInline, confirmed, display
from quantleap.core.admin_columns import NONE, in_rupees, itself, linked, mark, plain, rupees
from quantleap.core.audit import Actor
from quantleap.core.counts import counted
from quantleap.core.large_lists import Backwards, Condition, Search, begins, through
from quantleap.core.money import ZERO
from subscriptions.billing.admin.common import MoneyPage
from subscriptions.billing.admin.joint_receipts import RecordsJointReceipts
from subscriptions.billing.admin.receipt_forms import ReceiptForm, ReverseForm
from subscriptions.billing.admin.searches import invoice_keys
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import Commission, Invoice, Payment, Receipt, Reversal
from subscriptions.billing.settlement import allocations, customer_credit, reversals
from subscriptions.billing.settlement.bank_references import reference_key


def by_reference(term: str) -> Condition:
    """Search bank references by prefix, whatever their spelling."""
    key = reference_key(term)
    if not key:
        return Condition(None)
    return Condition(Q(reference_key__startswith=key), along=Backwards(F("reference_key")))


def _paying(term: str) -> Iterable[int]:
    """Receipts that pay the invoices that ``term`` matches."""
    keys = list(invoice_keys(term))
    rows = Payment.objects.filter(invoice_id__in=keys, receipt__isnull=False)
    return rows.values_list("receipt_id", flat=True) if keys else ()


def standing_of(payment: Payment) -> str:
    """Reversed if the payment no longer pays, else empty."""
    return "Reversed" if hasattr(payment, "reversal") else ""


class PaysInline(ReadOnlyTabularInline):
    """Payments that the receipt made."""

    model = Payment
    fk_name = "receipt"
    hide_title = True
    verbose_name_plural = "payments"
    fields = (
        itself("public_id", "Payment"),
        linked("invoice"),
        rupees("amount"),
        rupees("applied"),
        rupees("excess"),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        """Fetch the invoices' numbers in the same query."""
        return super().get_queryset(request).select_related("invoice").defer("invoice__snapshot")


class StateFilter(admin.SimpleListFilter):
    """Reversed, in doubt, or with credit left."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("reversed", "reversed"), ("doubt", "in doubt"), ("credit", "left a credit")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """In doubt: recorded under another receipt's reference, and not reversed."""
        conditions = {
            "reversed": Q(reversal__isnull=False),
            "doubt": Q(in_doubt=True, reversal__isnull=True),
            "credit": Q(credit__gt=0),
        }
        value = self.value()
        return queryset.filter(conditions[value]) if value in conditions else queryset


def _standing(receipt: Receipt) -> str:
    """The state as text; empty for a normal receipt."""
    if hasattr(receipt, "reversal"):
        return "Reversed"
    return "In doubt" if receipt.in_doubt else ""


def _went_back_on(receipt: Receipt) -> dt.date | None:
    return receipt.reversal.reversed_on if hasattr(receipt, "reversal") else None


def _paid_in_words(receipt: Receipt) -> str:
    """``INV26-000001 1178.82; INV26-000002 500.00``."""
    return "; ".join(
        f"{payment.invoice.number} {payment.amount}" for payment in receipt.payments.all()
    )


#: Columns of the exported list: header and value.
_EXPORTED: Final[tuple[tuple[str, Callable[[Any], object]], ...]] = (
    ("receipt", str),
    ("received_on", attrgetter("received_on")),
    ("rail", attrgetter("method")),
    ("reference", attrgetter("reference")),
    ("amount", attrgetter("amount")),
    ("left_as_credit", attrgetter("credit")),
    ("currency", attrgetter("currency")),
    ("customer", lambda receipt: receipt.customer and receipt.customer.public_id),
    ("customer_email", lambda receipt: receipt.customer and receipt.customer.email),
    ("payer_on_statement", attrgetter("payer_name")),
    ("partner", lambda receipt: receipt.partner_slug or "direct"),
    ("environment", attrgetter("environment")),
    ("invoices", _paid_in_words),
    ("standing", _standing),
    ("reversed_on", _went_back_on),
    ("recorded_on", attrgetter("recorded_on")),
    ("recorded_by", attrgetter("recorded_by")),
    ("note", attrgetter("note")),
)


@admin.register(Receipt)
class ReceiptAdmin(RecordsJointReceipts, ExportsList, MoneyPage):
    """Recorded receipts; one whose money went back at the bank can be reversed."""

    empty_title = "No money has been recorded"
    empty_text = "Record what came on an invoice's page, or here for several customers at once."

    list_display = (
        "received_on",
        plain("payer"),
        "partner_name",
        "method",
        "reference",
        rupees("amount"),
        rupees("credit", "Left as credit", read=lambda receipt: receipt.credit or None),
        "standing",
        "recorded_by",
    )
    list_filter = (
        StateFilter,
        "method",
        PartnerFilter,
        "recorded_on",
        "received_on",
        ("customer", AutocompleteSelectFilter),
    )
    searches = (
        begins("public_id", "the beginning of an id"),
        Search("of the bank's reference (however it is spelled)", by_reference),
        through("id", _paying, "of a paid invoice's number (or its digits)"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    related = ("customer", "transaction", "reversal")
    fields = (
        ("standing", "public_id", linked("customer", "Customer who paid")),
        (
            rupees("amount"),
            rupees("credit", "Left as the payer's credit"),
            plain("payer_name", "Payer on the statement"),
        ),
        ("received_on", "method", plain("reference")),
        ("recorded_by", plain("recorded_on"), "created_at"),
        (linked("transaction", "Posting of the credit"), "partner_name", "environment"),
        (
            plain("note"),
            plain("presentation", "Times it came"),
            mark("in_doubt", "under another receipt's reference: reverse one of them", "In doubt"),
        ),
        ("went_back",),
    )
    inlines = (PaysInline,)
    actions_list = ("record_joint", "export")
    export_columns = _EXPORTED
    actions_detail = ("reverse",)

    def export_rows(self, rows: QuerySet[Receipt]) -> QuerySet[Receipt]:
        """Fetch the invoices that the receipts pay."""
        paid = Payment.objects.select_related("invoice").defer("invoice__snapshot").order_by("id")
        return rows.prefetch_related(Prefetch("payments", queryset=paid))

    @display(
        description="Standing", label={"Reversed": "danger", "In doubt": "warning", "": "default"}
    )
    def standing(self, receipt: Receipt) -> str:
        """The state as text; empty for a normal receipt."""
        return _standing(receipt)

    @admin.display(description="Went back at the bank")
    def went_back(self, receipt: Receipt) -> str:
        """Day, reason, bank charges and recorder of the reversal."""
        if not hasattr(receipt, "reversal"):
            return NONE
        reversal = receipt.reversal
        return (
            f"{day(reversal.reversed_on.isoformat())}: {reversal.reason}. Bank charges "
            f"{in_rupees(reversal.bank_charges)}. Recorded by {reversal.recorded_by} on "
            f"{day(reversal.recorded_on.isoformat())} as {reversal}."
        )

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """No button for a receipt that was reversed already."""
        actions: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # unfold's
        return [] if Reversal.objects.filter(receipt_id=object_id).exists() else actions

    def has_reverse_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its own permission: a reversal makes customers owe and takes from partners."""
        return request.user.has_perm("billing.add_reversal")

    def what_reversing_does(self, request: HttpRequest, receipt: Receipt) -> Sequence[str]:
        if hasattr(receipt, "reversal"):
            return (f"{receipt} was reversed before: {receipt.reversal.reason}",)
        paid = list(receipt.payments.select_related("invoice").order_by("id"))
        return (
            f"{in_rupees(receipt.amount)} by {receipt.get_method_display()} {receipt.reference}, "
            f"received on {day(receipt.received_on.isoformat())} from {receipt.payer}, are taken "
            "back as a whole.",
            *(
                f"{payment.invoice.number} is owed again by {in_rupees(payment.applied)}."
                for payment in paid
                if payment.applied
            ),
            *_of_credit(receipt, paid),
            f"Commission of {in_rupees(_earned(paid))} is taken back, also where it was paid out.",
            "No credit note is issued, and no tax changes. What the bank charges is our expense. "
            "A reversal cannot be taken back.",
        )

    @confirmed(
        description="Reverse",
        explain="what_reversing_does",
        permission="reverse",
        form=ReverseForm,
        icon="undo",
        danger=True,
        twice=True,
    )
    def reverse(self, request: HttpRequest, receipt: Receipt, data: dict[str, Any]) -> str:
        """Record that the money went back at the bank."""
        done = reversals.reverse(
            receipt_id=receipt.pk, actor=Actor.staff(request.user), now=clock.now(), **data
        )
        if not done.created:
            return f"{receipt} was reversed before."
        owed = done.reversal.payments.aggregate(sum=Sum("payment__applied"))["sum"] or ZERO
        return f"{receipt} is reversed as {done.reversal}: {in_rupees(owed)} are owed again."


def _of_credit(receipt: Receipt, paid: Sequence[Payment]) -> Sequence[str]:
    """What happens to the credit that the receipt gave, in sentences."""
    credit = receipt.credit + sum((payment.excess for payment in paid), ZERO)
    payer = receipt.customer
    if not credit or payer is None:
        return ()
    available = customer_credit.available(payer)
    spent = max(ZERO, credit - max(ZERO, available))
    if not spent:
        return (f"The credit of {payer} becomes {in_rupees(available - credit)}.",)
    return (
        f"{payer} got {in_rupees(credit)} of credit from it, of which {in_rupees(spent)} are gone: "
        "what it paid of other invoices is undone, the newest first, and what was paid out is "
        "owed to us.",
    )


def _earned(paid: Sequence[Payment]) -> Decimal:
    rows = Commission.objects.filter(payment__in=paid).exclude(kind=Commission.Kind.MATURITY)
    total: Decimal | None = rows.aggregate(sum=Sum("amount"))["sum"]
    return total or ZERO


class RecordsReceipts:
    """Adds to an invoice the button that records money for all that its customer owes."""

    def has_pay_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed for users who may add a payment."""
        return request.user.has_perm("billing.add_payment")

    def what_a_receipt_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        open_invoices = allocations.open_invoices(invoice.customer)
        owed = sum((open_invoice.outstanding for open_invoice in open_invoices), ZERO)
        return (
            f"{invoice.customer} owes {in_rupees(owed)} on "
            f"{counted(len(open_invoices), 'invoice')}.",
            "Leave the invoices empty, and the oldest are paid first; or say what each gets. "
            "What is left becomes the customer's credit.",
            "Commission accrues on what is paid. A bank's reference is recorded once, however it "
            "is spelled.",
        )

    def asked_again(self, request: HttpRequest, invoice: Invoice) -> dict[str, Any]:
        """The confirmation's text: a recorded receipt stays, and only a bank takes it back."""
        return {"again_words": "What is recorded cannot be changed any more. Is this what came?"}

    @confirmed(
        description="Record receipt",
        explain="what_a_receipt_does",
        context="asked_again",
        permission="pay",
        form=ReceiptForm,
        icon="receipt_long",
        twice=True,
    )
    def record_receipt(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Record one movement of money for several invoices."""
        arguments = {name: data[name] for name in ReceiptForm.GIVEN}
        done = allocations.record(
            **arguments,
            customer_id=invoice.customer_id,
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        receipt = done.receipt
        if not done.created:
            return f"{receipt.reference} was recorded before as {receipt}."
        over = f" {in_rupees(receipt.credit)} are the customer's credit." if receipt.credit else ""
        return (
            f"{in_rupees(receipt.amount)} are recorded as {receipt}, for "
            f"{counted(len(arguments['parts']), 'invoice')}.{over}"
        )
