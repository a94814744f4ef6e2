"""``…/broker-accounts``: connect, read, remove, and the daily login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from brokers.api import shared_actions
from brokers.api.serializers import (
    AccountAnswer,
    AccountListAnswer,
    CallbackAnswer,
    InitiateAnswer,
    PartnerCallbackRequest,
    PartnerConnectRequest,
    PartnerInitiateRequest,
    RemovalAnswer,
    UserCallbackRequest,
    UserConnectRequest,
    UserInitiateRequest,
)
from brokers.models import BrokerAccount
from brokers.selectors import account_by_client_id, accounts, require_client_id
from brokers.services.accounts import connect_account, connect_account_of
from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, CustomerFilter
from partners.api.serializers import differs
from partners.permissions import BROKER_ACCOUNTS_READ, BROKER_ACCOUNTS_WRITE
from partners.selectors import get_customer_by_id, get_partner, named_customer
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGING
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, UserViewSet
from quantleap.core.errors import NotFound
from quantleap.core.identifiers import ascii_upper

BROKER_NAME: Final = OpenApiParameter("broker_name", str, description="zerodha or zebu")
OPEN_POSITIONS: Final = OpenApiParameter(
    "open_positions", str, enum=["EXIT_NOW"], description="Exit first, then erase."
)


class BrokerAccountViewSet(ApiViewSet):
    """Broker accounts, identified by the brokers' client ids.

    Each audience connects accounts, and identifies the account of a login, in its own way.
    """

    tag = "Broker accounts"
    lookup_field = "client_id"

    def get_queryset(self) -> QuerySet[BrokerAccount]:
        """The caller's accounts, newest first."""
        caller = self.caller
        return accounts(caller.partner_id, caller.environment, customer_id=caller.customer_id)

    def get_account(self, broker: str) -> BrokerAccount:
        """The caller's account with the path's client id, at this broker or, if empty, at the only
        one; NotFound."""
        caller = self.caller
        return account_by_client_id(
            caller.partner_id,
            caller.environment,
            self.kwargs["client_id"],
            broker=broker,
            customer_id=caller.customer_id,
        )

    def account_of_login(self, data: Mapping[str, Any]) -> BrokerAccount:
        """The account to which a login's body belongs; NotFound."""
        return self.get_account(data.get("broker_name", ""))

    def redirect_addresses(self) -> Sequence[str]:
        """Where the broker may send a customer back to; empty for a direct customer."""
        partner_id = self.caller.partner_id
        return () if partner_id is None else get_partner(partner_id).oauth_redirect_urls

    def _read_login(self, request: Request) -> tuple[dict[str, Any], BrokerAccount]:
        """Body and account. 404 comes before 400, but only the body identifies the account."""
        caller = self.caller
        require_client_id(
            caller.partner_id,
            caller.environment,
            self.kwargs["client_id"],
            customer_id=caller.customer_id,
        )
        data = self.validated(request)
        return data, self.account_of_login(data)

    @extend_schema(
        summary="List broker accounts",
        parameters=[BROKER_NAME],
        responses={200: AccountListAnswer},
    )
    def list(self, request: Request) -> Response:
        """All accounts, newest first."""
        queryset = self.filter_queryset(self.get_queryset())
        if broker := shared_actions.broker_asked(request):
            queryset = queryset.filter(broker=broker)
        return shared_actions.listed(request, queryset, clock.now())

    @extend_schema(
        summary="Get a broker account",
        parameters=[BROKER_NAME],
        responses={200: AccountAnswer},
    )
    def retrieve(self, request: Request, client_id: str) -> Response:
        """One account's status, never a secret."""
        account = self.get_account(shared_actions.broker_asked(request))
        return shared_actions.shown(account, clock.now())

    @extend_schema(
        summary="Remove a broker account",
        parameters=[BROKER_NAME, OPEN_POSITIONS],
        responses={200: RemovalAnswer},
    )
    def destroy(self, request: Request, client_id: str) -> Response:
        """Remove it: credentials are erased at once, or with EXIT_NOW after the last exit."""
        account = self.get_account(shared_actions.broker_asked(request))
        return shared_actions.removed(request, account, self.caller.actor, clock.now())

    @extend_schema(summary="Begin a broker login", responses={200: InitiateAnswer})
    @action(detail=True, methods=["post"], url_path="oauth/initiate")
    def initiate(self, request: Request, client_id: str) -> Response:
        """Return the page where the customer logs in, and the state to keep."""
        data, account = self._read_login(request)
        return shared_actions.initiated(
            account,
            data.get("redirect_uri", ""),
            self.redirect_addresses(),
            self.caller.actor,
            clock.now(),
        )

    @extend_schema(summary="Complete a broker login", responses={200: CallbackAnswer})
    @action(detail=True, methods=["post"], url_path="oauth/callback")
    def callback(self, request: Request, client_id: str) -> Response:
        """Exchange the broker's code for today's session."""
        data, account = self._read_login(request)
        return shared_actions.completed(
            account, data["request_token"], data["state"], self.caller.actor, clock.now()
        )


