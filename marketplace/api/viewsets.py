"""The catalogue: the same two actions for partners and for everybody else."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.utils.cache import patch_vary_headers
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.api.presenters import Taxation, payoff_preview, template_detail, template_row
from marketplace.api.serializers import TemplateDetailAnswer, TemplateListAnswer
from marketplace.categories import CATEGORIES
from marketplace.models import Template
from marketplace.ports import TAX_RATES
from marketplace.selectors.catalogue import (
    SORTS,
    Filters,
    check_filters,
    find_shown,
    offered,
    search,
)
from quantleap.core import clock
from quantleap.core.api.pagination import PAGING, paginate
from quantleap.core.api.parsers import NumberJSONRenderer
from quantleap.core.api.principal import caller_scope
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, PublicViewSet
from quantleap.core.errors import NotFound

READ: Final = "marketplace:read"
SINGLE_FILTERS: Final = ("category", "index", "difficulty", "pricing_type", "q", "sort")
STATE: Final = OpenApiParameter(
    "state",
    str,
    description="GST state code of the customer, for pricing.monthly_total; without it a "
    "customer's own state, else the supplier's.",
)
LIST_QUERY: Final = PAGING | {*SINGLE_FILTERS, "tag", "state"}
FILTER_PARAMETERS: Final = [
    STATE,
    OpenApiParameter("category", str, description=f"An index, or one of {', '.join(CATEGORIES)}."),
    OpenApiParameter("index", str, description="Underlying, for example NIFTY."),
    OpenApiParameter("difficulty", str, enum=list(Template.Difficulty.values)),
    OpenApiParameter("pricing_type", str, enum=list(Template.PricingType.values)),
    OpenApiParameter("tag", str, many=True, description="Repeatable; all of them must match."),
    OpenApiParameter("q", str, description="Part of the name or the description."),
    OpenApiParameter("sort", str, enum=list(SORTS), default="popular"),
    OpenApiParameter("page", int, default=1),
    OpenApiParameter("per_page", int, default=10, description="1 to 100; limit is an alias."),
]


def read_filters(request: Request) -> Filters:
    """The query as filters; 400 for an empty value."""
    params = request.query_params
    values = {name: params[name] for name in SINGLE_FILTERS if name in params}
    empty = [name for name, value in values.items() if not value and name != "q"]
    if empty:
        raise ValidationError(dict.fromkeys(empty, "Must not be empty."))
    return Filters(**values, tags=tuple(params.getlist("tag")))


def tagged(request: Request, answer: Any, *, basis: Any) -> Response:
    """The answer with an ETag of ``basis``, or 304 if the caller already has it.

    The tag is weak: it does not cover an estimate that follows the market by the second.
    """
    tag = 'W/"' + hashlib.sha256(NumberJSONRenderer().render(basis)).hexdigest()[:32] + '"'
    known = {part.strip() for part in request.headers.get("If-None-Match", "").split(",")}
    opaque = tag.removeprefix("W/")
    fresh = bool(known & {tag, opaque, "*"})
    response = Response(status=304) if fresh else Response(answer() if callable(answer) else answer)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ("Authorization", "X-Partner-Secret"))
    return response


def _taxation(request: Request, today: dt.date) -> Taxation:
    """The tax on a subscription that begins today, for the caller.

    A customer's own state is known; for a partner's customer, or for an anonymous caller, ``state``
    gives it.
    """
    state = request.query_params.get("state")
    if state == "":
        raise ValidationError({"state": "Must not be empty."})
    rates, caller = TAX_RATES.get(), request.auth
    within = rates.within_state(
        today,
        customer_id=getattr(caller, "customer_id", None),
        state=state or "",
    )
    return Taxation(rates.rate_on(today), within)


class TemplateViewSet(ApiViewSet):
    """Templates that the caller may see.

    Customers, partners and anonymous callers see different templates in the same shape.
    """

    tag = "Catalogue"
    lookup_field = "public_id"
    lookup_url_kwarg = "template_id"

    @extend_schema(
        summary="List templates",
        description="Templates that are offered to the caller.",
        parameters=FILTER_PARAMETERS,
        responses={200: TemplateListAnswer},
    )
    def list(self, request: Request) -> Response:
        """A page of the templates that the caller may subscribe to; always three queries."""
        partner_id, environment = caller_scope(request)
        today = clock.ist_date(clock.now())
        base = offered(partner_id=partner_id, environment=environment, day=today)
        filters = read_filters(request)
        check_filters(filters, base)
        rows, pagination = paginate(request, search(filters, base))
        taxation = _taxation(request, today)
        answer = TemplateListAnswer(
            {
                "statusCode": 200,
                "templates": [template_row(row, taxation) for row in rows],
                "pagination": pagination,
            }
        ).data
        return tagged(request, answer, basis=answer)

    @extend_schema(
        summary="Get a template",
        description="Strategies, pay-off preview and disclosure included.",
        parameters=[STATE],
        responses={200: TemplateDetailAnswer},
    )
    def retrieve(self, request: Request, template_id: str) -> Response:
        """A template that is offered to the caller, or that they follow.

        NotFound for unknown, hidden and withdrawn templates and those of the other environment
        alike.
        """
        partner_id, environment = caller_scope(request)
        caller: Any = request.auth
        now = clock.now()
        today = clock.ist_date(now)
        shown = find_shown(
            template_id,
            partner_id=partner_id,
            environment=environment,
            day=today,
            customer_id=getattr(caller, "customer_id", None),
            is_known=caller is not None,
        )
        if shown is None:
            raise NotFound
        template = shown.template
        taxation = _taxation(request, today)
        detail = template_detail(template, taxation, open_to_new=shown.open_to_new)

        def answer() -> Any:
            full = {**detail, "payoff_preview": payoff_preview(template, now)}
            return TemplateDetailAnswer({"statusCode": 200, "template": full}).data

        basis = TemplateDetailAnswer({"statusCode": 200, "template": detail}).data
        return tagged(request, answer, basis=basis)


@extend_schema_view(
    list=extend_schema(operation_id="marketplace_templates_list"),
    retrieve=extend_schema(operation_id="marketplace_templates_get"),
)
class PublicTemplateViewSet(TemplateViewSet, PublicViewSet):
    """The public catalogue."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(
            READ,
            query=LIST_QUERY,
            repeatable=frozenset({"tag"}),
            open_when_suspended=True,
            limit=LimitClass.BROWSE,
        ),
        "retrieve": ActionRule(
            READ,
            query=frozenset({"state"}),
            open_when_suspended=True,
            limit=LimitClass.BROWSE,
        ),
    }


@extend_schema_view(
    list=extend_schema(
        operation_id="partner_marketplace_templates_list",
        description="Templates that are offered to the partner's customers.",
    ),
    retrieve=extend_schema(operation_id="partner_marketplace_templates_get"),
)
class PartnerTemplateViewSet(TemplateViewSet, PartnerViewSet):
    """The catalogue as a partner's backend sees it."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(
            READ, query=LIST_QUERY, repeatable=frozenset({"tag"}), limit=LimitClass.BROWSE
        ),
        "retrieve": ActionRule(READ, query=frozenset({"state"}), limit=LimitClass.BROWSE),
    }
