"""``/user/broker-accounts...``: a customer for his own accounts, with the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from brokers.api import answers
from brokers.api.partner import BROKER_NAME, OPEN_POSITIONS
from brokers.api.serializers import (
    AccountAnswer,
    AccountListAnswer,
    CallbackAnswer,
    InitiateAnswer,
    RemovalAnswer,
    UserCallbackRequest,
    UserConnectRequest,
    UserInitiateRequest,
)
from brokers.models import BrokerAccount
from brokers.selectors import account_by_client_id, accounts, require_client_id
from brokers.services.accounts import connect_account
from partners import permissions
from partners.models import Customer
from partners.selectors import customers, get_partner
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGING
from quantleap.core.api.principal import CustomerPrincipal
from quantleap.core.api.views import CustomerView, QueryByMethod
from quantleap.core.errors import NotFound


def _self(principal: CustomerPrincipal) -> Customer:
    customer = customers([principal.customer_id]).get(principal.customer_id)
    if customer is None:
        raise NotFound
    return customer


def _account(principal: CustomerPrincipal, client_id: str, broker: str) -> BrokerAccount:
    return account_by_client_id(
        principal.partner_id,
        principal.environment,
        client_id,
        broker=broker,
        customer_id=principal.customer_id,
    )


def _require(principal: CustomerPrincipal, client_id: str) -> None:
    """404 comes before 400, but only the body says which broker is meant."""
    require_client_id(
        principal.partner_id,
        principal.environment,
        client_id,
        customer_id=principal.customer_id,
    )


def _registered(principal: CustomerPrincipal) -> Sequence[str]:
    """Redirect addresses of the customer's partner; a direct customer has none."""
    if principal.partner_id is None:
        return ()
    return get_partner(principal.partner_id).oauth_redirect_urls


class AccountsView(CustomerView):
    """All of the customer's accounts."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.BROKER_ACCOUNTS_READ,
        "POST": permissions.BROKER_ACCOUNTS_WRITE,
    }
    open_when_suspended = frozenset({"GET"})
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | {"broker_name"}}

    @extend_schema(
        operation_id="user_broker_accounts_list",
        parameters=[BROKER_NAME],
        responses={200: AccountListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.customer
        found = accounts(me.partner_id, me.environment, customer_id=me.customer_id)
        if broker := answers.broker_asked(request):
            found = found.filter(broker=broker)
        return answers.listed(request, found, clock.now())

    @extend_schema(
        operation_id="user_broker_accounts_create",
        request=UserConnectRequest,
        responses={201: AccountAnswer, 200: AccountAnswer},
    )
    def post(self, request: Request) -> Response:
        """Connect one's own account."""
        data = self.validated(UserConnectRequest, request)
        now = clock.now()
        result = connect_account(
            customer=_self(self.customer),
            broker=data["broker_name"],
            client_id=data["client_id"],
            api_key=data["api_key"],
            api_secret=data["api_secret"],
            actor=self.customer.actor,
            now=now,
        )
        return answers.connected(result, now)


class AccountView(CustomerView):
    """One account by the client id that the broker gave it."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.BROKER_ACCOUNTS_READ,
        "DELETE": permissions.BROKER_ACCOUNTS_WRITE,
    }
    open_when_suspended = frozenset({"GET", "DELETE"})
    query_by_method: ClassVar[QueryByMethod] = answers.ACCOUNT_QUERY

    @extend_schema(
        operation_id="user_broker_accounts_retrieve",
        parameters=[BROKER_NAME],
        responses={200: AccountAnswer},
    )
    def get(self, request: Request, client_id: str) -> Response:
        """Status, never a secret."""
        broker = answers.broker_asked(request)
        return answers.shown(_account(self.customer, client_id, broker), clock.now())

    @extend_schema(
        operation_id="user_broker_accounts_destroy",
        parameters=[BROKER_NAME, OPEN_POSITIONS],
        responses={200: RemovalAnswer},
    )
    def delete(self, request: Request, client_id: str) -> Response:
        """Remove it: credentials are erased at once, with EXIT_NOW after the last exit."""
        account = _account(self.customer, client_id, answers.broker_asked(request))
        return answers.removed(request, account, self.customer.actor, clock.now())


class InitiateView(CustomerView):
    """Beginning of a daily login."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.BROKER_ACCOUNTS_WRITE}
    open_when_suspended = frozenset({"POST"})
    idempotency = Idempotency.SHOWS_SECRET

    @extend_schema(
        operation_id="user_broker_accounts_oauth_initiate",
        request=UserInitiateRequest,
        responses={200: InitiateAnswer},
    )
    def post(self, request: Request, client_id: str) -> Response:
        """Where to log in, and the state to keep."""
        _require(self.customer, client_id)
        data = self.validated(UserInitiateRequest, request)
        account = _account(self.customer, client_id, data.get("broker_name", ""))
        return answers.initiated(
            account,
            data.get("redirect_uri", ""),
            _registered(self.customer),
            self.customer.actor,
            clock.now(),
        )


class CallbackView(CustomerView):
    """End of a daily login."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.BROKER_ACCOUNTS_WRITE}
    open_when_suspended = frozenset({"POST"})
    idempotency = Idempotency.OUTSIDE

    @extend_schema(
        operation_id="user_broker_accounts_oauth_callback",
        request=UserCallbackRequest,
        responses={200: CallbackAnswer},
    )
    def post(self, request: Request, client_id: str) -> Response:
        """Exchange the broker's code for today's session."""
        _require(self.customer, client_id)
        data = self.validated(UserCallbackRequest, request)
        account = _account(self.customer, client_id, data.get("broker_name", ""))
        return answers.completed(
            account, data["request_token"], data["state"], self.customer.actor, clock.now()
        )
