"""Errors of billing that a caller can act on. Each docstring begins with the HTTP status."""

from __future__ import annotations

from quantleap.core.errors import DomainError, InvalidRequest


class FutureDate(InvalidRequest):
    """400: billing, recognition and numbering are refused for a future day (IST)."""


class BillingNotConfigured(DomainError):
    """503: no supplier, or no tax rate, is in force for what is to be billed."""

    status = 503
    code = "billing_not_configured"
    error = "Billing is not configured"


class OutOfBalance(DomainError):
    """409: the entries of a posting do not add up to 0."""

    status = 409
    code = "out_of_balance"
    error = "Posting out of balance"


class IdemKeyReused(DomainError):
    """409: the ledger has another posting under this key."""

    status = 409
    code = "idem_key_reused"
    error = "Posting key reused"


class PaymentKeyReused(DomainError):
    """409: this key already belongs to another payment, credit note or refund."""

    status = 409
    code = "payment_key_reused"
    error = "Key already used"


class ReceiptExists(PaymentKeyReused):
    """409: a receipt with this reference on the rail exists; the message says which."""

    code = "receipt_exists"
    error = "Reference already recorded"


class AlreadyReversed(DomainError):
    """409: the receipt was reversed before, on another day or for another reason."""

    status = 409
    code = "already_reversed"
    error = "Already reversed"


class NothingToCredit(DomainError):
    """409: the amount exceeds what is left of the invoice, or of the payment's excess."""

    status = 409
    code = "nothing_to_credit"
    error = "Not so much left"


class InvoiceChanged(DomainError):
    """409: another payment or credit was recorded after the caller read the invoice."""

    status = 409
    code = "invoice_changed"
    error = "Invoice changed"
