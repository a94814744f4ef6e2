"""Partners, their keys, their customers, and their webhooks."""

from __future__ import annotations

import functools
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

import partners.emails.models
import partners.notices.models  # noqa: F401  Django looks for models in this module alone
from partners.customer_references import EXTERNAL_ID_LENGTH, EXTERNAL_ID_PATTERN
from partners.gst_states import WRITTEN, refusal
from partners.validators import validate_network, validate_redirect_url
from quantleap.core import clock
from quantleap.core.crypto import MAX_KEY_ID
from quantleap.core.dates import day_text
from quantleap.core.fields import SealedField
from quantleap.core.identifiers import EMAIL_PATTERN
from quantleap.core.ids import new_public_id
from quantleap.core.models import QueuedMail, StaffUser
from quantleap.core.tenancy import Environment, TenantOwned, TenantQuerySet

new_key_id = functools.partial(new_public_id, "key")
new_customer_id = functools.partial(new_public_id, "usr")
new_showing_id = functools.partial(new_public_id, "shw")
new_endpoint_id = functools.partial(new_public_id, "whk")


class Partner(models.Model):
    """A company that offers templates to its users."""

    class Type(models.TextChoices):
        BROKER = "BROKER", "Broker"
        PROVIDER = "PROVIDER", "Provider"

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE", "Active"
        SUSPENDED = "SUSPENDED", "Suspended"

    class Plan(models.TextChoices):
        """What happens to the subscriptions of a suspended partner's customers (adr 0051)."""

        PAUSE_ALL = "PAUSE_ALL", "Pause all now"
        RUN_UNTIL = "RUN_UNTIL", "Let them run until a day, then pause all"
        CANCEL_AT_PERIOD_END = "CANCEL_AT_PERIOD_END", "Cancel each at the end of its period"

    slug = models.CharField(
        max_length=12,
        unique=True,
        validators=[RegexValidator(r"\A[a-z0-9]{2,12}\Z", "2 to 12 of a-z and 0-9.")],
    )
    name = models.CharField(max_length=120)
    type = models.CharField(max_length=8, choices=Type.choices, default=Type.BROKER)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.ACTIVE)
    default_broker = models.CharField(max_length=20)
    default_state = models.CharField(
        max_length=2,
        blank=True,
        help_text="GST state code of the partner itself; it never determines a customer's tax.",
    )
    allowed_ips = ArrayField(
        models.CharField(max_length=43, validators=[validate_network]),
        default=list,
        blank=True,
        help_text="Addresses and CIDR networks; empty means any.",
    )
    oauth_redirect_urls = ArrayField(
        models.CharField(max_length=200, validators=[validate_redirect_url]),
        default=list,
        blank=True,
        help_text="Where a broker login may return to: https, or http to the caller's own machine; "
        "compared character by character.",
    )
    contact_emails = ArrayField(
        models.EmailField(),
        default=list,
        blank=True,
        help_text="Recipients of mails when a webhook endpoint is disabled, or the partner is "
        "suspended or reinstated; empty: nobody.",
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # -- the current suspension; empty while there is none (the audit log keeps earlier ones)
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_by = models.CharField(max_length=120, blank=True, editable=False)
    suspension_reason = models.CharField(max_length=200, blank=True, editable=False)
    suspension_plan = models.CharField(
        max_length=20, choices=Plan.choices, blank=True, editable=False
    )
    run_until = models.DateField(
        null=True, blank=True, editable=False, help_text="Last day (IST) on which they trade."
    )
    plan_done_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("slug",)
        constraints = (
            models.CheckConstraint(
                condition=Q(status="SUSPENDED")
                | Q(
                    suspended_at__isnull=True,
                    suspended_by="",
                    suspension_reason="",
                    suspension_plan="",
                    run_until__isnull=True,
                    plan_done_at__isnull=True,
                ),
                name="partner_plan_while_suspended",
            ),
            models.CheckConstraint(
                condition=Q(suspension_plan="RUN_UNTIL", run_until__isnull=False)
                | (~Q(suspension_plan="RUN_UNTIL") & Q(run_until__isnull=True)),
                name="partner_run_until_of_plan",
            ),
            models.CheckConstraint(
                condition=Q(suspension_plan="", plan_done_at__isnull=True)
                | Q(
                    ~Q(suspension_plan=""),
                    ~Q(suspended_by=""),
                    ~Q(suspension_reason=""),
                    suspended_at__isnull=False,
                ),
                name="partner_plan_has_who_and_why",
            ),
            models.CheckConstraint(
                condition=Q(slug__regex=r"^[a-z0-9]{2,12}$"),
                name="partner_slug_format",
                violation_error_message="2 to 12 lowercase letters (a to z) and digits, no spaces.",
            ),
            models.CheckConstraint(
                condition=Q(default_state__regex=WRITTEN),
                name="partner_state_digits",
                violation_error_message="A GST state code is two digits: 33, not TN.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Validate that the partner's state is one that GST knows today."""
        words = refusal(self.default_state, clock.ist_date(clock.now()))
        if self.default_state and words:
            raise ValidationError({"default_state": words})


class RevenueShare(models.Model):
    """The partner's part of a fee in basis points, from a date on.

    Never edited: another one for the same day supersedes it, with a reason.
    """

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="revenue_shares")
    effective_from = models.DateField()
    partner_bps = models.PositiveIntegerField(default=3000)
    reason = models.CharField(
        max_length=200, blank=True, help_text="Why it replaces a share of the same day."
    )
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("partner", "-effective_from")
        constraints = (
            models.UniqueConstraint(
                fields=["partner", "effective_from"],
                condition=Q(superseded_at__isnull=True),
                name="revenue_share_from_uniq",
                violation_error_message="There is already a share from this day on. "
                "Choose a later day.",
            ),
            models.CheckConstraint(
                condition=Q(partner_bps__lte=10_000),
                name="revenue_share_max",
                violation_error_message="At most 10,000 basis points: that is the whole fee.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.partner_bps} basis points from {day_text(self.effective_from)}"


#: The limits that a key may have, as the charging script can count them exactly.
PER_MINUTE_RANGE: Final = (1, 100_000)
PER_DAY_RANGE: Final = (1, 100_000_000)


def _unset_or_in_range(name: str) -> Q:
    return Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__range": PER_MINUTE_RANGE})


class PartnerKey(models.Model):
    """An API key of a partner in one environment. Its secrets are rows of their own."""

    class Status(models.TextChoices):
        ACTIVE = "ACTIVE", "Active"
        REVOKED = "REVOKED", "Revoked"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="keys")
    environment = models.CharField(max_length=4, choices=Environment.choices)
    public_id = models.CharField(max_length=40, unique=True, default=new_key_id, editable=False)
    key = models.CharField(max_length=60, unique=True, help_text="pk_<partner>_<environment>_…")
    label = models.CharField(max_length=80, blank=True)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.ACTIVE)
    permissions = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    requests_per_minute = models.PositiveIntegerField(default=60)
    requests_per_day = models.PositiveIntegerField(default=10_000)
    # other numbers a minute for one class of requests (docs/api/limits.md)
    browse_per_minute = models.PositiveIntegerField(null=True, blank=True)
    subscribe_per_minute = models.PositiveIntegerField(null=True, blank=True)
    manage_per_minute = models.PositiveIntegerField(null=True, blank=True)
    login_per_minute = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("partner", "-created_at")
        constraints = (
            # a limit of nothing would lock the key out, without saying so
            models.CheckConstraint(
                condition=Q(requests_per_minute__range=PER_MINUTE_RANGE)
                & Q(requests_per_day__range=PER_DAY_RANGE)
                & _unset_or_in_range("browse_per_minute")
                & _unset_or_in_range("subscribe_per_minute")
                & _unset_or_in_range("manage_per_minute")
                & _unset_or_in_range("login_per_minute"),
                name="partner_key_limits_range",
                violation_error_message="A limit is 1 to 100,000 requests per minute, "
                "1 to 100,000,000 per day.",
            ),
        )

    def __str__(self) -> str:
        return self.key


class PartnerSecret(models.Model):
    """A hashed secret of a key; at most two live ones (rotation with overlap).

    ``hash`` (bcrypt) is the durable one; requests are verified by ``mac``, an HMAC under the server
    key ``mac_key`` (docs/adr/0012).
    """

    key = models.ForeignKey(PartnerKey, on_delete=models.CASCADE, related_name="secrets")
    version = models.PositiveIntegerField()
    hash = models.CharField(max_length=80)
    mac = models.CharField(max_length=64, blank=True, default="", db_default="")
    mac_key = models.CharField(max_length=MAX_KEY_ID, blank=True, default="", db_default="")
    last4 = models.CharField(max_length=4)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("key", "-version")
        constraints = (
            models.UniqueConstraint(fields=["key", "version"], name="secret_version_uniq"),
            models.CheckConstraint(
                condition=Q(mac="", mac_key="") | ~Q(mac="") & ~Q(mac_key=""),
                name="secret_mac_has_its_key",
            ),
        )

    def __str__(self) -> str:
        return f"…{self.last4}"


class Customer(TenantOwned):
    """An end user: owned by exactly one partner, or direct. Never a Django user."""

    public_id = models.CharField(
        max_length=40, unique=True, default=new_customer_id, editable=False
    )
    external_user_id = models.CharField(
        max_length=EXTERNAL_ID_LENGTH,
        blank=True,
        default="",
        help_text="The partner's own id for this person; empty until it gives one.",
    )
    email = models.EmailField(help_text="Lower case, the domain as A-labels.")
    email_confirmed_at = models.DateTimeField(
        null=True, blank=True, help_text="When this address was confirmed by its owner."
    )
    name = models.CharField(max_length=120, blank=True)
    state = models.CharField(max_length=2, blank=True, help_text="GST state code.")
    billing_address = models.TextField(
        blank=True, help_text="One line of the invoice per line; empty: nothing is printed."
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "email"],
                nulls_distinct=False,
                name="customer_tenant_email_uniq",
            ),
            models.CheckConstraint(
                condition=Q(email__regex=EMAIL_PATTERN), name="customer_email_ascii"
            ),
            models.UniqueConstraint(
                fields=["partner_id", "environment", "external_user_id"],
                condition=~Q(external_user_id=""),
                nulls_distinct=False,
                name="customer_external_id_uniq",
            ),
            models.CheckConstraint(
                condition=Q(external_user_id="") | Q(external_user_id__regex=EXTERNAL_ID_PATTERN),
                name="customer_external_id_format",
            ),
            models.CheckConstraint(
                condition=Q(state__regex=WRITTEN),
                name="customer_state_digits",
                violation_error_message="A GST state code is two digits: 33, not TN.",
            ),
        )
        indexes = (
            # the console's search: by the beginning of a partner's own id
            models.Index(
                fields=["external_user_id"],
                opclasses=["varchar_pattern_ops"],
                condition=~Q(external_user_id=""),
                name="customer_external_id_idx",
            ),
        )

    def __str__(self) -> str:
        return self.email


