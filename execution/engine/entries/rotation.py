"""The order in which the accounts of a run enter: another customer is first every day."""

from __future__ import annotations

from collections.abc import Sequence

from execution.engine.database.entry_writer import EntryPlan


def rotated(plans: Sequence[EntryPlan]) -> list[EntryPlan]:
    """Dispatch order: each customer's plans by priority, and another customer first every day.

    Whole customers are rotated: rotating the list of all allocations gave one customer the
    priorities 2, 3, 1, 1, 2.
    """
    customers: dict[tuple[int | None, str], list[EntryPlan]] = {}
    for plan in sorted(plans, key=lambda p: (p.execution.priority, p.execution.account_id)):
        execution = plan.execution
        whose = (execution.partner_id, execution.customer_email)
        customers.setdefault(whose, []).append(plan)
    ordered = sorted(customers.values(), key=lambda theirs: theirs[0].execution.account_id)
    if not ordered:
        return []
    turn = plans[0].execution.run.trade_date.toordinal() * 7919 % len(ordered)
    return [plan for theirs in ordered[turn:] + ordered[:turn] for plan in theirs]
