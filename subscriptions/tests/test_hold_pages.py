"""Holds in the console: placed in two steps with what they reach, lifted with a reason."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from brokers.models import BrokerAccount
from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm
from subscriptions.models import Hold, Subscription
from subscriptions.tests.factories import make_subscription

ADD = "admin:subscriptions_hold_add"


@pytest.fixture
def console(db: None) -> Client:
    load_reference_data()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    return client


@pytest.fixture
def mine(console: Client) -> Subscription:
    partner = make_partner("zebu")
    make_subscription(make_template(), partner, email="asha@example.com", client_id="ASHA1")
    return make_subscription(make_template(), partner, email="asha@example.com", client_id="ASHA1")


def sealed_by(page: Any) -> str:
    match = re.search(r'name="seal" value="([^"]*)"', page.content.decode())
    assert match
    return html.unescape(match[1])


def place(console: Client, **data: Any) -> Any:
    """Both steps."""
    asked = console.post(reverse(ADD), {"confirm": "yes", **data})
    if asked.status_code != 200:
        return asked
    again = {"confirm": "yes", "again": "yes", "seal": sealed_by(asked), **data}
    return console.post(reverse(ADD), again, follow=True)


def words(page: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode())))


def test_a_hold_is_placed_after_showing_how_many_it_reaches(
    console: Client, mine: Subscription
) -> None:
    """The page that asks changes nothing; confirming it pauses both subscriptions."""
    data = {"target": mine.customer.public_id, "note": "compliance hold"}
    asked = console.post(reverse(ADD), {"confirm": "yes", **data})
    assert "Active subscriptions that it reaches 2" in words(asked)
    assert not Hold.objects.exists(), "nothing yet"
    done = place(console, **data)
    assert "is placed: 2 subscriptions changed." in words(done)
    assert set(Subscription.objects.values_list("status", "status_reason")) == {("PAUSED", "ADMIN")}
    placed = Hold.objects.get()
    assert (placed.scope, placed.note, placed.placed_by) == (
        "CUSTOMER",
        "compliance hold",
        "STAFF staff",
    )
    assert AuditEntry.objects.get(action="hold.placed").actor_id == "staff"


def test_what_the_hold_reaches_has_changed_since_it_was_read(
    console: Client, mine: Subscription
) -> None:
    data = {"target": mine.customer.public_id, "note": "compliance hold"}
    asked = console.post(reverse(ADD), {"confirm": "yes", **data})
    make_subscription(make_template(), None, email="other@example.com")
    Subscription.objects.filter(pk=mine.pk).update(status="PAUSED", status_reason="USER")
    again = {"confirm": "yes", "again": "yes", "seal": sealed_by(asked), **data}
    answer = console.post(reverse(ADD), again)
    assert (answer.status_code, Hold.objects.count()) == (409, 0)
    assert "Active subscriptions that it reaches 1" in words(answer)


@pytest.mark.parametrize(
    ("target", "scope"),
    [("{subscription}", "SUBSCRIPTION"), ("{customer}", "CUSTOMER"), (" Zebu asha1 ", "ACCOUNT")],
)
def test_what_is_held_is_named_as_people_know_it(
    console: Client, mine: Subscription, target: str, scope: str
) -> None:
    typed = target.format(subscription=mine.public_id, customer=mine.customer.public_id)
    place(console, target=typed, note="why")
    assert Hold.objects.get().scope == scope


@pytest.mark.parametrize("target", ["", "sub_nobody", "zebu", "zebu NOBODY", "\0", "x" * 200])
def test_what_nobody_knows_is_refused_beside_its_field(
    console: Client, mine: Subscription, target: str
) -> None:
    answer = console.post(reverse(ADD), {"confirm": "yes", "target": target, "note": "why"})
    assert answer.status_code == 400
    assert answer.context["form"].errors["target"]


def test_a_hold_is_lifted_with_a_reason(console: Client, mine: Subscription) -> None:
    place(console, target=mine.customer.public_id, note="compliance hold", exit_now="on")
    placed = Hold.objects.get()
    url = reverse("admin:subscriptions_hold_lift", args=[placed.pk])
    assert "2 paused subscriptions trade from the next entry on" in words(console.get(url))
    answer = confirm(console, url, {"confirm": "yes", "note": "cleared"}, follow=True)
    assert "is lifted: 2 subscriptions changed." in words(answer)
    placed.refresh_from_db()
    assert (placed.lifted_by, placed.lift_note) == ("STAFF staff", "cleared")
    assert set(Subscription.objects.values_list("status", flat=True)) == {"ACTIVE"}


def test_somebody_elses_hold_is_not_lifted_by_staff(console: Client, mine: Subscription) -> None:
    from quantleap.core import clock
    from quantleap.core.audit import SYSTEM
    from subscriptions import services

    services.pause(subscription_id=mine.pk, actor=SYSTEM, reason="PAYMENT_FAILED", now=clock.now())
    url = reverse("admin:subscriptions_hold_lift", args=[Hold.objects.get().pk])
    answer = confirm(console, url, {"confirm": "yes", "note": "please"})
    assert answer.status_code == 409
    assert "lifted only from there" in words(answer)


def test_the_list_filters_and_finds(console: Client, mine: Subscription) -> None:
    assert "Nobody is held" in words(console.get(reverse("admin:subscriptions_hold_changelist")))
    place(console, target=mine.customer.public_id, note="why")
    place(console, target="zebu ASHA1", note="why")
    for query, count in (
        ("", 2),
        ("state=open", 2),
        ("state=lifted", 0),
        ("scope__exact=ACCOUNT", 1),
        ("q=asha@example.com", 1),
        (f"q={Hold.objects.first()}", 1),
    ):
        answer = console.get(f"{reverse('admin:subscriptions_hold_changelist')}?{query}")
        assert len(answer.context["cl"].result_list) == count, query


def test_who_may_look_may_neither_hold_nor_lift(console: Client, mine: Subscription) -> None:
    place(console, target="zebu ASHA1", note="why")
    looking = StaffUser.objects.create_user("looking", "l@example.com", "pw", is_staff=True)
    looking.user_permissions.add(Permission.objects.get(codename="view_hold"))
    console.force_login(looking)
    hold = Hold.objects.get()
    assert (
        console.get(reverse("admin:subscriptions_hold_change", args=[hold.pk])).status_code == 200
    )
    assert console.get(reverse(ADD)).status_code == 403
    lift = reverse("admin:subscriptions_hold_lift", args=[hold.pk])
    assert console.get(lift).status_code == 403
    assert BrokerAccount.objects.get(client_id="ASHA1").held
