"""Answers of this room's routes."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from execution.descriptions import CAUSES
from execution.models import Execution, OrderIntent
from marketplace.definition import SIDES


def _two_decimals(**options: Any) -> serializers.DecimalField:
    """At most two decimals, as a JSON number."""
    return serializers.DecimalField(
        max_digits=16, decimal_places=2, coerce_to_string=False, **options
    )


#: An amount or a price in rupees.
_rupees = _two_decimals


CAUSE_HELP: Final = (
    "Normalised. A cause keeps its meaning; new ones may be added, so treat an unknown one as "
    f"OTHER. Known: {', '.join(CAUSES)}."
)


class Failure(serializers.Serializer[Any]):
    """Why an execution did not trade, or not all of it."""

    cause = serializers.CharField(help_text=CAUSE_HELP)
    message = serializers.CharField(help_text="The cause in words.")
    broker_message = serializers.CharField(help_text="The broker's own words; empty without.")


class Leg(serializers.Serializer[Any]):
    """What was traded in one leg: units, and average rupees per unit in and out."""

    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=SIDES)
    planned_quantity = serializers.IntegerField()
    entered_quantity = serializers.IntegerField()
    entry_price = _rupees(allow_null=True)
    exited_quantity = serializers.IntegerField()
    exit_price = _rupees(allow_null=True)
    exit_reason = serializers.CharField(
        allow_null=True,
        help_text="STOP, TARGET, EXIT_TIME, UNWIND, DUPLICATE or who asked for it.",
    )


class Order(serializers.Serializer[Any]):
    """One order with its tag and the broker's id; quantities in units."""

    tag = serializers.CharField()
    broker_order_id = serializers.CharField(allow_null=True)
    purpose = serializers.ChoiceField(choices=OrderIntent.Purpose.choices)
    reason = serializers.CharField(allow_null=True)
    symbol = serializers.CharField()
    side = serializers.ChoiceField(choices=SIDES)
    quantity = serializers.IntegerField()
    filled_quantity = serializers.IntegerField()
    price = _rupees()
    average_price = _rupees()
    surplus_quantity = serializers.IntegerField(
        help_text="What further orders with this one's tag filled at the broker. It is closed by an"
        " order of its own, with the reason DUPLICATE."
    )
    price_source = serializers.ChoiceField(
        choices=OrderIntent.PriceSource.choices,
        allow_null=True,
        help_text="Whose price the limit follows.",
    )
    price_age = serializers.DecimalField(
        max_digits=9,
        decimal_places=3,
        allow_null=True,
        help_text="Its age in seconds then; null: unknown.",
    )
    state = serializers.ChoiceField(choices=OrderIntent.State.choices)
    cause = serializers.CharField(allow_null=True, help_text="As an execution's failure.")
    message = serializers.CharField(allow_null=True, help_text="The broker's own words.")
    sent_at = serializers.DateTimeField(allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)


class ExecutionRow(serializers.Serializer[Any]):
    """One account's part in one day's run."""

    execution_id = serializers.CharField()
    run = serializers.CharField()
    trade_date = serializers.DateField()
    entry_at = serializers.DateTimeField()
    exit_at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=Execution.Status.choices)
    broker = serializers.CharField()
    client_id = serializers.CharField()
    lot_multiplier = _two_decimals()
    pnl = _rupees(allow_null=True)
    currency = serializers.CharField()
    exit_reason = serializers.CharField(allow_null=True)
    failure = Failure(allow_null=True)
    legs = Leg(many=True)
    orders = Order(many=True)


class ExecutionListAnswer(serializers.Serializer[Any]):
    """A page of executions, newest first."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    subscription_id = serializers.CharField()
    executions = ExecutionRow(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="null on the last page.")


class Position(serializers.Serializer[Any]):
    """One open leg: signed units (sold below zero), rupees per unit."""

    execution_id = serializers.CharField()
    contract = serializers.CharField()
    quantity = serializers.IntegerField()
    average_price = _rupees()
    last_price = _rupees(
        allow_null=True,
        help_text="The last trade or, where that is old, the middle of the book; null without.",
    )
    last_price_at = serializers.DateTimeField(allow_null=True)
    mtm = _rupees(allow_null=True, help_text="Unrealised profit or loss at that price.")
    currency = serializers.CharField()
    stop_price = _rupees(allow_null=True)
    target_price = _rupees(allow_null=True)


class PositionListAnswer(serializers.Serializer[Any]):
    """What a subscription holds now."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    subscription_id = serializers.CharField()
    positions = Position(many=True)
    total_mtm = _rupees(allow_null=True, help_text="null while a leg has no quote.")
    as_of = serializers.DateTimeField()
