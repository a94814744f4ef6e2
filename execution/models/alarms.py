"""Alarms: what a person has to look at, one row for each problem."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from brokers.models import BrokerAccount
from execution.models.runs import Execution, Run
from quantleap.core import clock


class Alarm(models.Model):
    """An alarm: its cause, what it is about, and how it ended. No status change overwrites it.

    It is open until a person settles it with a note, or until a fact clears it (an order becomes
    known, a leg is flat). A settled alarm is also cleared when its fact is over; only after that
    does the same cause raise a new one by itself.
    """

    OPEN = Q(settled_at__isnull=True, cleared_at__isnull=True)
    #: :attr:`OPEN` for raw SQL.
    OPEN_SQL = "settled_at IS NULL AND cleared_at IS NULL"

    cause = models.CharField(max_length=30)
    execution = models.ForeignKey(
        Execution, on_delete=models.PROTECT, null=True, blank=True, related_name="alarms"
    )
    run = models.ForeignKey(
        Run, on_delete=models.PROTECT, null=True, blank=True, related_name="alarms"
    )
    account = models.ForeignKey(
        BrokerAccount, on_delete=models.PROTECT, null=True, blank=True, related_name="alarms"
    )
    leg_key = models.CharField(max_length=36, blank=True)
    order_tag = models.CharField(max_length=14, blank=True, help_text="The order it is about.")
    words = models.CharField(max_length=300, blank=True, help_text="The broker's, or what is so.")
    raised_at = models.DateTimeField(default=clock.now)
    raised_by = models.CharField(max_length=80, blank=True, help_text="Which executor.")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=150, blank=True)
    note = models.CharField(max_length=500, blank=True)
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=200, blank=True, help_text="The fact that ended it.")

    class Meta:
        ordering = ("-id",)
        constraints = (
            # open once, however many executors raise it and however often
            models.UniqueConstraint(
                fields=["execution", "run", "account", "cause", "leg_key"],
                condition=Q(settled_at__isnull=True, cleared_at__isnull=True),
                nulls_distinct=False,
                name="alarm_open_uniq",
            ),
            models.CheckConstraint(
                condition=Q(execution__isnull=False, run__isnull=True, account__isnull=True)
                | Q(execution__isnull=True, run__isnull=False, account__isnull=True)
                | Q(execution__isnull=True, run__isnull=True, account__isnull=False),
                name="alarm_about_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(settled_at__isnull=True) | (~Q(settled_by="") & ~Q(note="")),
                name="alarm_settled_by_somebody",
            ),
        )
        indexes = (
            # the console's list: what is open, newest first
            models.Index(
                fields=["-id"],
                condition=Q(settled_at__isnull=True, cleared_at__isnull=True),
                name="alarm_open_idx",
            ),
            models.Index(fields=["cause", "-id"], name="alarm_cause_idx"),
        )

    def __str__(self) -> str:
        return f"{self.cause} of {clock.to_ist(self.raised_at):%d %b %H:%M:%S}"
