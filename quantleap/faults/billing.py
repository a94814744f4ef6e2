"""Faults of billing: of its runs, its receipts and its reversals.

The database's functions would refuse some of these faults. To show that a check other than the
database notices them, the fault also disables that one condition, in a throw-away installation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, connections

from quantleap.core import clock
from quantleap.core.money import ZERO
from quantleap.faults.planting import Faults, Planting
from subscriptions.billing.invoicing import runs, segments
from subscriptions.billing.ledger import chart_of_accounts
from subscriptions.billing.ledger.posting import Posting
from subscriptions.billing.models import BillingSegment, Commission, Invoice, Receipt, Reversal
from subscriptions.billing.settlement import commissions, receipts, reversals
from subscriptions.models import Subscription

FAULTS: Final = Faults()

_CHANGE_FIRST: Final = "UPDATE billing_named SET taxable = taxable + %s WHERE place = 1"
_PAISA: Final = "0.01"


# -- runs ------------------------------------------------------------------------------------------
@FAULTS.fault("bill_twice", "a phantom segment makes one month due once more")
def bill_twice(plant: Planting) -> None:
    """The newest invoice's period is due again, in a segment that no lifecycle would write.

    The database refuses a second invoice of the same segment, so this is what a wrong lifecycle
    could do.
    """

    @plant.around(runs, "_pass")
    def go_through(original: Callable[..., bool], *arguments: Any) -> bool:
        return original(*arguments) or _make_due_again()


def _make_due_again() -> bool:
    """Returns whether the phantom is new, so that the run must query again."""
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


@FAULTS.fault("unbalanced_entry", "one posting is a paisa out of balance")
def unbalanced_entry(plant: Planting) -> None:
    """The first invoice of each chunk defers one paisa more than its amount."""

    @plant.around(runs, "_post")
    def post(original: Callable[..., None], cursor: Any, issue: Mapping[str, Any]) -> None:
        cursor.execute(_CHANGE_FIRST, [_PAISA])
        original(cursor, issue)
        cursor.execute(_CHANGE_FIRST, [f"-{_PAISA}"])

    _let_pass(plant, "billing_judge_entries", "HAVING sum(amount) <> 0", "HAVING false")


@FAULTS.fault("begin_again", "who subscribes again begins a period inside one that they have begun")
def begin_again(plant: Planting) -> None:
    """Ignore earlier subscriptions (adr 0054)."""

    @plant.around(segments, "begun")
    def begun(
        _original: Callable[..., Any], _subscriptions: Collection[Subscription]
    ) -> dict[int, segments.Begun]:
        return {}

    _let_pass(plant, "billing_days_once", "IF FOUND THEN", "IF false THEN")


# -- receipts and reversals ------------------------------------------------------------------------
@FAULTS.fault("receipt_twice", "one transfer is recorded for two customers")
def receipt_twice(plant: Planting) -> None:
    """Find no receipt by its reference."""

    @plant.around(receipts, "live")
    def live(_original: Callable[..., Any], _method: str, _reference: str) -> None:
        return None

    _let_pass(plant, "billing_reference_is_free", "IF FOUND THEN", "IF false THEN")


@FAULTS.fault("receipt_short", "what a receipt pays no invoice with is nowhere")
def receipt_short(plant: Planting) -> None:
    """Leave the payer's credit out of the receipt and of the ledger."""

    @plant.around(receipts, "insert")
    def insert(original: Callable[..., Receipt], **named: Any) -> Receipt:
        return original(**{**named, "credit": ZERO})

    _let_pass(
        plant, "billing_receipt_adds_up", "IF wrong.public_id IS NOT NULL THEN", "IF false THEN"
    )


@FAULTS.fault("reversal_earns", "money that went back at the bank still earns a commission")
def reversal_earns(plant: Planting) -> None:
    """A reversal claws no commission back; a credit note does."""

    @plant.around(commissions, "claw_back")
    def claw_back(
        original: Callable[..., list[Commission]],
        invoice: Invoice,
        cause: Any,
        *rest: Any,
        **named: Any,
    ) -> list[Commission]:
        return [] if isinstance(cause, Reversal) else original(invoice, cause, *rest, **named)


@FAULTS.fault("reversal_beside", "a reversal does not mirror the posting that it takes back")
def reversal_beside(plant: Planting) -> None:
    """Take the money from the suspense account."""

    @plant.around(reversals, "_other_side")
    def other_side(original: Callable[..., list[Posting]], transaction_id: int) -> list[Posting]:
        return [
            Posting("suspense", side.amount)
            if side.account == chart_of_accounts.MANUAL_CLEARING
            else side
            for side in original(transaction_id)
        ]


# -- conditions of the database --------------------------------------------------------------------
def _let_pass(plant: Planting, function: str, judgement: str, nothing: str) -> None:
    """After the migrations, disable one condition of a database function.

    The rest of the function stays, so balances are still kept. Only if the clock was moved: such an
    installation is thrown away.
    """

    def replace(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
        if not clock.offset_seconds():
            return
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [function])
            (definition,) = cursor.fetchone()
            if judgement not in definition:
                raise LookupError(f"{function} does not judge by {judgement!r} any more")
            cursor.execute(definition.replace(judgement, nothing))

    plant.after_migrations("billing", replace)
