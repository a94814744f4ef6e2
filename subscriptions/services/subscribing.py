"""Subscribe a customer to a template, by reference (docs/adr/0002)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from brokers.models import BrokerAccount
from marketplace.models import Template
from marketplace.selectors import price_in_force
from marketplace.services import adjust_subscriber_count
from partners.gst_states import place_of_supply
from partners.identity import fill_unknown, find_or_create_customer
from partners.models import Customer, Partner
from partners.selectors import customers, share_in_force
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.errors import InvalidRequest, NotFound, PartnerSuspended
from quantleap.core.inserts import constraint_of
from quantleap.core.money import CURRENCY, ZERO, grouped, json_number
from subscriptions import events
from subscriptions.errors import (
    DuplicateSubscription,
    PriceChanged,
    StateMissing,
    SubscriptionHeld,
    VersionChanged,
)
from subscriptions.fee_split import DISTRIBUTOR, Share, split_fee
from subscriptions.hold_state import open_holds, shown_of
from subscriptions.lifecycle import LASTING, holder_words
from subscriptions.models import Hold, ShareLine, Subscription
from subscriptions.ports import BILLING
from subscriptions.selectors import open_template
from subscriptions.services.account_choices import (
    AccountChoice,
    allocate,
    check_multipliers,
    cleaned,
    refuse_beyond_limits,
    refuse_twice,
)

ONE_LIVE: Final = "subscription_one_live_uniq"


def subscribe(
    *,
    partner_id: int | None,
    environment: str,
    template_id: str,
    accounts: Sequence[AccountChoice],
    actor: Actor,
    now: dt.datetime,
    customer_id: int | None = None,
    user_email: str = "",
    external_user_id: str = "",
    user_name: str = "",
    user_state: str = "",
    accepted_disclosure_version: int | None = None,
    expected_monthly_fee: Decimal | None = None,
    expected_version: int | None = None,
    address: str | None = None,
    key_id: int | None = None,
) -> Subscription:
    """Create a live subscription with its allocations; repeated equal calls create one.

    ``template_id`` is public. The customer is found or created by ``external_user_id``,
    ``user_email`` or both (:func:`partners.identity.find_or_create_customer`), or is
    ``customer_id`` who subscribes for themselves; ``user_state`` (GST code) is stored if theirs is
    unknown. ``key_id`` is the key that called, or that issued the customer's token; ``address`` the
    network address from which the disclosure was accepted. ``expected_monthly_fee`` (rupees before
    tax) and ``expected_version`` are those that the catalogue showed: they prevent a subscription
    at a price or to a version that the customer has not seen.

    Raises NotFound for a template that is not offered to this caller; InvalidRequest for a
    multiplier, disclosure or account that does not fit; StateMissing for a paid one if the
    customer's state is unknown; DuplicateSubscription; PaymentDue; PriceChanged; VersionChanged;
    ClientIdTaken; SubscriptionHeld; PartnerSuspended; EmailDiffers; ExternalIdDiffers.
    """
    choices = [cleaned(choice, partner_id) for choice in accounts]
    refuse_twice(choices)
    for choice in choices:
        refuse_beyond_limits(choice)
    with transaction.atomic():
        template = _hold_open_template(template_id, partner_id, environment, ist_date(now))
        _check_disclosure(template, accepted_disclosure_version)
        check_multipliers(template, choices, ist_date(now))
        if customer_id is not None:
            customer = customers([customer_id])[customer_id]
            fill_unknown(customer, now=now, state=user_state)
        else:
            customer = find_or_create_customer(
                partner_id=partner_id,
                environment=environment,
                email=user_email,
                external_user_id=external_user_id,
                name=user_name,
                state=user_state,
                actor=actor,
                now=now,
            )
        partner_status = _share_rows(customer)
        subscription = _priced(template, customer, now)
        subscription.attributed_key_id = key_id
        if accepted_disclosure_version is not None:
            subscription.accepted_disclosure_version = accepted_disclosure_version
            subscription.accepted_disclosure_at = now
            subscription.accepted_disclosure_address = address
        _insert_once(subscription)
        # after the INSERT, so that a live subscription is reported as a duplicate first
        billing = BILLING.get()
        billing.refuse_debtor(subscription, ist_date(now))
        _refuse_nowhere(subscription, ist_date(now))
        _refuse_unseen(subscription, expected_monthly_fee, expected_version)
        copy_shares([subscription])
        billing.open_segments([subscription])
        for choice in choices:
            allocate(subscription, choice, actor, now)
        _refuse_suspended(partner_status)
        _refuse_held(subscription, choices)
        adjust_subscriber_count(template_id=template.pk, delta=1)
        first = choices[0]
        events.record(
            events.CREATED,
            subscription,
            actor=actor,
            now=now,
            broker=first.broker,
            client_id=first.client_id,
        )
    return subscription


# -- what is refused before anything is written --------------------------------------------------
def _hold_open_template(
    template_id: str, partner_id: int | None, environment: str, day: dt.date
) -> Template:
    """The template, protected from being withdrawn or closed until this transaction ends.

    FOR SHARE: subscribers do not wait for each other; a withdrawal waits for them and then cancels
    them too. Without the lock a subscription could outlive its template.
    """
    template = open_template(template_id, partner_id, environment, day)
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM marketplace_template WHERE id = %s FOR SHARE", [template.pk])
    return open_template(template_id, partner_id, environment, day)


def _share_rows(customer: Customer) -> str:
    """Lock the rows of the customer and their partner FOR SHARE until commit, so that nobody places
    a hold or suspends meanwhile; returns the partner's status, ACTIVE for a direct customer.

    Before the lock of any account: whoever fills in the customer's state keeps the customer's row
    and then waits for the account. Bug: with the opposite order one of a customer's parallel calls
    ended in a deadlock, a 500.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SHARE_CUSTOMER, [customer.pk])
        if customer.partner_id is None:
            return Partner.Status.ACTIVE
        cursor.execute(_SHARE_PARTNER, [customer.partner_id])
        (status,) = cursor.fetchone() or ("",)
        return str(status)


