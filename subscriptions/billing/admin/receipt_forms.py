"""Forms for money received for several invoices, and for money that went back at the bank."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from django import forms
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from quantleap.core import clock
from quantleap.core.admin import ConfirmForm
from quantleap.core.admin_columns import NONE, in_rupees
from quantleap.core.money import ZERO
from subscriptions.billing.admin.forms import MoneyForm
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.settlement import allocations, bank_references, receipts
from subscriptions.billing.settlement.allocations import NAME_LENGTH, Part
from subscriptions.billing.settlement.balance_due import due_by
from subscriptions.billing.settlement.reversals import REASON_LENGTH

#: Prefix of the field with one invoice's part; the invoice's key follows.
PART: Final = "invoice_"


def _today() -> dt.date:
    return clock.ist_date(clock.now())


def _date_field(label: str) -> forms.DateField:
    return forms.DateField(
        initial=_today,
        label=label,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )


def check_reference(form: forms.Form, data: dict[str, Any]) -> None:
    """Add an error to the reference's field if it is not valid for its method."""
    if "method" in data and "reference" in data:
        words = bank_references.wrong_with(data["method"], data["reference"])
        if words:
            form.add_error("reference", words)


class AllocationForm(MoneyForm):
    """A receipt, with a field for each invoice that may get a part of it."""

    #: Names of the service's arguments.
    GIVEN: ClassVar[tuple[str, ...]] = (
        "amount", "method", "reference", "received_on", "payer_name", "note", "parts",
    )  # fmt: skip
    received_on = _date_field("Received on")
    payer_name = forms.CharField(
        required=False,
        max_length=NAME_LENGTH,
        label="Payer on the statement",
        help_text="Where the bank names somebody else than the customer.",
    )
    note = forms.CharField(required=False, max_length=200)

    def __init__(self, *args: Any, owing: Sequence[Invoice] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owing = list(owing)
        for invoice in self.owing:
            self.fields[f"{PART}{invoice.pk}"] = self.part_of(invoice)

    def part_of(self, invoice: Invoice) -> forms.DecimalField:
        """The field for one invoice's part."""
        return part_field(invoice, f"For {invoice.number}", placeholder="oldest first")

    def unsaid(self, amount: Decimal) -> list[Part]:
        """The parts if none is typed."""
        return allocations.oldest_first(self.owing, amount)

    def clean(self) -> dict[str, Any]:
        """Compute parts and rest; the confirmation page shows both."""
        data = super().clean()
        check_reference(self, data)
        if self.errors:
            return data
        typed = {invoice: data.get(f"{PART}{invoice.pk}") or ZERO for invoice in self.owing}
        if not any(typed.values()):
            parts = self.unsaid(data["amount"])
            for part in parts:
                data[f"{PART}{part.invoice_id}"] = part.amount
        else:
            parts = [Part(invoice.pk, amount) for invoice, amount in typed.items() if amount]
        left = data["amount"] - sum((part.amount for part in parts), ZERO)
        for invoice, amount in typed.items():
            if amount > invoice.outstanding:
                self.add_error(
                    f"{PART}{invoice.pk}",
                    f"{invoice.number} owes {in_rupees(invoice.outstanding)}; "
                    f"{in_rupees(amount)} is more.",
                )
        if left < 0:
            self.add_error(
                "amount",
                f"The invoices get {in_rupees(data['amount'] - left)}; only "
                f"{in_rupees(data['amount'])} came.",
            )
        if not self.errors:
            self._refuse_known(data)
        return {**data, "parts": parts, "left": left}

    def _refuse_known(self, data: dict[str, Any]) -> None:
        """Add an error to the reference's field if a receipt with it exists."""
        receipt = receipts.live(data["method"], data["reference"])
        if receipt is not None:
            self.add_error("reference", receipts.exists_already(receipt).message)


class ReceiptForm(AllocationForm):
    """A receipt over all unpaid invoices of one customer, the oldest first unless changed."""

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        # without an invoice the form only serves to read its fields' widgets
        owing = allocations.open_invoices(obj.customer) if obj else ()
        super().__init__(*args, obj=obj, owing=owing, **kwargs)

    def shown(self) -> list[tuple[str, str]]:
        """The figures to confirm: all parts, and what becomes credit."""
        data = self.cleaned_data
        rows = [(label, value) for label, value in super().shown() if value != NONE]
        return [*rows, (f"Credit of {self.obj.customer}", in_rupees(data["left"]))]


def part_field(invoice: Invoice, label: str, *, placeholder: str = "") -> forms.DecimalField:
    """The field for an invoice's part of a receipt; its help shows what the invoice owes."""
    return forms.DecimalField(
        required=False,
        max_digits=12,
        decimal_places=2,
        min_value=ZERO,
        label=label,
        help_text=f"Owes {in_rupees(invoice.outstanding)}, due {day(due_by(invoice).isoformat())}.",
        widget=UnfoldAdminDecimalFieldWidget(
            attrs={"step": "0.01", "min": "0", "placeholder": placeholder}
        ),
    )


class ReverseForm(ConfirmForm):
    """Day, reason and bank charges of a reversal."""

    reversed_on = _date_field("Went back on")
    reason = forms.CharField(
        max_length=REASON_LENGTH,
        help_text="For example: cheque returned, funds insufficient. Customer and partner read it.",
    )
    bank_charges = forms.DecimalField(
        max_digits=7,
        decimal_places=2,
        min_value=ZERO,
        initial=ZERO,
        label="Bank charges",
        help_text="Rupees that the bank took for it; our expense.",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01", "min": "0"}),
    )

    def clean_reversed_on(self) -> dt.date:
        """Refuse a day before the receipt, or in the future (IST)."""
        reversed_on: dt.date = self.cleaned_data["reversed_on"]
        receipt: Receipt = self.obj
        if reversed_on > _today():
            raise forms.ValidationError("Not after today (IST).")
        if reversed_on < receipt.received_on:
            received = day(receipt.received_on.isoformat())
            raise forms.ValidationError(f"It was received on {received}.")
        return reversed_on
