"""``/partner/broker-accounts...``: a partner's backend for its own customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from brokers.api import answers
from brokers.api.serializers import (
    AccountAnswer,
    AccountListAnswer,
    CallbackAnswer,
    InitiateAnswer,
    PartnerCallbackRequest,
    PartnerConnectRequest,
    PartnerInitiateRequest,
    RemovalAnswer,
)
from brokers.models import BrokerAccount
from brokers.selectors import account_by_client_id, accounts, require_client_id
from brokers.services.accounts import connect_account_of
from partners import permissions
from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, customer_filter
from partners.api.serializers import differs
from partners.selectors import get_partner, named_customer
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGING
from quantleap.core.api.principal import PartnerPrincipal
from quantleap.core.api.views import PartnerView, QueryByMethod
from quantleap.core.errors import NotFound

BROKER_NAME: Final = OpenApiParameter("broker_name", str, description="zerodha or zebu")
OPEN_POSITIONS: Final = OpenApiParameter(
    "open_positions", str, enum=["EXIT_NOW"], description="Exit first, then erase."
)


def _account(principal: PartnerPrincipal, client_id: str, *, broker: str = "") -> BrokerAccount:
    """The partner's account."""
    return account_by_client_id(
        principal.partner_id, principal.environment, client_id, broker=broker
    )


def _account_of(
    principal: PartnerPrincipal, client_id: str, data: Mapping[str, Any]
) -> BrokerAccount:
    """The partner's account, if it is the named customer's; NotFound otherwise."""
    account = _account(principal, client_id, broker=data.get("broker_name", ""))
    customer = named_customer(
        partner_id=principal.partner_id,
        environment=principal.environment,
        external_user_id=data.get("external_user_id", ""),
        email=data.get("user_email", ""),
    )
    if customer is None or account.customer_id != customer.pk:
        raise NotFound
    return account


def _require(principal: PartnerPrincipal, client_id: str) -> None:
    """404 comes before 400, but only the body says which broker and customer are meant."""
    require_client_id(principal.partner_id, principal.environment, client_id)


class AccountsView(PartnerView):
    """All accounts of a partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.BROKER_ACCOUNTS_READ,
        "POST": permissions.BROKER_ACCOUNTS_WRITE,
    }
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | CUSTOMER_QUERY | {"broker_name"}}

    @extend_schema(
        operation_id="partner_broker_accounts_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, BROKER_NAME],
        responses={200: AccountListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        found = accounts(self.partner.partner_id, self.partner.environment)
        found = found.filter(**customer_filter(request))
        if broker := answers.broker_asked(request):
            found = found.filter(broker=broker)
        return answers.listed(request, found, clock.now())

    @extend_schema(
        operation_id="partner_broker_accounts_create",
        request=PartnerConnectRequest,
        responses={201: AccountAnswer, 200: AccountAnswer},
    )
    def post(self, request: Request) -> Response:
        """Connect an account; the customer is found or created by id or e-mail."""
        data = self.validated(PartnerConnectRequest, request)
        now = clock.now()
        result = connect_account_of(
            partner_id=self.partner.partner_id,
            environment=self.partner.environment,
            email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            name=data.get("user_name", ""),
            state=data.get("user_state", ""),
            broker=data["broker_name"],
            client_id=data["client_id"],
            api_key=data["api_key"],
            api_secret=data["api_secret"],
            actor=self.partner.actor,
            now=now,
        )
        mailed_to = result.account.customer.email
        return answers.connected(result, now, email_differs=differs(data, mailed_to))


class AccountView(PartnerView):
    """One account by the client id that the broker gave it."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.BROKER_ACCOUNTS_READ,
        "DELETE": permissions.BROKER_ACCOUNTS_WRITE,
    }
    query_by_method: ClassVar[QueryByMethod] = answers.ACCOUNT_QUERY

    @extend_schema(
        operation_id="partner_broker_accounts_retrieve",
        parameters=[BROKER_NAME],
        responses={200: AccountAnswer},
    )
    def get(self, request: Request, client_id: str) -> Response:
        """Status, never a secret."""
        broker = answers.broker_asked(request)
        return answers.shown(_account(self.partner, client_id, broker=broker), clock.now())

    @extend_schema(
        operation_id="partner_broker_accounts_destroy",
        parameters=[BROKER_NAME, OPEN_POSITIONS],
        responses={200: RemovalAnswer},
    )
    def delete(self, request: Request, client_id: str) -> Response:
        """Remove it: credentials are erased at once, with EXIT_NOW after the last exit."""
        broker = answers.broker_asked(request)
        account = _account(self.partner, client_id, broker=broker)
        return answers.removed(request, account, self.partner.actor, clock.now())


class InitiateView(PartnerView):
    """Beginning of a daily login."""

    idempotency = Idempotency.SHOWS_SECRET
    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.BROKER_ACCOUNTS_WRITE}

    @extend_schema(
        operation_id="partner_broker_accounts_oauth_initiate",
        request=PartnerInitiateRequest,
        responses={200: InitiateAnswer},
    )
    def post(self, request: Request, client_id: str) -> Response:
        """Where the customer logs in, and the state to keep."""
        _require(self.partner, client_id)
        data = self.validated(PartnerInitiateRequest, request)
        account = _account_of(self.partner, client_id, data)
        registered = get_partner(self.partner.partner_id).oauth_redirect_urls
        return answers.initiated(
            account, data.get("redirect_uri", ""), registered, self.partner.actor, clock.now()
        )


class CallbackView(PartnerView):
    """End of a daily login."""

    idempotency = Idempotency.OUTSIDE
    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.BROKER_ACCOUNTS_WRITE}

    @extend_schema(
        operation_id="partner_broker_accounts_oauth_callback",
        request=PartnerCallbackRequest,
        responses={200: CallbackAnswer},
    )
    def post(self, request: Request, client_id: str) -> Response:
        """Exchange the broker's code for today's session."""
        _require(self.partner, client_id)
        data = self.validated(PartnerCallbackRequest, request)
        account = _account_of(self.partner, client_id, data)
        return answers.completed(
            account, data["request_token"], data["state"], self.partner.actor, clock.now()
        )
