"""The details of a customer that appear on invoices, and the service that changes them."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import transaction

from partners.gst_states import refusal
from partners.models import Customer
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound

REASON_LENGTH: Final = 200
ADDRESS_LENGTH: Final = 400
ADDRESS_LINES: Final = 6


def check_state(state: str, now: dt.datetime, field: str = "state") -> None:
    """Raise InvalidRequest for ``field`` unless ``state`` is empty or in force today (IST)."""
    words = refusal(state, ist_date(now))
    if state and words:
        raise InvalidRequest(f"{field}: {words}", details={field: words})


def check_address(address: str) -> str:
    """``address`` without stray blanks; InvalidRequest if it does not fit on an invoice."""
    lines = [" ".join(line.split()) for line in address.splitlines()]
    filled = [line for line in lines if line]
    words = ""
    if len(filled) > ADDRESS_LINES or sum(map(len, filled)) > ADDRESS_LENGTH:
        words = f"At most {ADDRESS_LINES} lines and {ADDRESS_LENGTH} characters."
    elif not all(line.isprintable() for line in filled):
        words = "Without control characters."
    if words:
        raise InvalidRequest(f"billing_address: {words}", details={"billing_address": words})
    return "\n".join(filled)


def change_billing_details(
    *,
    customer_id: int,
    state: str,
    billing_address: str,
    reason: str,
    actor: Actor,
    now: dt.datetime,
) -> bool:
    """Set the state and address to which the customer's invoices are made out from now on.

    Every later invoice has them, even for a period that has begun; issued invoices stay as they
    are, and a credit note follows its invoice. With an empty ``state`` (GST code) invoices are
    withheld until there is one. Returns False if nothing changes.

    NotFound; InvalidRequest for a state that is not in force today (IST), an address that does not
    fit, or a missing reason.
    """
    check_state(state, now)
    address = check_address(billing_address)
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise InvalidRequest(details={"reason": f"From 1 to {REASON_LENGTH} characters."})
    with transaction.atomic():
        customer = Customer.objects.select_for_update(no_key=True).filter(pk=customer_id).first()
        if customer is None:
            raise NotFound
        before = customer.state
        moved = customer.billing_address != address
        if before == state and not moved:
            return False
        customer.state, customer.billing_address = state, address
        customer.save(update_fields=["state", "billing_address"])
        audit.record(
            actor=actor,
            action="customer.billing_details_changed",
            target_type="customer",
            target_id=customer.public_id,
            partner_id=customer.partner_id,
            environment=customer.environment,
            # the address belongs to the customer, and the audit log cannot be erased
            data={"state": [before, state], "address_changed": moved, "reason": reason},
        )
    return True
