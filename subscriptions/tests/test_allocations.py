"""Changing the accounts and sizes of a running subscription (docs/subscriptions.md#allocations)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest

from brokers.models import BrokerAccount
from brokers.services.accounts import remove_account
from brokers.tests.factories import make_account
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import customer_client, make_partner, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.tests.parallel import at_once
from subscriptions import ports, services
from subscriptions.billing.models import BillingSegment
from subscriptions.errors import (
    AllocationAmbiguous,
    AllocationExists,
    LastAllocation,
    LotsZero,
    TransitionRefused,
)
from subscriptions.models import Allocation, Subscription
from subscriptions.services import AccountChoice
from subscriptions.tests.factories import make_subscription

LATER = TEST_NOW + dt.timedelta(hours=1)


class Gate:
    """Notes what the trading day is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.affected = True

    def withdraw_allocations(
        self, allocation_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        self.calls.append(("withdraw", tuple(allocation_ids)))
        return self.affected

    def resize_armed(self, allocation_ids: Collection[int], *, now: dt.datetime) -> bool:
        self.calls.append(("resize", tuple(allocation_ids)))
        return self.affected

    def withdraw_armed(self, subscription_ids: Collection[int], **_: Any) -> bool:
        self.calls.append(("pause", tuple(subscription_ids)))
        return self.affected


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    recording = Gate()
    monkeypatch.setattr(ports.ENTRY_GATE, "_implementation", recording)
    return recording


@pytest.fixture
def subscription(db: None) -> Subscription:
    load_reference_data()
    return make_subscription(make_template(), make_partner(), client_id="OLD1", now=TEST_NOW)


def only(subscription: Subscription) -> Allocation:
    return subscription.allocations.get(status="ACTIVE")


def resize(subscription: Subscription, allocation_id: str = "", **changes: Any) -> Any:
    return services.change_allocation(
        subscription_id=subscription.pk,
        allocation_id=allocation_id,
        changes=changes,  # type: ignore[arg-type]  # what a test leaves out is left out
        actor=SYSTEM,
        now=LATER,
    )


def add(subscription: Subscription, client_id: str = "NEW1", **more: Any) -> Any:
    return services.add_allocation(
        subscription_id=subscription.pk,
        choice=AccountChoice(client_id=client_id, broker="zebu", **more),
        actor=SYSTEM,
        now=LATER,
    )


def remove(subscription: Subscription, allocation: Allocation) -> Any:
    return services.remove_allocation(
        subscription_id=subscription.pk,
        allocation_id=allocation.public_id,
        actor=SYSTEM,
        now=LATER,
    )


def swap(subscription: Subscription, allocation: Allocation, client_id: str) -> Any:
    return services.swap_account(
        subscription_id=subscription.pk,
        allocation_id=allocation.public_id,
        choice=AccountChoice(client_id=client_id, broker="zebu", lot_multiplier=Decimal(2)),
        actor=SYSTEM,
        now=LATER,
    )


# -- sizes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("affected", [True, False])
def test_more_lots_reach_the_next_entry(
    subscription: Subscription, gate: Gate, affected: bool
) -> None:
    gate.affected = affected
    result = resize(subscription, lot_multiplier=Decimal("2.00"), max_lots_per_order=5)
    assert (result.changed, result.next_entry_affected) == (True, affected)
    allocation = only(subscription)
    assert (allocation.lot_multiplier, allocation.max_lots_per_order) == (Decimal(2), 5)
    assert gate.calls == [("resize", (allocation.pk,))]


def test_a_change_is_audited_and_sent_to_the_partner(subscription: Subscription) -> None:
    resize(subscription, lot_multiplier=Decimal(3))
    event = OutboxEvent.objects.get(type="subscription.updated")
    assert event.object_id == subscription.public_id
    assert event.payload["before"]["lot_multiplier"] == 1
    assert event.payload["after"]["lot_multiplier"] == 3
    entry = AuditEntry.objects.get(action="subscription.updated")
    assert entry.data["after"] == event.payload["after"]


def test_another_size_opens_no_billed_month(subscription: Subscription) -> None:
    """Bug: changing lots meant to cancel and subscribe again, which began another month."""
    before = list(BillingSegment.objects.values())
    anchor = subscription.anchor
    resize(subscription, lot_multiplier=Decimal(3))
    add(subscription)
    subscription.refresh_from_db()
    assert list(BillingSegment.objects.values()) == before
    assert (subscription.anchor, subscription.monthly_fee) == (anchor, Decimal(999))


def test_the_same_size_again_changes_nothing(subscription: Subscription, gate: Gate) -> None:
    result = resize(subscription, lot_multiplier=Decimal("1.00"), priority=1)
    assert (result.changed, result.next_entry_affected) == (False, False)
    assert gate.calls == []
    assert not OutboxEvent.objects.filter(type="subscription.updated").exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lot_multiplier": Decimal("0.5")}, LotsZero),
        ({"lot_multiplier": Decimal("1.001")}, InvalidRequest),
        ({"priority": 0}, InvalidRequest),
        ({"max_lots_per_order": 0}, InvalidRequest),
    ],
)
def test_a_size_that_cannot_be_entered_is_refused(
    subscription: Subscription, gate: Gate, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        resize(subscription, **changes)
    assert only(subscription).lot_multiplier == 1
    assert gate.calls == []


def test_of_several_accounts_one_must_be_named(subscription: Subscription) -> None:
    first = only(subscription)
    add(subscription)
    with pytest.raises(AllocationAmbiguous) as refused:
        resize(subscription, lot_multiplier=Decimal(2))
    assert first.public_id in refused.value.extra["allocation_ids"]
    resize(subscription, first.public_id, lot_multiplier=Decimal(2))
    assert sorted(subscription.allocations.values_list("lot_multiplier", flat=True)) == [1, 2]


def test_an_allocation_of_another_subscription_is_unknown(subscription: Subscription) -> None:
    other = make_subscription(subscription.template, make_partner(), now=TEST_NOW)
    with pytest.raises(NotFound):
        resize(subscription, only(other).public_id, lot_multiplier=Decimal(2))


@pytest.mark.parametrize("change", ["resize", "add", "remove", "swap"])
def test_a_cancelled_subscription_does_not_change(subscription: Subscription, change: str) -> None:
    allocation = only(subscription)
    services.cancel(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=LATER)
    calls = {
        "resize": lambda: resize(subscription, lot_multiplier=Decimal(2)),
        "add": lambda: add(subscription),
        "remove": lambda: remove(subscription, allocation),
        "swap": lambda: swap(subscription, allocation, "NEW1"),
    }
    with pytest.raises(TransitionRefused):
        calls[change]()
    assert not BrokerAccount.objects.filter(client_id="NEW1").exists()  # nothing half done


# -- accounts --------------------------------------------------------------------------------------
def test_an_account_more_trades_beside_the_first(subscription: Subscription) -> None:
    result = add(subscription, lot_multiplier=Decimal(2), priority=7)
    assert result.changed
    rows = subscription.allocations.order_by("id").values_list(
        "account__client_id", "lot_multiplier", "priority", "status"
    )
    assert list(rows) == [
        ("OLD1", Decimal(1), 1, "ACTIVE"),
        ("NEW1", Decimal(2), 7, "ACTIVE"),
    ]
    event = OutboxEvent.objects.get(type="subscription.updated")
    assert event.payload["before"] is None
    assert event.payload["after"]["client_id"] == "NEW1"


def test_the_same_account_twice_is_a_409(subscription: Subscription) -> None:
    with pytest.raises(AllocationExists):
        add(subscription, "OLD1")


def test_an_account_leaves_and_the_other_goes_on(subscription: Subscription, gate: Gate) -> None:
    first = only(subscription)
    add(subscription)
    gate.calls.clear()
    result = remove(subscription, first)
    assert (result.changed, result.next_entry_affected) == (True, True)
    assert only(subscription).account.client_id == "NEW1"
    assert gate.calls == [("withdraw", (first.pk,))]
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"


def test_the_last_account_stays(subscription: Subscription) -> None:
    """A subscription that cannot trade would still be billed."""
    with pytest.raises(LastAllocation, match="add another one first"):
        remove(subscription, only(subscription))
    assert only(subscription).account.client_id == "OLD1"


def test_an_exchanged_account_is_another_allocation(subscription: Subscription, gate: Gate) -> None:
    """The old one keeps its executions, and with them what it holds."""
    old = only(subscription)
    swap(subscription, old, "NEW1")
    new = only(subscription)
    assert (new.account.client_id, new.lot_multiplier) == ("NEW1", Decimal(2))
    assert new.public_id != old.public_id
    assert gate.calls == [("withdraw", (old.pk,))]
    event = OutboxEvent.objects.get(type="subscription.updated")
    assert event.payload["before"]["client_id"] == "OLD1"
    assert event.payload["after"]["client_id"] == "NEW1"


def test_a_subscription_that_lost_its_account_gets_another(subscription: Subscription) -> None:
    """It says so, is not billed meanwhile, and trades again when it is resumed."""
    account = only(subscription).account
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)
    subscription.refresh_from_db()
    assert (subscription.status, subscription.status_reason) == ("PAUSED", "USER")
    add(subscription)
    subscription.refresh_from_db()
    assert subscription.status == "PAUSED"
    services.resume(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=LATER)
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"
    assert only(subscription).account.client_id == "NEW1"


