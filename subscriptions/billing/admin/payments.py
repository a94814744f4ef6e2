"""Money that came and went, and what partners earn: to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, confirmed
from quantleap.core.audit import Actor
from subscriptions.billing import documents, refunds
from subscriptions.billing.admin.documents import DocumentDownload
from subscriptions.billing.admin.forms import MoneyForm
from subscriptions.billing.models import Commission, CreditNote, Payment, Refund


class MoneyPage(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """History of one tenant's money, newest first."""

    ordering = ("-id",)
    readonly_fields = ("partner_name", "environment", "created_at")
    related: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what names the row's relations, without their documents."""
        found = super().get_queryset(request).select_related(*self.related)
        return found.defer(*self.documents)


@admin.register(Payment)
class PaymentAdmin(MoneyPage):
    """Recorded payments; the excess of one can be given back."""

    list_display = (
        "public_id", "invoice", "customer", "partner_name", "received_on", "method", "reference",
        "amount", "excess", "recorded_by",
    )  # fmt: skip
    list_filter = ("method", PartnerFilter, "environment", "recorded_on")
    search_fields = ("=public_id", "=reference", "=invoice__number", "=customer__email")
    related = ("invoice", "customer", "transaction")
    documents = ("invoice__snapshot",)
    fields = (
        ("invoice", "customer", "partner_name"),
        ("received_on", "method", "reference"),
        ("amount", "applied", "excess"),
        ("recorded_by", "recorded_on", "created_at"),
        ("idem_key", "transaction", "environment"),
    )
    actions_detail = ("return_excess",)

    def what_returning_does(self, request: HttpRequest, payment: Payment) -> tuple[str, ...]:
        """Said before it happens."""
        return (
            f"{payment.excess} rupees of this payment were too much.",
            "What is given back leaves the customer's credit. It cannot be taken back.",
        )

    @confirmed(
        description="Give back excess",
        explain="what_returning_does",
        permission="act",
        form=MoneyForm,
        icon="undo",
        danger=True,
    )
    def return_excess(self, request: HttpRequest, payment: Payment, data: dict[str, Any]) -> str:
        """Out of the customer's credit."""
        made = refunds.return_excess(
            payment_id=payment.pk,
            idem_key=f"{payment.public_id}:{data['method']}:{data['reference'].strip()}",
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        return f"{made.amount} rupees are given back as {made}."


@admin.register(CreditNote)
class CreditNoteAdmin(PartnerColumn, LargeTableMixin, DocumentDownload):
    """Credit notes and their documents."""

    list_display = (
        "number", "invoice", "partner_name", "issued_on", "taxable", "total", "reason",
        "recorded_by",
    )  # fmt: skip
    list_filter = (PartnerFilter, "environment", "issued_on")
    search_fields = ("=number", "=invoice__number", "=invoice__customer__email")
    list_select_related = ("invoice", "transaction")
    ordering = ("-id",)
    fields = (
        ("number", "invoice", "issued_on"),
        ("taxable", "from_revenue", "total"),
        ("cgst", "sgst", "igst"),
        "reason",
        ("recorded_by", "created_at", "partner_name"),
        ("idem_key", "transaction", "environment"),
    )
    readonly_fields = ("partner_name", "environment", "created_at")

    def document(self, obj: CreditNote) -> bytes:
        """Made on the first download, the same ever after."""
        return documents.credit_note_pdf(obj)


@admin.register(Refund)
class RefundAdmin(MoneyPage):
    """Money that went back."""

    list_display = (
        "public_id", "customer", "partner_name", "credit_note", "payment", "method", "reference",
        "amount", "recorded_on", "recorded_by",
    )  # fmt: skip
    list_filter = ("method", PartnerFilter, "environment", "recorded_on")
    search_fields = ("=public_id", "=reference", "=credit_note__number", "=customer__email")
    related = ("customer", "credit_note", "payment", "transaction")
    documents = ("credit_note__snapshot",)
    fields = (
        ("customer", "partner_name", "environment"),
        ("credit_note", "payment", "amount"),
        ("method", "reference", "recorded_on"),
        ("recorded_by", "created_at"),
        ("idem_key", "transaction"),
    )


@admin.register(Commission)
class CommissionAdmin(MoneyPage):
    """What partners earned, lost again, or got released. The partner is the payee."""

    list_display = (
        "public_id", "kind", "partner_name", "role", "invoice", "payment", "credit_note", "base",
        "bps", "amount", "accrued_on", "matures_on", "matured_at",
    )  # fmt: skip
    list_filter = ("kind", "role", PartnerFilter, "environment", "accrued_on")
    search_fields = ("=public_id", "=invoice__number", "=payment__public_id")
    related = ("invoice", "payment", "credit_note", "transaction")
    documents = ("invoice__snapshot", "credit_note__snapshot")
    fields = (
        ("kind", "role", "partner_name"),
        ("invoice", "payment", "credit_note"),
        ("base", "bps", "amount"),
        ("accrued_on", "matures_on", "matured_at"),
        ("accrual", "transaction", "created_at"),
        "environment",
    )