class UserToken(TenantOwned):
    """A short-lived token of a customer; only its keyed hash is stored.

    It has the current permissions of the key that issued it, and no others.
    """

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="tokens")
    key = models.ForeignKey(
        PartnerKey,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The key that issued it; empty for a direct customer.",
    )
    token_hash = models.CharField(max_length=64, unique=True)
    template_id = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        indexes = (
            # the deletion of expired tokens
            models.Index(fields=["expires_at"], name="user_token_expiry_idx"),
        )
        constraints = (
            # a partner's token without its key would have no limits
            models.CheckConstraint(
                condition=Q(partner_id__isnull=True, key__isnull=True)
                | Q(partner_id__isnull=False, key__isnull=False),
                name="user_token_has_its_key",
            ),
        )

    def __str__(self) -> str:
        return f"token of {self.customer_id}"


class SecretShowing(models.Model):
    """A secret that is waiting to be shown once, to the person who asked for it."""

    public_id = models.CharField(max_length=40, unique=True, default=new_showing_id)
    staff = models.ForeignKey(StaffUser, on_delete=models.CASCADE, related_name="+")
    content = SealedField(blank=True, help_text="Encrypted; empty once shown or forgotten.")
    back = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    shown_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(shown_at__isnull=True) | Q(content=""), name="shown_secret_is_erased"
            ),
        )
        indexes = (
            # the deletion of secrets that nobody looked at
            models.Index(fields=["expires_at"], name="secret_showing_expiry_idx"),
        )

    def __str__(self) -> str:
        return self.public_id


