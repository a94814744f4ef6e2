"""Holds are rows of their own: none is lost in another, and nobody gets around one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from brokers.models import BrokerAccount
from brokers.readiness import readiness
from brokers.services.accounts import remove_account
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import ports, services
from subscriptions.billing.models import BillingSegment, Invoice
from subscriptions.billing.tests.factories import HOME, bill, load_billing
from subscriptions.errors import HoldRefused, SubscriptionHeld, TransitionRefused
from subscriptions.lifecycle import NO_ACCOUNT
from subscriptions.models import Hold, Subscription
from subscriptions.selectors import active_allocations
from subscriptions.tests.factories import make_subscription

LATER = TEST_NOW + dt.timedelta(hours=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def subscription() -> Subscription:
    load_reference_data()
    return make_subscription(make_template(), make_partner(), now=TEST_NOW)


def ask(what: str, subscription: Subscription, who: str, note: str = "") -> Any:
    return getattr(services, what)(
        subscription_id=subscription.pk, actor=SYSTEM, reason=who, note=note, now=LATER
    )


def hold(scope: str, target_id: int, note: str = "compliance hold", **more: Any) -> Any:
    return services.place_hold(
        scope=scope,
        target_id=target_id,
        holder="ADMIN",
        note=note,
        actor=SYSTEM,
        now=LATER,
        **more,
    )


def lift(placed: Hold, who: str = "ADMIN", note: str = "settled") -> Any:
    return services.lift_hold(hold_id=placed.pk, who=who, note=note, actor=SYSTEM, now=LATER)


def again(subscription: Subscription, template: Any = None) -> Subscription:
    """The same customer subscribes anew, on the same account."""
    account = BrokerAccount.objects.get()
    return subscribe_on(account, subscription, template or subscription.template)


def subscribe_on(account: BrokerAccount, subscription: Subscription, template: Any) -> Subscription:
    """The same customer subscribes, with that broker and client id."""
    return services.subscribe(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        template_id=template.public_id,
        user_email=subscription.customer.email,
        accounts=[services.AccountChoice(client_id=account.client_id, broker=account.broker)],
        actor=SYSTEM,
        now=LATER,
    )


# -- A1 --------------------------------------------------------------------------------------------
def test_a_compliance_hold_over_a_customers_pause_was_lost(
    subscription: Subscription,
) -> None:
    """Seen: customer, staff and a failed payment pause; changed False twice, the reason stays the
    customer's, the note is lost, and the customer resumes and trades."""
    assert ask("pause", subscription, "USER").changed
    assert ask("pause", subscription, "ADMIN", "compliance hold").changed
    assert ask("pause", subscription, "PAYMENT_FAILED").changed
    subscription.refresh_from_db()
    assert (subscription.status_reason, subscription.status_note) == ("ADMIN", "compliance hold")
    lifted = ask("resume", subscription, "USER")
    assert (lifted.changed, lifted.subscription.status) == (True, "PAUSED")
    assert active_allocations(subscription.template_id, "live") == []
    with pytest.raises(TransitionRefused, match="paused by staff"):
        ask("resume", subscription, "USER", "please")
    ask("resume", subscription, "ADMIN")
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "PAYMENT_FAILED")
    ask("resume", subscription, "PAYMENT_FAILED")
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"
    assert len(active_allocations(subscription.template_id, "live")) == 1


def test_who_resumed_while_staff_held_trades_when_staff_let_go(subscription: Subscription) -> None:
    ask("pause", subscription, "USER")
    placed = hold("CUSTOMER", subscription.customer_id).hold
    ask("resume", subscription, "USER")
    lift(placed)
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"


def test_every_hold_stands_in_the_audit_log_with_who_and_why(subscription: Subscription) -> None:
    placed = hold("CUSTOMER", subscription.customer_id).hold
    lift(placed, note="cleared by the desk")
    entries = AuditEntry.objects.filter(target_id=placed.public_id).order_by("pk")
    assert [(entry.action, entry.data["note"]) for entry in entries] == [
        ("hold.placed", "compliance hold"),
        ("hold.lifted", "cleared by the desk"),
    ]
    events = OutboxEvent.objects.filter(
        type__in=["subscription.paused", "subscription.resumed"]
    ).order_by("pk")
    assert [(event.type, event.payload["status_reason"]) for event in events] == [
        ("subscription.paused", "ADMIN"),
        ("subscription.resumed", None),
    ]


