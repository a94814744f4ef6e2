"""Convert validated bodies and queries into the services' arguments."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from quantleap.core.client_ip import caller_address
from subscriptions.api.serializers import TransitionRequest
from subscriptions.models import Allocation, Subscription
from subscriptions.services import AccountChoice, AllocationChanges, OpenPositions

LIST_QUERY: Final = frozenset({"template_id", "status"})
CANCEL_QUERY: Final = frozenset({"open_positions", "reason"})
SIZES: Final = ("lot_multiplier", "priority", "max_lots_per_order")


def account_choices(data: Mapping[str, Any]) -> list[AccountChoice]:
    """The account in the flat fields, or those of ``allocations``."""
    auto_link = data.get("auto_link_broker", True)
    if "allocations" not in data:
        return [_choice(data, auto_link, priority=1, path="")]
    return [
        _choice(row, auto_link, priority=number, path=f"allocations.{number - 1}.")
        for number, row in enumerate(data["allocations"], start=1)
    ]


def _choice(row: Mapping[str, Any], auto_link: bool, *, priority: int, path: str) -> AccountChoice:
    return AccountChoice(
        client_id=row["broker_client_id"],
        broker=row.get("broker", ""),
        lot_multiplier=row.get("lot_multiplier", Decimal(1)),
        priority=row.get("priority", priority),
        max_lots_per_order=row.get("max_lots_per_order"),
        auto_link=auto_link,
        path=path,
    )


def added_account(data: Mapping[str, Any]) -> AccountChoice:
    """The account of a validated AllocationAddRequest."""
    return _choice(data, data.get("auto_link_broker", True), priority=1, path="")


def swapped_account(data: Mapping[str, Any], allocation: Allocation) -> AccountChoice | None:
    """The account that takes the place of ``allocation``, with its sizes unless others are named.

    None if a validated AllocationChangeRequest changes only sizes.
    """
    if "broker_client_id" not in data:
        return None
    sizes = {name: getattr(allocation, name) for name in SIZES}
    named = {"broker": allocation.account.broker, **sizes, **data}
    return _choice(named, data.get("auto_link_broker", True), priority=1, path="")


def sizes_of(data: Mapping[str, Any]) -> AllocationChanges:
    """The sizes that a validated body names."""
    return cast(AllocationChanges, {name: data[name] for name in SIZES if name in data})


def subscribe_arguments(request: Request, data: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that partner and customer have in common."""
    address = caller_address(request)
    return {
        "accounts": account_choices(data),
        "user_state": data.get("user_state", ""),
        "accepted_disclosure_version": data.get("accepted_disclosure_version"),
        "expected_monthly_fee": data.get("expected_monthly_fee"),
        "expected_version": data.get("expected_version"),
        "address": None if address is None else str(address),
    }


def list_filters(request: Request) -> dict[str, str]:
    """Filters of a list as ORM look-ups. Raises ValidationError naming the allowed values.

    A partner selects the customer with :class:`partners.api.queries.CustomerFilter`.
    """
    params = request.query_params
    lookups = template_filter(request)
    if (status := params.get("status")) is not None:
        if status not in Subscription.Status.values:
            allowed = ", ".join(Subscription.Status.values)
            raise ValidationError({"status": f"Must be one of {allowed}."})
        lookups["status"] = status
    return lookups


def template_filter(request: Request) -> dict[str, str]:
    """The filter for one template's subscriptions, if the query names one."""
    template_id = request.query_params.get("template_id")
    if template_id is None:
        return {}
    return {"template__public_id": _no_nul("template_id", template_id)}


def _no_nul(name: str, text: str) -> str:
    if "\0" in text:
        raise ValidationError({name: "Null characters are not allowed."})
    return text


def transition_of(request: Request) -> dict[str, str]:
    """``open_positions`` and ``note`` of a pause or resume (body)."""
    return _transition(request.data)


def cancel_of(request: Request) -> dict[str, str]:
    """The same from the query of a DELETE."""
    refuse_body(request)
    return _transition(request.query_params.dict())


def refuse_body(request: Request) -> None:
    """ValidationError for the body of a DELETE, which would be silently ignored."""
    if request.data:
        raise ValidationError({"body": "DELETE takes query parameters, no body."})


def _transition(data: Any) -> dict[str, str]:
    bound = TransitionRequest(data=data)
    bound.is_valid(raise_exception=True)
    return {
        "open_positions": bound.validated_data.get("open_positions", OpenPositions.MANAGE.value),
        "note": bound.validated_data.get("reason", ""),
    }


def resume_of(request: Request) -> dict[str, str]:
    """``note`` of a resume. Refuses EXIT_NOW, which makes no sense for one."""
    transition = transition_of(request)
    if transition.pop("open_positions") == OpenPositions.EXIT_NOW:
        raise ValidationError({"open_positions": "EXIT_NOW goes with pause or cancel only."})
    return transition
