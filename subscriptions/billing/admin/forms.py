"""Forms in which staff enter amounts."""

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
from quantleap.core.admin_columns import in_rupees
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
    """What the invoice owed when the page was opened, so that a stale page is refused."""
    return forms.DecimalField(
        max_digits=12, decimal_places=2, required=required, widget=forms.HiddenInput
    )


def _at_most(amount: Decimal, most: Decimal, subject: str) -> None:
    """Raise ValidationError if ``amount`` is more than ``most``."""
    if amount > most:
        raise forms.ValidationError(
            f"{subject} {in_rupees(max(most, ZERO))}; {in_rupees(amount)} is more."
        )


_MONEY: Final = [choice for choice in Method.choices if choice[0] in MONEY_METHODS]


class AmountForm(ConfirmForm):
    """An amount. The service acts once per key, and reports a repetition.

    A movement that was recorded before is not checked here: it has used up what the check would
    look for, and a user who lost the first answer gets it from the service.
    """

    amount = _rupees()
    #: The model of the row that the service writes first; None: no check for an earlier one.
    makes: ClassVar[type[CreditNote | Payment | Refund] | None] = None

    @staticmethod
    def key(obj: Any, data: Mapping[str, Any]) -> str:
        """The key of the movement that ``data`` describes."""
        raise NotImplementedError

    def owner(self) -> TenantOwned:
        """The row that gives the movement its tenant."""
        owner: TenantOwned = self.obj
        return owner

    def check_amount(self, amount: Decimal) -> None:
        """Raise ValidationError for an impossible amount."""

    def clean(self) -> dict[str, Any]:
        """Check the amount last: the check needs the key, and so all other fields."""
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
        row = recorded_before(self.makes, self.owner(), self.key(self.obj, data), {})
        return row is not None


class MoneyForm(AmountForm):
    """Amount, method and reference of a movement of money."""

    method = forms.ChoiceField(choices=_MONEY, widget=UnfoldAdminSelectWidget())
    reference = forms.CharField(
        max_length=REFERENCE_LENGTH,
        help_text="As the bank names it: a UTR, or a cheque's six digits and its bank. "
        "The same one is recorded once.",
    )


class PaymentForm(MoneyForm):
    """Money received for an invoice."""

    @staticmethod
    def key(obj: Invoice, data: Mapping[str, Any]) -> str:
        """The reference, and how often it was presented: after a reversal it may come again."""
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
        """Start with the outstanding sum."""
        owed = obj.outstanding
        return {"seen": owed} | ({"amount": owed} if owed > 0 else {})


class RefundForm(MoneyForm):
    """A credit for a part of an invoice, with its reason."""

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
        """The invoice and the reference: one refund per reference and invoice."""
        return f"{obj.number}:{_reference(data)}"

    def check_amount(self, amount: Decimal) -> None:
        """Refuse more than is left of the invoice, and parts below proration.SMALLEST."""
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
        """Start without an amount: staff must enter it."""
        return {"seen": obj.outstanding}


class UseCreditForm(AmountForm):
    """Amount of the customer's credit that pays this invoice."""

    seen = _seen(required=True)
    makes = Payment

    @staticmethod
    def key(obj: Invoice, data: Mapping[str, Any]) -> str:
        """The outstanding sum as seen: only a reversal increases it, so each value is used once."""
        return f"{obj.number}:CREDIT:{data['seen']}" + (f":{obj.reversed}" if obj.reversed else "")

    def check_amount(self, amount: Decimal) -> None:
        """Refuse more than is owed, or more than the credit."""
        invoice: Invoice = self.obj
        _at_most(amount, invoice.outstanding, f"Outstanding on {invoice.number} is")
        held = customer_credit.available(invoice.customer)
        _at_most(amount, held, f"The credit of {invoice.customer} is")

    @classmethod
    def starting(cls, obj: Invoice) -> dict[str, Any]:
        """Start with the most that is possible."""
        owed = obj.outstanding
        amount = min(owed, customer_credit.available(obj.customer))
        return {"seen": owed} | ({"amount": amount} if amount > 0 else {})


class ExcessForm(MoneyForm):
    """Refund of a payment's excess."""

    makes = Refund

    @staticmethod
    def key(obj: Payment, data: Mapping[str, Any]) -> str:
        """The payment and the reference: one refund per reference and payment."""
        return f"{obj.public_id}:{_reference(data)}"

    def check_amount(self, amount: Decimal) -> None:
        """Refuse more than what is left of the excess."""
        left = customer_credit.excess_left(self.obj)
        _at_most(amount, left, "What can still be given back of this payment is")

    @classmethod
    def starting(cls, obj: Payment) -> dict[str, Any]:
        """Start with all of it."""
        left = customer_credit.excess_left(obj)
        return {"amount": left} if left > 0 else {}


class PayOutForm(MoneyForm):
    """Credit that is paid out."""

    makes = Refund

    @staticmethod
    def key(obj: CustomerCredit, data: Mapping[str, Any]) -> str:
        """The customer and the reference: one payout per reference and customer."""
        return f"{obj.customer_id}:{_reference(data)}"

    def owner(self) -> TenantOwned:
        return Customer.objects.get(public_id=self.obj.customer_id)

    def check_amount(self, amount: Decimal) -> None:
        """Refuse more than the credit."""
        _at_most(amount, -posting.balance(self.obj.code), "The customer's credit is")

    @classmethod
    def starting(cls, obj: CustomerCredit) -> dict[str, Any]:
        """Start with all of it."""
        held = -posting.balance(obj.code)
        return {"amount": held} if held > 0 else {}


def _reference(data: Mapping[str, Any]) -> str:
    return f"{data['method']}:{data['reference'].strip()}"
