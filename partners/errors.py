"""Errors of this room that a caller can act on. They reveal nothing about anybody else."""

from __future__ import annotations

from typing import Final

from quantleap.core.errors import DomainError

#: The route that changes an address, for messages.
CHANGE_ROUTE: Final = "POST /partner/customers/{user_id}/email"


class EmailDiffers(DomainError):
    """409: the id names one customer, the address another."""

    status = 409
    code = "email_differs"
    error = "external_user_id and user_email name two customers"


class ExternalIdDiffers(DomainError):
    """409: the address belongs to a customer with another id, or an id is already set."""

    status = 409
    code = "external_user_id_differs"
    error = "This e-mail address belongs to another external_user_id"


class EmailTaken(DomainError):
    """409: the address belongs to another customer of the same partner."""

    status = 409
    code = "email_taken"
    error = "Another customer has this e-mail address"


class ExternalIdTaken(DomainError):
    """409: the id belongs to another customer of the same partner."""

    status = 409
    code = "external_user_id_taken"
    error = "Another customer has this external_user_id"


def email_differs() -> EmailDiffers:
    """The error for an id and an address that name two people."""
    words = (
        "The address belongs to another customer. Name this customer by external_user_id alone; "
        f"change their address with {CHANGE_ROUTE}."
    )
    return EmailDiffers(words, details={"user_email": words})


def external_id_differs() -> ExternalIdDiffers:
    """The error for an address of a customer with another id."""
    words = (
        "The customer with this address has another external_user_id. Send the id that you gave "
        "them, or the address of the person you mean."
    )
    return ExternalIdDiffers(words, details={"external_user_id": words})
