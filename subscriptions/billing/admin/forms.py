"""What staff enter of money."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from quantleap.core import clock
from quantleap.core.admin import ConfirmForm
from subscriptions.billing.models import Method
from subscriptions.billing.payments import REFERENCE_LENGTH
from subscriptions.billing.refunds import REASON_LENGTH

_SMALLEST: Final = Decimal("0.01")


def _today() -> dt.date:
    return clock.ist_date(clock.now())


class MoneyForm(ConfirmForm):
    """How much, how, and where to find it again."""

    amount = forms.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=_SMALLEST,
        label="Rupees",
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "0.01", "min": "0.01"}),
    )
    method = forms.ChoiceField(choices=Method.choices, widget=UnfoldAdminSelectWidget())
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


class RefundForm(MoneyForm):
    """What is taken back of an invoice, and why."""

    reason = forms.CharField(
        max_length=REASON_LENGTH, help_text="It stands on the credit note: the customer reads it."
    )