def test_placing_or_lifting_a_hold_twice_changes_nothing(
    subscription: Subscription,
) -> None:
    """Placing a hold again returns the first one, and lifting it again reports no change."""
    first = hold("CUSTOMER", subscription.customer_id)
    second = hold("CUSTOMER", subscription.customer_id, "again")
    assert (first.changed, first.subscriptions) == (True, 1)
    assert (second.changed, second.subscriptions, second.hold.pk) == (False, 0, first.hold.pk)
    assert lift(first.hold).changed
    assert not lift(first.hold).changed


def test_a_weaker_hand_lifts_no_stronger_ones_hold(subscription: Subscription) -> None:
    placed = hold("SUBSCRIPTION", subscription.pk).hold
    for who in ("USER", "PARTNER", "PAYMENT_FAILED"):
        with pytest.raises(HoldRefused):
            lift(placed, who)
    subscription.refresh_from_db()
    assert subscription.status == "PAUSED"


# -- A2 --------------------------------------------------------------------------------------------
def test_who_was_paused_by_staff_cancelled_and_came_back_active(subscription: Subscription) -> None:
    ask("pause", subscription, "ADMIN", "compliance hold")
    ask("cancel", subscription, "USER")
    with pytest.raises(SubscriptionHeld, match="An earlier subscription") as refused:
        again(subscription)
    assert refused.value.extra == {"hold_reason": "ADMIN", "hold_scope": "SUBSCRIPTION"}
    lift(Hold.objects.get())
    assert again(subscription).status == "ACTIVE"


def test_who_paused_and_cancelled_themselves_may_come_back(subscription: Subscription) -> None:
    ask("pause", subscription, "USER")
    ask("cancel", subscription, "USER")
    assert again(subscription).status == "ACTIVE"


@pytest.mark.parametrize("scope", ["CUSTOMER", "ACCOUNT", "PARTNER"])
def test_subscribing_under_a_hold_is_refused_with_its_cause(
    subscription: Subscription, scope: str
) -> None:
    target = {
        "CUSTOMER": subscription.customer_id,
        "ACCOUNT": BrokerAccount.objects.get().pk,
        "PARTNER": subscription.partner_id,
    }[scope]
    assert target is not None
    placed = hold(scope, target).hold
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "ADMIN")
    another = make_template()
    with pytest.raises(SubscriptionHeld) as refused:
        again(subscription, another)
    assert refused.value.extra == {"hold_reason": "ADMIN", "hold_scope": scope}
    assert not Subscription.objects.filter(template=another).exists()
    lift(placed)
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"
    assert again(subscription, another).status == "ACTIVE"


def test_a_held_account_enters_nothing_and_others_go_on(
    subscription: Subscription,
) -> None:
    second = make_subscription(
        make_template(), None, email="two@example.com", client_id="OTHER1", now=TEST_NOW
    )
    account = BrokerAccount.objects.get(client_id="OTHER1")
    placed = hold("ACCOUNT", account.pk).hold
    account.refresh_from_db()
    account.status = BrokerAccount.Status.ENABLED
    assert readiness(account, LATER).reason == "held"
    second.refresh_from_db()
    subscription.refresh_from_db()
    assert (second.status, subscription.status) == ("PAUSED", "ACTIVE")
    lift(placed)
    account.refresh_from_db()
    assert not account.held


def removed_under_a_hold(subscription: Subscription) -> tuple[BrokerAccount, Hold]:
    """Staff hold the customer's account, and the customer removes it."""
    account = BrokerAccount.objects.get()
    placed = hold("ACCOUNT", account.pk).hold
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)
    subscription.refresh_from_db()
    return account, placed


def test_who_removed_a_held_account_was_billed_a_new_month(
    subscription: Subscription,
) -> None:
    """Seen: the removal began an ACTIVE month in which nothing could trade."""
    account = BrokerAccount.objects.get()
    placed = hold("ACCOUNT", account.pk).hold
    removed_at = LATER + dt.timedelta(days=60)
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=removed_at)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "ADMIN")
    assert BillingSegment.objects.filter(subscription=subscription).count() == 1
    lift(placed)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "USER")