def test_twenty_accounts_are_the_most(subscription: Subscription) -> None:
    for number in range(19):
        add(subscription, f"MORE{number}")
    with pytest.raises(InvalidRequest, match="At most 20"):
        add(subscription, "ONETOOMANY")
    assert subscription.allocations.count() == 20


@pytest.mark.django_db(transaction=True)
def test_parallel_posts_of_one_account_make_one() -> None:
    load_reference_data()
    subscription = make_subscription(make_template(), make_partner(), now=TEST_NOW)
    results = at_once(8, lambda _: add(subscription), errors=(AllocationExists,))
    assert sum(isinstance(result, AllocationExists) for result in results) == 7
    assert subscription.allocations.filter(account__client_id="NEW1").count() == 1


@pytest.mark.django_db(transaction=True)
def test_removals_of_both_accounts_leave_one() -> None:
    """Each alone is allowed; together they would leave nothing to trade on."""
    load_reference_data()
    subscription = make_subscription(make_template(), make_partner(), now=TEST_NOW)
    add(subscription)
    both = list(subscription.allocations.all())
    results = at_once(
        2, lambda number: remove(subscription, both[number]), errors=(LastAllocation,)
    )
    assert sum(isinstance(result, LastAllocation) for result in results) == 1
    assert subscription.allocations.filter(status="ACTIVE").count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_account_that_goes_while_it_is_added_leaves_no_deadlock() -> None:
    """Both lock the account before the subscription."""
    load_reference_data()
    partner = make_partner()
    subscription = make_subscription(make_template(), partner, client_id="OLD1", now=TEST_NOW)
    account = make_account(customer=subscription.customer, broker="zebu", client_id="NEW1")

    def work(number: int) -> None:
        if number == 0:
            add(subscription, "NEW1")
        else:
            remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)

    at_once(2, work)
    removed = Allocation.objects.filter(status="ACTIVE", account__status="REMOVED")
    assert not removed.exists()