@extend_schema_view(
    list=extend_schema(
        operation_id="partner_broker_accounts_list", parameters=[USER_EMAIL, EXTERNAL_USER_ID]
    ),
    retrieve=extend_schema(operation_id="partner_broker_accounts_retrieve"),
    destroy=extend_schema(operation_id="partner_broker_accounts_destroy"),
    initiate=extend_schema(operation_id="partner_broker_accounts_oauth_initiate"),
    callback=extend_schema(operation_id="partner_broker_accounts_oauth_callback"),
)
class PartnerBrokerAccountViewSet(BrokerAccountViewSet, PartnerViewSet):
    """A partner's backend, for its own customers' accounts."""

    filter_backends = (CustomerFilter,)
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(BROKER_ACCOUNTS_READ, query=PAGING | CUSTOMER_QUERY | {"broker_name"}),
        "create": ActionRule(BROKER_ACCOUNTS_WRITE, body=PartnerConnectRequest),
        "retrieve": ActionRule(BROKER_ACCOUNTS_READ, query=shared_actions.RETRIEVE_QUERY),
        "destroy": ActionRule(BROKER_ACCOUNTS_WRITE, query=shared_actions.DESTROY_QUERY),
        "initiate": ActionRule(
            BROKER_ACCOUNTS_WRITE,
            body=PartnerInitiateRequest,
            idempotency=Idempotency.SHOWS_SECRET,
            limit=LimitClass.LOGIN,
        ),
        "callback": ActionRule(
            BROKER_ACCOUNTS_WRITE,
            body=PartnerCallbackRequest,
            idempotency=Idempotency.OUTSIDE,
            limit=LimitClass.LOGIN,
        ),
    }

    @property
    def named_customer(self) -> str:
        """The account stands for its customer: it is known before the body is read."""
        return ascii_upper(str(self.kwargs.get("client_id", "")))

    def account_of_login(self, data: Mapping[str, Any]) -> BrokerAccount:
        """The account, if it is the named customer's; NotFound otherwise."""
        account = super().account_of_login(data)
        customer = named_customer(
            partner_id=self.caller.partner_id,
            environment=self.caller.environment,
            external_user_id=data.get("external_user_id", ""),
            email=data.get("user_email", ""),
        )
        if customer is None or account.customer_id != customer.pk:
            raise NotFound
        return account

    @extend_schema(
        operation_id="partner_broker_accounts_create",
        summary="Connect a broker account",
        responses={201: AccountAnswer, 200: AccountAnswer},
    )
    def create(self, request: Request) -> Response:
        """Connect an account; the customer is found or created by id or e-mail."""
        data = self.validated(request)
        now = clock.now()
        result = connect_account_of(
            partner_id=self.caller.partner_id,
            environment=self.caller.environment,
            email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            name=data.get("user_name", ""),
            state=data.get("user_state", ""),
            broker=data["broker_name"],
            client_id=data["client_id"],
            api_key=data["api_key"],
            api_secret=data["api_secret"],
            actor=self.caller.actor,
            now=now,
        )
        mailed_to = result.account.customer.email
        return shared_actions.connected(result, now, email_differs=differs(data, mailed_to))


@extend_schema_view(
    list=extend_schema(operation_id="user_broker_accounts_list"),
    retrieve=extend_schema(operation_id="user_broker_accounts_retrieve"),
    destroy=extend_schema(operation_id="user_broker_accounts_destroy"),
    initiate=extend_schema(operation_id="user_broker_accounts_oauth_initiate"),
    callback=extend_schema(operation_id="user_broker_accounts_oauth_callback"),
)
class UserBrokerAccountViewSet(BrokerAccountViewSet, UserViewSet):
    """A customer's own accounts."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(
            BROKER_ACCOUNTS_READ, query=PAGING | {"broker_name"}, open_when_suspended=True
        ),
        "create": ActionRule(BROKER_ACCOUNTS_WRITE, body=UserConnectRequest),
        "retrieve": ActionRule(
            BROKER_ACCOUNTS_READ, query=shared_actions.RETRIEVE_QUERY, open_when_suspended=True
        ),
        "destroy": ActionRule(
            BROKER_ACCOUNTS_WRITE, query=shared_actions.DESTROY_QUERY, open_when_suspended=True
        ),
        "initiate": ActionRule(
            BROKER_ACCOUNTS_WRITE,
            body=UserInitiateRequest,
            idempotency=Idempotency.SHOWS_SECRET,
            open_when_suspended=True,
            limit=LimitClass.LOGIN,
        ),
        "callback": ActionRule(
            BROKER_ACCOUNTS_WRITE,
            body=UserCallbackRequest,
            idempotency=Idempotency.OUTSIDE,
            open_when_suspended=True,
            limit=LimitClass.LOGIN,
        ),
    }

    @extend_schema(
        operation_id="user_broker_accounts_create",
        summary="Connect a broker account",
        responses={201: AccountAnswer, 200: AccountAnswer},
    )
    def create(self, request: Request) -> Response:
        """Connect the customer's own account."""
        data = self.validated(request)
        now = clock.now()
        result = connect_account(
            customer=get_customer_by_id(self.caller.customer_id),
            broker=data["broker_name"],
            client_id=data["client_id"],
            api_key=data["api_key"],
            api_secret=data["api_secret"],
            actor=self.caller.actor,
            now=now,
        )
        return shared_actions.connected(result, now)
