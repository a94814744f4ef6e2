"""A customer's executions, for the customer's page."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest

from execution.alarm_lists import with_attention
from execution.models import Execution
from partners.models import Customer
from quantleap.core.admin_columns import in_rupees
from quantleap.core.console import Cell, Panel, day_cell, newest, page_of


def belongings(request: HttpRequest, customer: Customer) -> Sequence[Panel]:
    """The customer's newest executions as a panel; [] without permission. Two queries."""
    if not request.user.has_perm("execution.view_execution"):
        return []
    return [
        newest(
            "Executions",
            with_attention(
                Execution.objects.filter(subscription__customer=customer).select_related(
                    "run__template", "account"
                )
            ),
            {"subscription__customer__id__exact": customer.pk},
            ("Execution", "Day", "Template", "Account", "Status", "P&L"),
            lambda execution: (
                Cell(execution.public_id, page_of(execution)),
                day_cell(execution.run.trade_date),
                Cell(execution.run.template.name, page_of(execution.run)),
                Cell(str(execution.account), page_of(execution.account)),
                Cell(execution.get_status_display(), tone="bad" if execution.attention else ""),
                Cell(in_rupees(execution.realised_pnl)),
            ),
            "None yet.",
        )
    ]
