"""``GET /partner/readiness``: who could trade the next entry, and who not and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from brokers.readiness import REASONS as ACCOUNT_REASONS
from brokers.readiness import readiness
from marketplace.selectors.template_summary import next_entries
from partners.permissions import SUBSCRIPTIONS_READ
from quantleap.core import clock
from quantleap.core.api.pagination import CURSOR, PAGING, PER_PAGE, paginate_by_cursor
from quantleap.core.api.viewsets import ActionRule, PartnerViewSet
from subscriptions.api import parsing
from subscriptions.models import Subscription
from subscriptions.readiness import REASONS, counts_by_reason, with_readiness

TEMPLATE_ID: Final = OpenApiParameter("template_id", str, description="Of this template only.")
READY: Final = OpenApiParameter("ready", str, enum=["true", "false"])


class ReadyAccountObject(serializers.Serializer[Any]):
    """An account of a subscription, and whether it could trade."""

    allocation_id = serializers.CharField()
    broker_id = serializers.CharField()
    client_id = serializers.CharField()
    ready = serializers.BooleanField()
    reason = serializers.CharField(
        allow_null=True, help_text=f"Why not: {', '.join(ACCOUNT_REASONS)}."
    )


class ReadinessObject(serializers.Serializer[Any]):
    """A live subscription, and whether it could trade its next entry."""

    subscription_id = serializers.CharField()
    user_id = serializers.CharField()
    user_email = serializers.EmailField()
    external_user_id = serializers.CharField(allow_null=True)
    template_id = serializers.CharField()
    template_name = serializers.CharField()
    next_entry_at = serializers.DateTimeField(
        allow_null=True, help_text="Null: the template does not enter in the days that are known."
    )
    ready = serializers.BooleanField(help_text="Every account could trade.")
    reason = serializers.CharField(allow_null=True, help_text=f"Why not: {', '.join(REASONS)}.")
    status_reason = serializers.CharField(allow_null=True, help_text="Who paused it.")
    accounts = ReadyAccountObject(many=True)


class ReadinessAnswer(serializers.Serializer[Any]):
    """A page of subscriptions, and how many of all are ready."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    as_of = serializers.DateTimeField()
    ready = serializers.IntegerField()
    not_ready = serializers.IntegerField()
    not_ready_by_reason = serializers.DictField(
        child=serializers.IntegerField(), help_text="Every reason with its count."
    )
    subscriptions = ReadinessObject(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class PartnerReadinessViewSet(PartnerViewSet):
    """A partner's customers before an entry."""

    tag = "Subscriptions"
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(SUBSCRIPTIONS_READ, query=PAGING | {"cursor", "template_id", "ready"})
    }

    @extend_schema(
        operation_id="partner_readiness_list",
        summary="List who could trade the next entry",
        description="Live subscriptions, newest first: whether each of their accounts could trade "
        "the next entry, and why not. The counts are of all, not of the page.",
        parameters=[TEMPLATE_ID, READY, CURSOR, PER_PAGE],
        responses={200: ReadinessAnswer},
    )
    def list(self, request: Request) -> Response:
        """Live subscriptions with the readiness of their accounts."""
        now = clock.now()
        caller = self.caller
        rows = with_readiness(caller.partner_id, caller.environment, now).filter(
            **parsing.template_filter(request)
        )
        counts = counts_by_reason(rows)
        page, cursor = paginate_by_cursor(request, _chosen(rows, request))
        entries = next_entries({row.template_id for row in page}, now)
        answer = {
            "statusCode": 200,
            "as_of": now,
            "ready": counts.get("", 0),
            "not_ready": sum(count for reason, count in counts.items() if reason),
            "not_ready_by_reason": {reason: counts.get(reason, 0) for reason in REASONS},
            "subscriptions": [_row(row, entries.get(row.template_id), now) for row in page],
            "next_cursor": cursor,
        }
        return Response(ReadinessAnswer(answer).data)


def _chosen(rows: Any, request: Request) -> Any:
    """The ready ones, the others, or all. ValidationError for another value."""
    wanted = request.query_params.get("ready")
    if wanted is None:
        return rows
    if wanted not in ("true", "false"):
        raise ValidationError({"ready": "Must be one of true, false."})
    return rows.filter(not_ready="") if wanted == "true" else rows.exclude(not_ready="")


def _row(row: Subscription, entry: dt.datetime | None, now: dt.datetime) -> dict[str, Any]:
    """Members of ReadinessObject."""
    reason: str = row.not_ready  # type: ignore[attr-defined]  # annotated by with_readiness
    return {
        "subscription_id": row.public_id,
        "user_id": row.customer.public_id,
        "user_email": row.customer.email,
        "external_user_id": row.customer.external_user_id or None,
        "template_id": row.template.public_id,
        "template_name": row.template.name,
        "next_entry_at": entry,
        "ready": not reason,
        "reason": reason or None,
        "status_reason": row.status_reason or None,
        "accounts": [
            {
                "allocation_id": allocation.public_id,
                "broker_id": allocation.account.broker,
                "client_id": allocation.account.client_id,
                "ready": (state := readiness(allocation.account, now)).ready,
                "reason": state.reason or None,
            }
            for allocation in row.allocations.all()
        ],
    }
