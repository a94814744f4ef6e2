"""Errors of this room that a caller can act on. Each docstring begins with the HTTP status."""

from __future__ import annotations

from quantleap.core.errors import DomainError, InvalidRequest, InvalidTransition


class MultiplierNotPositive(InvalidRequest):
    """400: the lot multiplier is not greater than 0."""


class LotsZero(InvalidRequest):
    """400: a leg would get no lots; the message names the leg."""


class RatioChanged(InvalidRequest):
    """400: rounding down would change the ratio between legs; the message names the legs."""


class TooManyOrders(InvalidRequest):
    """400: the entry's grace period is too short for so many orders; the message has a limit."""


class StateMissing(InvalidRequest):
    """400: the customer's GST state is unknown, and an invoice cannot be issued without it."""

    code = "state_missing"
    error = "State missing"


class DuplicateSubscription(DomainError):
    """409: the customer already follows this template (``existing_subscription_id``)."""

    status = 409
    code = "duplicate_subscription"
    error = "Duplicate subscription"


class PaymentDue(DomainError):
    """409: an invoice of an earlier subscription is unpaid (``invoice_id``, ``invoice_number``).

    Both are None if a period that is over has not been invoiced yet, or if the bank took back money
    whose credit had been paid out already. The message says which.
    """

    status = 409
    code = "payment_due"
    error = "Payment due"


class PriceChanged(DomainError):
    """409: the fee is not ``expected_monthly_fee`` but ``monthly_fee``."""

    status = 409
    code = "price_changed"
    error = "Price changed"


class VersionChanged(DomainError):
    """409: the version now traded is not ``expected_version`` but ``version``."""

    status = 409
    code = "version_changed"
    error = "Version changed"


class SubscriptionHeld(DomainError):
    """409: a hold keeps the customer, their partner or their account from new subscriptions.

    ``hold_reason`` says who placed it, ``hold_scope`` what it covers.
    """

    status = 409
    code = "held"
    error = "Held"


class AllocationAmbiguous(DomainError):
    """409: the subscription has several accounts, or none (``allocation_ids``)."""

    status = 409
    code = "allocation_ambiguous"
    error = "Which account?"


class AllocationExists(DomainError):
    """409: the subscription already trades on this account."""

    status = 409
    code = "allocation_exists"
    error = "Account already used"


class LastAllocation(DomainError):
    """409: a subscription keeps one account: without one it could not trade."""

    status = 409
    code = "last_allocation"
    error = "Last account"


class HoldRefused(InvalidTransition):
    """409: this caller may not lift this hold (``holder``)."""


class TransitionRefused(InvalidTransition):
    """409: the status, or the caller, does not allow the change (``status``, ``status_reason``)."""
