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
from subscriptions.billing import customer_credit, ledger
from subscriptions.billing.commissions import standing
from subscriptions.billing.models import MONEY_METHODS, CustomerCredit, Invoice, Method
from subscriptions.billing.payments import REFERENCE_LENGTH
from subscriptions.billing.refunds import REASON_LENGTH

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

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """Nothing but what was seen: how much, staff must say."""
        return {"seen": owed_of(obj)}


class UseCreditForm(ConfirmForm):
    """How much of the customer's credit pays this invoice."""

    amount = _rupees()
    seen = _seen(required=True)

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """As much as fits."""
        owed = owed_of(obj)
        amount = min(owed, customer_credit.available(obj.customer))
        return {"seen": owed} | ({"amount": amount} if amount > 0 else {})


class PayOutForm(MoneyForm):
    """Credit that goes back as money."""

    @classmethod
    def starting(cls, obj: CustomerCredit) -> dict[str, Any]:
        """All of it."""
        held = -ledger.balance(obj.code)
        return {"amount": held} if held > 0 else {}


def owed_of(invoice: Invoice) -> Decimal:
    """Rupees outstanding."""
    return standing(invoice).outstanding
