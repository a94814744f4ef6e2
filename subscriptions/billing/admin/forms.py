"""What staff enter of money."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from partners.models import Customer
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm
from quantleap.core.columns import in_rupees
from quantleap.core.money import ZERO
from quantleap.core.tenancy import TenantOwned
from subscriptions.billing.ledger import posting
from subscriptions.billing.models import (
    MONEY_METHODS,
    CreditNote,
    CustomerCredit,
    Invoice,
    Method,
    Payment,
    Refund,
)
from subscriptions.billing.settlement import customer_credit, receipts
from subscriptions.billing.settlement.payments import REFERENCE_LENGTH, recorded_before
from subscriptions.billing.settlement.proration import SMALLEST, may_credit
from subscriptions.billing.settlement.refunds import REASON_LENGTH

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


def _at_most(amount: Decimal, most: Decimal, of: str) -> None:
    """The reason why ``amount`` cannot be so much, if it is more than ``most``."""
    if amount > most:
        raise forms.ValidationError(
            f"{of} {in_rupees(max(most, ZERO))}; {in_rupees(amount)} is more."
        )


_MONEY: Final = [one for one in Method.choices if one[0] in MONEY_METHODS]


class AmountForm(ConfirmForm):
    """How much. Its service does one thing once per key, and says when it did it before.

    A movement that was made before is not checked here: what there was then is gone because of it,
    and whoever lost the first answer is told so by the service.
    """

    amount = _rupees()
    #: What the service writes first; None: nothing is checked here.
    makes: ClassVar[type[CreditNote | Payment | Refund] | None] = None

    @staticmethod
    def key(obj: Any, data: Mapping[str, Any]) -> str:
        """The key of the movement that ``data`` describes."""
        raise NotImplementedError

    def owner(self) -> TenantOwned:
        """Whose tenant the movement is in."""
        owner: TenantOwned = self.obj
        return owner

    def check_amount(self, amount: Decimal) -> None:
        """ValidationError for an amount that cannot be."""

    def clean(self) -> dict[str, Any]:
        """The amount, once everything is known that tells whether it was moved before."""
        data = super().clean() or self.cleaned_data
        if "amount" in data and not self._made_before(data):
            try:
                self.check_amount(data["amount"])
            except forms.ValidationError as error:
                self.add_error("amount", error)
        return data

    def _made_before(self, data: Mapping[str, Any]) -> bool:
        if self.makes is None or self.errors:
            return False
        found = recorded_before(self.makes, self.owner(), self.key(self.obj, data), {})
        return found is not None


class MoneyForm(AmountForm):
    """How much, how, and where to find it again."""

    method = forms.ChoiceField(choices=_MONEY, widget=UnfoldAdminSelectWidget())
    reference = forms.CharField(
        max_length=REFERENCE_LENGTH,
        help_text="As the bank names it: a UTR, or a cheque's six digits and its bank. "
        "The same one is recorded once.",
    )


class PaymentForm(MoneyForm):
    """Money that arrived."""

    @staticmethod
    def key(obj: Invoice, data: Mapping[str, Any]) -> str:
        """One movement of money has one reference, which after a reversal may come again."""
        key = RefundForm.key(obj, data)
        times = receipts.presentation(data["method"], data["reference"])
        return key if times == 1 else f"{key}:{times}"

    received_on = forms.DateField(
        initial=_today,
        label="Received on",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )
    seen = _seen()

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """All that is owed."""
        owed = obj.outstanding
        return {"seen": owed} | ({"amount": owed} if owed > 0 else {})


class RefundForm(MoneyForm):
    """What is taken back of an invoice, and why."""

    method = forms.ChoiceField(
        choices=Method.choices,
        widget=UnfoldAdminSelectWidget(),
        help_text="Customer's credit: no money moves; it is used for their next invoices.",
    )
    seen = _seen()
    reason = forms.CharField(
        max_length=REASON_LENGTH, help_text="It stands on the credit note: the customer reads it."
    )
    makes = CreditNote

    @staticmethod
    def key(obj: Invoice, data: Mapping[str, Any]) -> str:
        """One reference gives money back once for an invoice."""
        return f"{obj.number}:{_reference(data)}"

    def check_amount(self, amount: Decimal) -> None:
        """Not more than is left of the invoice, and no crumbs of it."""
        invoice: Invoice = self.obj
        left = invoice.total - invoice.credited
        _at_most(amount, left, f"What can be credited of {invoice.number} is")
        if not may_credit(invoice.total, invoice.credited, amount):
            raise forms.ValidationError(
                f"Refund all of {in_rupees(left)}, or an amount that is at least "
                f"{in_rupees(SMALLEST)} and leaves at least {in_rupees(SMALLEST)}."
            )

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """Nothing but what was seen: how much, staff must say."""
        return {"seen": obj.outstanding}


class UseCreditForm(AmountForm):
    """How much of the customer's credit pays this invoice."""

    seen = _seen(required=True)
    makes = Payment

    @staticmethod
    def key(obj: Invoice, data: Mapping[str, Any]) -> str:
        """What is owed grows only by a reversal, so one look at it is used once."""
        return f"{obj.number}:CREDIT:{data['seen']}" + (f":{obj.reversed}" if obj.reversed else "")

    def check_amount(self, amount: Decimal) -> None:
        """Not more than is owed, nor than there is."""
        invoice: Invoice = self.obj
        _at_most(amount, invoice.outstanding, f"Outstanding on {invoice.number} is")
        held = customer_credit.available(invoice.customer)
        _at_most(amount, held, f"The credit of {invoice.customer} is")

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """As much as fits."""
        owed = obj.outstanding
        amount = min(owed, customer_credit.available(obj.customer))
        return {"seen": owed} | ({"amount": amount} if amount > 0 else {})


class ExcessForm(MoneyForm):
    """What of a payment was too much and goes back."""

    makes = Refund

    @staticmethod
    def key(obj: Payment, data: Mapping[str, Any]) -> str:
        """One reference gives back once of one payment."""
        return f"{obj.public_id}:{_reference(data)}"

    def check_amount(self, amount: Decimal) -> None:
        """Not more than was too much and is still here."""
        left = customer_credit.excess_left(self.obj)
        _at_most(amount, left, "What can still be given back of this payment is")

    @classmethod
    def starting(cls, obj: Payment) -> dict[str, Any]:
        """All of it."""
        left = customer_credit.excess_left(obj)
        return {"amount": left} if left > 0 else {}


class PayOutForm(MoneyForm):
    """Credit that goes back as money."""

    makes = Refund

    @staticmethod
    def key(obj: CustomerCredit, data: Mapping[str, Any]) -> str:
        """One reference pays out once to one customer."""
        return f"{obj.customer_id}:{_reference(data)}"

    def owner(self) -> TenantOwned:
        """The customer whose account it is."""
        return Customer.objects.get(public_id=self.obj.customer_id)

    def check_amount(self, amount: Decimal) -> None:
        """Not more than there is."""
        _at_most(amount, -posting.balance(self.obj.code), "The customer's credit is")

    @classmethod
    def starting(cls, obj: CustomerCredit) -> dict[str, Any]:
        """All of it."""
        held = -posting.balance(obj.code)
        return {"amount": held} if held > 0 else {}


def _reference(data: Mapping[str, Any]) -> str:
    return f"{data['method']}:{data['reference'].strip()}"
