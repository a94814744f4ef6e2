"""Holding while others subscribe and resume, in real transactions."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.tests.parallel import at_once, somebody_waits
from subscriptions import services
from subscriptions.errors import SubscriptionHeld, TransitionRefused
from subscriptions.models import Hold, Subscription
from subscriptions.services import subscribing
from subscriptions.tests.factories import make_subscription

ROUNDS = 6

pytestmark = pytest.mark.django_db(transaction=True)


def hold(customer: Customer) -> Any:
    return services.place_hold(
        scope="CUSTOMER",
        target_id=customer.pk,
        holder="ADMIN",
        note="compliance hold",
        actor=SYSTEM,
        now=clock.now(),
    )


def test_nobody_subscribes_past_a_hold_that_is_being_placed() -> None:
    """Of eight at once one places the hold and seven subscribe: none trades under it."""
    load_reference_data()
    for _ in range(ROUNDS):
        partner = make_partner()
        customer = make_customer(partner)
        templates = [make_template() for _ in range(8)]

        def act(
            number: int,
            customer: Any = customer,
            partner: Any = partner,
            templates: Any = templates,
        ) -> None:
            if number == 3:
                hold(customer)
                return
            with contextlib.suppress(SubscriptionHeld):
                make_subscription(templates[number], partner, email=customer.email)

        at_once(8, act)
        assert not Subscription.objects.filter(customer=customer, status="ACTIVE").exists()


def place_beside(customer: Customer) -> None:
    hold(customer)
    connections.close_all()


def placed_beside_a_subscribing(customer: Customer, partner: Any) -> str:
    """A hold that begins when a new subscription is written and not yet committed: how the
    subscription's commit ends."""
    beside = threading.Thread(target=place_beside, args=[customer])
    try:
        with transaction.atomic():
            make_subscription(make_template(), partner, email=customer.email)
            beside.start()
            while beside.is_alive() and not somebody_waits():
                pass
    except IntegrityError as error:
        return str(error).split("\n")[0]
    finally:
        beside.join()
    return "committed"


def test_a_hold_waits_for_who_is_subscribing_and_then_holds_them() -> None:
    load_reference_data()
    partner = make_partner()
    customer = make_customer(partner)
    assert placed_beside_a_subscribing(customer, partner) == "committed"
    subscription = Subscription.objects.get()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "ADMIN")


def test_control_without_the_row_lock_the_database_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Subscribing does not share the customer's row here, and a constraint refuses the commit."""
    load_reference_data()
    monkeypatch.setattr(subscribing, "_SHARE_CUSTOMER", "SELECT FROM pg_class WHERE %s = 0")
    partner = make_partner()
    customer = make_customer(partner)
    assert "is active and held" in placed_beside_a_subscribing(customer, partner)
    assert not Subscription.objects.exists()


def test_resuming_and_holding_at_once_never_leaves_it_trading() -> None:
    load_reference_data()
    subscription = make_subscription(make_template(), make_partner())

    def act(number: int) -> None:
        who = ("USER", "PARTNER", "ADMIN")[number % 3]
        do = services.pause if number % 2 else services.resume
        with contextlib.suppress(TransitionRefused):
            do(
                subscription_id=subscription.pk,
                actor=SYSTEM,
                reason=who,
                note="why",
                now=clock.now(),
            )

    for _ in range(ROUNDS):
        at_once(12, act)
        subscription.refresh_from_db()
        held = Hold.objects.filter(lifted_at=None).exists()
        assert (subscription.status == "PAUSED") == held