class WebhookEndpoint(TenantOwned):
    """A URL to which a partner's events are sent. Secrets are encrypted at rest, two during
    rotation."""

    class Status(models.TextChoices):
        ENABLED = "ENABLED", "Enabled"
        DISABLED = "DISABLED", "Disabled"

    public_id = models.CharField(
        max_length=40, unique=True, default=new_endpoint_id, editable=False
    )
    url = models.CharField(max_length=500)
    events = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, help_text="Empty means all."
    )
    secret = SealedField()
    previous_secret = SealedField(blank=True)
    previous_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ENABLED)
    disabled_reason = models.CharField(max_length=200, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_failed_at = models.DateTimeField(null=True, blank=True)
    failed_tries = models.PositiveIntegerField(
        default=0, help_text="Consecutive failures over all deliveries."
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(TenantOwned):
    """One event for one endpoint, and the progress of its delivery."""

    class Status(models.TextChoices):
        PENDING = "PENDING", "Pending"
        DELIVERED = "DELIVERED", "Delivered"
        FAILED = "FAILED", "Failed"
        HELD = "HELD", "Held"  # its endpoint was disabled; kept so that it can be replayed

    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries"
    )
    event_id = models.CharField(max_length=40)
    type = models.CharField(max_length=60)
    body = models.TextField(help_text="The exact bytes that are signed and sent.")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    last_status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "webhook deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "endpoint", "event_id"],
                nulls_distinct=False,
                name="delivery_endpoint_event_uniq",
            ),
            models.CheckConstraint(
                condition=~Q(status="PENDING") | Q(next_attempt_at__isnull=False),
                name="delivery_pending_has_next",
            ),
        )
        indexes = (
            # the sender's queue: due deliveries of each endpoint, oldest first
            models.Index(
                fields=["endpoint", "next_attempt_at", "id"],
                condition=Q(status="PENDING"),
                name="delivery_queue_idx",
            ),
            # deliveries held while an endpoint was disabled: their replay, and the end of their
            # retention
            models.Index(
                fields=["endpoint", "created_at"],
                condition=Q(status="HELD"),
                name="delivery_held_idx",
            ),
            # the console: failures, newest first; an event by its id
            models.Index(fields=["-id"], condition=Q(status="FAILED"), name="delivery_failed_idx"),
            models.Index(
                fields=["event_id"], opclasses=["varchar_pattern_ops"], name="delivery_event_idx"
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.status}"


class EndpointMail(QueuedMail, TenantOwned):
    """A mail to one person about a disabled endpoint."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="mails")
    event_id = models.CharField(max_length=40)
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(default=clock.now)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "endpoint", "event_id", "recipient"],
                nulls_distinct=False,
                name="endpoint_mail_uniq",
            ),
        )
        indexes = (
            # the sender's queue
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(status="PENDING"),
                name="endpoint_mail_due_idx",
            ),
            # the console's search: by the beginning of an address
            models.Index(
                fields=["recipient"],
                opclasses=["varchar_pattern_ops"],
                name="endpoint_mail_recipient_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.recipient}: {self.subject}"
