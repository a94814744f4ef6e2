"""Members of the answers about money."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from quantleap.core.money import CURRENCY, ZERO
from subscriptions.billing.api.serializers import (
    InvoiceAnswer,
    InvoiceListAnswer,
    PaymentListAnswer,
)
from subscriptions.billing.models import (
    Commission,
    CreditNote,
    Invoice,
    Payment,
    PaymentReversal,
    Refund,
    Reversal,
)
from subscriptions.billing.reports import Month


def invoice_row(invoice: Invoice) -> dict[str, Any]:
    """Members of InvoiceObject; customer, subscription and template must be loaded."""
    return {
        **invoice.names,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "issued_on": invoice.issued_on,
        "due_on": invoice.due_on,
        "taxable": invoice.taxable,
        "cgst": invoice.cgst,
        "sgst": invoice.sgst,
        "igst": invoice.igst,
        "total": invoice.total,
        "paid": invoice.paid,
        "reversed": invoice.reversed,
        "due_again_on": invoice.due_again_on,
        "refunded": invoice.refunded,
        "credited": invoice.credited,
        "outstanding": invoice.outstanding,
        "currency": invoice.currency,
    }


def invoice_detail(invoice: Invoice) -> dict[str, Any]:
    """With its payments and credit notes, which must be prefetched."""
    return invoice_row(invoice) | {
        "payments": [payment_row(payment, invoice) for payment in invoice.payments.all()],
        "credit_notes": [note_row(note) for note in invoice.credit_notes.all()],
    }


def payment_row(payment: Payment, invoice: Invoice) -> dict[str, Any]:
    """Members of ReceivedPaymentObject; its receipt and its reversal must be loaded."""
    reversal = _reversal_of(payment)
    return {
        "payment_id": payment.public_id,
        "invoice_id": invoice.public_id,
        "invoice_number": invoice.number,
        "method": payment.method,
        "reference": payment.reference,
        "received_on": payment.received_on,
        "amount": payment.amount,
        "applied": payment.applied,
        "excess": payment.excess,
        "currency": payment.currency,
        "created_at": payment.created_at,
        "receipt_id": payment.receipt.public_id if payment.receipt else None,
        "reversed_on": reversal.reversed_on if reversal else None,
        "reversal_reason": reversal.reason if reversal else None,
    }


def _reversal_of(payment: Payment) -> Reversal | None:
    try:
        return payment.reversal.reversal
    except PaymentReversal.DoesNotExist:
        return None


def note_row(note: CreditNote) -> dict[str, Any]:
    """Members of CreditNoteObject; its refund must be loaded."""
    try:
        refunded = note.refund.amount
    except Refund.DoesNotExist:
        refunded = ZERO
    return {
        "number": note.number,
        "issued_on": note.issued_on,
        "reason": note.reason,
        "taxable": note.taxable,
        "cgst": note.cgst,
        "sgst": note.sgst,
        "igst": note.igst,
        "tax_kept": note.tax_kept,
        "total": note.total,
        "refunded": refunded,
        "currency": note.currency,
    }


def invoice_page(rows: list[Invoice], pagination: dict[str, int]) -> Response:
    """A page of invoices."""
    answer = {
        "statusCode": 200,
        "invoices": [invoice_row(row) for row in rows],
        "pagination": pagination,
    }
    return Response(InvoiceListAnswer(answer).data)


def invoice(row: Invoice) -> Response:
    """One invoice with its payments and credit notes."""
    return Response(InvoiceAnswer({"statusCode": 200, "invoice": invoice_detail(row)}).data)


def payment_page(rows: list[Payment], pagination: dict[str, int]) -> Response:
    """A page of payments; their invoices must be loaded."""
    answer = {
        "statusCode": 200,
        "payments": [payment_row(row, row.invoice) for row in rows],
        "pagination": pagination,
    }
    return Response(PaymentListAnswer(answer).data)


def commission_row(row: Commission) -> dict[str, Any]:
    """Members of CommissionObject, including its ledger entries."""
    return {
        "commission_id": row.public_id,
        "kind": row.kind,
        "role": row.role,
        "accrual_id": row.accrual.public_id if row.accrual else None,
        "base": row.base,
        "rate_bps": row.bps,
        "amount": row.amount,
        "currency": row.currency,
        "accrued_on": row.accrued_on,
        "matures_on": row.matures_on,
        "matured_at": row.matured_at,
        "subscription_id": row.invoice.subscription.public_id,
        "user_id": row.invoice.customer.public_id,
        "invoice_id": row.invoice.public_id,
        "invoice_number": row.invoice.number,
        "payment_id": row.payment.public_id,
        "payment_received_on": row.payment.received_on,
        "credit_note": row.credit_note.number if row.credit_note else None,
        "reversal_id": row.reversal.public_id if row.reversal else None,
        "transaction": row.transaction.idem_key,
        "entries": [
            {"account": entry.account.code, "amount": entry.amount}
            for entry in row.transaction.entries.all()
        ],
    }


def month(report: Month, slug: str) -> dict[str, Any]:
    """Members of RevenueAnswer."""
    return {
        "statusCode": 200,
        "partner_id": slug,
        "month": f"{report.first:%Y-%m}",
        "subscribers": {"total": report.total_subscribers, "active": report.active_subscribers},
        "revenue": {
            "invoices": report.invoices,
            "invoiced": report.invoiced,
            "credited": report.credited,
            "net": report.revenue,
            "payments": report.payments,
            "refunds": report.refunds,
            "reversed": report.reversed,
        },
        "commission": {
            "accrued": report.accrued,
            "clawed_back": report.clawed_back,
            "net": report.commission,
            "matured": report.matured,
        },
        "top_strategies": [
            {
                "template_id": strategy.template_id,
                "template_name": strategy.name,
                "active_subscribers": strategy.active_subscribers,
                "revenue": strategy.revenue,
                "commission": strategy.commission,
            }
            for strategy in report.top_strategies
        ],
        "currency": CURRENCY,
    }
