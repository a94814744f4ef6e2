"""Broker accounts, their daily sessions, feed accounts, and the brokers' names for contracts."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from marketplace.models import Contract
from partners.models import Customer
from quantleap.core import clock
from quantleap.core.dates import day_text
from quantleap.core.fields import SealedField
from quantleap.core.tenancy import TenantOwned, TenantQuerySet

#: A client id in the brokers' spelling: ASCII, upper case.
CLIENT_ID_PATTERN: Final = r"^[A-Z0-9][A-Z0-9._-]{0,39}$"


class BrokerKind(models.TextChoices):
    """The supported brokers."""

    ZERODHA = "zerodha", "Zerodha"
    ZEBU = "zebu", "Zebu"


class BrokerAccount(TenantOwned):
    """A customer's account at a broker. Credentials and token are encrypted at rest."""

    class Status(models.TextChoices):
        ENABLED = "enabled", "Enabled"
        DISABLED = "disabled", "Disabled"
        NEEDS_CREDENTIALS = "needs_credentials", "Needs credentials"
        REMOVED = "removed", "Removed"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="accounts")
    broker = models.CharField(max_length=20, choices=BrokerKind.choices)
    client_id = models.CharField(max_length=40, help_text="As the broker writes it, upper case.")
    status = models.CharField(
        max_length=17, choices=Status.choices, default=Status.NEEDS_CREDENTIALS
    )
    api_key = SealedField(blank=True)
    api_secret = SealedField(blank=True)
    access_token = SealedField(blank=True)
    token_expires_at = models.DateTimeField(null=True, blank=True)
    token_expiry_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_login_at = models.DateTimeField(null=True, blank=True)
    # a proxy's address may contain its password
    egress = SealedField(
        blank=True, help_text="Proxy or source address, sealed by brokers.sealed_credentials."
    )
    algo_id = models.CharField(max_length=40, blank=True)
    removal_requested_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="EXIT_NOW: erased after the last exit."
    )
    held = models.BooleanField(
        default=False, editable=False, help_text="A hold keeps it from entering."
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "broker", "client_id"],
                condition=~Q(status="removed"),
                nulls_distinct=False,
                name="account_tenant_client_uniq",
            ),
            models.CheckConstraint(
                condition=Q(client_id__regex=CLIENT_ID_PATTERN), name="account_client_id_ascii"
            ),
            models.CheckConstraint(
                condition=~Q(status="removed") | Q(api_key="", api_secret="", access_token=""),
                name="account_removed_is_erased",
            ),
            models.CheckConstraint(
                condition=Q(access_token="") | Q(token_expires_at__isnull=False),
                name="account_token_has_end",
            ),
        )
        indexes = (
            # the expiry sweep: sessions that end soon
            models.Index(
                fields=["token_expires_at"],
                condition=Q(token_expires_at__isnull=False),
                name="account_token_expiry_idx",
            ),
            # the console's search: by the beginning of a client id
            models.Index(
                fields=["client_id"],
                opclasses=["varchar_pattern_ops"],
                name="account_client_id_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.broker} {self.client_id}"

    def has_session(self, now: dt.datetime) -> bool:
        """Whether today's login is still valid at ``now`` (UTC)."""
        expires = self.token_expires_at
        return bool(self.access_token) and expires is not None and expires > now


class LoginAttempt(TenantOwned):
    """One started daily login: a random, one-time state, bound to account and partner."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="logins")
    state_hash = models.CharField(max_length=64)
    redirect_uri = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["partner_id", "environment", "state_hash"],
                nulls_distinct=False,
                name="login_state_uniq",
            ),
        )
        indexes = (
            # the deletion of old attempts
            models.Index(fields=["expires_at"], name="login_expiry_idx"),
        )

    def __str__(self) -> str:
        return f"login of {self.account_id}"


class FeedAccount(models.Model):
    """A staff-owned account that feeds quotes: one primary, any number of spares."""

    class Role(models.TextChoices):
        PRIMARY = "PRIMARY", "Primary"
        SPARE = "SPARE", "Spare"

    name = models.CharField(max_length=60, unique=True)
    broker = models.CharField(max_length=20, choices=BrokerKind.choices)
    role = models.CharField(max_length=7, choices=Role.choices, default=Role.PRIMARY)
    client_id = models.CharField(max_length=40)
    api_key = SealedField(blank=True)
    api_secret = SealedField(blank=True)
    access_token = SealedField(blank=True)
    token_expires_at = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    read_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it was last asked for a price."
    )
    quote_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The exchange's time of its last price."
    )
    problem = models.CharField(
        max_length=200, blank=True, editable=False, help_text="Why it last gave none."
    )
    used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the executor last asked it."
    )
    clock_samples = models.JSONField(
        default=list,
        blank=True,
        editable=False,
        help_text="Seconds by which its newest prices were behind our clock.",
    )

    class Meta:
        ordering = ("role", "name")
        constraints = (
            models.UniqueConstraint(
                fields=["role"],
                condition=Q(role="PRIMARY", is_active=True),
                name="feed_one_primary",
                violation_error_message="Another active feed is the primary one. "
                "Make this one a spare, or switch the other off first.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def has_session(self, now: dt.datetime) -> bool:
        """Whether today's login is still valid, as far as we know."""
        expires = self.token_expires_at
        return bool(self.access_token) and expires is not None and expires > now


class FeedPace(models.Model):
    """When the last quote calls of a feed login left: its broker counts all processes together."""

    login = models.CharField(max_length=300, primary_key=True)
    calls = ArrayField(models.FloatField(), default=list)
    urgent_at = models.FloatField(default=0.0)

    def __str__(self) -> str:
        return self.login


class FeedLogin(models.Model):
    """One started login of a feed account: a random, one-time state, bound to a console session."""

    feed = models.ForeignKey(FeedAccount, on_delete=models.CASCADE, related_name="logins")
    session_hash = models.CharField(max_length=64)
    state_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            # unfinished logins of a console session
            models.Index(
                fields=["session_hash"],
                condition=Q(used_at__isnull=True),
                name="feed_login_pending_idx",
            ),
        )

    def __str__(self) -> str:
        return f"login of {self.feed_id}"


class BrokerInstrument(models.Model):
    """A broker's name for a contract in its orders and quotes."""

    broker = models.CharField(max_length=20, choices=BrokerKind.choices)
    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="broker_names")
    exchange = models.CharField(max_length=4)
    symbol = models.CharField(max_length=40)
    token = models.CharField(max_length=20)
    last_seen = models.DateField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["broker", "contract"], name="instrument_uniq"),
            models.UniqueConstraint(
                fields=["broker", "exchange", "symbol"], name="instrument_symbol_uniq"
            ),
        )

    def __str__(self) -> str:
        return f"{self.broker} {self.symbol}"


