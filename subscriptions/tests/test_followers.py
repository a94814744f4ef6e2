"""Whose entry would be refused: told before publishing, and refused when somebody subscribes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from brokers.pace import Window
from marketplace.definition import Definition
from marketplace.models import Leg
from marketplace.ports import SUBSCRIBERS
from marketplace.tests.factories import (
    TEST_DAY,
    TEST_NOW,
    definition_spec,
    leg_spec,
    load_reference_data,
    load_test_contracts,
    make_template,
    strategy_spec,
)
from partners.tests.factories import make_partner, make_tenant
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.capacity import EntryPace, check_pace, orders_by_group
from subscriptions.errors import TooManyOrders
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription, subscribe_many

SPREAD = (leg_spec("BUY", "CE", key="long"), leg_spec("SELL", "CE", key="short"))


def definition(*lots: int) -> Definition:
    legs = [leg_spec(lots=count, key=f"leg{count}") for count in lots]
    return definition_spec(strategy_spec(legs))


def refused(template_id: int, proposed: Definition) -> dict[str, str]:
    """Cause by public id."""
    refusals = SUBSCRIBERS.get().refused(template_id, proposed, TEST_DAY)
    return {refusal.public_id: refusal.cause for refusal in refusals}


def test_publishing_names_who_would_trade_no_lots_of_a_leg(db: None) -> None:
    """A subscription is named if its multiplier leaves a leg no lots; a cancelled one is not."""
    load_reference_data()
    template, partner = make_template(legs=[leg_spec(lots=10)]), make_partner()
    half = make_subscription(template, partner, lot_multiplier="0.50")
    third = make_subscription(template, partner, lot_multiplier="0.40")
    make_subscription(template, partner, lot_multiplier=1)
    cancelled = make_subscription(template, partner, lot_multiplier="0.20")
    services.cancel(subscription_id=cancelled.pk, actor=SYSTEM, reason="USER", now=TEST_NOW)
    assert refused(template.pk, definition(10)) == {}
    assert refused(template.pk, definition(2)) == {third.public_id: "LOTS_ZERO"}
    assert refused(template.pk, definition(1)) == dict.fromkeys(
        [half.public_id, third.public_id], "LOTS_ZERO"
    )


def test_publishing_warns_of_a_version_that_trades_3_to_1(db: None, admin_client: Client) -> None:
    """SELL 2 : BUY 1 at x1.5: a newcomer is refused, who follows already would have traded it."""
    load_test_contracts(TEST_DAY)
    template, partner = (
        make_template(legs=[leg_spec("SELL", lots=2, key="a"), leg_spec("BUY", lots=2, key="b")]),
        make_partner(),
    )
    mine = make_subscription(template, partner, lot_multiplier="1.50")
    fits = make_subscription(template, partner, lot_multiplier=2)
    Leg.objects.filter(strategy__template=template, side="BUY").update(lots=1)
    page = admin_client.get(reverse("admin:marketplace_template_publish", args=[template.pk]))
    text = page.content.decode()
    assert "2:1 x 1.5 -&gt; 3:1" in text
    assert "1 of them will not enter" in text
    assert reverse("admin:subscriptions_subscription_change", args=[mine.pk]) in text
    assert fits.public_id not in text


@pytest.mark.parametrize("count", [3, 60])
def test_the_same_queries_for_sixty_as_for_three(
    count: int, db: None, django_assert_num_queries: Any
) -> None:
    load_test_contracts(TEST_DAY)
    template = make_template(legs=SPREAD)
    subscribe_many(template, count, make_partner(), lot_multiplier="0.50")
    with django_assert_num_queries(2):
        assert len(refused(template.pk, definition(1))) == count


def test_a_multiplier_too_large_for_the_pace_names_the_limit(db: None, settings: Any) -> None:
    """The refusal of 130 orders says that the multiplier may be at most 40.99."""
    settings.QUANTLEAP_ENTRY_GRACE = 12.0
    load_test_contracts(TEST_DAY)
    tenant, template = make_tenant("zebu"), make_template(legs=SPREAD)
    body = {
        "template_id": template.public_id,
        "user_email": "asha@example.com",
        "user_state": "33",
        "broker_client_id": "Z1",
        "lot_multiplier": 65,
        "max_lots_per_order": 1,
    }
    answer = tenant.client.post("/partner/marketplace/subscribe", body)
    assert answer.status_code == 400
    assert answer.json()["details"]["lot_multiplier"] == (
        "Makes 130 orders, and so many cannot leave within the entry's 12 seconds at this "
        "broker's pace. At most 40.99 with max_lots_per_order 1."
    )
    assert not Subscription.objects.exists()
    for multiplier, status in ((49, 400), (40.99, 201)):
        answer = tenant.client.post(
            "/partner/marketplace/subscribe", body | {"lot_multiplier": multiplier}
        )
        assert answer.status_code == status, answer.json()


def test_without_a_contract_list_only_what_is_known_is_counted(db: None) -> None:
    load_reference_data()
    template, partner = make_template(legs=SPREAD), make_partner()
    subscription = make_subscription(template, partner, lot_multiplier=90_000)
    assert subscription.status == "ACTIVE"


def test_orders_are_counted_group_by_group() -> None:
    strategy = strategy_spec([leg_spec("BUY", lots=3), leg_spec("SELL", lots=5)])
    assert orders_by_group(strategy, Decimal(10), None, 27) == [2, 2]
    assert orders_by_group(strategy, Decimal(10), 4, 27) == [8, 13]
    assert orders_by_group(strategy, Decimal(10), None, None) == [1, 1]


def test_where_even_the_smallest_is_too_much_it_is_said() -> None:
    too_large = definition_spec(strategy_spec([leg_spec(lots=5_000)]))
    pace = EntryPace((Window(1.0, 10),), 12.0)
    with pytest.raises(TooManyOrders, match=r"At most 0\.0"):
        check_pace(too_large, Decimal(1), 1, pace=pace, lots_per_order={})
    too_large = definition_spec(strategy_spec([leg_spec(lots=3), leg_spec(lots=50_000)]))
    with pytest.raises(TooManyOrders, match="No multiplier is small enough"):
        check_pace(too_large, Decimal(1), 1, pace=pace, lots_per_order={})


def test_strategies_of_the_same_second_share_the_accounts_pace() -> None:
    pace = EntryPace((Window(1.0, 10),), 12.0)

    def pair(**second: Any) -> Definition:
        legs = [leg_spec(lots=50)]
        return definition_spec(
            strategy_spec(legs, key="a", name="A", weekdays=(0, 1)),
            strategy_spec(legs, key="b", name="B", **second),
        )

    with pytest.raises(TooManyOrders, match="Makes 100 orders"):
        check_pace(pair(), Decimal(1), 1, pace=pace, lots_per_order={})
    check_pace(pair(weekdays=(2, 3)), Decimal(1), 1, pace=pace, lots_per_order={})
    check_pace(pair(entry_time=dt.time(9, 45)), Decimal(1), 1, pace=pace, lots_per_order={})
