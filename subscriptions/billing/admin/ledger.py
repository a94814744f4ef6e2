"""Pages of the ledger, its checks, and the billing runs; read only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, ReadOnlyTabularInline, display
from quantleap.core.admin_columns import NONE, in_rupees, link_to, linked, plain, rupees, table
from quantleap.core.large_lists import Condition, Search, begins, one_of, through
from quantleap.core.money import ZERO
from subscriptions.billing.admin.common import ToLookAt
from subscriptions.billing.admin.searches import customers_account_codes
from subscriptions.billing.dashboard import run_state
from subscriptions.billing.ledger import chart_of_accounts
from subscriptions.billing.models import (
    BillingRun,
    Commission,
    CreditNote,
    Invoice,
    LedgerAccount,
    LedgerCheck,
    LedgerEntry,
    LedgerTransaction,
    Payment,
    Receipt,
    Refund,
)
from subscriptions.billing.models.ledger import KINDS
from subscriptions.billing.selectors import withheld


class NameFilter(admin.SimpleListFilter):
    """Accounts of one name of the chart."""

    title = "account"
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in chart_of_accounts.names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The account with this name, and all accounts that are kept for somebody under it."""
        name = self.value()
        if name is None:
            return queryset
        return queryset.filter(Q(code=name) | Q(code__startswith=f"{name}:"))


def _kept_for(term: str) -> list[str]:
    """Codes of all accounts that could be kept for ``term``."""
    return [f"{name}:{term}" for name in chart_of_accounts.names()]


def _posting(term: str) -> Condition:
    """Search by key, which is a kind and an id; the id alone is enough."""
    keys = (term, *(f"{kind}:{term}" for kind in KINDS))
    condition = Q()
    for key in keys:
        condition |= Q(idem_key__startswith=key)
    return Condition(condition)


