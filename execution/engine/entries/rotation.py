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
        customer = (execution.partner_id, execution.customer_email)
        customers.setdefault(customer, []).append(plan)
    ordered = sorted(customers.values(), key=lambda own_plans: own_plans[0].execution.account_id)
    if not ordered:
        return []
    first = plans[0].execution.run.trade_date.toordinal() * 7919 % len(ordered)
    return [plan for own_plans in ordered[first:] + ordered[:first] for plan in own_plans]
