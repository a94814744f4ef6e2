"""Errors of this room that a caller can act on."""

from __future__ import annotations

from quantleap.core.errors import DomainError, InvalidRequest, InvalidTransition


class MultiplierNotPositive(InvalidRequest):
    """400: a lot multiplier is greater than 0."""


class LotsZero(InvalidRequest):
    """400: a leg would get no lots; the message names it."""


class RatioChanged(InvalidRequest):
    """400: rounding down would change the ratio between legs; the message names them."""


class TooManyOrders(InvalidRequest):
    """400: so many orders cannot leave within the entry's grace; the message says how many may."""


class StateMissing(InvalidRequest):
    """400: nobody knows the customer's GST state, without which no invoice can be made out."""

    code = "state_missing"
    error = "State missing"


class DuplicateSubscription(DomainError):
    """409: the customer already follows this template (``existing_subscription_id``)."""

    status = 409
    code = "duplicate_subscription"
    error = "Duplicate subscription"


class PaymentDue(DomainError):
    """409: an invoice of an earlier subscription is unpaid (``invoice_id``, ``invoice_number``).

    Both None: a period that is over is owed, and no run has invoiced it yet; or credit was paid
    out whose money the bank took back. The message says which.
    """

    status = 409
    code = "payment_due"
    error = "Payment due"


class PriceChanged(DomainError):
    """409: the fee is another than the caller expected (``expected_monthly_fee``,
    ``monthly_fee``)."""

    status = 409
    code = "price_changed"
    error = "Price changed"


class VersionChanged(DomainError):
    """409: another version is traded than the caller looked at (``expected_version``,
    ``version``)."""

    status = 409
    code = "version_changed"
    error = "Version changed"


class SubscriptionHeld(DomainError):
    """409: a hold keeps the customer, their partner or their account from new subscriptions.

    ``hold_reason`` says whose it is, ``hold_scope`` what it is about.
    """

    status = 409
    code = "held"
    error = "Held"


class HoldRefused(InvalidTransition):
    """409: this hold is not lifted by this caller (``holder``)."""


class TransitionRefused(InvalidTransition):
    """409: not from this status, or not by this caller (``status``, ``status_reason``)."""