def _check_disclosure(template: Template, accepted: int | None) -> None:
    current = template.disclosure_version
    if accepted is None and not template.requires_disclosure:
        return
    if accepted != current:
        words = f"Must be {current}, the version of the disclosure that is shown now."
        raise InvalidRequest(
            f"accepted_disclosure_version: {words}",
            details={"accepted_disclosure_version": words},
        )


# -- what is written -----------------------------------------------------------------------------
def _priced(template: Template, customer: Customer, now: dt.datetime) -> Subscription:
    """An unsaved subscription with the price and the partner's share that apply today (IST)."""
    day = ist_date(now)
    price = None
    if template.pricing_type == Template.PricingType.PAID:
        price = price_in_force(template.pk, customer.partner_id, day)
        if price is None:  # a template is offered only with a price: it has just been deleted
            raise NotFound
    return Subscription(
        partner_id=customer.partner_id,
        environment=customer.environment,
        customer=customer,
        template=template,
        status=Subscription.Status.ACTIVE,
        status_changed_at=now,
        price=price,
        monthly_fee=price.monthly_fee if price else ZERO,
        currency=price.currency if price else CURRENCY,
        partner_bps=share_in_force(customer.partner_id, day) if customer.partner_id else 0,
        anchor=day,
        created_at=now,
    )


def copy_shares(subscriptions: Sequence[Subscription]) -> None:
    """Store the split of the fees of saved subscriptions, with the shares in force today."""
    ShareLine.objects.bulk_create(
        [
            ShareLine(
                partner_id=subscription.partner_id,
                environment=subscription.environment,
                subscription=subscription,
                role=line.role,
                payee=line.payee,
                basis_points=line.basis_points,
                amount=line.amount,
            )
            for subscription in subscriptions
            if subscription.monthly_fee > 0
            for line in split_fee(subscription.monthly_fee, _shares(subscription))
        ],
        batch_size=2000,
    )


def _shares(subscription: Subscription) -> list[Share]:
    if subscription.partner_id is None:
        return []
    return [Share(DISTRIBUTOR, subscription.partner_id, subscription.partner_bps)]


def _insert_once(subscription: Subscription) -> None:
    """Insert; the unique constraint decides which request wins."""
    for last_try in (False, True):
        try:
            with transaction.atomic():
                subscription.save(force_insert=True)
        except IntegrityError as error:
            if constraint_of(error) != ONE_LIVE:
                raise
            existing = _live_of(subscription)
            # None: it was cancelled between our INSERT and this query, so a retry can succeed.
            if existing is not None or last_try:
                raise DuplicateSubscription(
                    "User already subscribed to this strategy",
                    existing_subscription_id=existing,
                ) from error
        else:
            return


