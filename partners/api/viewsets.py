"""Customers and their tokens: validate, call the service, serialise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.api.queries import (
    CUSTOMER_QUERY,
    EXTERNAL_USER_ID,
    USER_EMAIL,
    OwnCustomerFilter,
)
from partners.api.serializers import (
    CustomerAnswer,
    CustomerEmailAnswer,
    CustomerEmailRequest,
    CustomerListAnswer,
    UserTokenAnswer,
    UserTokenRequest,
    customer_row,
    differs,
)
from partners.emails.changes import change_email
from partners.models import Customer
from partners.selectors import get_customer, tenants_customers
from partners.services import USER_TOKEN_LIFETIME, mint_user_token
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGE, PAGING, PER_PAGE, paginate
from quantleap.core.api.rate_limits import LimitClass, charge_customer
from quantleap.core.api.viewsets import ActionRule, PartnerViewSet
from quantleap.core.identifiers import ascii_lower


class PartnerUserTokenViewSet(PartnerViewSet):
    """Tokens with which a partner's customers act for themselves."""

    tag = "Customers"
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "create": ActionRule(
            permissions.SUBSCRIPTIONS_WRITE,
            body=UserTokenRequest,
            idempotency=Idempotency.SHOWS_SECRET,
            open_when_suspended=True,
            limit=LimitClass.LOGIN,
        )
    }

    def check_named_customer(self, request: Request) -> None:
        """Charge the customer whom the body names; a body that names none is refused later."""
        request._request.body  # noqa: B018  kept: the Idempotency-Key is compared with it again
        body = request.data if isinstance(request.data, dict) else {}
        own_id, email = body.get("external_user_id"), body.get("user_email")
        if isinstance(own_id, str) and own_id:
            charge_customer(request, self.caller, f"id {own_id}")
        elif isinstance(email, str) and email:
            charge_customer(request, self.caller, f"email {ascii_lower(email.strip())}")

    @extend_schema(
        operation_id="partner_user_tokens_create",
        summary="Create a user token",
        responses={201: UserTokenAnswer},
    )
    def create(self, request: Request) -> Response:
        """Issue a 15-minute token for a customer, who is found or created by id or e-mail
        address."""
        data = self.validated(request)
        partner = self.caller
        template_id = data.get("template_id") or ""
        minted = mint_user_token(
            partner_id=partner.partner_id,
            environment=partner.environment,
            email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            state=data.get("user_state", ""),
            key_id=partner.key_id,
            template_id=template_id,
            # a suspended partner's existing customers get tokens; new ones do not
            known_only=partner.suspended,
            actor=partner.actor,
            now=clock.now(),
        )
        answer = {
            "statusCode": 201,
            "user_token": minted.token,
            "user_id": minted.customer.public_id,
            "user_email": minted.customer.email,
            "external_user_id": minted.customer.external_user_id or None,
            "email_differs": differs(data, minted.customer.email),
            "expires_at": minted.expires_at,
            "expires_in": int(USER_TOKEN_LIFETIME.total_seconds()),
            "template_id": template_id or None,
        }
        return Response(UserTokenAnswer(answer).data, status=201)


class PartnerCustomerViewSet(PartnerViewSet):
    """A partner's customers."""

    tag = "Customers"
    lookup_field = "public_id"
    lookup_url_kwarg = "user_id"
    filter_backends = (OwnCustomerFilter,)
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(permissions.SUBSCRIPTIONS_READ, query=PAGING | CUSTOMER_QUERY),
        "retrieve": ActionRule(permissions.SUBSCRIPTIONS_READ),
        "email": ActionRule(permissions.SUBSCRIPTIONS_WRITE, body=CustomerEmailRequest),
    }

    def get_queryset(self) -> QuerySet[Customer]:
        """All customers of the partner, newest first."""
        return tenants_customers(self.caller.partner_id, self.caller.environment)

    def get_object(self) -> Customer:
        """The customer whom the path names; NotFound."""
        return get_customer(
            partner_id=self.caller.partner_id,
            environment=self.caller.environment,
            public_id=self.kwargs["user_id"],
        )

    @extend_schema(
        operation_id="partner_customers_list",
        summary="List customers",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, PAGE, PER_PAGE],
        responses={200: CustomerListAnswer},
    )
    def list(self, request: Request) -> Response:
        """All customers, newest first."""
        rows, pagination = paginate(request, self.filter_queryset(self.get_queryset()))
        answer = {
            "statusCode": 200,
            "customers": [customer_row(row) for row in rows],
            "pagination": pagination,
        }
        return Response(CustomerListAnswer(answer).data)

    @extend_schema(
        operation_id="partner_customers_retrieve",
        summary="Get a customer",
        responses={200: CustomerAnswer},
    )
    def retrieve(self, request: Request, user_id: str) -> Response:
        """One customer, with the details for their invoices."""
        answer = {"statusCode": 200, "customer": customer_row(self.get_object())}
        return Response(CustomerAnswer(answer).data)

    @extend_schema(
        operation_id="partner_customers_email",
        summary="Change a customer's e-mail address",
        responses={200: CustomerEmailAnswer},
    )
    @action(detail=True, methods=["post"])
    def email(self, request: Request, user_id: str) -> Response:
        """Use another address from now on."""
        customer = self.get_object()  # 404 comes before 400
        data = self.validated(request)
        result = change_email(
            customer_id=customer.pk,
            email=data["user_email"],
            reason=data.get("reason", ""),
            actor=self.caller.actor,
            now=clock.now(),
        )
        answer = {
            "statusCode": 200,
            "changed": result.changed,
            "customer": customer_row(result.customer),
        }
        return Response(CustomerEmailAnswer(answer).data)
