"""Routes of this room: validate, call the service, serialise."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, customer_filter
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
from partners.emails.changing import change_email
from partners.selectors import get_customer, tenants_customers
from partners.services import USER_TOKEN_LIFETIME, mint_user_token
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGE, PAGING, PER_PAGE, paginate
from quantleap.core.api.views import PartnerView, QueryByMethod


class UserTokensView(PartnerView):
    """Tokens with which a partner's customer acts for themselves."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.SUBSCRIPTIONS_WRITE}
    open_when_suspended = frozenset({"POST"})
    idempotency = Idempotency.SHOWS_SECRET

    @extend_schema(
        operation_id="partner_user_tokens_create",
        request=UserTokenRequest,
        responses={201: UserTokenAnswer},
    )
    def post(self, request: Request) -> Response:
        """Mint a 15-minute token for a customer, found or created by id or e-mail."""
        data = self.validated(UserTokenRequest, request)
        template_id = data.get("template_id") or ""
        minted = mint_user_token(
            partner_id=self.partner.partner_id,
            environment=self.partner.environment,
            email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            state=data.get("user_state", ""),
            key_id=self.partner.key_id,
            template_id=template_id,
            # a suspended partner's customers get in; nobody new does
            known_only=self.partner.suspended,
            actor=self.partner.actor,
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


class CustomersView(PartnerView):
    """A partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | CUSTOMER_QUERY}

    @extend_schema(
        operation_id="partner_customers_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, PAGE, PER_PAGE],
        responses={200: CustomerListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.partner
        found = tenants_customers(me.partner_id, me.environment)
        rows, pagination = paginate(request, found.filter(**customer_filter(request, "")))
        answer = {
            "statusCode": 200,
            "customers": [customer_row(row) for row in rows],
            "pagination": pagination,
        }
        return Response(CustomerListAnswer(answer).data)


class CustomerDetailView(PartnerView):
    """One customer."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}

    @extend_schema(operation_id="partner_customers_retrieve", responses={200: CustomerAnswer})
    def get(self, request: Request, user_id: str) -> Response:
        """With what invoices are made out to."""
        me = self.partner
        customer = get_customer(
            partner_id=me.partner_id, environment=me.environment, public_id=user_id
        )
        answer = {"statusCode": 200, "customer": customer_row(customer)}
        return Response(CustomerAnswer(answer).data)


class CustomerEmailView(PartnerView):
    """The address of a customer."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.SUBSCRIPTIONS_WRITE}

    @extend_schema(
        operation_id="partner_customers_email",
        request=CustomerEmailRequest,
        responses={200: CustomerEmailAnswer},
    )
    def post(self, request: Request, user_id: str) -> Response:
        """Write to another address from now on."""
        me = self.partner
        customer = get_customer(  # 404 comes before 400
            partner_id=me.partner_id, environment=me.environment, public_id=user_id
        )
        data = self.validated(CustomerEmailRequest, request)
        result = change_email(
            customer_id=customer.pk,
            email=data["user_email"],
            reason=data.get("reason", ""),
            actor=me.actor,
            now=clock.now(),
        )
        answer = {
            "statusCode": 200,
            "changed": result.changed,
            "customer": customer_row(result.customer),
        }
        return Response(CustomerEmailAnswer(answer).data)
