"""What an event carries is what the API's own GET answers, byte for byte."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from brokers.tests.factories import make_contract
from execution import events
from execution.tests.rows import decide, enter, leave, make_execution, make_run
from marketplace.models import Template
from marketplace.tests.factories import TEST_DAY, make_short_straddle, make_template
from partners.tests.factories import Tenant, make_tenant
from partners.tests.sink import Sink, endpoint_of, running_sink
from partners.webhooks.delivery import deliver_due
from quantleap.core import clock, outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from subscriptions import services
from subscriptions.billing.models import Invoice
from subscriptions.billing.tests.factories import (
    START,
    bill,
    bounce,
    credit,
    follow,
    load_billing,
    pay,
)
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def tenant(db: None, sink: Sink) -> Tenant:
    load_billing()
    new_tenant = make_tenant("zebu")
    endpoint_of(new_tenant.partner, sink)
    return new_tenant


def delivered(sink: Sink) -> dict[str, bytes]:
    """The bytes of ``data`` of what arrived, by type."""
    outbox.relay(now=clock.now())
    deliver_due(now=clock.now())
    data_by_type = {}
    for request in sink.requests:
        assert b"truncated" not in request.body
        data_by_type[json.loads(request.body)["type"]] = value_after(request.body, b'"data":')
    return data_by_type


def value_after(content: bytes, name: bytes) -> bytes:
    """The bytes of the JSON value behind a member's name."""
    text = content[content.index(name) + len(name) :].decode()
    _, end = json.JSONDecoder().raw_decode(text)
    return text[:end].encode()


def get(tenant: Tenant, path: str) -> bytes:
    answer = tenant.client.get(path)
    assert answer.status_code == 200, answer.content
    return bytes(answer.content)


def test_subscription_created_lacked_five_fields(tenant: Tenant, sink: Sink) -> None:
    """Seen: fee, next billing, multiplier, allocations and attribution were missing. Now it is the
    subscription as its GET shows it."""
    subscription = make_subscription(make_template(), tenant.partner, lot_multiplier=2)
    data = delivered(sink)["subscription.created"]
    shown = value_after(
        get(tenant, f"/partner/subscriptions/{subscription.public_id}"), b'"subscription":'
    )
    assert data.startswith(shown[:-1])  # then what only the event knows
    told = json.loads(data)
    assert told["pricing"]["monthly_fee"] == 999
    assert told["pricing"]["currency"] == "INR"
    assert told["next_billing_date"] is not None
    assert told["broker_allocations"][0]["lot_multiplier"] == 2
    assert told["partner_attribution"]["partner_id"] == tenant.partner.slug
    assert set(told) - set(json.loads(shown)) == {"broker", "client_id"}


def test_a_paused_subscription_is_told_as_its_get_answers(tenant: Tenant, sink: Sink) -> None:
    subscription = make_subscription(make_template(), tenant.partner)
    services.pause(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=clock.now())
    data = delivered(sink)["subscription.paused"]
    content = get(tenant, f"/partner/subscriptions/{subscription.public_id}")
    assert data == value_after(content, b'"subscription":')
    assert json.loads(data)["status"] == "PAUSED"


