"""The broker accounts on which a subscription trades, as a caller names them, and their rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from brokers.models import BrokerAccount
from brokers.selectors import clean_broker, clean_client_id
from brokers.services.accounts import ensure_account
from marketplace.models import Template
from partners.models import Customer
from partners.selectors import get_partner
from quantleap.core.audit import Actor
from quantleap.core.errors import DomainError, InvalidRequest
from subscriptions import limits
from subscriptions.models import Allocation, Subscription
from subscriptions.selectors import definition_of
from subscriptions.sizing_check import Sizing, check_sizing, order_limits

# Field names of the rooms below -> the names that our callers use.
_OUR_NAMES: Final = {"client_id": "broker_client_id", "broker_name": "broker"}


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """One broker account to trade on, as the caller names it.

    ``broker`` empty: the partner's default. ``lot_multiplier`` in lots per base lot,
    ``max_lots_per_order`` in lots. ``path`` is the prefix of field names in errors
    (``allocations.1.``). ``auto_link``: an unknown account is created without credentials.
    """

    client_id: str
    broker: str = ""
    lot_multiplier: Decimal = Decimal(1)
    priority: int = 1
    max_lots_per_order: int | None = None
    auto_link: bool = True
    path: str = ""


def cleaned(choice: AccountChoice, partner_id: int | None) -> AccountChoice:
    """Broker and client id as brokers write them. InvalidRequest with our field names."""
    broker = choice.broker
    if not broker:
        if partner_id is None:
            words = "This field is required."
            raise InvalidRequest(f"{choice.path}broker: {words}", details=_at(choice, broker=words))
        broker = get_partner(partner_id).default_broker
    try:
        client_id, kind = clean_client_id(choice.client_id), clean_broker(broker)
    except InvalidRequest as error:
        raise _renamed(error, choice) from error
    return replace(choice, client_id=client_id, broker=kind)


def _at(choice: AccountChoice, **details: str) -> dict[str, str]:
    return {choice.path + field: words for field, words in details.items()}


def _renamed(error: DomainError, choice: AccountChoice) -> DomainError:
    """The same error with the field names that our caller used."""
    details = {
        choice.path + _OUR_NAMES.get(field, field): words for field, words in error.details.items()
    }
    field, words = next(iter(details.items()), ("", error.message))
    message = f"{field}: {words}" if isinstance(error, InvalidRequest) and field else error.message
    return type(error)(message, details=details, **error.extra)


def refuse_twice(choices: Sequence[AccountChoice]) -> None:
    """InvalidRequest for no account, too many, or the same one twice."""
    if not choices:
        raise InvalidRequest(details={"broker_client_id": "This field is required."})
    if len(choices) > limits.MAX_ALLOCATIONS:
        words = f"From 1 to {limits.MAX_ALLOCATIONS} accounts."
        raise InvalidRequest(words, details={"allocations": words})
    seen: set[tuple[str, str]] = set()
    for choice in choices:
        if (choice.broker, choice.client_id) in seen:
            words = "The same account is named twice."
            raise InvalidRequest(words, details=_at(choice, broker_client_id=words))
        seen.add((choice.broker, choice.client_id))


def refuse_beyond_limits(choice: AccountChoice) -> None:
    """The API's limits, for callers that do not come through it: no column takes more."""
    most, places = limits.MAX_LOT_MULTIPLIER, limits.MULTIPLIER_PLACES
    multiplier, lots = choice.lot_multiplier, choice.max_lots_per_order
    words: dict[str, str] = {}
    if not multiplier.is_finite() or multiplier > most:
        words["lot_multiplier"] = f"At most {most}."
    elif multiplier != round(multiplier, places):
        words["lot_multiplier"] = f"At most {places} decimals."
    if lots is not None and not 1 <= lots <= limits.MAX_LOTS_PER_ORDER:
        words["max_lots_per_order"] = f"From 1 to {limits.MAX_LOTS_PER_ORDER}."
    if not 1 <= choice.priority <= limits.MAX_PRIORITY:
        words["priority"] = f"From 1 to {limits.MAX_PRIORITY}."
    if words:
        field, first = next(iter(words.items()))
        raise InvalidRequest(f"{choice.path}{field}: {first}", details=_at(choice, **words))


def check_multipliers(template: Template, choices: Sequence[AccountChoice], day: dt.date) -> None:
    """Raise what an entry of the current version would raise: LotsZero, RatioChanged, TooManyOrders
    (all 400)."""
    definition = definition_of(template)
    limits_of_orders = order_limits(definition, day)
    for choice in choices:
        sizing = Sizing(choice.lot_multiplier, choice.max_lots_per_order, choice.broker)
        try:
            check_sizing(definition, sizing, limits_of_orders, hide_legs=template.black_box)
        except InvalidRequest as error:
            raise _renamed(error, choice) if choice.path else error from error


def allocate(
    subscription: Subscription, choice: AccountChoice, actor: Actor, now: dt.datetime
) -> Allocation:
    """Store one account of a saved subscription, which the caller has locked or just inserted.

    InvalidRequest for an account that is unknown and not to be linked; ClientIdTaken.
    """
    account = _account(subscription.customer, choice, actor, now)
    return Allocation.objects.create(
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        subscription=subscription,
        account=account,
        lot_multiplier=choice.lot_multiplier,
        priority=choice.priority,
        max_lots_per_order=choice.max_lots_per_order,
        created_at=now,
    )


def _account(
    customer: Customer, choice: AccountChoice, actor: Actor, now: dt.datetime
) -> BrokerAccount:
    """The customer's account, locked until commit so that a removal cannot miss the allocation."""
    if not choice.auto_link:
        known = (
            BrokerAccount.objects.select_for_update()
            .for_partner(customer.partner_id, customer.environment)
            .filter(customer=customer, broker=choice.broker, client_id=choice.client_id)
            .exclude(status=BrokerAccount.Status.REMOVED)
        )
        if not known.exists():
            words = "No such account of this customer: connect it first, or auto_link_broker."
            raise InvalidRequest(
                f"{choice.path}broker_client_id: {words}",
                details=_at(choice, broker_client_id=words),
            )
    try:
        return ensure_account(
            customer=customer,
            broker=choice.broker,
            client_id=choice.client_id,
            actor=actor,
            now=now,
        )
    except DomainError as error:
        raise _renamed(error, choice) from error
