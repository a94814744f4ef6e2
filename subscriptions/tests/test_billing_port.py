"""What subscriptions ask of billing through their port."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.ports import PortNotRegistered
from quantleap.core.tenancy import Environment
from subscriptions.models import Subscription
from subscriptions.ports import BILLING
from subscriptions.tests.factories import make_subscription


@pytest.mark.django_db
def test_nobody_subscribes_where_nobody_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port has no default: a paid subscription without segments would never be billed."""
    load_reference_data()
    template, partner = make_template(), make_partner()
    with monkeypatch.context() as patch:
        patch.setattr(BILLING, "_implementation", None)
        with pytest.raises(PortNotRegistered, match=r"subscriptions\.billing"):
            make_subscription(template, partner)
    assert not Subscription.objects.exists()
    assert make_subscription(template, partner).segments.count() == 1


@pytest.mark.parametrize(
    ("environment", "fee", "billed"),
    [
        (Environment.LIVE, "999", True),
        (Environment.LIVE, "0", False),
        (Environment.TEST, "9", False),
    ],
)
def test_only_paid_live_subscriptions_are_billed(
    environment: Environment, fee: str, billed: bool
) -> None:
    assert Subscription(environment=environment, monthly_fee=Decimal(fee)).is_billed is billed
