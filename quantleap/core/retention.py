"""How long each table keeps its rows. Every table of the project stands here, or nowhere does it.

Three groups: what is thrown away after some days, what is kept because the law or a question about
an order wants it, and what grows only when a person adds something. A test compares them with the
models, so that a new table has to say how it ends (docs/deploy.md has the same table in words).

Orders and what led to them are kept for eight years (SEBI (Stock Brokers) Regulations, audit trail
of algorithmic orders), books of account for eight (Companies Act 2013, section 128(5)).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.apps import apps
from django.db.models import QuerySet

from quantleap.core.models import QueuedMail

log = structlog.get_logger(__name__)
BATCH: Final = 5000


@dataclass(frozen=True, slots=True)
class Purged:
    """Rows of ``label`` go ``days`` after the instant in ``since``; of them only those that fit."""

    label: str
    days: int
    since: str
    only: Mapping[str, Any] = field(default_factory=dict)

    def over(self, now: dt.datetime) -> QuerySet[Any]:
        """The rows whose time is over, in no order."""
        column = {f"{self.since}__lt": now - dt.timedelta(days=self.days)}
        rows: QuerySet[Any] = apps.get_model(self.label)._base_manager.filter(**column, **self.only)
        return rows


#: How long an event waits for an endpoint that is disabled.
HELD_DAYS: Final = 30

#: Thrown away by :func:`purge`, once a day. What waits to be told or sent is never over.
PURGED: Final = (
    Purged("core.OutboxEvent", 90, "published_at"),
    Purged("partners.WebhookDelivery", 90, "created_at", {"status__in": ("DELIVERED", "FAILED")}),
    Purged("partners.WebhookDelivery", HELD_DAYS, "created_at", {"status": "HELD"}),
    Purged("partners.EndpointMail", 90, "created_at", {"status__in": QueuedMail.OVER}),
    Purged("partners.CustomerMail", 90, "created_at", {"status__in": QueuedMail.OVER}),
    Purged("partners.PartnerMail", 90, "created_at", {"status__in": QueuedMail.OVER}),
    Purged("sessions.Session", 0, "expire_date"),
    Purged("brokers.LoginAttempt", 30, "expires_at"),
    Purged("brokers.FeedLogin", 30, "expires_at"),
    Purged("brokers.ContractListImport", 400, "finished_at"),
)

#: Thrown away every hour by tasks of their own, when they have run out.
SHORT_LIVED: Final = frozenset(
    {"core.IdempotencyRecord", "partners.UserToken", "partners.SecretShowing"}
)

#: Grow for ever: who did what, what was ordered, what was billed, what the contracts were then.
KEPT: Final = frozenset(
    {
        "core.AuditEntry",
        "core.EventSequence",  # a number that began anew would be an old one
        "execution.Run",
        "execution.RunDecision",
        "execution.LegWatch",
        "execution.Execution",
        "execution.OrderIntent",
        "execution.Alarm",
        "marketplace.Contract",
        "marketplace.LotSize",
        "brokers.BrokerInstrument",
        "subscriptions.Subscription",
        "subscriptions.Allocation",
        "subscriptions.Hold",
        "subscriptions.ShareLine",
        "partners.Customer",
        "partners.EmailChange",  # to whom invoices went, and who wanted it so
        "partners.EmailConfirmation",
        "brokers.BrokerAccount",
        "billing.BillingSegment",
        "billing.BillingRun",
        "billing.Invoice",
        "billing.InvoiceDocument",
        "billing.InvoiceMail",
        "billing.CreditNote",
        "billing.CreditNoteDocument",
        "billing.LedgerAccount",
        "billing.LedgerTransaction",
        "billing.LedgerEntry",
        "billing.AccountBalance",
        "billing.LedgerProof",
        "billing.Receipt",
        "billing.Payment",
        "billing.Reversal",
        "billing.PaymentReversal",
        "billing.Refund",
        "billing.Commission",
        "billing.WithdrawalCredit",
    }
)

#: As many rows as people or machines have made: staff, templates, prices, the calendar, leases.
STANDING: Final = frozenset(
    {
        "core.StaffUser",
        "core.StaffUser_groups",
        "core.StaffUser_user_permissions",
        "admin.LogEntry",  # Django's own log, which nothing writes here
        "auth.Permission",
        "auth.Group",
        "auth.Group_permissions",
        "contenttypes.ContentType",
        "django_celery_beat.SolarSchedule",
        "django_celery_beat.IntervalSchedule",
        "django_celery_beat.ClockedSchedule",
        "django_celery_beat.CrontabSchedule",
        "django_celery_beat.PeriodicTasks",
        "django_celery_beat.PeriodicTask",
        "marketplace.CalendarYear",
        "marketplace.Holiday",
        "marketplace.SpecialSession",
        "marketplace.SessionHours",
        "marketplace.Underlying",
        "marketplace.FreezeQuantity",
        "marketplace.Template",
        "marketplace.TemplateStats",
        "execution.BookLag",
        "marketplace.Strategy",
        "marketplace.Leg",
        "marketplace.TemplateVersion",
        "marketplace.Price",
        "partners.Partner",
        "partners.RevenueShare",
        "partners.PartnerKey",
        "partners.PartnerSecret",
        "partners.WebhookEndpoint",
        "brokers.FeedAccount",
        "brokers.FeedPace",
        "billing.TaxRate",
        "billing.Supplier",
        "billing.NumberSeries",
        "execution.ShardLease",
        "execution.ExecutorNode",
        "execution.KillSwitch",
    }
)


def purge(*, now: dt.datetime, batch: int = BATCH) -> dict[str, int]:
    """Throw away what is over; rows gone by table. Each batch is a transaction of its own."""
    gone: dict[str, int] = {}
    for rule in PURGED:
        while ids := list(rule.over(now).values_list("pk", flat=True)[:batch]):
            model = apps.get_model(rule.label)
            model._base_manager.filter(pk__in=ids).delete()
            gone[rule.label] = gone.get(rule.label, 0) + len(ids)
            if len(ids) < batch:
                break
    if gone:
        log.info("rows_purged", **{label.replace(".", "_"): count for label, count in gone.items()})
    return gone
