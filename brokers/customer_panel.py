"""A customer's broker accounts, for the customer's page."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest

from brokers.models import BrokerAccount
from brokers.readiness import readiness
from partners.models import Customer
from quantleap.core import clock
from quantleap.core.console import Cell, Panel, newest, page_of


def belongings(request: HttpRequest, customer: Customer) -> Sequence[Panel]:
    """The panel of broker accounts (two queries)."""
    if not request.user.has_perm("brokers.view_brokeraccount"):
        return []
    now = clock.now()
    return [
        newest(
            "Broker accounts",
            BrokerAccount.objects.filter(customer=customer).defer("api_key", "api_secret"),
            {"customer__id__exact": customer.pk},
            ("Client id", "Broker", "Status", "Ready"),
            lambda account: (
                Cell(account.client_id, page_of(account)),
                Cell(account.get_broker_display()),
                Cell(account.get_status_display()),
                Cell(readiness(account, now).reason.replace("_", " ") or "ready"),
            ),
            "None yet: the first one is created with the first subscription.",
        )
    ]
