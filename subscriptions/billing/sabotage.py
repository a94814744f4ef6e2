"""Deliberate faults of billing for the demo's controls (execution/engine/sabotage.py has others).

``QUANTLEAP_SABOTAGE`` names at most one; a system check refuses it in production.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings

from subscriptions.billing import runsql
from subscriptions.billing.models import BillingSegment, Invoice

BILL_TWICE: Final = "bill_twice"
UNBALANCED_ENTRY: Final = "unbalanced_entry"


def active(name: str) -> bool:
    """Whether this fault is switched on."""
    return bool(name == settings.QUANTLEAP_SABOTAGE)


def entries() -> str:
    """The run's postings; sabotaged, every receivable is a paisa more than what it stands for."""
    if active(UNBALANCED_ENTRY):
        return runsql.ENTRIES.replace("new.total)", "new.total + 0.01)")
    return runsql.ENTRIES


def bill_again() -> bool:
    """Sabotaged: make the newest invoice's period due once more, in a segment that never was.

    A second invoice of the same segment is refused by the database, so this is what a wrong
    lifecycle could do. Whether the run has to look again.
    """
    if not active(BILL_TWICE):
        return False
    newest = Invoice.objects.filter(segment_no=1).order_by("-id").first()
    if newest is None:
        return False
    phantom: dict[str, Any] = {
        "anchor": newest.period_start,
        "stop_on": newest.period_start,
        "next_on": newest.period_start,
    }
    return BillingSegment.objects.get_or_create(
        partner_id=newest.partner_id,
        environment=newest.environment,
        subscription_id=newest.subscription_id,
        number=2,
        defaults=phantom,
    )[1]
