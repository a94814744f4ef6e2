"""Pages of payments, credit notes, refunds and commission; read only, except for excess."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from partners.admin.common import PartnerFilter
from partners.selectors import customer_keys
from quantleap.core import clock
from quantleap.core.admin import ReadOnlyTabularInline, confirmed, display
from quantleap.core.admin_columns import in_rupees, itself, linked, plain, rupees, share
from quantleap.core.audit import Actor
from quantleap.core.identifiers import ascii_upper
from quantleap.core.large_lists import Condition, Search, begins, first_keys, through
from subscriptions.billing.admin.common import EarnedInline, MoneyPage, by_number
from subscriptions.billing.admin.documents import DocumentDownload
from subscriptions.billing.admin.forms import ExcessForm
from subscriptions.billing.admin.receipts import standing_of
from subscriptions.billing.admin.searches import (
    credit_note_keys,
    customers_invoice_keys,
    invoice_keys,
)
from subscriptions.billing.invoicing import documents
from subscriptions.billing.models import Commission, CreditNote, NumberSeries, Payment, Refund
from subscriptions.billing.settlement import customer_credit


def _reference(term: str) -> Condition:
    """Search bank references by prefix, also in capitals, which most banks use."""
    return Condition(Q(reference__startswith=term) | Q(reference__startswith=ascii_upper(term)))


def _payment_keys(term: str) -> Iterable[int]:
    return first_keys(Payment.objects.filter(public_id__startswith=term))


class EarnedByPaymentInline(EarnedInline):
    """Commission that a payment earned."""

    fk_name = "payment"


class ClawedBackInline(EarnedInline):
    """Commission that a credit note clawed back."""

    fk_name = "credit_note"


class GivenBackInline(ReadOnlyTabularInline):
    """Refunds of the row."""

    model = Refund
    hide_title = True
    verbose_name_plural = "refunds"
    fields = (
        itself("public_id", "Refund"),
        "recorded_on",
        "method",
        "reference",
        rupees("amount"),
        "recorded_by",
    )
    readonly_fields = fields


class ExcessInline(GivenBackInline):
    """Refunds of a payment's excess."""

    fk_name = "payment"


class MoneyBackInline(GivenBackInline):
    """The refund of a credit note."""

    fk_name = "credit_note"


