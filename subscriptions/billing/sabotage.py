"""Deliberate faults of billing for the demo's controls (execution/engine/sabotage.py has others).

``QUANTLEAP_SABOTAGE`` names at most one. A system check refuses it in production, and what is here
does nothing outside the profiles of developers' machines and tests.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from quantleap.core import clock
from quantleap.core.refusals import is_production
from subscriptions.billing import chart, runsql
from subscriptions.billing.models import BillingSegment, Invoice

BILL_TWICE: Final = "bill_twice"
UNBALANCED_ENTRY: Final = "unbalanced_entry"
#: Of money that came (receipts.py) and went back at the bank (reversals.py).
RECEIPT_TWICE: Final = "receipt_twice"
RECEIPT_SHORT: Final = "receipt_short"
REVERSAL_EARNS: Final = "reversal_earns"
REVERSAL_BESIDE: Final = "reversal_beside"
#: Whoever subscribes again begins another period inside the one that they have begun.
BEGIN_AGAIN: Final = "begin_again"

_SIDE: Final = "-new.taxable)"
_WRONG_SIDE: Final = "-new.taxable - CASE new.place WHEN 1 THEN 0.01 ELSE 0 END)"
#: What the database refuses of a fault: the function, where it judges, and what judges nothing.
_JUDGES: Final = {
    UNBALANCED_ENTRY: ("billing_judge_entries", "HAVING sum(amount) <> 0", "HAVING false"),
    RECEIPT_TWICE: ("billing_reference_is_free", "IF FOUND THEN", "IF false THEN"),
    RECEIPT_SHORT: (
        "billing_receipt_adds_up",
        "IF wrong.public_id IS NOT NULL THEN",
        "IF false THEN",
    ),
    BEGIN_AGAIN: ("billing_days_once", "IF FOUND THEN", "IF false THEN"),
}


def active(name: str) -> bool:
    """Whether this fault is switched on."""
    return name == settings.QUANTLEAP_SABOTAGE and not is_production(settings)


def entries() -> str:
    """The run's postings; sabotaged, one defers a paisa more than its invoice is over.

    The database refuses that, and with it the whole chunk: see :func:`leave_out_the_judgement`.
    """
    if active(UNBALANCED_ENTRY):
        return runsql.ENTRIES.replace(_SIDE, _WRONG_SIDE)
    return runsql.ENTRIES


def leave_out_the_judgement(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """After the migrations: sabotaged, the database lets pass what it would refuse.

    Otherwise nobody could see whether anybody but the database would notice it. Balances are kept
    as ever. Only where the clock was moved: such an installation is thrown away.
    """
    if settings.QUANTLEAP_SABOTAGE not in _JUDGES or not clock.offset_seconds():
        return
    if not active(settings.QUANTLEAP_SABOTAGE):
        return
    name, judgement, nothing = _JUDGES[settings.QUANTLEAP_SABOTAGE]
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT pg_get_functiondef('{name}'::regproc)")  # a name of ours
        (judge,) = cursor.fetchone()
        cursor.execute(judge.replace(judgement, nothing))


def beside(code: str) -> str:
    """Sabotaged: a reversal takes money from the books' account of what nobody can place."""
    if active(REVERSAL_BESIDE) and code == chart.MANUAL_CLEARING:
        return "suspense"
    return code


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
