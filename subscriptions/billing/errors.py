"""Errors of billing that a caller can act on."""

from __future__ import annotations

from quantleap.core.errors import DomainError, InvalidRequest


class FutureDate(InvalidRequest):
    """400: nothing is billed, recognised or numbered for a day that has not come (IST)."""


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
    """409: the books hold another posting under this key."""

    status = 409
    code = "idem_key_reused"
    error = "Posting key reused"


class PaymentKeyReused(DomainError):
    """409: this key already names another payment, credit note or refund."""

    status = 409
    code = "payment_key_reused"
    error = "Key already used"


class ReceiptExists(PaymentKeyReused):
    """409: this reference of the rail names a receipt that is there; the message says which."""

    code = "receipt_exists"
    error = "Reference already recorded"


class AlreadyReversed(DomainError):
    """409: the receipt was reversed before, on another day or for another reason."""

    status = 409
    code = "already_reversed"
    error = "Already reversed"


class NothingToCredit(DomainError):
    """409: the invoice, or the payment's excess, has not so much left."""

    status = 409
    code = "nothing_to_credit"
    error = "Not so much left"


class InvoiceChanged(DomainError):
    """409: somebody else's payment or credit came between looking and acting."""

    status = 409
    code = "invoice_changed"
    error = "Invoice changed"
