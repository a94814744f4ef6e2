"""Who could trade the next entry and who could not, and why, for a partner's morning."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Case, CharField, Count, Exists, OuterRef, QuerySet, Value, When

from brokers.readiness import not_ready_reason
from subscriptions.models import Allocation, Subscription
from subscriptions.selectors import subscriptions

PAUSED: Final = "paused"
NO_ACCOUNT: Final = "no_account"
NOT_READY: Final = "account_not_ready"
#: Why a subscription could not trade the next entry as it should.
REASONS: Final = (PAUSED, NO_ACCOUNT, NOT_READY)


def with_readiness(partner_id: int | None, environment: str, now: dt.datetime) -> QuerySet[Any]:
    """A tenant's live subscriptions with ``not_ready``: a reason, or '' if every account is ready.

    What a list shows is loaded as by :func:`subscriptions.selectors.subscriptions`. The reasons of
    accounts are those of :mod:`brokers.readiness`. Kill switches are left out: they concern all.
    """
    active = Allocation.objects.filter(subscription=OuterRef("pk"), status=Allocation.Status.ACTIVE)
    unready = active.annotate(reason=not_ready_reason(now, prefix="account__")).exclude(reason="")
    return (
        subscriptions(partner_id, environment)
        .exclude(status=Subscription.Status.CANCELLED)
        .annotate(
            not_ready=Case(
                When(status=Subscription.Status.PAUSED, then=Value(PAUSED)),
                When(~Exists(active), then=Value(NO_ACCOUNT)),
                When(Exists(unready), then=Value(NOT_READY)),
                default=Value(""),
                output_field=CharField(),
            )
        )
    )


def counts_by_reason(rows: QuerySet[Any]) -> Mapping[str, int]:
    """How many of :func:`with_readiness`'s rows have each reason; '' counts the ready ones."""
    counted = rows.order_by().values_list("not_ready").annotate(count=Count("pk"))
    return dict(counted)
