"""The console's executions and orders, each on its page."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from django.test import Client

from execution.models import Execution, OrderIntent
from execution.price_changes import Change, to_json
from execution.tests.consoleday import Day, get, list_of
from execution.tests.rows import make_execution
from quantleap.core import clock
from quantleap.core.console import page_of

pytestmark = pytest.mark.django_db


def test_an_execution_shows_its_orders_and_outside_closes(day: Day, staff: Client) -> None:
    """What was closed outside is shown in units of its contract."""
    day.fill(1)
    execution = Execution.objects.get(status="CLOSED")
    entry = execution.intents.order_by("pk")[0]
    execution.closed_outside = {entry.leg_key: -65}
    execution.save()
    text = get(staff, page_of(execution))
    for intent in execution.intents.all():
        assert intent.tag in text
    assert f"65 units of {entry.symbol} were closed outside" in text
    assert execution.subscription.customer.email in text


def test_an_orders_page_lists_its_changes(day: Day, staff: Client) -> None:
    """Each change shows both prices and its outcome; the broker's words are escaped."""
    day.fill(1)
    order = OrderIntent.objects.order_by("pk")[0]
    assert "Changes of its price" in get(staff, page_of(order)), "the control: there are none"
    refused = Change(Decimal("98.00"), Decimal("99.05"), clock.now(), "FEED", state="REFUSED")
    done = replace(refused, price=Decimal("99.50"), state="DONE")
    order.changes = to_json([replace(refused, message="<b>being processed</b>"), done])
    order.save(update_fields=["changes"])
    text = get(staff, page_of(order))
    assert "98.00 to 99.05, refused by the broker: &lt;b&gt;being processed" in text
    assert "98.00 to 99.50, and the broker&#x27;s book shows it." in text


def test_a_tag_finds_its_order_whichever_send_it_names(day: Day, staff: Client) -> None:
    day.fill(1)
    order, other = OrderIntent.objects.order_by("pk")[:2]
    text = get(staff, list_of(OrderIntent), q=f"Q{order.code.lower()}3")
    assert order.tag in text
    assert other.tag not in text
    assert order.tag in get(staff, list_of(OrderIntent), q=order.broker_order_id)


@pytest.mark.parametrize(
    ("cause", "message", "said"),
    [
        ("MARGIN", "RMS: no margin", "The broker&#x27;s own words: RMS: no margin"),
        ("NO_QUOTE", "no fresh level of NIFTY", "no fresh level of NIFTY"),
        ("CONTRACT_LIST", "one expiry has one lot", "one expiry has one lot"),
    ],
)
def test_our_own_sentence_was_shown_as_the_brokers_own_words(
    staff: Client, day: Day, cause: str, message: str, said: str
) -> None:
    (subscription,) = day.subscribers(1)
    execution = make_execution(day.run, subscription, "MISSED", cause=cause, message=message)
    page = get(staff, page_of(execution)).replace("'", "&#x27;")
    assert f'<p class="ql-muted">{said}</p>' in page
    assert ("own words" in page) == (cause == "MARGIN")
