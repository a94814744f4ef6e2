"""One receipt for several invoices: the part of each, and the rest as the payer's credit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from partners.models import Customer
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.money import PAISA, ZERO
from subscriptions.billing.errors import InvoiceChanged
from subscriptions.billing.ledger import chart_of_accounts
from subscriptions.billing.models import Invoice, Receipt
from subscriptions.billing.settlement import receipts
from subscriptions.billing.settlement.payments import (
    IN_ADVANCE,
    check_after_invoice,
    check_money,
    check_received,
    lock_invoice,
    settle,
)

NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a receipt that an invoice gets, in rupees."""

    invoice_id: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Received:
    """``created`` False: the same receipt was recorded before."""

    receipt: Receipt
    created: bool


def open_invoices(customer: Customer) -> list[Invoice]:
    """A customer's unpaid and partly paid invoices, oldest first (1 query)."""
    unpaid = Invoice.objects.filter(customer=customer, status__in=Invoice.UNPAID)
    return list(unpaid.defer("snapshot").order_by("issued_on", "id"))


def oldest_first(invoices: Iterable[Invoice], amount: Decimal) -> list[Part]:
    """Distribute ``amount`` rupees over invoices in their order, each up to what it owes."""
    parts, left = [], amount
    for invoice in invoices:
        part = min(left, invoice.outstanding)
        if part > 0:
            parts.append(Part(invoice.pk, part))
            left -= part
    return parts


def record(
    *,
    amount: Decimal,
    method: str,
    reference: str,
    received_on: dt.date,
    parts: Sequence[Part],
    actor: Actor,
    now: dt.datetime,
    customer_id: int | None = None,
    payer_name: str = "",
    note: str = "",
) -> Received:
    """Record one receipt (rupees, ``received_on`` IST) and what each invoice gets of it.

    What no part takes is credit of the payer, who then must be a customer, as only customers have
    an account with us. Invoices may belong to other customers of the same tenant for whom the payer
    paid. Commission accrues on each part. Recording the same receipt again changes nothing.

    Raises NotFound; InvalidRequest for invalid values, by field (``parts`` for the invoices);
    InvoiceChanged (409) if an invoice owes less than its part; ReceiptExists (409).
    """
    check_money(amount, method, reference, idem_key=reference)
    check_received(method, reference, received_on, now)
    _check_parts(amount, parts, customer_id, payer_name)
    if received_on < ist_date(now) - IN_ADVANCE:
        raise InvalidRequest(details={"received_on": "More than a year ago."})
    with transaction.atomic():
        invoices = [
            lock_invoice(invoice_id) for invoice_id in sorted(part.invoice_id for part in parts)
        ]
        payer = _payer(customer_id)
        owner = _owner(payer, invoices)
        earlier = receipts.live(method, reference)
        if earlier is not None:
            if not _same(earlier, amount, customer_id, received_on, parts):
                raise receipts.exists_already(earlier)
            return Received(earlier, created=False)
        amounts = {part.invoice_id: part.amount for part in parts}
        for invoice in invoices:
            check_after_invoice(invoice, received_on)
            owed = invoice.outstanding
            if amounts[invoice.pk] > owed:
                raise InvoiceChanged(
                    f"{invoice.number} owes {max(owed, ZERO)} rupees, less than the "
                    f"{amounts[invoice.pk]} that it was to get: open the page again"
                )
        receipt = receipts.insert(
            payer=payer,
            payer_name=payer_name.strip(),
            owner=owner,
            amount=amount,
            credit=amount - sum(amounts.values(), ZERO),
            method=method,
            reference=reference,
            received_on=received_on,
            note=note.strip(),
            actor=actor,
            now=now,
        )
        for invoice in invoices:
            _allocate(receipt, invoice, amounts[invoice.pk], actor, now)
        _record(receipt, [(invoice.number, amounts[invoice.pk]) for invoice in invoices], actor)
    return Received(receipt, created=True)


def _check_parts(
    amount: Decimal, parts: Sequence[Part], customer_id: int | None, payer_name: str
) -> None:
    wrong = {}
    total = sum((part.amount for part in parts), ZERO)
    if len({part.invoice_id for part in parts}) != len(parts):
        wrong["parts"] = "Each invoice once."
    elif any(
        not part.amount.is_finite()
        or part.amount <= 0
        or part.amount != part.amount.quantize(PAISA)
        for part in parts
    ):
        wrong["parts"] = "Rupees greater than 0, with at most two decimals."
    elif total > amount:
        wrong["parts"] = f"The invoices get {total} rupees, and only {amount} came."
    elif total < amount and customer_id is None:
        wrong["parts"] = (
            f"{amount - total} rupees would be nobody's: name the customer whose credit they are."
        )
    if customer_id is None and not 0 < len(payer_name.strip()) <= NAME_LENGTH:
        wrong["payer_name"] = f"Who paid: a customer, or a name of 1 to {NAME_LENGTH} characters."
    if wrong:
        raise InvalidRequest(details=wrong)


def _payer(customer_id: int | None) -> Customer | None:
    if customer_id is None:
        return None
    customer = Customer.objects.filter(pk=customer_id).first()
    if customer is None:
        raise NotFound
    return customer


def _owner(payer: Customer | None, invoices: Sequence[Invoice]) -> tuple[int | None, str]:
    """The one tenant of the payer and of all invoices. Raises NotFound if there are several."""
    owners = {(invoice.partner_id, str(invoice.environment)) for invoice in invoices}
    if payer is not None:
        owners.add((payer.partner_id, str(payer.environment)))
    if len(owners) != 1:
        raise NotFound
    return owners.pop()


def _same(
    receipt: Receipt,
    amount: Decimal,
    customer_id: int | None,
    received_on: dt.date,
    parts: Sequence[Part],
) -> bool:
    paid = sorted(receipt.payments.values_list("invoice_id", "amount"))
    return (receipt.amount, receipt.customer_id, receipt.received_on, paid) == (
        amount,
        customer_id,
        received_on,
        sorted((part.invoice_id, part.amount) for part in parts),
    )


def _allocate(
    receipt: Receipt, invoice: Invoice, amount: Decimal, actor: Actor, now: dt.datetime
) -> None:
    same: dict[str, Any] = {
        "invoice_id": invoice.pk,
        "receipt_id": receipt.pk,
        "amount": amount,
        "method": receipt.method,
        "reference": receipt.reference,
        "received_on": receipt.received_on,
    }
    key = f"{receipt.public_id}:{invoice.number}"
    settle(
        invoice,
        idem_key=key,
        applied=amount,
        same=same,
        source=chart_of_accounts.MANUAL_CLEARING,
        actor=actor,
        now=now,
    )


def _record(receipt: Receipt, paid: Sequence[tuple[str, Decimal]], actor: Actor) -> None:
    audit.record(
        actor=actor,
        action="receipt.recorded",
        target_type="receipt",
        target_id=receipt.public_id,
        partner_id=receipt.partner_id,
        environment=receipt.environment,
        data={
            "payer": receipt.payer,
            "amount": str(receipt.amount),
            "credit": str(receipt.credit),
            "method": receipt.method,
            "reference": receipt.reference,
            "received_on": receipt.received_on.isoformat(),
            "invoices": {number: str(amount) for number, amount in paid},
        },
    )
