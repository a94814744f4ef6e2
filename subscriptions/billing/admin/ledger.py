"""The books, their proof, and the runs: to look at."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline, display
from subscriptions.billing.models import (
    BillingRun,
    LedgerAccount,
    LedgerEntry,
    LedgerProof,
    LedgerTransaction,
)
from subscriptions.billing.runs import SILENCE
from subscriptions.billing.selectors import withheld


@admin.register(LedgerAccount)
class LedgerAccountAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Accounts and their balances, debit positive."""

    list_display = ("code", "kind", "balance")
    list_filter = ("kind",)
    search_fields = ("code__startswith",)
    ordering = ("code",)
    fields = ("code", "kind", "balance", "newest")
    readonly_fields = ("balance", "newest")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        """With the balances, in the same query."""
        found: QuerySet[LedgerAccount] = super().get_queryset(request)
        return found.annotate(held=F("projection__balance"))

    @admin.display(description="Balance", ordering="held")
    def balance(self, account: LedgerAccount) -> str:
        """Rupees."""
        held = getattr(account, "held", None)
        return "0.00" if held is None else str(held)

    @admin.display(description="Newest entries")
    def newest(self, account: LedgerAccount) -> SafeString:
        """The last fifty, with their postings."""
        rows = (
            LedgerEntry.objects.filter(account=account)
            .select_related("transaction")
            .order_by("-id")[:50]
        )
        return format_html_join(
            "",
            "<p>{} &nbsp; {} &nbsp; {}</p>",
            ((one.transaction.effective_on, one.amount, one.transaction) for one in rows),
        )


class EntryInline(ReadOnlyTabularInline):
    """Both sides; they add up to 0."""

    model = LedgerEntry
    fields = ("account", "amount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        """With the accounts, in one query."""
        return super().get_queryset(request).select_related("account")


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Postings, newest first."""

    list_display = ("idem_key", "kind", "partner_name", "environment", "effective_on", "created_at")
    list_filter = ("kind", PartnerFilter, "environment", "effective_on")
    search_fields = ("=idem_key",)
    ordering = ("-id",)
    fields = (
        ("idem_key", "kind", "effective_on"),
        ("partner_name", "environment", "created_at"),
        "corrects",
    )
    readonly_fields = ("partner_name", "environment")
    inlines = (EntryInline,)


@admin.register(LedgerProof)
class LedgerProofAdmin(LargeTableMixin, ReadOnlyAdmin):
    """What the nightly check of the books found."""

    list_display = ("checked_at", "holds", "accounts", "transactions", "entries", "invoices")
    list_filter = ("ok",)
    ordering = ("-id",)
    fields = (
        ("checked_at", "holds"),
        ("accounts", "transactions"),
        ("entries", "invoices"),
        "report",
    )
    readonly_fields = ("holds", "report")

    @display(description="The books", label={"hold": "success", "do not hold": "danger"})
    def holds(self, proof: LedgerProof) -> str:
        """In words."""
        return "hold" if proof.ok else "do not hold"

    @admin.display(description="Report")
    def report(self, proof: LedgerProof) -> SafeString | str:
        """Each finding with how often, and examples."""
        if not proof.findings:
            return "Every question of the proof came back empty."
        return format_html_join(
            "",
            "<p><b>{}</b>: {}</p><p>{}</p>",
            (
                (found["what"], found["count"], "; ".join(found["examples"]))
                for found in proof.findings
            ),
        )


@admin.register(BillingRun)
class BillingRunAdmin(LargeTableMixin, ReadOnlyAdmin):
    """What each run invoiced, held back, or stumbled over."""

    list_display = (
        "as_of", "standing", "started_at", "finished_at", "invoices", "needs_review", "withheld",
        "error",
    )  # fmt: skip
    list_filter = ("as_of",)
    ordering = ("-id",)
    fields = (
        ("as_of", "standing", "invoices"),
        ("started_at", "finished_at", "heartbeat"),
        ("needs_review", "withheld"),
        "still_withheld",
        "error",
    )
    readonly_fields = ("standing", "still_withheld")

    @display(
        description="State",
        label={"running": "info", "finished": "success", "failed": "danger", "silent": "danger"},
    )
    def standing(self, run: BillingRun) -> str:
        """In words. Silent: it was killed, and within a minute another run takes over."""
        if run.finished_at is not None:
            return "failed" if run.error else "finished"
        return "silent" if run.heartbeat < clock.now() - SILENCE else "running"

    @admin.display(description="Withheld now, because the customer has no GST state")
    def still_withheld(self, run: BillingRun) -> SafeString | str:
        """By subscription and customer, oldest first; billed by the next run once he has one."""
        found = withheld(run.as_of)
        if not found:
            return "Nobody."
        return format_html_join(
            "",
            "<p>{} &nbsp; {} &nbsp; due since {}</p>",
            ((one.subscription, one.email, one.due_since) for one in found[:100]),
        )
