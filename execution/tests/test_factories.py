"""The bulk factories make what services would have made."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from brokers.sealed_credentials import credentials_of, session_of
from execution.tests.factories import (
    API_KEY,
    log_in,
    make_accounts,
    make_partner,
    subscribe_accounts,
)
from marketplace.tests.factories import TEST_NOW, make_short_straddle
from subscriptions.models import Allocation
from subscriptions.selectors import active_allocations


@pytest.mark.django_db
def test_bulk_made_subscribers_are_ready_to_trade() -> None:
    template = make_short_straddle()
    accounts = make_accounts(4, partner=make_partner(), brokers=("zebu", "zerodha"), now=TEST_NOW)
    log_in(accounts, lambda broker, client: f"{broker}-{client}", TEST_NOW)
    subscribe_accounts(template, accounts, multipliers=[Decimal(1), Decimal(2)], now=TEST_NOW)
    allocations = active_allocations(template.pk, "live")
    assert [row.account_id for row in allocations] == [account.pk for account in accounts]
    assert [row.broker for row in allocations] == ["zebu", "zerodha"] * 2
    multipliers = Allocation.objects.order_by("id").values_list("lot_multiplier", flat=True)
    assert list(multipliers) == [1, 2, 1, 2]
    for account in accounts:
        account.refresh_from_db()
        assert credentials_of(account).api_key == API_KEY
        assert account.has_session(TEST_NOW + dt.timedelta(hours=1))
        assert session_of(account).access_token == f"{account.broker}-{account.client_id}"
