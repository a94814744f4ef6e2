"""Webhooks that the partner must have got, and those that arrived. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clients.demo.day import Day
from clients.demo.evidence import ENTERED, Execution
from clients.demo.story import CANCELLED, PAUSED

WebhookKey = tuple[str, ...]
# The member that names an event's object, by the first part of the event's type.
SUBJECTS: Final = {"invoice": "invoice_id", "commission": "commission_id"}


def expected_webhooks(day: Day) -> set[WebhookKey]:
    """Webhooks that the partner must have got, given what happened according to the API."""
    keys: set[WebhookKey] = set()
    for part in day.parts:
        customer, plan = part.expected.customer, part.expected.plan
        known = day.evidence.subscriptions.get((customer.email, plan.key))
        if known is None:
            continue
        keys.add(("subscription.created", known.id))
        if known.status in (PAUSED, CANCELLED):
            keys.add((f"subscription.{known.status.lower()}", known.id))
        if part.seen is not None:
            keys |= _execution_webhooks(known.id, part.seen)
    return keys | _money_webhooks(day)


def _execution_webhooks(subscription_id: str, seen: Execution) -> set[WebhookKey]:
    keys: set[WebhookKey] = set()
    if seen.status in ENTERED:
        keys.add(("execution.completed", subscription_id, "ENTRY"))
    if seen.status == "CLOSED":
        keys.add(("execution.completed", subscription_id, "EXIT"))
    if seen.status in ("FAILED", "MISSED"):
        keys.add((f"execution.{seen.status.lower()}", subscription_id, "ENTRY"))
    if seen.status in ENTERED or seen.status == "FAILED":
        rejected = (order for order in seen.entries if order.state == "REJECTED")
        keys |= {("order.rejected", subscription_id, order.tag) for order in rejected}
    return keys


def _money_webhooks(day: Day) -> set[WebhookKey]:
    """For every invoice, every paid invoice, and every step of commission."""
    month = day.evidence.month
    keys: set[WebhookKey] = {("invoice.issued", invoice.id) for invoice in month.invoices}
    keys |= {("invoice.paid", invoice.id) for invoice in month.invoices if invoice.status == "PAID"}
    return keys | {
        ("commission.accrued", row.id) for row in month.commissions if row.kind == "ACCRUAL"
    }


def delivered_webhooks(day: Day) -> Iterator[WebhookKey]:
    """What the receiver got, as keys of the same kind."""
    for webhook in day.evidence.webhooks:
        subject = SUBJECTS.get(webhook.type.partition(".")[0])
        if subject is not None:
            yield webhook.type, str(webhook.data.get(subject, ""))
            continue
        subscription_id = str(webhook.data.get("subscription_id", ""))
        detail = webhook.data.get("phase") or webhook.data.get("tag")
        key = (webhook.type, subscription_id)
        yield (*key, str(detail)) if detail and not webhook.type.startswith("sub") else key
