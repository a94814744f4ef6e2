"""Services that change a customer's e-mail address, and the partner's own id for them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.db import IntegrityError, transaction

from partners.customers import REASON_LENGTH
from partners.emails.confirmations import emit_event, send_confirmation
from partners.emails.models import CustomerMail, EmailChange
from partners.errors import EmailTaken, ExternalIdTaken
from partners.identity import EMAIL_UNIQUE, EXTERNAL_ID_UNIQUE, record_external_id
from partners.models import Customer
from partners.selectors import clean_names
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.inserts import constraint_of
from quantleap.core.tenancy import Environment

CHANGED: Final = "customer.email_changed"
_TAKEN: Final = "Another customer has this address. Nothing has changed."
_ID_TAKEN: Final = "Another customer has this id. Nothing was changed."


@dataclass(frozen=True, slots=True)
class Changed:
    """The customer after the call, and whether the call changed anything."""

    customer: Customer
    changed: bool


def change_email(
    *, customer_id: int, email: str, reason: str, actor: Actor, now: dt.datetime
) -> Changed:
    """Use another address from now on, for later invoices and everything else.

    Issued invoices keep the address to which they were sent. The new address counts as stated until
    its owner confirms it (a link is mailed there). The old one gets a mail that it was replaced,
    but not by what. The same address again changes nothing.

    NotFound; InvalidRequest for an invalid address or too long a reason; EmailTaken if another
    customer of the same partner has the address, however many calls race.
    """
    address = clean_names(external_user_id="", email=email).email
    reason = _checked_reason(reason)
    try:
        with transaction.atomic():
            return _change(customer_id, address, reason, actor, now)
    except IntegrityError as error:
        if constraint_of(error) != EMAIL_UNIQUE:
            raise
        raise EmailTaken(_TAKEN, details={"user_email": _TAKEN}) from error


def _change(customer_id: int, address: str, reason: str, actor: Actor, now: dt.datetime) -> Changed:
    # Lock with the key, of which an address is part: writers of this customer's rows wait here and
    # not halfway, where two of them could deadlock.
    customer = Customer.objects.select_for_update().filter(pk=customer_id).first()
    if customer is None:
        raise NotFound
    if customer.email == address:
        return Changed(customer, False)
    others = Customer.objects.for_partner(customer.partner_id, customer.environment)
    if others.filter(email=address).exists():
        raise EmailTaken(_TAKEN, details={"user_email": _TAKEN})
    change = EmailChange.objects.create(
        partner_id=customer.partner_id,
        environment=customer.environment,
        customer=customer,
        from_email=customer.email,
        to_email=address,
        changed_at=now,
        actor_kind=actor.kind,
        actor_id=actor.id,
        reason=reason,
    )
    customer.email, customer.email_confirmed_at = address, None
    customer.save(update_fields=["email", "email_confirmed_at"])
    send_confirmation(customer, now)
    _tell_the_old_one(change, now)
    audit.record(
        actor=actor,
        action=CHANGED,
        target_type="customer",
        target_id=customer.public_id,
        partner_id=customer.partner_id,
        environment=customer.environment,
        # the addresses belong to the customer; the row of the change has them
        data={"change": change.pk, "reason": reason},
    )
    emit_event(CHANGED, customer, now)
    return Changed(customer, True)


def _tell_the_old_one(change: EmailChange, now: dt.datetime) -> None:
    if change.environment == Environment.TEST:
        return  # as with confirmations: no test mail may reach a stranger
    CustomerMail.objects.create(
        partner_id=change.partner_id,
        environment=change.environment,
        customer=change.customer,
        kind=CustomerMail.Kind.CHANGED,
        recipient=change.from_email,
        change=change,
        next_attempt_at=now,
        created_at=now,
    )


def change_external_id(
    *, customer_id: int, external_user_id: str, reason: str, actor: Actor
) -> Changed:
    """Correct the partner's own id for a person; empty removes it, so that it can be assigned
    again.

    For our staff only: a partner that sent an id with somebody else's address cannot correct it.
    NotFound; InvalidRequest; ExternalIdTaken if another customer of the partner has the id.
    """
    new_id = ""
    if external_user_id:
        new_id = clean_names(external_user_id=external_user_id, email="").external_id
    reason = _checked_reason(reason)
    try:
        with transaction.atomic():
            customer = (
                Customer.objects.select_for_update(no_key=True).filter(pk=customer_id).first()
            )
            if customer is None:
                raise NotFound
            if customer.external_user_id == new_id:
                return Changed(customer, False)
            customer.external_user_id = new_id
            customer.save(update_fields=["external_user_id"])
            record_external_id(customer, "customer.external_id_changed", actor, reason)
    except IntegrityError as error:
        if constraint_of(error) != EXTERNAL_ID_UNIQUE:
            raise
        raise ExternalIdTaken(_ID_TAKEN, details={"external_user_id": _ID_TAKEN}) from error
    return Changed(customer, True)


def _checked_reason(text: str) -> str:
    reason = text.strip()
    if len(reason) > REASON_LENGTH or not reason.isprintable():
        words = f"At most {REASON_LENGTH} characters, in one line."
        raise InvalidRequest(f"reason: {words}", details={"reason": words})
    return reason
