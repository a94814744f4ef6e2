"""Pages of customer credit (list, use for an invoice, pay out) and of withdrawals' credits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Substr
from django.http import Http404, HttpRequest
from django.utils.safestring import SafeString

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.models import Customer
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin, confirmed
from quantleap.core.admin_columns import in_rupees, link_to, linked, rupees, table
from quantleap.core.audit import Actor
from quantleap.core.large_lists import through
from subscriptions.billing.admin.common import ToLookAt
from subscriptions.billing.admin.forms import PayOutForm, UseCreditForm
from subscriptions.billing.admin.searches import credit_note_keys, customers_account_codes
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import CustomerCredit, Invoice, LedgerEntry, WithdrawalCredit
from subscriptions.billing.settlement import customer_credit, refunds
from subscriptions.selectors import customers_subscription_keys, subscription_keys

_NEWEST: Final = 50
_PREFIX: Final = "customer_credit:"


def what_is_unused(invoice: Invoice) -> Sequence[str]:
    """The value of the days after a cancellation, which staff may credit but need not."""
    cancelled_at = invoice.subscription.cancelled_at
    if cancelled_at is None:
        return ()
    last = clock.ist_date(cancelled_at)
    unused = refunds.unused_on(invoice, last)
    return (
        f"The subscription was cancelled on {day(last.isoformat())}: the days of this invoice's "
        f"period after it cost {in_rupees(unused)}, tax included.",
    )


def what_of_tax(invoice: Invoice) -> Sequence[str]:
    """Whether output tax can still be reduced (CGST Act, section 34(2))."""
    ends = refunds.credit_ends_on(invoice)
    if clock.ist_date(clock.now()) <= ends:
        return ()
    return (
        f"It is a financial credit without GST: until {day(ends.isoformat())} a credit note could "
        "have reduced the tax of this invoice. The tax stays paid, and we bear it.",
    )


def credit_in_words(held: Decimal) -> str:
    """The credit that we hold, or the debt from a payout of money that then bounced."""
    if held >= 0:
        return in_rupees(held)
    return f"{in_rupees(-held)} owed to us: paid out of a receipt that was reversed"


class OwesFilter(admin.SimpleListFilter):
    """Customers with credit, or customers who owe credit that was paid out."""

    title = "balance"
    parameter_name = "balance"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("credit", "has credit"), ("debt", "owes us")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """By the sign of the balance: a debit is what they owe."""
        sides = {"credit": "projection__balance__lt", "debt": "projection__balance__gt"}
        side = sides.get(self.value() or "")
        return queryset.filter(**{side: 0}) if side else queryset


class UsesCredit:
    """Adds to an invoice the button that pays it out of its customer's credit."""

    def what_using_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        held = customer_credit.available(invoice.customer)
        return (
            f"{invoice.customer} has {in_rupees(held)} of credit and owes "
            f"{in_rupees(invoice.outstanding)} of {invoice.number}.",
            "No money moves. Commission accrues on it as on any payment. It cannot be changed "
            "any more.",
        )

    @confirmed(
        description="Use credit",
        explain="what_using_does",
        permission="pay",
        form=UseCreditForm,
        icon="savings",
    )
    def use_credit(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Pay the invoice out of the customer's credit."""
        done = customer_credit.apply(
            invoice_id=invoice.pk,
            idem_key=UseCreditForm.key(invoice, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        used = in_rupees(done.payment.applied)
        if not done.created:
            return f"{used} of credit were used before from this page."
        return f"{used} of credit are used for {invoice.number}."


@admin.register(CustomerCredit)
class CustomerCreditAdmin(ToLookAt, LargeTableMixin, ReadOnlyAdmin):
    """Accounts of customers whose money we hold."""

    empty_title = "No customer has credit"
    empty_text = "It arises when a customer pays too much, or is credited without a payout."
    list_display = ("customer_id", "customer_email", rupees("credit", read=lambda row: -row.held))
    list_filter = (OwesFilter,)
    searches = (through("code", customers_account_codes, "a customer's e-mail, name or id"),)
    whole_table = False
    ordering = ("projection__balance", "-id")
    fields = (("customer_id", "email", "credit"), ("movements",))
    actions_detail = ("pay_out",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CustomerCredit]:
        """Customers' accounts with their balances, the largest credit first."""
        accounts: QuerySet[CustomerCredit] = super().get_queryset(request)
        credit_accounts = accounts.filter(code__startswith=_PREFIX, projection__isnull=False)
        customers = Customer.objects.filter(
            public_id=Substr(OuterRef("code"), len(_PREFIX) + 1)
        ).values("email")
        return credit_accounts.annotate(
            held=F("projection__balance"), customer_email=Subquery(customers)
        )

    def _customer(self, row: CustomerCredit) -> Customer:
        customer = Customer.objects.filter(public_id=row.customer_id).first()
        if customer is None:
            raise Http404
        return customer

    @admin.display(description="Customer", ordering="customer_email")
    def customer_email(self, row: CustomerCredit) -> str:
        """Their address as plain text; the row's page links to the customer's."""
        return str(row.customer_email)  # type: ignore[attr-defined]  # annotated

    @admin.display(description="Customer")
    def email(self, row: CustomerCredit) -> SafeString | str:
        """Link to the customer's page."""
        customer = self._customer(row)
        return link_to(customer, customer.email)

    @admin.display(description="Credit")
    def credit(self, row: CustomerCredit) -> str:
        """Rupees; a debt as text."""
        return credit_in_words(customer_credit.available(self._customer(row)))

    @admin.display(description="Newest movements")
    def movements(self, row: CustomerCredit) -> SafeString | str:
        """Credit received (positive) and used (negative), newest first."""
        entries = (
            LedgerEntry.objects.filter(account_id=row.pk)
            .select_related("transaction")
            .order_by("-id")[:_NEWEST]
        )
        return table(
            ("Day", "What", "Posting", "Rupees"),
            (
                (
                    entry.transaction.effective_on,
                    entry.transaction.kind,
                    link_to(entry.transaction),
                    in_rupees(-entry.amount),
                )
                for entry in entries
            ),
            money=1,
        )

    def has_give_back_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed for users who may add a refund."""
        return request.user.has_perm("billing.add_refund")

    def what_paying_out_does(self, request: HttpRequest, row: CustomerCredit) -> Sequence[str]:
        customer = self._customer(row)
        held = customer_credit.available(customer)
        if held < 0:
            return (f"{customer} owes us {in_rupees(-held)}: there is nothing to pay out.",)
        return (
            f"{customer} has {in_rupees(held)} of credit.",
            "What is paid out leaves it. It cannot be taken back.",
        )

    @confirmed(
        description="Pay out",
        explain="what_paying_out_does",
        permission="give_back",
        form=PayOutForm,
        icon="undo",
        danger=True,
        twice=True,
    )
    def pay_out(self, request: HttpRequest, row: CustomerCredit, data: dict[str, Any]) -> Any:
        """Record a payout of credit."""
        refund = customer_credit.pay_out(
            customer_id=self._customer(row).pk,
            idem_key=PayOutForm.key(row, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        return f"{in_rupees(refund.amount)} are paid out as {refund}."


@admin.register(WithdrawalCredit)
class WithdrawalCreditAdmin(ToLookAt, PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """Subscriptions that a withdrawal cancelled, and their credits."""

    list_display = (
        linked("subscription"),
        "partner_name",
        "withdrawn_on",
        linked("credit_note"),
        "done_at",
    )
    list_display_links = ("withdrawn_on",)  # the first column links to the subscription
    list_filter = (("done_at", admin.EmptyFieldListFilter), PartnerFilter, "withdrawn_on")
    searches = (
        through("subscription_id", subscription_keys, "the beginning of a subscription's id"),
        through("subscription_id", customers_subscription_keys, "a customer's e-mail, name or id"),
        through("credit_note_id", credit_note_keys, "a credit note's number"),
    )
    list_select_related = ("subscription", "credit_note")
    ordering = ("-id",)
    fields = (
        ("subscription", "withdrawn_on", "partner_name"),
        ("credit_note", "done_at", "created_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WithdrawalCredit]:
        """Leave out the documents' content."""
        return super().get_queryset(request).defer("credit_note__snapshot")
