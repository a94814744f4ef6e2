"""Place and lift holds on a subscription, or on all of a customer, an account or a partner."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from brokers.models import BrokerAccount
from brokers.services.accounts import mark_held
from partners.models import Customer, Partner
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.identifiers import ascii_lower
from quantleap.core.tenancy import Environment
from subscriptions.errors import HoldRefused
from subscriptions.hold_state import open_holds, settle, without_account
from subscriptions.lifecycle import NO_ACCOUNT, holder_words, liftable
from subscriptions.models import Allocation, Hold, Subscription
from subscriptions.ports import ENTRY_GATE

NOTE_LENGTH: Final = 200
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class HoldResult:
    """``changed`` False: no change was needed. ``subscriptions``: how many changed status.

    ``next_entry_affected`` False: an entry of one of them was committed already and goes out.
    """

    hold: Hold
    changed: bool
    subscriptions: int = 0
    next_entry_affected: bool = True


def place_hold(
    *,
    scope: str,
    target_id: int,
    holder: str,
    note: str,
    actor: Actor,
    now: dt.datetime,
    environment: str = Environment.LIVE,
    exit_now: bool = False,
    settled: bool = False,
) -> HoldResult:
    """Keep everything under a target from trading until the hold is lifted; one per holder.

    ``scope`` and ``holder`` are choices of Hold. ``environment`` matters for a partner, which has
    two; the other targets have their own. ``exit_now`` exits open positions. ``settled``: all
    subscriptions under the target are paused and show this hold already; if not, the database
    refuses the commit. Raises NotFound.
    """
    with transaction.atomic():
        hold = _locked_target(scope, target_id, environment)
        hold.holder, hold.note = holder, note.strip()[:NOTE_LENGTH]
        hold.placed_at, hold.placed_by = now, str(actor)
        earlier = _same(hold).first()
        if earlier is None:
            hold.save(force_insert=True)
            _record("hold.placed", hold, actor)
            if hold.account_id is not None:
                mark_held(account_id=hold.account_id, held=True, now=now)
        changed, affected = (0, True) if settled else _settle_under(earlier or hold, actor, now)
        if exit_now:
            _exit_under(earlier or hold, actor, now)
    return HoldResult(earlier or hold, earlier is None, changed, affected)


def lift_hold(*, hold_id: int, who: str, note: str, actor: Actor, now: dt.datetime) -> HoldResult:
    """Lift a hold. Subscriptions without another hold trade from their next entry on.

    Raises HoldRefused (409) if ``who`` may not lift it; NotFound.
    """
    with transaction.atomic():
        unlocked = Hold.objects.filter(pk=hold_id).first()
        if unlocked is None:
            raise NotFound
        # Lock the target first, as everywhere: a concurrent subscribe waits for this transaction.
        _locked_target(unlocked.scope, _target_id(unlocked), unlocked.environment)
        hold = Hold.objects.select_for_update().get(pk=hold_id)
        if hold.lifted_at is not None:
            return HoldResult(hold, False)
        subscription_id = hold.subscription_id
        accountless = subscription_id is not None and bool(without_account([subscription_id]))
        if hold.holder not in liftable(who, explained=bool(note.strip()), accountless=accountless):
            words = f"It was placed by {holder_words(hold.holder)} and is lifted only from there."
            stays = accountless and hold.holder == Hold.Holder.USER
            raise HoldRefused(NO_ACCOUNT if stays else words, holder=hold.holder)
        end_holds([hold], note=note, actor=actor, now=now)
        _record("hold.lifted", hold, actor)
        if hold.account_id is not None:
            still_held = open_holds().filter(account_id=hold.account_id).exists()
            mark_held(account_id=hold.account_id, held=still_held, now=now)
        changed, affected = _settle_under(hold, actor, now)
    return HoldResult(hold, True, changed, affected)


def end_holds(holds: list[Hold], *, note: str, actor: Actor, now: dt.datetime) -> None:
    """Mark open holds as lifted. The caller settles the subscriptions under them."""
    lifted_by = str(actor)
    for hold in holds:
        hold.lifted_at, hold.lifted_by, hold.lift_note = now, lifted_by, note.strip()[:NOTE_LENGTH]
    Hold.objects.bulk_update(holds, ("lifted_at", "lifted_by", "lift_note"))


# -- the target of a hold --------------------------------------------------------------------------
def _locked_target(scope: str, target_id: int, environment: str) -> Hold:
    """An unsaved hold of a target whose row is locked until commit. Raises NotFound.

    FOR NO KEY UPDATE: inserting a row that refers to the target does not wait. A subscribe does, as
    it locks the target FOR SHARE.
    """
    if scope == Hold.Scope.PARTNER:
        partner = Partner.objects.select_for_update(no_key=True).filter(pk=target_id).first()
        if partner is None:
            raise NotFound
        return Hold(scope=scope, partner_id=partner.pk, environment=environment)
    models = {
        Hold.Scope.SUBSCRIPTION: Subscription,
        Hold.Scope.CUSTOMER: Customer,
        Hold.Scope.ACCOUNT: BrokerAccount,
    }
    model = models.get(Hold.Scope(scope), Subscription)
    target = model._default_manager.select_for_update(no_key=True).filter(pk=target_id).first()
    if target is None:
        raise NotFound
    return Hold(
        scope=scope,
        partner_id=target.partner_id,
        environment=target.environment,
        **{ascii_lower(scope): target},
    )


def _target_id(hold: Hold) -> int:
    target_id = hold.subscription_id or hold.customer_id or hold.account_id or hold.partner_id
    if target_id is None:  # the database refuses such a row
        raise InvalidTransition(f"{hold.public_id} holds nothing")
    return target_id


def _same(hold: Hold) -> QuerySet[Hold]:
    """Open holds of the same target by the same holder: at most one."""
    target = {
        name: value
        for name in ("subscription", "customer", "account")
        if (value := getattr(hold, name)) is not None
    }
    return open_holds().filter(
        scope=hold.scope,
        holder=hold.holder,
        partner_id=hold.partner_id,
        environment=hold.environment,
        **target,
    )


def live_under(hold: Hold) -> QuerySet[Subscription]:
    """Live subscriptions that a hold covers.

    For an account: those that trade on it, and those that have left it and can trade on no other
    one.
    """
    live = Subscription.objects.exclude(status=Subscription.Status.CANCELLED)
    if hold.subscription_id is not None:
        return live.filter(pk=hold.subscription_id)
    if hold.customer_id is not None:
        return live.filter(customer_id=hold.customer_id)
    if hold.account_id is not None:
        active = Q(status=Allocation.Status.ACTIVE)
        on_account = Allocation.objects.filter(account_id=hold.account_id)
        elsewhere = Allocation.objects.filter(
            active, subscription_id=OuterRef("pk"), account__held=False
        ).exclude(account_id=hold.account_id)
        return live.filter(pk__in=on_account.values("subscription_id")).filter(
            Q(pk__in=on_account.filter(active).values("subscription_id")) | ~Exists(elsewhere)
        )
    return live.filter(partner_id=hold.partner_id, environment=hold.environment)


def _batches(hold: Hold) -> Iterator[list[Subscription]]:
    return locked(live_under(hold))


def locked(subscriptions: QuerySet[Subscription]) -> Iterator[list[Subscription]]:
    """Batches of locked subscriptions with what events need, in one order for all callers."""
    after = 0
    while batch := first_locked(subscriptions.filter(pk__gt=after), _BATCH):
        yield batch
        after = batch[-1].pk


def first_locked(subscriptions: QuerySet[Subscription], limit: int) -> list[Subscription]:
    """The first ``limit`` subscriptions by key, locked and loaded as by :func:`locked`."""
    return list(
        subscriptions.select_for_update(of=("self",), no_key=True)
        .select_related("customer", "template")
        .order_by("pk")[:limit]
    )


def _settle_under(hold: Hold, actor: Actor, now: dt.datetime) -> tuple[int, bool]:
    count, affected = 0, True
    for batch in _batches(hold):
        changed, reached = settle(batch, actor=actor, now=now)
        count, affected = count + len(changed), affected and reached
    return count, affected


def _exit_under(hold: Hold, actor: Actor, now: dt.datetime) -> None:
    for batch in _batches(hold):
        keys = [subscription.pk for subscription in batch]
        reached = ENTRY_GATE.get().request_exit(
            keys, reason="EXIT_NOW", now=now, account_id=hold.account_id
        )
        if reached:
            _record("hold.exit_requested", hold, actor, executions=reached)


def _record(action: str, hold: Hold, actor: Actor, **data: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="hold",
        target_id=hold.public_id,
        partner_id=hold.partner_id,
        environment=hold.environment,
        data={
            "scope": hold.scope,
            "holder": hold.holder,
            "note": hold.lift_note if hold.lifted_at else hold.note,
            **data,
        },
    )
