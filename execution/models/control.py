"""Shard leases, live executors, measured book delays, and kill switches."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q

from execution.clock_offset import is_off
from quantleap.core import clock


class ShardLease(models.Model):
    """A shard's lease: exactly one process owns it at a time. ``token`` grows with every claim.

    Times are of the database's own clock (execution/engine/database/leases.py).
    """

    shard = models.PositiveSmallIntegerField(primary_key=True)
    owner = models.CharField(max_length=80, blank=True)
    token = models.BigIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("shard",)

    def __str__(self) -> str:
        return f"shard {self.shard}"


class ExecutorNode(models.Model):
    """A live executor, for fair shares and the health page.

    ``heartbeat_at`` is of the database's own clock (execution/engine/database/leases.py).
    """

    owner = models.CharField(max_length=80, primary_key=True)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    clock_offset_ms = models.IntegerField(
        null=True, blank=True, help_text="Its clock less the database's, in milliseconds."
    )
    clock_error_ms = models.IntegerField(
        null=True, blank=True, help_text="Half the round trip of that reading, in milliseconds."
    )

    class Meta:
        ordering = ("owner",)

    def __str__(self) -> str:
        return self.owner

    @property
    def is_off(self) -> bool:
        """Whether its clock is provably too far from the database's to decide anything."""
        return is_off(self.clock_offset_ms, self.clock_error_ms)


class BookLag(models.Model):
    """The longest time that a broker's book took to show an accepted order (docs/adr/0037).

    One row per broker: what executors have measured, for all of them and across restarts.
    """

    broker = models.CharField(max_length=12, primary_key=True)
    seconds = models.DecimalField(max_digits=8, decimal_places=3)
    tag = models.CharField(max_length=14, help_text="Tag of the order that was late.")
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("broker",)

    def __str__(self) -> str:
        return f"{self.broker}: {self.seconds} s"


class KillSwitch(models.Model):
    """Blocks new entries of the platform or of one template (more scopes by data later)."""

    class Scope(models.TextChoices):
        PLATFORM = "PLATFORM", "Platform"
        TEMPLATE = "TEMPLATE", "Template"

    class Mode(models.TextChoices):
        BLOCK_NEW = "BLOCK_NEW", "Block new entries"

    #: NOTIFY channel, used with the commit of every change so that senders read at once.
    CHANNEL: Final = "quantleap_control"

    scope = models.CharField(max_length=8, choices=Scope.choices)
    target_id = models.BigIntegerField(
        null=True, blank=True, help_text="Template; empty for platform."
    )
    mode = models.CharField(max_length=9, choices=Mode.choices, default=Mode.BLOCK_NEW)
    reason = models.CharField(max_length=200)
    engaged_by = models.CharField(max_length=150)
    engaged_at = models.DateTimeField(default=clock.now)
    released_by = models.CharField(max_length=150, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "kill switches"
        constraints = (
            models.UniqueConstraint(
                fields=["scope", "target_id", "mode"],
                condition=Q(released_at__isnull=True),
                nulls_distinct=False,
                name="kill_switch_engaged_uniq",
            ),
            models.CheckConstraint(
                condition=Q(scope="PLATFORM", target_id__isnull=True)
                | Q(scope="TEMPLATE", target_id__isnull=False),
                name="kill_switch_target",
            ),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.mode}"
