"""Every page of the console with data on it: lists, forms, rows, confirmations.

``furnish`` creates at least one row of every registered model; ``pages`` finds the addresses, so
that a newly registered page is covered automatically.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from brokers.models import BrokerAccount, ContractListImport, LoginAttempt
from brokers.tests.factories import make_feed
from execution.models import ExecutorNode, ShardLease
from execution.services import engage_kill_switch, release_kill_switch
from execution.tests.consoleday import Day
from marketplace.models import Strategy, Template
from marketplace.services import close_to_new, withdraw
from marketplace.tests.factories import load_test_contracts, make_short_straddle, make_template
from partners.emails.changes import change_email
from partners.models import EndpointMail, Partner, PartnerKey, WebhookDelivery, WebhookEndpoint
from partners.services import issue_key
from partners.suspensions import reinstate_partner, suspend_partner
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent, StaffUser
from quantleap.core.tests.matrix.dataset import Dataset, make_dataset
from subscriptions import services as subscriptions
from subscriptions.billing.invoicing import invoice_mails
from subscriptions.billing.ledger import checks, revenue_recognition
from subscriptions.billing.models import Invoice
from subscriptions.billing.settlement import (
    commission_maturity,
    customer_credit,
    withdrawal_credits,
)
from subscriptions.billing.tests.factories import bill, bounce, follow, pay

#: Actions that answer with a file.
DOWNLOADS = {"download_pdf", "export"}
#: Models whose list is the only page.
NO_ROW_PAGES = (ExecutorNode,)
#: Lists that are also opened without a row; the others consist of the same parts.
EMPTY = (Template, Invoice)
#: How many rows of a model are tried before an action counts as unavailable everywhere.
ROWS = 30
WORDY = (
    "NIFTY iron condor with far wings for patient people who sleep at night and read "
    "their contract notes"
)


class ConsolePage(NamedTuple):
    """A page's name for messages and screenshots, and its address."""

    name: str
    url: str


def furnish() -> None:
    """A day and a month of business: every model with a page has a row."""
    now = clock.now()
    dataset = make_dataset()
    load_test_contracts(clock.ist_date(now), underlyings=["NIFTY"])
    _authoring(now)
    _trading(now)
    _partners(dataset, now)
    _brokers(dataset, now)
    _money(dataset, now)
    _house(now)


def _authoring(now: dt.datetime) -> None:
    """Templates in every state, one of them with a long name and unpublished edits."""
    make_short_straddle(name="Never published", published=False, now=now)
    edited = make_short_straddle(name=WORDY, description=WORDY, now=now)
    Strategy.objects.filter(template=edited).update(exit_time=dt.time(14, 45))
    closed, withdrawn = (
        make_template(name=name, now=now) for name in ("Closed one", "Withdrawn one")
    )
    close_to_new(template_id=closed.pk, actor=SYSTEM, now=now)
    withdraw(template_id=withdrawn.pk, actor=SYSTEM, now=now)


def _trading(now: dt.datetime) -> None:
    """A run with executions of every kind, executors, one engaged kill switch and one released."""
    day = Day()
    day.fill(2)
    ExecutorNode.objects.create(owner="executor-1:4711", started_at=now, heartbeat_at=now)
    ShardLease.objects.bulk_create(
        (ShardLease(shard=number) for number in range(8)), ignore_conflicts=True
    )
    over = engage_kill_switch(template_id=None, reason="a drill", actor=SYSTEM, now=now)
    release_kill_switch(switch_id=over.pk, actor=SYSTEM, now=now)
    engage_kill_switch(template_id=day.template.pk, reason="quotes look odd", actor=SYSTEM, now=now)


def _partners(dataset: Dataset, now: dt.datetime) -> None:
    """Enabled and disabled endpoints, failed deliveries, a revoked key, a held partner."""
    partner = dataset.me.partner
    assert partner is not None
    for status in ("ENABLED", "DISABLED"):
        endpoint = create_endpoint(
            partner_id=partner.pk,
            environment="live",
            url=f"https://hooks.partner.example/quantleap/{status.lower()}",
            actor=SYSTEM,
            now=now,
        ).endpoint
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(status=status)
        WebhookDelivery.objects.create(
            partner_id=partner.pk,
            endpoint=endpoint,
            event_id="evt_6kXJ2m",
            type="execution.failed",
            body=json.dumps({"type": "execution.failed", "data": {"reason": WORDY}}),
            status="FAILED",
            attempts=10,
        )
        EndpointMail.objects.create(
            partner_id=partner.pk,
            endpoint=endpoint,
            event_id="evt_6kXJ2m",
            recipient="tech@partner.example",
            subject="Webhook endpoint is disabled",
            body=WORDY,
            next_attempt_at=now,
        )
    change_email(
        customer_id=dataset.me.customer.pk,
        email="a.customer.with.a.rather.long.name@a-domain-of-some-length.example",
        reason=WORDY,
        actor=SYSTEM,
        now=now,
    )
    issued = issue_key(
        partner_id=partner.pk, environment="test", permissions=[], actor=SYSTEM, now=now
    )
    PartnerKey.objects.filter(key=issued.key).update(status="REVOKED")
    Partner.objects.create(slug="onhold", default_broker="zebu", name="On hold", status="SUSPENDED")
    again = Partner.objects.create(
        slug="back", default_broker="zebu", name="Back", contact_emails=["tech@partner.example"]
    )
    suspend_partner(
        partner_id=again.pk, plan=Partner.Plan.PAUSE_ALL, reason=WORDY, actor=SYSTEM, now=now
    )
    reinstate_partner(partner_id=again.pk, reason=WORDY, actor=SYSTEM, now=now)