def balance_of(account: LedgerAccount) -> Decimal:
    """The projection's balance; 0 for an account without postings."""
    balance: Decimal | None = getattr(account, "held", None)
    return ZERO if balance is None else balance


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ToLookAt, LargeTableMixin, ReadOnlyAdmin):
    """Accounts and their balances, debit positive."""

    list_display = ("code", "kind", rupees("balance", "Balance (debit +)", read=balance_of))
    list_filter = ("kind", NameFilter)
    searches = (
        begins("code", "the beginning of a code", bytewise=True),
        through("code", _kept_for, "whom an account is kept for (a partner's slug, cgst)"),
        through("code", customers_account_codes, "a customer's e-mail, name or id"),
    )
    ordering = ("code",)
    fields = (
        (plain("code"), "kind", rupees("balance", "Balance (debit +)", read=balance_of)),
        ("newest",),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        """Fetch the balances in the same query."""
        accounts: QuerySet[LedgerAccount] = super().get_queryset(request)
        return accounts.annotate(held=F("projection__balance"))

    @admin.display(description="Newest entries")
    def newest(self, account: LedgerAccount) -> SafeString | str:
        """The last fifty entries, with their postings."""
        rows = (
            LedgerEntry.objects.filter(account=account)
            .select_related("transaction")
            .order_by("-id")[:50]
        )
        return table(
            ("Date", "Posting", "Debit", "Credit"),
            (
                (
                    date_format(entry.transaction.effective_on, "DATE_FORMAT"),
                    link_to(entry.transaction),
                    in_rupees(entry.amount) if entry.amount > 0 else "",
                    in_rupees(-entry.amount) if entry.amount < 0 else "",
                )
                for entry in rows
            ),
            money=2,
            empty="Nothing was posted yet.",
        )


def _debit(entry: LedgerEntry) -> Decimal | None:
    return entry.amount if entry.amount > 0 else None


def _credit(entry: LedgerEntry) -> Decimal | None:
    return -entry.amount if entry.amount < 0 else None


class EntryInline(ReadOnlyTabularInline):
    """The entries of a posting, which add up to 0."""

    model = LedgerEntry
    fk_name = "transaction"
    hide_title = True
    verbose_name_plural = "entries"
    fields = (linked("account"), rupees("debit", read=_debit), rupees("credit", read=_credit))
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        """Fetch the accounts in the same query."""
        return super().get_queryset(request).select_related("account")


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ToLookAt, PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Postings, newest first."""

    list_display = (
        plain("idem_key", "Key"),
        "kind",
        "partner_name",
        plain("effective_on", "Date (IST)"),
        "created_at",
    )
    list_filter = (
        one_of("kind", "kind", lambda: [(kind, kind.replace("_", " ")) for kind in KINDS]),
        PartnerFilter,
        "effective_on",
    )
    searches = (
        Search("the beginning of a posting's key, or of the id that stands in it", _posting),
    )
    ordering = ("-id",)
    fields = (
        (plain("idem_key", "Key"), plain("kind"), plain("effective_on", "Date (IST)")),
        ("posts", "corrects", "created_at"),
        ("partner_name", "environment"),
    )
    inlines = (EntryInline,)

    @admin.display(description="Posts")
    def posts(self, posting: LedgerTransaction) -> SafeString | str:
        """Link to the posted receipt, payment, credit note, refund, commission or invoice."""
        rows = [
            *Receipt.objects.filter(
                Q(transaction=posting)
                | Q(reversal__transaction=posting)
                | Q(reversal__charges_transaction=posting)
            ),
            *Payment.objects.filter(Q(transaction=posting) | Q(reversal__transaction=posting)),
            *CreditNote.objects.filter(transaction=posting).defer("snapshot"),
            *Refund.objects.filter(transaction=posting),
            *Commission.objects.filter(transaction=posting)[:_SHOWN],
            *invoice_of(posting),
        ]
        return format_html_join(" ", "{}", ((_name_of(row),) for row in rows)) or NONE


_SHOWN: Final = 20


def invoice_of(posting: LedgerTransaction) -> list[Invoice]:
    """The invoice whose issue it posts, if any."""
    kind, *key = posting.idem_key.split(":")
    if kind != "invoice" or len(key) != 3 or not (key[1].isdigit() and key[2].isdigit()):
        return []
    invoices = Invoice.objects.filter(
        subscription__public_id=key[0], segment_no=int(key[1]), period_no=int(key[2])
    )
    return list(invoices.defer("snapshot"))


def _name_of(row: Any) -> SafeString | str:
    return link_to(row, row.public_id if isinstance(row, Commission) else "")


@admin.register(LedgerCheck)
class LedgerCheckAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Results of the nightly check of the ledger."""

    compressed_fields = False
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

    @display(description="Result", label={"passed": "success", "failed": "danger"})
    def holds(self, check: LedgerCheck) -> str:
        return "passed" if check.ok else "failed"

    @admin.display(description="Report")
    def report(self, check: LedgerCheck) -> SafeString | str:
        """Each finding with its number of rows, and examples."""
        if not check.findings:
            return "Every check passed."
        return table(
            ("Finding", "How often", "Examples"),
            (
                (finding["what"], finding["count"], "; ".join(finding["examples"]))
                for finding in check.findings
            ),
        )


@admin.register(BillingRun)
class BillingRunAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Billing runs: invoices, withheld segments, errors."""

    compressed_fields = False
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
        """The run's state. Silent: it was killed, and within a minute another run takes over."""
        return run_state(run, clock.now())

    @admin.display(description="Withheld now, because the customer has no GST state")
    def still_withheld(self, run: BillingRun) -> SafeString | str:
        """Withheld segments by subscription and customer, oldest first; a known state ends it."""
        return table(
            ("Subscription", "Customer", "Due since"),
            (
                (segment.subscription, segment.email, date_format(segment.due_since, "DATE_FORMAT"))
                for segment in withheld(run.as_of, clock.ist_date(clock.now()))[:100]
            ),
            empty="Nobody.",
        )
