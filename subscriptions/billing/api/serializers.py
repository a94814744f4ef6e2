"""Bodies out of the money routes. Rupees; dates IST."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from partners.api.serializers import PaginationObject
from subscriptions.billing.models import Commission, Invoice, Method
from subscriptions.models import ShareLine


def _money(**options: Any) -> serializers.DecimalField:
    """Rupees, a JSON number with at most two decimals."""
    return serializers.DecimalField(
        max_digits=14, decimal_places=2, coerce_to_string=False, **options
    )


class InvoiceObject(serializers.Serializer[Any]):
    """An invoice; ``total`` is ``taxable`` and the taxes."""

    invoice_id = serializers.CharField()
    number = serializers.CharField()
    status = serializers.ChoiceField(choices=Invoice.Status.values)
    user_id = serializers.CharField()
    user_email = serializers.CharField(help_text="Of today: what was issued names its own.")
    external_user_id = serializers.CharField(
        allow_null=True, help_text="The partner's own id of the customer."
    )
    subscription_id = serializers.CharField()
    template_id = serializers.CharField()
    template_name = serializers.CharField()
    period_start = serializers.DateField()
    period_end = serializers.DateField(help_text="First day after the period.")
    issued_on = serializers.DateField()
    due_on = serializers.DateField()
    taxable = _money()
    cgst = _money()
    sgst = _money()
    igst = _money()
    total = _money()
    paid = _money()
    reversed = _money(help_text="Was paid, and went back at the bank: no part of paid.")
    due_again_on = serializers.DateField(
        allow_null=True,
        help_text="After a reversal the day until which the invoice is not overdue.",
    )
    refunded = _money()
    credited = _money()
    outstanding = _money()
    currency = serializers.CharField()


class ReceivedPaymentObject(serializers.Serializer[Any]):
    """Money received; ``excess`` is what was too much and is the customer's credit.

    What has ``reversed_on`` went back at the bank on that day, and pays nothing any more.
    """

    payment_id = serializers.CharField()
    invoice_id = serializers.CharField()
    invoice_number = serializers.CharField()
    method = serializers.ChoiceField(choices=Method.values)
    reference = serializers.CharField()
    received_on = serializers.DateField()
    amount = _money()
    applied = _money()
    excess = _money()
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()
    receipt_id = serializers.CharField(
        allow_null=True,
        help_text="The movement of money that it is a part of; null where credit was used.",
    )
    reversed_on = serializers.DateField(allow_null=True)
    reversal_reason = serializers.CharField(allow_null=True)


class CreditNoteObject(serializers.Serializer[Any]):
    """What of an invoice was taken back, and the money that went back with it."""

    number = serializers.CharField()
    issued_on = serializers.DateField()
    reason = serializers.CharField()
    taxable = _money()
    cgst = _money()
    sgst = _money()
    igst = _money()
    tax_kept = _money(
        help_text="Of the total of a financial credit, issued after 30 November following the "
        "invoice's financial year: tax that stays paid. 0 otherwise."
    )
    total = _money()
    refunded = _money()
    currency = serializers.CharField()


class InvoiceListAnswer(serializers.Serializer[Any]):
    """A page of invoices."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    invoices = InvoiceObject(many=True)
    pagination = PaginationObject()


class InvoiceDetailObject(InvoiceObject):
    """An invoice with what happened to it."""

    payments = ReceivedPaymentObject(many=True)
    credit_notes = CreditNoteObject(many=True)


class InvoiceAnswer(serializers.Serializer[Any]):
    """One invoice."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    invoice = InvoiceDetailObject()


class PaymentListAnswer(serializers.Serializer[Any]):
    """A page of payments."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    payments = ReceivedPaymentObject(many=True)
    pagination = PaginationObject()


class EntryObject(serializers.Serializer[Any]):
    """One side of a posting: debit positive, credit negative."""

    account = serializers.CharField()
    amount = _money()


class CommissionObject(serializers.Serializer[Any]):
    """ACCRUAL (positive) and CLAWBACK (negative) add up to the commission; MATURITY is how much of
    an accrual became payable, no commission of its own."""

    commission_id = serializers.CharField()
    kind = serializers.ChoiceField(choices=Commission.Kind.values)
    role = serializers.ChoiceField(choices=ShareLine.Role.values)
    accrual_id = serializers.CharField(allow_null=True)
    base = _money()
    rate_bps = serializers.IntegerField()
    amount = _money()
    currency = serializers.CharField()
    accrued_on = serializers.DateField()
    matures_on = serializers.DateField(allow_null=True)
    matured_at = serializers.DateTimeField(allow_null=True)
    subscription_id = serializers.CharField()
    user_id = serializers.CharField()
    invoice_id = serializers.CharField()
    invoice_number = serializers.CharField()
    payment_id = serializers.CharField()
    payment_received_on = serializers.DateField()
    credit_note = serializers.CharField(allow_null=True)
    reversal_id = serializers.CharField(
        allow_null=True, help_text="Of a CLAWBACK whose payment went back at the bank."
    )
    transaction = serializers.CharField(help_text="Key of the posting in the books.")
    entries = EntryObject(many=True)


class CommissionListAnswer(serializers.Serializer[Any]):
    """Commission rows, newest first."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    commissions = CommissionObject(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class SubscribersObject(serializers.Serializer[Any]):
    """Customers by the month's end; ``active`` have a subscription that was not cancelled."""

    total = serializers.IntegerField()
    active = serializers.IntegerField()


class RevenueObject(serializers.Serializer[Any]):
    """Before tax: ``invoiced`` less ``credited`` is ``net``. With tax: what came, and what of it
    went: given back (``refunds``), or taken back by a bank (``reversed``)."""

    invoices = serializers.IntegerField()
    invoiced = _money()
    credited = _money()
    net = _money()
    payments = _money()
    refunds = _money()
    reversed = _money()


class MonthCommissionObject(serializers.Serializer[Any]):
    """``accrued`` and ``clawed_back`` (negative) are ``net``; ``matured`` became payable."""

    accrued = _money()
    clawed_back = _money()
    net = _money()
    matured = _money()


class TopStrategyObject(serializers.Serializer[Any]):
    """What one template brought."""

    template_id = serializers.CharField()
    template_name = serializers.CharField()
    active_subscribers = serializers.IntegerField()
    revenue = _money()
    commission = _money()


class RevenueAnswer(serializers.Serializer[Any]):
    """A partner's month."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    partner_id = serializers.CharField()
    month = serializers.CharField()
    subscribers = SubscribersObject()
    revenue = RevenueObject()
    commission = MonthCommissionObject()
    top_strategies = TopStrategyObject(many=True)
    currency = serializers.CharField()