def _refuse_nowhere(subscription: Subscription, day: dt.date) -> None:
    """Raise StateMissing if the state that an invoice must name is unknown.

    After the INSERT, as with debtors.
    """
    state = subscription.customer.state
    if not subscription.is_billed or place_of_supply(day, state=state):
        return
    known = f"{state} on record is not in force" if state else "none is on record"
    words = (
        f"The customer's GST state is needed for their invoices, and {known}: two digits, "
        "33 for Tamil Nadu."
    )
    raise StateMissing(f"user_state: {words}", details={"user_state": words})


def _refuse_unseen(subscription: Subscription, fee: Decimal | None, version: int | None) -> None:
    """Raise a 409 if the price or the version is not the one that the customer was shown.

    It compares what was written, so a concurrent change of the price is noticed too. After the
    INSERT, as with debtors.
    """
    charged = subscription.monthly_fee
    if fee is not None and fee != charged:
        raise PriceChanged(
            f"The monthly fee is {grouped(charged)}, not {grouped(fee)}: look again",
            expected_monthly_fee=json_number(fee),
            monthly_fee=json_number(charged),
            currency=subscription.currency,
        )
    traded = subscription.template.current_version
    number = traded.number if traded else 0
    if version is not None and version != number:
        raise VersionChanged(
            f"Version {number} is traded, not {version}: look again",
            expected_version=version,
            version=number,
        )


def _refuse_suspended(partner_status: str) -> None:
    """Raise PartnerSuspended. After the INSERT, as with debtors."""
    if partner_status != Partner.Status.ACTIVE:
        raise PartnerSuspended("The partner is suspended: no new subscription.")


def _refuse_held(subscription: Subscription, choices: Sequence[AccountChoice]) -> None:
    """Raise SubscriptionHeld, so that subscribing anew does not evade a hold.

    Bug: a customer under a compliance hold cancelled and came back ACTIVE; another removed a held
    account and connected it again.

    :func:`_share_rows` and the locks of the accounts keep out a hold that is being placed
    meanwhile: it is either found here or finds the subscription.
    """
    earlier = Subscription.objects.filter(
        customer_id=subscription.customer_id, template_id=subscription.template_id
    )
    named = Q()
    for choice in choices:
        named |= Q(broker=choice.broker, client_id=choice.client_id)
    # All rows that ever represented these accounts: a removed one may be held.
    accounts = BrokerAccount.objects.for_partner(
        subscription.partner_id, subscription.environment
    ).filter(named)
    covering = (
        Q(customer_id=subscription.customer_id)
        | Q(account_id__in=list(accounts.values_list("pk", flat=True)))
        | Q(
            scope=Hold.Scope.PARTNER,
            partner_id=subscription.partner_id,
            environment=subscription.environment,
        )
        | Q(holder__in=LASTING, subscription_id__in=earlier.values("id"))
    )
    hold = shown_of(list(open_holds().filter(covering).order_by("-id")))
    if hold is not None:
        subject = _HELD[Hold.Scope(hold.scope)]
        raise SubscriptionHeld(
            f"{subject} is held by {holder_words(hold.holder)}: no new subscription until the "
            "hold is lifted",
            hold_reason=hold.holder,
            hold_scope=hold.scope,
        )


_SHARE_CUSTOMER: Final = "SELECT FROM partners_customer WHERE id = %s FOR SHARE"
_SHARE_PARTNER: Final = "SELECT status FROM partners_partner WHERE id = %s FOR SHARE"
_HELD: Final = {
    Hold.Scope.SUBSCRIPTION: "An earlier subscription to this strategy",
    Hold.Scope.CUSTOMER: "The customer",
    Hold.Scope.ACCOUNT: "The broker account",
    Hold.Scope.PARTNER: "The partner",
}


def _live_of(subscription: Subscription) -> str | None:
    return (
        Subscription.objects.for_partner(subscription.partner_id, subscription.environment)
        .filter(customer_id=subscription.customer_id, template_id=subscription.template_id)
        .exclude(status=Subscription.Status.CANCELLED)
        .values_list("public_id", flat=True)
        .first()
    )