def test_a_held_account_removed_and_connected_again_traded(
    subscription: Subscription,
) -> None:
    """Seen: the new row of the same client id was nobody's hold's."""
    account, placed = removed_under_a_hold(subscription)
    ask("cancel", subscription, "USER")
    other = make_template()
    for template in (subscription.template, other):
        with pytest.raises(SubscriptionHeld) as refused:
            subscribe_on(account, subscription, template)
        assert refused.value.extra == {"hold_reason": "ADMIN", "hold_scope": "ACCOUNT"}
    lift(placed)
    assert subscribe_on(account, subscription, other).status == "ACTIVE"


# -- the last broker account
def test_who_removed_the_last_account_was_billed_for_ever(subscription: Subscription) -> None:
    """Seen: ACTIVE with nothing to trade on, and a new month each month."""
    load_billing()
    remove_account(account=BrokerAccount.objects.get(), exit_now=False, actor=SYSTEM, now=LATER)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "USER")
    assert subscription.status_note == NO_ACCOUNT
    assert OutboxEvent.objects.filter(type="subscription.paused").count() == 1
    bill(LATER.date() + dt.timedelta(days=70))
    assert Invoice.objects.count() == 1


@pytest.mark.parametrize("who", ["USER", "PARTNER"])
def test_nobody_resumes_what_has_no_account_left(subscription: Subscription, who: str) -> None:
    remove_account(account=BrokerAccount.objects.get(), exit_now=False, actor=SYSTEM, now=LATER)
    with pytest.raises(TransitionRefused, match="none left to trade on"):
        ask("resume", subscription, who, "please")
    with pytest.raises(HoldRefused, match="none left to trade on"):
        lift(Hold.objects.get(), who)
    ask("pause", subscription, "PARTNER")  # a hold of one's own comes and goes as ever
    resumed = ask("resume", subscription, "PARTNER", "mine")
    assert (resumed.changed, resumed.subscription.status) == (True, "PAUSED")
    assert ask("cancel", subscription, "USER").changed


def test_who_comes_back_on_another_account_goes_on_in_the_month(
    subscription: Subscription,
) -> None:
    load_billing()
    account = BrokerAccount.objects.get()
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)
    ask("cancel", subscription, "USER")
    account.client_id = "OTHER2"
    renewed = subscribe_on(account, subscription, subscription.template)
    assert (renewed.status, renewed.anchor) == ("ACTIVE", subscription.anchor)
    bill(LATER.date())
    assert Invoice.objects.count() == 1


def test_who_has_another_account_goes_on_without_the_first(subscription: Subscription) -> None:
    other = services.subscribe(
        partner_id=subscription.partner_id,
        environment="live",
        template_id=make_template().public_id,
        user_email="two@example.com",
        user_state=HOME,
        accounts=[
            services.AccountChoice(client_id=client_id, broker="zebu") for client_id in ("T1", "T2")
        ],
        actor=SYSTEM,
        now=LATER,
    )
    for client_id, status in (("T1", "ACTIVE"), ("T2", "PAUSED")):
        account = BrokerAccount.objects.get(client_id=client_id)
        remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)
        other.refresh_from_db()
        assert other.status == status


def test_the_note_shown_was_of_an_older_hold(
    subscription: Subscription,
) -> None:
    """Seen: the note of the customer's hold was shown, not that of the account's newer one."""
    hold("CUSTOMER", subscription.customer_id, "older")
    hold("ACCOUNT", BrokerAccount.objects.get().pk, "newest")
    subscription.refresh_from_db()
    assert subscription.status_note == "newest"


def test_a_refusal_to_subscribe_named_the_newest_hold(
    subscription: Subscription,
) -> None:
    """Seen: the refusal named the newest hold's reason. It must name that of the strongest."""
    ask("pause", subscription, "ADMIN")
    ask("pause", subscription, "PAYMENT_FAILED")
    ask("cancel", subscription, "USER")
    with pytest.raises(SubscriptionHeld, match="held by staff") as refused:
        again(subscription)
    assert refused.value.extra == {"hold_reason": "ADMIN", "hold_scope": "SUBSCRIPTION"}


