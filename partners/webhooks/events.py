"""Events for partners, and the body in which they are sent (docs/partners.md#webhooks). Pure."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

MAX_BODY_BYTES: Final = 20_000
_SHORT_TEXT: Final = 500
_SHORT_LIST: Final = 20

Extra = Callable[[Mapping[str, Any]], dict[str, Any]]


def _nothing(_data: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _failed_execution(data: Mapping[str, Any]) -> dict[str, Any]:
    """The shape in partners' older guide: the members of the failure beside ``event``."""
    names = (
        "subscription_id",
        "user_email",
        "external_user_id",
        "error",
        "broker_response",
        "run",
        "leg",
    )
    return {"event": "execution_failed", **{name: data.get(name) for name in names}}


# Every event type for partners, with the members that it repeats at the top level of the body.
EVENT_TYPES: Final[Mapping[str, Extra]] = {
    **dict.fromkeys(
        (
            "subscription.created",
            "subscription.paused",
            "subscription.resumed",
            "subscription.cancelled",
            "subscription.updated",
            "customer.email_changed",
            "customer.email_confirmed",
            "broker_session.expiring",
            "broker_session.expired",
            "execution.completed",
            "execution.partial",
            "execution.missed",
            "order.rejected",
            "invoice.issued",
            "invoice.paid",
            "payment.reversed",
            "credit_note.issued",
            "commission.accrued",
            "commission.clawed_back",
            "template.published",
            "template.closed",
            "template.reopened",
            "template.withdrawn",
            "key.expiring",
            "webhook_endpoint.disabled",
        ),
        _nothing,
    ),
    "execution.failed": _failed_execution,
}


def whole(shown: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` of an event: the object as the API shows it, then the members that only the event
    has."""
    return {**shown, **{name: value for name, value in payload.items() if name not in shown}}


def build_body(
    type: str, data: Mapping[str, Any], at: dt.datetime, *, about: str, sequence: int
) -> str:
    """The JSON body of an event, below 20 kB; ``at`` is when it happened (UTC).

    ``sequence`` orders the events of the object with the id ``about``. ``timestamp`` is the
    Standard Webhooks name of ``occurred_at``; the body has both.

    A body that is too large is shortened (long texts and lists first, then everything nested is
    left out) and marked ``"truncated": true``, because otherwise it would never arrive.
    """
    envelope = {
        "type": type,
        "timestamp": timestamp(at),
        "occurred_at": timestamp(at),
        "object_id": about,
        "sequence": sequence,
    }
    for shorten in (_as_is, _shortened, _flat):
        shortened = shorten(data)
        head = {**envelope, "data": shortened}
        extra = {} if shortened is data else {"truncated": True}
        body = _dump({**EVENT_TYPES[type](shortened), **head, **extra})
        if len(body.encode()) <= MAX_BODY_BYTES:
            return body
    return _dump({**envelope, "data": {}, "truncated": True})


def timestamp(at: dt.datetime) -> str:
    """ISO 8601 UTC with ``Z``, as everywhere in the API."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _dump(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def _as_is(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return data


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_SHORT_TEXT]
    if isinstance(value, Mapping):
        return {str(name)[:_SHORT_TEXT]: _shortened(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shortened(item) for item in value[:_SHORT_LIST]]
    return value


def _flat(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        str(name)[:_SHORT_TEXT]: _shortened(value)
        for name, value in list(data.items())[:_SHORT_LIST]
        if not isinstance(value, (Mapping, list, tuple))
    }
