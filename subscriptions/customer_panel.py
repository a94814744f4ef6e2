"""The panel of a customer's subscriptions on the customer's console page."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest

from partners.models import Customer
from quantleap.core.admin_columns import in_rupees
from quantleap.core.console import Cell, Panel, day_cell, newest, page_of
from subscriptions.models import Subscription


def belongings(request: HttpRequest, customer: Customer) -> Sequence[Panel]:
    """The newest subscriptions of ``customer`` as a panel (2 queries).

    Returns nothing for staff who may not view subscriptions.
    """
    if not request.user.has_perm("subscriptions.view_subscription"):
        return []
    return [
        newest(
            "Subscriptions",
            Subscription.objects.filter(customer=customer).select_related("template"),
            {"customer__id__exact": customer.pk},
            ("Subscription", "Template", "Status", "Since", "Fee a month"),
            lambda subscription: (
                Cell(subscription.public_id, page_of(subscription)),
                Cell(subscription.template.name),
                Cell(subscription.get_status_display()),
                day_cell(subscription.created_at),
                Cell(in_rupees(subscription.monthly_fee)),
            ),
            "None yet.",
        )
    ]
