"""The console of a month with one invoice, for the tests of the pages of money.

Models are imported in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from subscriptions.billing.models import Invoice


@pytest.fixture
def console(db: None) -> Client:
    """A superuser's browser, where suppliers, rates and contracts are known."""
    from marketplace.tests.factories import load_reference_data
    from quantleap.core.models import StaffUser
    from subscriptions.billing.tests.factories import load_billing

    load_billing()
    load_reference_data()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    return client


@pytest.fixture
def invoice(console: Client) -> Invoice:
    """The first month's, of ₹1,178.82."""
    from marketplace.tests.factories import make_template
    from partners.tests.factories import make_partner
    from subscriptions.billing.models import Invoice
    from subscriptions.billing.tests.factories import START, bill, follow

    follow(make_template(), make_partner("zebu"), [START])
    bill(START)
    return Invoice.objects.get()