def test_holding_an_account_exits_only_what_is_open_there(
    subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[int, ...], int | None]] = []

    def request_exit(subscription_ids: Any, *, account_id: int | None, **_: Any) -> int:
        asked.append((tuple(subscription_ids), account_id))
        return 1

    account = BrokerAccount.objects.get()
    monkeypatch.setattr(ports.ENTRY_GATE.get(), "request_exit", request_exit)
    hold("ACCOUNT", account.pk, exit_now=True)
    hold("CUSTOMER", subscription.customer_id, exit_now=True)
    assert asked == [((subscription.pk,), account.pk), ((subscription.pk,), None)]
    assert AuditEntry.objects.filter(action="hold.exit_requested").count() == 2


# -- money -----------------------------------------------------------------------------------------
def test_a_hold_stops_the_next_period_until_it_is_lifted(
    subscription: Subscription,
) -> None:
    """Lifting the hold begins a new segment, anchored on that day."""
    placed = hold("CUSTOMER", subscription.customer_id).hold
    segment = BillingSegment.objects.get(subscription=subscription)
    assert segment.stop_on == LATER.date()
    lifted_at = LATER + dt.timedelta(days=60)
    services.lift_hold(hold_id=placed.pk, who="ADMIN", note="", actor=SYSTEM, now=lifted_at)
    assert BillingSegment.objects.filter(subscription=subscription).count() == 2
    subscription.refresh_from_db()
    assert subscription.anchor == lifted_at.date()


# -- the database ----------------------------------------------------------------------------------
def commit() -> None:
    """What PostgreSQL asks when a transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def test_no_commit_leaves_a_held_subscription_active(subscription: Subscription) -> None:
    hold("CUSTOMER", subscription.customer_id)
    commit()
    Subscription.objects.filter(pk=subscription.pk).update(status="ACTIVE", status_reason="")
    with pytest.raises(IntegrityError, match="is active and held"):
        commit()


def test_no_hold_is_written_that_holds_nobody(subscription: Subscription) -> None:
    commit()
    Hold.objects.create(
        scope="PARTNER",
        holder="ADMIN",
        partner_id=subscription.partner_id,
        environment=subscription.environment,
    )
    with pytest.raises(IntegrityError, match="leaves a subscription active"):
        commit()


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": "SUBSCRIPTION"},
        {"scope": "PARTNER", "partner_id": None},
        {"scope": "CUSTOMER", "lift_note": "never lifted"},
    ],
    ids=["nothing held", "no partner", "a note of no lifting"],
)
def test_the_database_refuses_a_hold_without_its_target(
    subscription: Subscription, fields: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Hold.objects.create(holder="ADMIN", **fields)


# -- the API ---------------------------------------------------------------------------------------
def test_a_subscription_lists_everybody_who_holds_it() -> None:
    """A resume that leaves the subscription paused says who still holds it."""
    load_reference_data()
    tenant = make_tenant()
    subscription = make_subscription(make_template(), tenant.partner, now=TEST_NOW)
    url = f"/partner/subscriptions/{subscription.public_id}"
    assert tenant.client.get(url).json()["holds"] == []
    tenant.client.put(f"{url}/pause", {"reason": "asked by phone"})
    hold("CUSTOMER", subscription.customer_id)
    detail = tenant.client.get(url).json()
    assert [(held["holder"], held["scope"]) for held in detail["holds"]] == [
        ("ADMIN", "CUSTOMER"),
        ("PARTNER", "SUBSCRIPTION"),
    ]
    assert (detail["status_reason"], detail["reason"]) == ("ADMIN", "compliance hold")
    resumed = tenant.client.put(f"{url}/resume").json()
    assert (resumed["changed"], resumed["status"], resumed["message"]) == (
        True,
        "PAUSED",
        "Still paused by staff.",
    )
    refused = tenant.client.put(f"{url}/resume")
    assert (refused.status_code, refused.json()["status_reason"]) == (409, "ADMIN")
