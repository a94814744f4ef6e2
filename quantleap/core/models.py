"""Staff user, audit entries, outbox events and idempotency records."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from quantleap.core import clock
from quantleap.core.ids import new_event_id
from quantleap.core.tenancy import TenantOwned, TenantQuerySet


class StaffUser(AbstractUser):
    """A staff user of the console. Customers are not Django users."""

    class Meta:
        verbose_name = "staff user"
        permissions = (("operate_schedules", "Can stop, start and run schedules"),)


class ActorKind(models.TextChoices):
    """The kinds of actors in the audit log."""

    STAFF = "STAFF", "Staff"
    PARTNER = "PARTNER", "Partner key"
    USER = "USER", "Customer"
    SYSTEM = "SYSTEM", "System"


class AuditEntry(TenantOwned):
    """One action, never edited. The database refuses UPDATE and DELETE (migration 0002)."""

    at = models.DateTimeField(default=clock.now)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices)
    actor_id = models.CharField(max_length=80, blank=True)
    action = models.CharField(max_length=60)
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=80)
    data = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(
        null=True, blank=True, help_text="The staff user's address, as far as our proxies can tell."
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ("-id",)
        indexes = (
            # history of one thing, newest first (admin history, partner support)
            models.Index(fields=["target_type", "target_id", "-id"], name="audit_target_idx"),
            # the console's search: by the beginning of an id, and by action
            models.Index(
                fields=["target_id"], opclasses=["varchar_pattern_ops"], name="audit_target_id_idx"
            ),
            models.Index(
                fields=["actor_id"], opclasses=["varchar_pattern_ops"], name="audit_actor_id_idx"
            ),
            models.Index(
                fields=["request_id"],
                opclasses=["varchar_pattern_ops"],
                condition=~Q(request_id=""),
                name="audit_request_id_idx",
            ),
            models.Index(fields=["action", "-id"], name="audit_action_idx"),
            # the console's filters
            models.Index(fields=["actor_kind", "-id"], name="audit_actor_kind_idx"),
            models.Index(fields=["-id"], condition=Q(environment="test"), name="audit_test_idx"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target_type} {self.target_id}"


class OutboxEvent(TenantOwned):
    """An event, written in the transaction of the change that it reports.

    The relay claims unpublished rows with SKIP LOCKED and passes them to the registered handlers.
    """

    event_id = models.CharField(max_length=40, unique=True, default=new_event_id)
    type = models.CharField(max_length=60)
    object_id = models.CharField(
        max_length=80, blank=True, help_text="Public id of the event's object."
    )
    sequence = models.BigIntegerField(
        default=0,
        editable=False,
        help_text="Grows with every event of one object; assigned by the database.",
    )
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=clock.now)
    published_at = models.DateTimeField(null=True, blank=True)
    dedupe_key = models.CharField(  # noqa: DJ001  NULL: such events never collide
        max_length=120, null=True, blank=True, help_text="At most one event per key."
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "dedupe_key"],
                condition=Q(dedupe_key__isnull=False),
                nulls_distinct=False,
                name="outbox_dedupe_uniq",
            ),
        )
        indexes = (
            # the relay's queue: oldest unpublished first
            models.Index(
                fields=["id"], condition=Q(published_at__isnull=True), name="outbox_pending_idx"
            ),
            # the console's filter by type
            models.Index(fields=["type", "-id"], name="outbox_type_idx"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class EventSequence(models.Model):
    """The latest number given to an event of an object (trigger core_number_event).

    The row stays locked until the end of the transaction that took a number. So the events of an
    object are numbered in the order in which their transactions commit, whatever other locks these
    take.
    """

    object_id = models.CharField(max_length=80, primary_key=True)
    last = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.object_id}: {self.last}"


class IdempotencyRecord(TenantOwned):
    """The first answer to a POST with an ``Idempotency-Key``.

    ``scope`` says to whom the key belongs (partner and environment, or a customer), so a record
    survives key rotation. The row is created before the work and completed in its transaction.
    """

    class State(models.TextChoices):
        RUNNING = "RUNNING", "Running"
        DONE = "DONE", "Done"

    scope = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    body = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    completed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "scope", "key"],
                nulls_distinct=False,
                name="idempotency_scope_key_uniq",
            ),
            models.CheckConstraint(
                condition=Q(state="RUNNING", status_code__isnull=True)
                | Q(state="DONE", status_code__isnull=False),
                name="idempotency_done_has_answer",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="idempotency_expires_later"
            ),
        )
        indexes = (
            # the nightly sweep of expired records
            models.Index(fields=["expires_at"], name="idempotency_expiry_idx"),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


class QueuedMail(models.Model):
    """A mail to one person that is sent until it is accepted (:mod:`quantleap.core.mail`).

    It is claimed before it is sent: an expired claim belongs to a dead sender, and the mail is sent
    again under the same Message-ID. The table needs an index for the sender's queue: pending rows
    by ``next_attempt_at``.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"
        SENT = "SENT", "Sent"
        FAILED = "FAILED", "Failed"

    #: The mail was sent, or given up.
    OVER = (Status.SENT, Status.FAILED)

    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True)

    class Meta:
        abstract = True
