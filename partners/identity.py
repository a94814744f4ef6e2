"""Finds the customer whom a partner names, creates one, or assigns the partner's own id.

Any number of concurrent callers get one customer: the database's unique constraints on address and
id decide, and the others read what the first one has written.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import IntegrityError, transaction

from partners.customer_references import Outcome
from partners.customers import check_state
from partners.gst_states import place_of_supply
from partners.models import Customer
from partners.selectors import Named, clean_names, look_up, refuse_mixed_up
from quantleap.core import audit
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, Unavailable
from quantleap.core.inserts import constraint_of, insert_missing

EXTERNAL_ID_UNIQUE: Final = "customer_external_id_uniq"
EMAIL_UNIQUE: Final = "customer_tenant_email_uniq"
#: A caller overtaken by somebody else's change retries; that many times in a row does not happen.
_LOOKS: Final = 5
_NEEDS_EMAIL: Final = "Required for a customer whose external_user_id is not known yet."


def find_or_create_customer(
    *,
    partner_id: int | None,
    environment: str,
    now: dt.datetime,
    email: str = "",
    external_user_id: str = "",
    name: str = "",
    state: str = "",
    actor: Actor = SYSTEM,
) -> Customer:
    """The partner's customer by its own id, an e-mail address or both; created if unknown.

    The table of docs/partners.md decides (:func:`partners.customer_references.resolve`): the id has
    priority over the address, which only :func:`partners.emails.changes.change_email` changes. A
    customer without an id gets it here, once, with an audit entry for ``actor``.

    ``name`` and ``state`` (GST code) fill in what is empty and never replace a value: that is
    :func:`partners.customers.change_billing_details`. A code that is no longer in force counts as
    empty.

    InvalidRequest for an invalid address or id, for an unknown id without an address, and for a
    state that GST does not know; EmailDiffers and ExternalIdDiffers if the call names two people.
    """
    check_state(state, now)
    named = clean_names(external_user_id=external_user_id, email=email)
    fresh = Customer(
        partner_id=partner_id,
        environment=environment,
        external_user_id=named.external_id,
        email=named.email,
        name=name,
        state=state,
        created_at=now,
    )
    for _ in range(_LOOKS):
        customer = _look_up_once(named, fresh, actor)
        if customer is not None:
            fill_unknown(customer, now=now, name=name, state=state)
            return customer
    raise Unavailable("This customer is being changed right now: try again.")


def _look_up_once(named: Named, fresh: Customer, actor: Actor) -> Customer | None:
    """The customer; None if something was written, or somebody was quicker: then retry."""
    resolved, customer = look_up(named, partner_id=fresh.partner_id, environment=fresh.environment)
    refuse_mixed_up(resolved)
    if resolved.outcome is Outcome.NEEDS_EMAIL:
        raise InvalidRequest(f"user_email: {_NEEDS_EMAIL}", details={"user_email": _NEEDS_EMAIL})
    if resolved.outcome is Outcome.MAKE:
        _make(fresh)
        return None
    if resolved.outcome is Outcome.ADOPT and customer is not None:
        return customer if _adopt(customer, named.external_id, actor) else None
    return customer


def _make(fresh: Customer) -> None:
    """Insert the customer, unless the address or the id already exists."""
    try:
        with transaction.atomic():
            # A concurrent second transaction waits for the first and reads its row.
            insert_missing([fresh], unique=("partner_id", "environment", "email"))
    except IntegrityError as error:
        if constraint_of(error) != EXTERNAL_ID_UNIQUE:
            raise


def _adopt(customer: Customer, external_id: str, actor: Actor) -> bool:
    """Assign the partner's id to the customer; False if another call assigned one before."""
    try:
        with transaction.atomic():
            given = Customer.objects.filter(
                pk=customer.pk, email=customer.email, external_user_id=""
            ).update(external_user_id=external_id)
            if given:
                record_external_id(customer, "customer.external_id_given", actor)
    except IntegrityError as error:
        if constraint_of(error) != EXTERNAL_ID_UNIQUE:
            raise
        return False
    if given:
        customer.external_user_id = external_id
    return bool(given)


def record_external_id(customer: Customer, action: str, actor: Actor, reason: str = "") -> None:
    """Write the audit entry without the id: it may be a telephone number, and the log is
    permanent."""
    audit.record(
        actor=actor,
        action=action,
        target_type="customer",
        target_id=customer.public_id,
        partner_id=customer.partner_id,
        environment=customer.environment,
        data={"reason": reason} if reason else {},
    )


def fill_unknown(customer: Customer, *, now: dt.datetime, name: str = "", state: str = "") -> None:
    """Fill in what is still unknown about the customer, and leave the rest.

    A state (GST code) that is no longer in force counts as unknown. InvalidRequest for one that GST
    does not know.
    """
    check_state(state, now)
    nowhere = place_of_supply(ist_date(now), state=customer.state) is None
    for field, value, unknown in (("name", name, not customer.name), ("state", state, nowhere)):
        if value and unknown:
            before = getattr(customer, field)
            Customer.objects.filter(pk=customer.pk, **{field: before}).update(**{field: value})
            setattr(customer, field, value)
