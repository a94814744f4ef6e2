"""How long each table keeps its rows. Every table of the project is listed here.

There are three groups: rows that are deleted after some days, rows that are kept because the law or
a question about an order requires it, and rows that only grow when a person adds something. A test
compares the list with the models, so that every new table has to declare its retention
(docs/deploy.md has the same table in words).

Orders and the decisions behind them are kept for eight years (SEBI (Stock Brokers) Regulations,
audit trail of algorithmic orders), books of account for eight (Companies Act 2013, section 128(5)).
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
    """Rows of ``label`` are deleted ``days`` after the time in ``since``, if they match the
    condition."""

    label: str
    days: int
    since: str
    only: Mapping[str, Any] = field(default_factory=dict)

    def over(self, now: dt.datetime) -> QuerySet[Any]:
        """The rows whose retention has ended, in no order."""
        column = {f"{self.since}__lt": now - dt.timedelta(days=self.days)}
        rows: QuerySet[Any] = apps.get_model(self.label)._base_manager.filter(**column, **self.only)
        return rows


#: Days that an event waits for a disabled endpoint.
HELD_DAYS: Final = 30

#: Deleted by :func:`purge`, once a day. Rows that wait to be sent never expire.
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

#: Deleted every hour by tasks of their own, once they have expired.
SHORT_LIVED: Final = frozenset(
    {"core.IdempotencyRecord", "partners.UserToken", "partners.SecretShowing"}
)

#: Kept for ever: who did what, what was ordered, what was billed, the contracts of the time.
KEPT: Final = frozenset(
    {
        "core.AuditEntry",
        "core.EventSequence",  # a restarted number would repeat an old one
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
        "partners.EmailChange",  # to whom invoices went, and who asked for that
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
        "billing.LedgerCheck",
        "billing.Receipt",
        "billing.Payment",
        "billing.Reversal",
        "billing.PaymentReversal",
        "billing.Refund",
        "billing.Commission",
        "billing.WithdrawalCredit",
    }
)

#: Few rows, created by people or machines: staff, templates, prices, the calendar, leases.
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
    """Delete expired rows in batches of one transaction each; returns the number by table."""
    deleted: dict[str, int] = {}
    for rule in PURGED:
        while ids := list(rule.over(now).values_list("pk", flat=True)[:batch]):
            model = apps.get_model(rule.label)
            model._base_manager.filter(pk__in=ids).delete()
            deleted[rule.label] = deleted.get(rule.label, 0) + len(ids)
            if len(ids) < batch:
                break
    if deleted:
        log.info(
            "rows_purged", **{label.replace(".", "_"): count for label, count in deleted.items()}
        )
    return deleted
