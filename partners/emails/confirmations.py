"""Confirmation of addresses: an address is what a partner states, until its owner opens a mailed
link.

The link's token is the confirmation's random id, signed. The database keeps only its hash, and the
mail is composed when it is sent, so the link itself is stored nowhere. It works once, for
:data:`VALID_FOR`, and only while the address is still the customer's.
"""

from __future__ import annotations

import datetime as dt
import enum
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from partners.emails.models import CustomerMail, EmailConfirmation
from partners.models import Customer
from quantleap.core import audit, outbox
from quantleap.core.audit import Actor
from quantleap.core.crypto import fingerprint
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.models import ActorKind
from quantleap.core.tenancy import Environment

CONFIRMED: Final = "customer.email_confirmed"
VALID_FOR: Final = dt.timedelta(days=7)
#: The page of the link; the token is in the query, which our proxy does not log.
PAGE: Final = "confirm-email"
_SIGNED: Final = "partners.email_confirmation"
_STORED: Final = "partners.email_confirmation.stored"
_MAX_TOKEN: Final = 200


class Standing(enum.Enum):
    """What a link can still do."""

    OPEN = "open"
    DONE = "done"
    EXPIRED = "expired"
    REPLACED = "replaced"  # the customer has another address now
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Look:
    """What a link can do, and its confirmation with the customer unless it is UNKNOWN."""

    standing: Standing
    confirmation: EmailConfirmation | None = None


# -- asking ----------------------------------------------------------------------------------------
def send_confirmation(customer: Customer, now: dt.datetime) -> None:
    """Mail a link to the customer's address, in the caller's transaction.

    Mails nothing in the test environment, because no test mail may reach a stranger.
    """
    if customer.environment == Environment.TEST:
        return
    confirmation = EmailConfirmation(
        partner_id=customer.partner_id,
        environment=customer.environment,
        customer=customer,
        email=customer.email,
        asked_at=now,
        expires_at=now + VALID_FOR,
    )
    confirmation.token_hash = fingerprint(token_of(confirmation), purpose=_STORED)
    confirmation.save(force_insert=True)
    CustomerMail.objects.create(
        partner_id=customer.partner_id,
        environment=customer.environment,
        customer=customer,
        kind=CustomerMail.Kind.CONFIRM,
        recipient=customer.email,
        confirmation=confirmation,
        next_attempt_at=now,
        created_at=now,
    )


def send_again(*, customer_id: int, actor: Actor, now: dt.datetime) -> None:
    """Mail another link; earlier ones stay valid for their time.

    NotFound; InvalidTransition if the address is confirmed, or nothing is mailed at all (test).
    """
    with transaction.atomic():
        customer = Customer.objects.select_for_update(no_key=True).filter(pk=customer_id).first()
        if customer is None:
            raise NotFound
        if customer.email_confirmed_at is not None:
            raise InvalidTransition("This address is confirmed already.")
        if customer.environment == Environment.TEST:
            raise InvalidTransition("Nothing is mailed in the test environment.")
        send_confirmation(customer, now)
        _record(customer, "customer.email_confirmation_asked", actor)


def token_of(confirmation: EmailConfirmation) -> str:
    """The link's token, which nobody can derive from our tables."""
    signature = fingerprint(f"{confirmation.public_id}:{confirmation.email}", purpose=_SIGNED)
    return f"{confirmation.public_id}.{signature}"


def link_of(confirmation: EmailConfirmation) -> str:
    """The URL in the mail."""
    query = urlencode({"token": token_of(confirmation)})
    return f"{settings.QUANTLEAP_PUBLIC_URL.rstrip('/')}{reverse(PAGE)}?{query}"


# -- answering -------------------------------------------------------------------------------------
def look(token: str, now: dt.datetime) -> Look:
    """What a link would do now; changes nothing."""
    if not token or len(token) > _MAX_TOKEN or not token.isascii():
        return Look(Standing.UNKNOWN)
    confirmation = (
        EmailConfirmation.objects.select_related("customer")
        .filter(token_hash=fingerprint(token, purpose=_STORED))
        .first()
    )
    if confirmation is None or not hmac.compare_digest(token, token_of(confirmation)):
        return Look(Standing.UNKNOWN)
    if confirmation.confirmed_at is not None:
        return Look(Standing.DONE, confirmation)
    if confirmation.email != confirmation.customer.email:
        return Look(Standing.REPLACED, confirmation)
    if now >= confirmation.expires_at:
        return Look(Standing.EXPIRED, confirmation)
    return Look(Standing.OPEN, confirmation)


def confirm(*, token: str, now: dt.datetime) -> Look:
    """Confirm the address on behalf of its owner; DONE, or the reason why the link does nothing.

    Two simultaneous calls confirm once. A concurrent change of the address is waited for.
    """
    with transaction.atomic():
        link = look(token, now)
        if link.standing is not Standing.OPEN or link.confirmation is None:
            return link
        Customer.objects.select_for_update(no_key=True).get(pk=link.confirmation.customer_id)
        link = look(token, now)  # read again, now that nobody else can change it
        if link.standing is not Standing.OPEN or link.confirmation is None:
            return link
        confirmation, customer = link.confirmation, link.confirmation.customer
        confirmation.confirmed_at = customer.email_confirmed_at = now
        confirmation.save(update_fields=["confirmed_at"])
        customer.save(update_fields=["email_confirmed_at"])
        _record(customer, CONFIRMED, Actor(ActorKind.USER, customer.public_id))
        emit_event(CONFIRMED, customer, now)
    return Look(Standing.DONE, confirmation)


def emit_event(what: str, customer: Customer, now: dt.datetime) -> None:
    """Emit an event with the current customer, in the caller's transaction."""
    outbox.emit(
        what,
        {
            "user_id": customer.public_id,
            "external_user_id": customer.external_user_id or None,
            "user_email": customer.email,
        },
        about=customer.public_id,
        partner_id=customer.partner_id,
        environment=customer.environment,
        now=now,
    )


def _record(customer: Customer, action: str, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="customer",
        target_id=customer.public_id,
        partner_id=customer.partner_id,
        environment=customer.environment,
    )