def _closed(template: Template, tenant: Tenant) -> Any:
    subscription = make_subscription(template, tenant.partner)
    contracts = [make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")]
    run = make_run(template, TEST_DAY)
    decide(run, contracts)
    execution = make_execution(run, subscription, "CLOSED", realised_pnl=Decimal("5330.50"))
    for entry in enter(execution, contracts):
        leave(execution, entry)
    return execution


def test_pnl_was_a_string_without_currency(tenant: Tenant, sink: Sink) -> None:
    """Seen: ``"pnl": "5330.50"``. Now a number of rupees beside its currency, as in the API."""
    execution = _closed(make_short_straddle(), tenant)
    with transaction.atomic():
        events.emit([events.of_ending(execution, clock.now())])
    data = delivered(sink)["execution.completed"]
    subscription_id = execution.subscription.public_id
    content = get(tenant, f"/partner/subscriptions/{subscription_id}/executions")
    shown = value_after(content, b'"executions":[')
    assert data.startswith(shown[:-1])
    told = json.loads(data)
    assert (told["pnl"], told["currency"]) == (5330.5, "INR")
    assert len(told["legs"]) == 2
    assert told["phase"] == "EXIT"
    assert told["subscription_id"] == subscription_id


def test_billing_events_are_told_as_their_get_answers(tenant: Tenant, sink: Sink) -> None:
    """Invoices, credit notes and commission."""
    follow(make_template(name="Iron Condor"), tenant.partner, [START])
    bill(START)
    invoice = Invoice.objects.get()
    first = delivered(sink)["invoice.issued"]
    content = get(tenant, f"/partner/invoices/{invoice.public_id}")
    assert first.startswith(value_after(content, b'"invoice":')[:-1])
    pay(invoice, invoice.total)
    credit(invoice, invoice.total)
    told = delivered(sink)
    content = get(tenant, f"/partner/invoices/{invoice.public_id}")
    note = value_after(content, b'"credit_notes":[')
    assert told["credit_note.issued"].startswith(note[:-1])
    commissions = get(tenant, "/partner/commissions")
    for type in ("commission.accrued", "commission.clawed_back"):
        commission_id = json.loads(told[type])["commission_id"]
        whole = json.loads(commissions)["commissions"]
        (row,) = [row for row in whole if row["commission_id"] == commission_id]
        raw = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        assert raw in commissions
        assert told[type].startswith(raw[:-1])


def test_a_reversed_payment_is_told_as_its_get_answers(tenant: Tenant, sink: Sink) -> None:
    """The payment, and beside it what its invoice is then: nobody has to call back."""
    follow(make_template(name="Iron Condor"), tenant.partner, [START])
    bill(START)
    invoice = Invoice.objects.get()
    bounce(pay(invoice, invoice.total).payment.receipt, START)
    told = delivered(sink)
    content = get(tenant, "/partner/payments")
    assert told["payment.reversed"].startswith(value_after(content, b'"payments":[')[:-1])
    data = json.loads(told["payment.reversed"])
    assert (data["reversed_on"], data["reversal_reason"]) == (
        START.isoformat(), "Funds insufficient",
    )  # fmt: skip
    assert (data["invoice_id"], data["status"], data["outstanding"]) == (
        invoice.public_id, "DUE", 1178.82,
    )  # fmt: skip
    clawback = json.loads(told["commission.clawed_back"])
    assert (clawback["amount"], clawback["reversal_id"]) == (-299.7, data["reversal_id"])


def test_money_is_a_number_beside_a_currency_everywhere(tenant: Tenant, sink: Sink) -> None:
    """Decided once: nowhere {amount, currency} (adr 0050)."""
    execution = _closed(make_short_straddle(), tenant)
    with transaction.atomic():
        events.emit([events.of_ending(execution, clock.now())])
    follow(execution.run.template, tenant.partner, [START])
    bill(START)
    pay(Invoice.objects.get(), Invoice.objects.get().total)
    delivered(sink)
    assert sink.requests
    for request in sink.requests:
        body = json.loads(request.body)
        if body["type"].startswith("template."):
            continue  # what a template costs depends on the caller (adr 0064)
        assert "currency" in json.dumps(body["data"])
        for name, value in _members(body["data"]):
            if name in MONEY:
                assert value is None or isinstance(value, int | float), (body["type"], name)


MONEY = {
    "pnl", "monthly_fee", "amount", "total", "paid", "refunded", "credited", "outstanding",
    "reversed", "applied", "excess",
    "taxable", "cgst", "sgst", "igst", "base", "monthly_commission", "partner_commission",
    "platform_fee", "price", "average_price", "entry_price", "exit_price",
}  # fmt: skip


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from _members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _members(inner)


def test_an_event_is_told_as_the_object_is_now_and_never_older(tenant: Tenant, sink: Sink) -> None:
    """Paused and resumed before the relay: both tell of the subscription that goes on."""
    subscription = make_subscription(make_template(), tenant.partner)
    for step in (services.pause, services.resume):
        step(subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=clock.now())
    told = delivered(sink)
    assert json.loads(told["subscription.paused"])["status"] == "ACTIVE"
    assert told["subscription.paused"] == told["subscription.resumed"]
    mine = OutboxEvent.objects.filter(object_id=subscription.public_id)
    numbers = mine.order_by("sequence").values_list("type", flat=True)
    assert list(numbers) == [f"subscription.{what}" for what in ("created", "paused", "resumed")]


def test_another_environments_event_shows_nothing_of_this(tenant: Tenant, sink: Sink) -> None:
    subscription = make_subscription(make_template(), tenant.partner)
    endpoint_of(tenant.partner, sink, environment="test")
    with transaction.atomic():
        outbox.emit(
            "subscription.paused",
            {"subscription_id": subscription.public_id},
            about=subscription.public_id,
            partner_id=tenant.partner.pk,
            environment="test",
            now=clock.now() + dt.timedelta(seconds=1),
        )
    data = json.loads(delivered(sink)["subscription.paused"])
    assert data == {"subscription_id": subscription.public_id}
