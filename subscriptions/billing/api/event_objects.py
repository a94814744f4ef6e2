"""Invoices, payments, credit notes and commission for events, as a partner's GET returns them.

See partners.ports.ShownObjects.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from quantleap.core.api.plain import plain
from quantleap.core.models import OutboxEvent
from subscriptions.billing import reports
from subscriptions.billing.api.presenters import (
    commission_row,
    invoice_detail,
    note_row,
    payment_row,
)
from subscriptions.billing.api.serializers import (
    CommissionObject,
    CreditNoteObject,
    InvoiceDetailObject,
    ReceivedPaymentObject,
)
from subscriptions.billing.models import CreditNote

Shown = dict[str, dict[str, Any]]


def shown(events: Sequence[OutboxEvent], now: dt.datetime) -> Mapping[str, Mapping[str, Any]]:
    """Event id -> the object that each of billing's events is about."""
    del now
    groups: dict[tuple[str, int, str], list[OutboxEvent]] = defaultdict(list)
    for event in events:
        kind = event.type.partition(".")[0]
        if kind in _KINDS and event.partner_id is not None:
            groups[kind, event.partner_id, event.environment].append(event)
    by_event: Shown = {}
    for (kind, partner_id, environment), mine in groups.items():
        member, read = _KINDS[kind]
        ids = {event.event_id: str(event.payload.get(member, "")) for event in mine}
        objects = read(partner_id, environment, set(ids.values()))
        by_event |= {event_id: objects[key] for event_id, key in ids.items() if key in objects}
    return by_event


def _invoices(partner_id: int, environment: str, ids: Iterable[str]) -> Shown:
    rows = reports.invoices_with_history(partner_id, environment).filter(public_id__in=ids)
    return {row.public_id: plain(InvoiceDetailObject(invoice_detail(row)).data) for row in rows}


def _payments(partner_id: int, environment: str, ids: Iterable[str]) -> Shown:
    rows = reports.payments(partner_id, environment).filter(public_id__in=ids)
    return {
        row.public_id: plain(ReceivedPaymentObject(payment_row(row, row.invoice)).data)
        for row in rows
    }


def _credit_notes(partner_id: int, environment: str, numbers: Iterable[str]) -> Shown:
    rows = CreditNote.objects.for_partner(partner_id, environment).filter(number__in=numbers)
    return {
        row.number: plain(CreditNoteObject(note_row(row)).data)
        for row in rows.select_related("refund").defer("snapshot")
    }


def _commissions(partner_id: int, environment: str, ids: Iterable[str]) -> Shown:
    rows = reports.commissions(partner_id, environment).filter(public_id__in=ids)
    return {row.public_id: plain(CommissionObject(commission_row(row)).data) for row in rows}


#: First part of an event type -> the payload member that names the object, and its reader.
_KINDS: Final[Mapping[str, tuple[str, Callable[[int, str, Iterable[str]], Shown]]]] = {
    "invoice": ("invoice_id", _invoices),
    "payment": ("payment_id", _payments),
    "credit_note": ("credit_note", _credit_notes),
    "commission": ("commission_id", _commissions),
}
