"""What staff enter of money."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from quantleap.core import clock
from quantleap.core.admin import ConfirmForm
from quantleap.core.columns import in_rupees
from quantleap.core.money import ZERO
from subscriptions.billing import customer_credit, ledger
from subscriptions.billing.commissions import standing
from subscriptions.billing.models import MONEY_METHODS, CustomerCredit, Invoice, Method, Payment
from subscriptions.billing.payments import REFERENCE_LENGTH
from subscriptions.billing.refunds import REASON_LENGTH
from subscriptions.billing.shares import SMALLEST, may_credit

_SMALLEST: Final = Decimal("0.01")


def _today() -> dt.date:
    return clock.ist_date(clock.now())


def _rupees() -> forms.DecimalField:
    return forms.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=_SMALLEST,
        label="Rupees",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01", "min": "0.01"}),
    )


def _seen(*, required: bool = False) -> forms.DecimalField:
    """What the invoice owed when the page was opened: a stale page is refused."""
    return forms.DecimalField(
        max_digits=12, decimal_places=2, required=required, widget=forms.HiddenInput
    )


def _at_most(amount: Decimal, most: Decimal, of: str) -> Decimal:
    """``amount``, or the reason why it cannot be so much."""
    if amount > most:
        raise forms.ValidationError(
            f"{of} {in_rupees(max(most, ZERO))}; {in_rupees(amount)} is more."
        )
    return amount


_MONEY: Final = [one for one in Method.choices if one[0] in MONEY_METHODS]


class MoneyForm(ConfirmForm):
    """How much, how, and where to find it again."""

    amount = _rupees()
    method = forms.ChoiceField(choices=_MONEY, widget=UnfoldAdminSelectWidget())
    reference = forms.CharField(
        max_length=REFERENCE_LENGTH,
        help_text="As the bank names it (UTR, cheque number). The same one is recorded once.",
    )


class PaymentForm(MoneyForm):
    """Money that arrived."""

    received_on = forms.DateField(
        initial=_today,
        label="Received on",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )
    seen = _seen()

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """All that is owed."""
        owed = owed_of(obj)
        return {"seen": owed} | ({"amount": owed} if owed > 0 else {})


class RefundForm(MoneyForm):
    """What is taken back of an invoice, and why."""

    method = forms.ChoiceField(
        choices=Method.choices,
        widget=UnfoldAdminSelectWidget(),
        help_text="Customer's credit: no money moves; it is used for his next invoices.",
    )
    seen = _seen()
    reason = forms.CharField(
        max_length=REASON_LENGTH, help_text="It stands on the credit note: the customer reads it."
    )

    def clean_amount(self) -> Decimal:
        """Not more than is left of the invoice, and no crumbs of it."""
        amount: Decimal = self.cleaned_data["amount"]
        invoice: Invoice = self.obj
        left = invoice.total - invoice.credited
        _at_most(amount, left, f"What can be credited of {invoice.number} is")
        if not may_credit(invoice.total, invoice.credited, amount):
            raise forms.ValidationError(
                f"All of {in_rupees(left)}, or at least {in_rupees(SMALLEST)} that leaves as much."
            )
        return amount

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """Nothing but what was seen: how much, staff must say."""
        return {"seen": owed_of(obj)}


class UseCreditForm(ConfirmForm):
    """How much of the customer's credit pays this invoice."""

    amount = _rupees()
    seen = _seen(required=True)

    def clean_amount(self) -> Decimal:
        """Not more than is owed, nor than there is."""
        amount: Decimal = self.cleaned_data["amount"]
        invoice: Invoice = self.obj
        _at_most(amount, owed_of(invoice), f"{invoice.number} owes")
        held = customer_credit.available(invoice.customer)
        return _at_most(amount, held, f"The credit of {invoice.customer} is")

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """As much as fits."""
        owed = owed_of(obj)
        amount = min(owed, customer_credit.available(obj.customer))
        return {"seen": owed} | ({"amount": amount} if amount > 0 else {})


class ExcessForm(MoneyForm):
    """What of a payment was too much and goes back."""

    def clean_amount(self) -> Decimal:
        """Not more than was too much and is still here."""
        amount: Decimal = self.cleaned_data["amount"]
        left = customer_credit.excess_left(self.obj)
        return _at_most(amount, left, "Of this payment, too much and not given back are")

    @classmethod
    def starting(cls, obj: Payment) -> dict[str, Any]:
        """All of it."""
        left = customer_credit.excess_left(obj)
        return {"amount": left} if left > 0 else {}


class PayOutForm(MoneyForm):
    """Credit that goes back as money."""

    def clean_amount(self) -> Decimal:
        """Not more than there is."""
        amount: Decimal = self.cleaned_data["amount"]
        return _at_most(amount, -ledger.balance(self.obj.code), "The customer's credit is")

    @classmethod
    def starting(cls, obj: CustomerCredit) -> dict[str, Any]:
        """All of it."""
        held = -ledger.balance(obj.code)
        return {"amount": held} if held > 0 else {}


def owed_of(invoice: Invoice) -> Decimal:
    """Rupees outstanding."""
    return standing(invoice).outstanding
