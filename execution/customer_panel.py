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
            lambda one: (
                Cell(one.public_id, page_of(one)),
                day_cell(one.run.trade_date),
                Cell(one.run.template.name, page_of(one.run)),
                Cell(str(one.account), page_of(one.account)),
                Cell(one.get_status_display(), tone="bad" if one.attention else ""),
                Cell(in_rupees(one.realised_pnl)),
            ),
            "None yet.",
        )
    ]