def _brokers(dataset: Dataset, now: dt.datetime) -> None:
    """A feed, a login in progress, an account that is switched off."""
    make_feed(broker="zebu")
    LoginAttempt.objects.create(
        account=dataset.me.account,
        partner_id=dataset.me.account.partner_id,
        state_hash="0" * 64,
        expires_at=now,
    )
    BrokerAccount.objects.filter(pk=dataset.neighbour.account.pk).update(status="DISABLED")
    ContractListImport.objects.create(
        broker="zebu",
        exchange="NFO",
        trade_date=clock.ist_date(now),
        state=ContractListImport.State.FAILED,
        asked_by="asha",
        problem=WORDY,
        started_at=now,
        finished_at=now,
    )


def _money(dataset: Dataset, now: dt.datetime) -> None:
    """Last month's business: due, paid, overpaid, credited, withdrawn, proved."""
    today = clock.ist_date(now)
    month_ago = today - dt.timedelta(days=33)
    template = make_template(name="BANKNIFTY straddle for patient people", fee=124_999)
    withdrawn = make_template(name="Withdrawn last month")
    follow(template, dataset.me.partner, [month_ago] * 3, fee=124_999)
    follow(withdrawn, dataset.me.partner, [month_ago])
    bill(month_ago)
    first, second, third, *_ = Invoice.objects.filter(subscription__template=template).order_by(
        "id"
    )
    pay(first, first.total)
    bounce(pay(third, third.total).payment.receipt, today, charges=118)
    paid = pay(second, second.total + 5000, key="much")
    customer_credit.return_excess(
        payment_id=paid.payment.pk,
        idem_key="furnish",
        amount=Decimal(4000),
        method="BANK_TRANSFER",
        reference="UTR 4713",
        actor=SYSTEM,
        now=now,
    )
    withdraw(template_id=withdrawn.pk, actor=SYSTEM, now=now)
    withdrawal_credits.credit_due(now=now)
    bill(today)
    revenue_recognition.recognise(today - dt.timedelta(days=1), now=now)
    commission_maturity.mature(today, now=now)
    invoice_mails.queue_mails(list(OutboxEvent.objects.filter(type="invoice.issued")), now)
    checks.check_ledger(now=now)
    subscriptions.pause(
        subscription_id=dataset.neighbour.subscription.pk,
        actor=SYSTEM,
        reason="ADMIN",
        open_positions=subscriptions.OpenPositions.MANAGE,
        note=WORDY,
        now=now,
    )


def _house(now: dt.datetime) -> None:
    """Roles, and every kind of schedule."""
    Group.objects.create(name="Authors")
    every = IntervalSchedule.objects.create(every=10, period=IntervalSchedule.SECONDS)
    CrontabSchedule.objects.create(minute="30", hour="4")
    SolarSchedule.objects.create(event="sunrise", latitude=13.08, longitude=80.27)
    ClockedSchedule.objects.create(clocked_time=now)
    PeriodicTask.objects.create(
        name="relay the outbox", task="quantleap.core.tasks.relay_outbox", interval=every
    )


def pages(user: StaffUser) -> Iterator[ConsolePage]:
    """All pages that ``user`` may open, with the existing rows."""
    request = RequestFactory().get("/admin/")
    request.user = user
    yield ConsolePage("today", reverse("admin:index"))
    for model, page in sorted(admin.site._registry.items(), key=lambda entry: entry[0]._meta.label):
        name = f"{model._meta.app_label}-{model._meta.model_name}"
        yield ConsolePage(f"{name}-list", _url(model, "changelist"))
        if model in EMPTY:
            yield ConsolePage(f"{name}-empty", _url(model, "changelist") + "?q=nothing-like-it")
        if page.has_add_permission(request):
            yield ConsolePage(f"{name}-add", _url(model, "add"))
        rows = list(page.get_queryset(request).order_by("-pk")[:ROWS])
        if rows and model not in NO_ROW_PAGES:
            yield ConsolePage(f"{name}-change", _url(model, "change", rows[0].pk))
        for action in getattr(page, "actions_list", ()):
            if action in DOWNLOADS:
                continue
            yield ConsolePage(f"{name}-{action}", _url(model, action))
        for action in getattr(page, "actions_detail", ()):
            if action in DOWNLOADS:
                continue
            target = next((row for row in rows if _possible(page, request, action, row)), None)
            if target is not None:
                yield ConsolePage(f"{name}-{action}", _url(model, action, target.pk))


def unfurnished() -> list[str]:
    """Registered models without a row, whose pages would not really be tested."""
    return [model._meta.label for model in admin.site._registry if not _rows(model)]


def _rows(model: type[Model]) -> bool:
    return bool(model._default_manager.exists())


def _url(model: type[Model], kind: str, *args: Any) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}"
    return reverse(name, args=[quote(pk) for pk in args])


def _possible(page: Any, request: HttpRequest, action: str, row: Model) -> bool:
    """Whether the page of ``row`` shows the button (the page may have been opened before)."""
    known = vars(request)
    known.pop("_template_states", None)
    actions = page.get_actions_detail(request, row.pk)
    return any(button.action_name.endswith(f"_{action}") for button in actions)
