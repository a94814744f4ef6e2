"""Runs, the decisions taken once for all subscribers, and each subscriber's execution."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from brokers.models import BrokerAccount
from execution import lifecycle
from marketplace.models import Contract, Template, TemplateVersion
from quantleap.core import clock
from quantleap.core.ids import new_public_id
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.models import Allocation, Subscription

new_run_id = functools.partial(new_public_id, "run")
new_execution_id = functools.partial(new_public_id, "exe")


class Run(models.Model):
    """One strategy on one trade date for one phase; pins the version it was armed with.

    Exits of an ENTRY run are intents of that run with purpose EXIT (docs/adr/0007).
    """

    class Phase(models.TextChoices):
        ENTRY = "ENTRY", "Entry"

    class Status(models.TextChoices):
        ARMED = lifecycle.ARMED, "Armed"
        ENTERED = lifecycle.ENTERED, "Entered"
        CLOSED = lifecycle.CLOSED, "Closed"
        MISSED = lifecycle.MISSED, "Missed"

    OVER = lifecycle.OVER

    public_id = models.CharField(max_length=40, unique=True, default=new_run_id, editable=False)
    strategy_key = models.UUIDField()
    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(TemplateVersion, on_delete=models.PROTECT, related_name="runs")
    trade_date = models.DateField()
    phase = models.CharField(max_length=5, choices=Phase.choices, default=Phase.ENTRY)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.ARMED)
    cause = models.CharField(max_length=30, blank=True)
    entry_at = models.DateTimeField()
    exit_at = models.DateTimeField()
    grace_until = models.DateTimeField(help_text="No entry leaves after this instant.")
    armed_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-entry_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["strategy_key", "trade_date", "phase"], name="run_strategy_day_phase_uniq"
            ),
            models.CheckConstraint(
                condition=Q(exit_at__gt=F("entry_at"), grace_until__gte=F("entry_at")),
                name="run_times_ordered",
            ),
        )
        indexes = (
            # the executor's tick: runs that are not over
            models.Index(
                fields=["entry_at"],
                condition=~Q(status__in=list(lifecycle.OVER)),
                name="run_open_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.public_id} {self.trade_date}"


class RunDecision(models.Model):
    """One decision for all subscribers of a run; the first insert decides."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="decisions")
    kind = models.CharField(max_length=60, help_text="ENTRY, LEG_EXIT:<leg>, RUN_EXIT")
    payload = models.JSONField()
    decided_at = models.DateTimeField(default=clock.now)
    decided_by = models.CharField(max_length=80)

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["run", "kind"], name="run_decision_uniq"),)

    def __str__(self) -> str:
        return self.kind


class LegWatch(models.Model):
    """Stop and target of one leg of a run, based on the MODEL reference, in rupees per unit.

    Survives restarts; ``stop_price`` only moves in the position's favour.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="watches")
    leg_key = models.CharField(max_length=36)
    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=4)
    reference_price = models.DecimalField(max_digits=10, decimal_places=2)
    stop_price = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)
    target_price = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)
    moved_to_cost_at = models.DateTimeField(null=True, blank=True)
    triggered_at = models.DateTimeField(null=True, blank=True)
    trigger = models.CharField(max_length=10, blank=True)
    trigger_price = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)

    class Meta:
        verbose_name_plural = "leg watches"
        constraints = (models.UniqueConstraint(fields=["run", "leg_key"], name="leg_watch_uniq"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.leg_key}"


class ExecutionManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]
    """Lets queries filter executions by ``needs_attention``, which is not a column.

    It is true while an alarm of the execution is open: only alarms are stored.
    """

    def get_queryset(self) -> TenantQuerySet[Execution]:
        """All executions; alarms are read only if a query uses ``needs_attention``."""
        alarms = apps.get_model("execution", "Alarm")
        open_alarms = alarms.objects.filter(alarms.OPEN, execution=OuterRef("pk"))
        executions: Any = super().get_queryset()
        with_alarms: TenantQuerySet[Execution] = executions.alias(
            needs_attention=Exists(open_alarms)
        )
        return with_alarms


class Execution(TenantOwned):
    """One allocation's part in a run.

    The row decides, not the clock, whether it still enters: I7 (no entry outside its window).
    """

    class Status(models.TextChoices):
        ARMED = lifecycle.ARMED, "Armed"
        WITHDRAWN = lifecycle.WITHDRAWN, "Withdrawn"
        COMMITTED = lifecycle.COMMITTED, "Entering"
        OPEN = lifecycle.OPEN, "Open"
        EXITING = lifecycle.EXITING, "Exiting"
        CLOSED = lifecycle.CLOSED, "Closed"
        FAILED = lifecycle.FAILED, "Failed"
        MISSED = lifecycle.MISSED, "Missed"

    WORKING = lifecycle.WORKING
    TERMINAL = lifecycle.TERMINAL

    public_id = models.CharField(
        max_length=40, unique=True, default=new_execution_id, editable=False
    )
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="executions")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="executions"
    )
    allocation = models.ForeignKey(Allocation, on_delete=models.PROTECT, related_name="executions")
    account = models.ForeignKey(BrokerAccount, on_delete=models.PROTECT, related_name="executions")
    shard = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.ARMED)
    lot_multiplier = models.DecimalField(max_digits=8, decimal_places=2)
    priority = models.PositiveSmallIntegerField(default=1)
    max_lots_per_order = models.PositiveIntegerField(null=True, blank=True)
    cause = models.CharField(max_length=30, blank=True)
    message = models.CharField(max_length=300, blank=True)
    exit_requested_at = models.DateTimeField(null=True, blank=True)
    exit_reason = models.CharField(max_length=20, blank=True)
    closed_outside = models.JSONField(
        default=dict, blank=True, help_text="Units per leg that somebody else closed."
    )
    realised_pnl = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    armed_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True, blank=True)
    entered_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = ExecutionManager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "run", "allocation"],
                nulls_distinct=False,
                name="execution_run_allocation_uniq",
            ),
            models.CheckConstraint(
                condition=~Q(status="COMMITTED") | Q(committed_at__isnull=False),
                name="execution_committed_has_time",
            ),
        )
        indexes = (
            # an executor's work: live executions of its shards
            models.Index(
                fields=["shard", "run"],
                condition=~Q(status__in=list(lifecycle.TERMINAL)),
                name="execution_live_idx",
            ),
            # a subscription's history, newest first (partner and user API)
            models.Index(fields=["subscription", "-id"], name="execution_subscription_idx"),
            # account removal and exits: live executions of an account
            models.Index(
                fields=["account"],
                condition=~Q(status__in=list(lifecycle.TERMINAL)),
                name="execution_account_idx",
            ),
            # the trigger execution_one_shard: it finds live executions of a real account by this
            # index and can use no other, however wrong the planner is about the table's size
            models.Index(
                models.Case(
                    models.When(
                        status__in=list(lifecycle.TERMINAL),
                        then=models.Value(None),
                    ),
                    default=models.F("account"),
                ),
                name="execution_home_idx",
            ),
            # the console's list: rare statuses, newest first
            models.Index(
                fields=["status", "-id"],
                condition=Q(status__in=list(lifecycle.RARE_EXECUTIONS)),
                name="execution_rare_status_idx",
            ),
            models.Index(
                fields=["-id"], condition=Q(environment="test"), name="execution_test_idx"
            ),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def needs_attention(self) -> bool:
        """Whether an alarm of it is open (1 query); lists annotate all rows in one query."""
        return bool(Execution.objects.filter(pk=self.pk, needs_attention=True).exists())
