"""Order intents: each is an order that must reach a broker at most once (docs/invariants.md)."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from brokers.models import BrokerAccount
from execution import lifecycle
from execution.models.runs import Execution, Run
from marketplace.models import Contract
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.models import Allocation


class OrderIntent(TenantOwned):
    """An order, written before it is sent. ``code`` is part of the tag of each of its sends.

    PLANNED means provably not at the broker. SENDING is committed before the first byte, by
    I2 (written before it is sent), and becomes UNKNOWN if the outcome is unknown.
    """

    class Purpose(models.TextChoices):
        ENTRY = lifecycle.ENTRY, "Entry"
        EXIT = lifecycle.EXIT, "Exit"
        UNWIND = lifecycle.UNWIND, "Unwind"

    class State(models.TextChoices):
        PLANNED = lifecycle.PLANNED, "Planned"
        SENDING = lifecycle.SENDING, "Sending"
        UNKNOWN = lifecycle.UNKNOWN, "Unknown"
        ACCEPTED = lifecycle.ACCEPTED, "Accepted"
        PARTIAL = lifecycle.PARTIAL, "Partly filled"
        FILLED = lifecycle.FILLED, "Filled"
        REJECTED = lifecycle.REJECTED, "Rejected"
        CANCELLED = lifecycle.CANCELLED, "Cancelled"
        MISSED = lifecycle.MISSED, "Missed"
        ESCALATED = lifecycle.ESCALATED, "Escalated"

    class PriceSource(models.TextChoices):
        FEED = "FEED", "Price feed"
        ACCOUNT = "ACCOUNT", "The account's own broker"
        POSITION = "POSITION", "The broker's list of positions"
        FILL = "FILL", "What the leg was filled at"
        DECISION = "DECISION", "The entry decision"

    UNSENT = lifecycle.UNSENT
    UNCERTAIN = lifecycle.UNCERTAIN
    SENT = lifecycle.SENT
    FINAL = lifecycle.FINAL

    code = models.CharField(max_length=12, unique=True, help_text="12 base36 characters.")
    tag = models.CharField(max_length=14, help_text="Tag of the newest send.")
    # db_index=False: named indexes below begin with run and account
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="intents", db_index=False)
    execution = models.ForeignKey(Execution, on_delete=models.PROTECT, related_name="intents")
    allocation = models.ForeignKey(Allocation, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(
        BrokerAccount, on_delete=models.PROTECT, related_name="intents", db_index=False
    )
    shard = models.PositiveSmallIntegerField()
    leg_key = models.CharField(max_length=36)
    leg_index = models.PositiveSmallIntegerField()
    group = models.PositiveSmallIntegerField(help_text="Order group: 0 goes first.")
    slice = models.PositiveSmallIntegerField()
    purpose = models.CharField(max_length=6, choices=Purpose.choices)
    attempt_group = models.PositiveSmallIntegerField(default=0)
    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="+")
    symbol = models.CharField(max_length=40)
    side = models.CharField(max_length=4)
    quantity = models.PositiveIntegerField(help_text="Units.")
    price = models.DecimalField(max_digits=10, decimal_places=2, help_text="Limit, rupees a unit.")
    reference_price = models.DecimalField(max_digits=10, decimal_places=2)
    price_source = models.CharField(
        max_length=8,
        choices=PriceSource.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Which source gave the reference price.",
    )
    price_age = models.DecimalField(
        max_digits=9,
        decimal_places=3,
        null=True,
        blank=True,
        help_text="Its age in seconds when the order was priced; empty: unknown.",
    )
    reason = models.CharField(max_length=20, blank=True, help_text="Why an exit: STOP, TARGET …")
    state = models.CharField(max_length=9, choices=State.choices)
    sends = models.PositiveSmallIntegerField(default=0)
    broker_order_id = models.CharField(max_length=40, blank=True)
    filled_quantity = models.PositiveIntegerField(default=0)
    average_price = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    surplus_quantity = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="Units that other orders with our tags filled beside this one.",
    )
    surplus_price = models.DecimalField(
        max_digits=12, decimal_places=4, default=0, db_default=0, help_text="Their average price."
    )
    surplus_orders = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="Their ids at the broker."
    )
    changes = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text="Other prices that were asked for while it rested (execution.price_changes).",
    )
    cause = models.CharField(max_length=30, blank=True)
    message = models.CharField(max_length=300, blank=True, help_text="The broker's own words.")
    due_at = models.DateTimeField(help_text="Not before this instant.")
    planned_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True, help_text="First byte written.")
    answered_at = models.DateTimeField(null=True, blank=True)
    final_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("execution", "id")
        constraints = (
            # I1 (one intent per place in the plan)
            models.UniqueConstraint(
                fields=[
                    "partner_id",
                    "environment",
                    "run",
                    "allocation",
                    "leg_key",
                    "slice",
                    "purpose",
                    "attempt_group",
                ],
                nulls_distinct=False,
                name="intent_place_uniq",
            ),
            # I5 (never more than planned or held)
            models.CheckConstraint(
                condition=Q(filled_quantity__lte=F("quantity"), quantity__gt=0),
                name="intent_filled_within_planned",
            ),
            # I3 (no second send without proof), and at most three sends
            models.CheckConstraint(condition=Q(sends__lte=3), name="intent_sends_max"),
            models.CheckConstraint(
                condition=Q(state__in=list(lifecycle.UNSENT)) | Q(sends__gt=0),
                name="intent_sent_is_counted",
            ),
            models.CheckConstraint(
                condition=~Q(state="FILLED") | Q(filled_quantity=F("quantity")),
                name="intent_filled_is_full",
            ),
        )
        indexes = (
            # an executor's work: unfinished intents of its shards
            models.Index(
                fields=["shard"],
                condition=~Q(state__in=list(lifecycle.FINAL)),
                name="intent_live_idx",
            ),
            # run page: scorecard and order list
            models.Index(fields=["run", "state"], name="intent_run_state_idx"),
            # run page: its orders in the order of planning, page by page
            models.Index(fields=["run", "id"], name="intent_run_idx"),
            # what our executions track in one contract of one account, for
            # I5 (never more than planned or held)
            models.Index(fields=["account", "contract"], name="intent_account_contract_idx"),
            # the console's list: by the broker's id, and rare states, newest first. An order on the
            # usual path (planned, sending, accepted, filled) is in none of the rare ones.
            models.Index(
                fields=["broker_order_id"],
                opclasses=["varchar_pattern_ops"],
                condition=~Q(broker_order_id=""),
                name="intent_broker_order_idx",
            ),
            models.Index(fields=["cause", "-id"], condition=~Q(cause=""), name="intent_cause_idx"),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=list(lifecycle.RARE_ORDERS)),
                name="intent_rare_state_idx",
            ),
            models.Index(fields=["-id"], condition=Q(purpose="UNWIND"), name="intent_unwind_idx"),
            models.Index(fields=["-id"], condition=Q(environment="test"), name="intent_test_idx"),
        )

    def __str__(self) -> str:
        return f"{self.tag} {self.state}"