# -- over HTTP -------------------------------------------------------------------------------------
def test_partner_and_customer_change_a_running_subscription(db: None) -> None:
    load_reference_data()
    tenant = make_tenant()
    subscription = make_subscription(
        make_template(), tenant.partner, client_id="OLD1", now=TEST_NOW
    )
    path = f"/api/v1/partner/subscriptions/{subscription.public_id}"
    answer = tenant.client.patch(path, {"lot_multiplier": 2})
    assert answer.status_code == 200, answer.json()
    assert answer.json()["broker_allocation"]["lot_multiplier"] == 2
    assert answer.json()["changed"] is True

    added = tenant.client.post(f"{path}/allocations", {"broker_client_id": "NEW1"})
    assert added.status_code == 201, added.json()
    ids = [row["allocation_id"] for row in added.json()["broker_allocations"]]
    assert len(ids) == 2

    mine = f"/api/v1/user/subscriptions/{subscription.public_id}/allocations/{ids[0]}"
    customer = customer_client(subscription.customer)
    swapped = customer.patch(mine, {"broker_client_id": "THIRD1", "priority": 3})
    assert swapped.status_code == 200, swapped.json()
    rows = {row["client_id"]: row for row in swapped.json()["broker_allocations"]}
    assert rows.keys() == {"NEW1", "THIRD1"}
    assert (rows["THIRD1"]["lot_multiplier"], rows["THIRD1"]["priority"]) == (2, 3)
    assert "commission" not in str(swapped.json())

    gone = tenant.client.delete(f"{path}/allocations/{rows['NEW1']['allocation_id']}")
    assert gone.status_code == 200, gone.json()
    last = tenant.client.delete(f"{path}/allocations/{rows['THIRD1']['allocation_id']}")
    assert (last.status_code, last.json()["code"]) == (409, "last_allocation")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "lot_multiplier"),
        ({"broker": "zebu"}, "broker"),
        ({"auto_link_broker": True}, "auto_link_broker"),
        ({"lot_multiplier": 0}, "lot_multiplier"),
        ({"lot_multiplier": "0.5"}, "lot_multiplier"),
        ({"lots": 2}, "lots"),
    ],
)
def test_a_wrong_change_is_refused_by_the_fields_name(
    db: None, body: dict[str, Any], field: str
) -> None:
    load_reference_data()
    tenant = make_tenant()
    subscription = make_subscription(make_template(), tenant.partner, now=TEST_NOW)
    path = f"/api/v1/partner/subscriptions/{subscription.public_id}/allocations"
    answer = tenant.client.patch(f"{path}/{only(subscription).public_id}", body)
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == [field]