@admin.register(Payment)
class PaymentAdmin(MoneyPage):
    """Recorded payments; the excess of one can be given back."""

    list_display = (
        "received_on",
        linked("customer"),
        "partner_name",
        linked("invoice"),
        "method",
        "reference",
        rupees("amount"),
        rupees("excess", read=lambda payment: payment.excess or None),
        "standing",
        "recorded_by",
    )
    list_filter = (
        "method",
        PartnerFilter,
        "recorded_on",
        "received_on",
        ("customer", AutocompleteSelectFilter),
    )
    searches = (
        begins("public_id", "the beginning of an id"),
        Search("of the bank's reference", _reference),
        through("invoice_id", invoice_keys, "of an invoice's number, or its digits"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    related = ("invoice", "customer", "transaction", "receipt", "reversal__reversal")
    documents = ("invoice__snapshot",)
    fields = (
        ("standing", "public_id", "receipt"),
        ("invoice", "customer"),
        (rupees("amount"), rupees("applied"), rupees("excess")),
        ("received_on", "method", plain("reference")),
        ("recorded_by", plain("recorded_on"), "created_at"),
        ("transaction", "partner_name", "environment"),
        (plain("idem_key", "Key"),),
    )
    inlines = (EarnedByPaymentInline, ExcessInline)
    actions_detail = ("return_excess",)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """No button for a payment without excess, or whose money went back at the bank."""
        actions: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # unfold's
        too_much = Payment.objects.filter(pk=object_id, excess__gt=0, reversal__isnull=True)
        return actions if too_much.exists() else []

    @display(description="Standing", label={"Reversed": "danger", "": "default"})
    def standing(self, payment: Payment) -> str:
        """Whether it still pays."""
        return standing_of(payment)

    def has_give_back_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed for users who may add a refund."""
        return request.user.has_perm("billing.add_refund")

    def what_returning_does(self, request: HttpRequest, payment: Payment) -> tuple[str, ...]:
        return (
            f"{in_rupees(payment.excess)} of this payment was too much; "
            f"{in_rupees(customer_credit.excess_left(payment))} of it has not been given back "
            "yet.",
            "What is given back leaves the customer's credit. It cannot be taken back.",
        )

    @confirmed(
        description="Give back excess",
        explain="what_returning_does",
        permission="give_back",
        form=ExcessForm,
        icon="undo",
        danger=True,
        twice=True,
    )
    def return_excess(self, request: HttpRequest, payment: Payment, data: dict[str, Any]) -> str:
        """Give back excess out of the customer's credit."""
        refund = customer_credit.return_excess(
            payment_id=payment.pk,
            idem_key=ExcessForm.key(payment, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        return f"{in_rupees(refund.amount)} are given back as {refund}."


@admin.register(CreditNote)
class CreditNoteAdmin(MoneyPage, DocumentDownload):
    """Credit notes and their documents."""

    list_display = (
        "number",
        "issued_on",
        linked("invoice"),
        "partner_name",
        "reason",
        rupees("taxable", "Before tax"),
        rupees("total"),
        "recorded_by",
    )
    list_filter = (PartnerFilter, "issued_on")
    searches = (
        Search(
            "the beginning or the digits of its number", by_number(NumberSeries.Series.CREDIT_NOTE)
        ),
        through("invoice_id", invoice_keys, "of its invoice's"),
        through("invoice_id", customers_invoice_keys, "a customer's e-mail, name or id"),
    )
    related = ("invoice", "transaction")
    documents = ("snapshot", "invoice__snapshot")
    fields = (
        ("number", "invoice", "issued_on"),
        (rupees("taxable", "Before tax"), rupees("cgst", "CGST"), rupees("sgst", "SGST")),
        (rupees("igst", "IGST"), rupees("total"), rupees("from_revenue", "Out of revenue")),
        (rupees("tax_kept", "Tax that stays paid"),),
        ("reason", "recorded_by", "created_at"),
        ("transaction", "partner_name", "environment"),
        (plain("idem_key", "Key"),),
    )
    inlines = (MoneyBackInline, ClawedBackInline)

    def document(self, obj: CreditNote) -> bytes:
        """The PDF, made on the first download and unchanged afterwards."""
        return documents.credit_note_pdf(obj)


@admin.register(Refund)
class RefundAdmin(MoneyPage):
    """Refunds and payouts."""

    list_display = (
        "recorded_on",
        linked("customer"),
        "partner_name",
        linked("credit_note"),
        linked("payment"),
        "method",
        "reference",
        rupees("amount"),
        "recorded_by",
    )
    list_filter = ("method", PartnerFilter, "recorded_on", ("customer", AutocompleteSelectFilter))
    searches = (
        begins("public_id", "the beginning of an id"),
        Search("of the bank's reference", _reference),
        through("credit_note_id", credit_note_keys, "of a credit note's number, or its digits"),
        through("customer_id", customer_keys, "a customer's e-mail, name or id"),
    )
    related = ("customer", "credit_note", "payment", "transaction")
    documents = ("credit_note__snapshot",)
    fields = (
        ("public_id", "customer", rupees("amount")),
        ("credit_note", "payment", "recorded_on"),
        ("method", "reference", "recorded_by"),
        ("transaction", "partner_name", "environment"),
        (plain("idem_key", "Key"), "created_at"),
    )


@admin.register(Commission)
class CommissionAdmin(MoneyPage):
    """Commission that partners earned, lost or got released. The partner is the payee."""

    list_display = (
        "accrued_on",
        "what",
        "partner_name",
        linked("invoice"),
        rupees("base"),
        share("bps"),
        rupees("amount"),
        "matures_on",
        "matured_at",
    )
    list_filter = ("kind", "role", PartnerFilter, "accrued_on")
    searches = (
        begins("public_id", "the beginning of an id"),
        through("invoice_id", invoice_keys, "of an invoice's number, or its digits"),
        through("payment_id", _payment_keys, "of a payment's id"),
    )
    related = ("invoice", "payment", "credit_note", "transaction")
    documents = ("invoice__snapshot", "credit_note__snapshot")
    fields = (
        ("public_id", "what", "partner_name"),
        (rupees("amount"), rupees("base"), share("bps")),
        ("invoice", "payment", "credit_note"),
        (plain("accrued_on"), "matures_on", "matured_at"),
        ("accrual", "transaction", "role"),
        ("environment", "created_at"),
    )

    @display(
        description="Kind",
        ordering="kind",
        label={"Accrual": "success", "Claw-back": "danger", "Maturity": "info"},
    )
    def what(self, row: Commission) -> str:
        """The kind: accrual, claw-back or maturity."""
        return str(row.get_kind_display())