class ContractListImport(models.Model):
    """One import of a broker's contract list of a day: requested, running, or finished."""

    class State(models.TextChoices):
        QUEUED = "QUEUED", "Waiting"
        RUNNING = "RUNNING", "Running"
        DONE = "DONE", "Done"
        FAILED = "FAILED", "Failed"

    #: Requested or running: at most one for each list.
    OPEN = (State.QUEUED, State.RUNNING)

    broker = models.CharField(max_length=20, choices=BrokerKind.choices)
    exchange = models.CharField(max_length=4)
    trade_date = models.DateField(help_text="The day (IST) whose list it is.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.QUEUED)
    force = models.BooleanField(
        default=False, help_text="Accepts a list much shorter than the last one."
    )
    source = models.CharField(max_length=200, blank=True)
    asked_by = models.CharField(max_length=150)
    queued_at = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    report = models.CharField(max_length=300, blank=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "contract list"
        constraints = (
            models.UniqueConstraint(
                fields=["broker", "exchange"],
                condition=Q(state__in=("QUEUED", "RUNNING")),
                name="contract_list_one_open",
            ),
        )
        indexes = (
            # the newest of each list: for the first page, and to see what is due
            models.Index(fields=["broker", "exchange", "-id"], name="contract_list_newest_idx"),
        )

    def __str__(self) -> str:
        return f"{self.get_broker_display()} {self.exchange}, {day_text(self.trade_date)}"
