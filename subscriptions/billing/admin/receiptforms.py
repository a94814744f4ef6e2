"""What staff enter of money that came in for several invoices, or went back at the bank."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Final

from django import forms
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextInputWidget

from quantleap.core import clock
from quantleap.core.admin import ConfirmForm
from quantleap.core.columns import in_rupees
from quantleap.core.money import ZERO
from subscriptions.billing import allocations, receipts, references
from subscriptions.billing.admin.forms import MoneyForm
from subscriptions.billing.allocations import NAME_LENGTH, Part
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.owing import due_by
from subscriptions.billing.reversals import REASON_LENGTH
from subscriptions.billing.texts import day

_PART: Final = "invoice_"


def _today() -> dt.date:
    return clock.ist_date(clock.now())


def _date_field(label: str) -> forms.DateField:
    return forms.DateField(
        initial=_today,
        label=label,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
    )


def check_reference(form: forms.Form, data: dict[str, Any]) -> None:
    """Say beside the reference why it names no money."""
    if "method" in data and "reference" in data:
        words = references.wrong_with(data["method"], data["reference"])
        if words:
            form.add_error("reference", words)


class ReceiptForm(MoneyForm):
    """One movement of money, and a field for each invoice that its payer owes, oldest first."""

    #: What the service is given.
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

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, obj=obj, **kwargs)
        # without an invoice it is only looked at, for the widgets of its fields
        self.owing: list[Invoice] = allocations.open_invoices(obj.customer) if obj else []
        for one in self.owing:
            self.fields[f"{_PART}{one.pk}"] = _part_of(one)

    def clean(self) -> dict[str, Any]:
        """What each invoice gets, and what is left: both are asked about once more."""
        data = super().clean()
        check_reference(self, data)
        if self.errors:
            return data
        typed = {one: data.get(f"{_PART}{one.pk}") or ZERO for one in self.owing}
        if not any(typed.values()):
            parts = allocations.oldest_first(self.owing, data["amount"])
            for part in parts:
                data[f"{_PART}{part.invoice_id}"] = part.amount
        else:
            parts = [Part(one.pk, amount) for one, amount in typed.items() if amount]
        left = data["amount"] - sum((part.amount for part in parts), ZERO)
        for one, amount in typed.items():
            if amount > one.outstanding:
                self.add_error(
                    f"{_PART}{one.pk}",
                    f"{one.number} owes {in_rupees(one.outstanding)}; {in_rupees(amount)} is more.",
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
        """A reference that names other money is refused beside its field, by that receipt."""
        held = receipts.live(data["method"], data["reference"])
        if held is not None:
            self.add_error("reference", receipts.exists_already(held).message)

    def shown(self) -> list[tuple[str, str]]:
        """The figures that move: every part, and what becomes credit."""
        left = self.cleaned_data["left"]
        kept = [(label, said) for label, said in super().shown() if said != "–"]
        return [*kept, (f"Credit of {self.obj.customer}", str(left))]


def _part_of(invoice: Invoice) -> forms.DecimalField:
    return forms.DecimalField(
        required=False,
        max_digits=12,
        decimal_places=2,
        min_value=ZERO,
        label=f"For {invoice.number}",
        help_text=f"Owes {in_rupees(invoice.outstanding)}, due {day(due_by(invoice).isoformat())}.",
        widget=UnfoldAdminDecimalFieldWidget(
            attrs={"step": "0.01", "min": "0", "placeholder": "oldest first"}
        ),
    )


class ReverseForm(ConfirmForm):
    """When the money went back, and why."""

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
        """Not before the money came, and not in the future."""
        on: dt.date = self.cleaned_data["reversed_on"]
        receipt: Receipt = self.obj
        if on > _today():
            raise forms.ValidationError("Not after today (IST).")
        if on < receipt.received_on:
            received = day(receipt.received_on.isoformat())
            raise forms.ValidationError(f"It was received on {received}.")
        return on
