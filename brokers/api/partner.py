"""``/partner/broker-accounts...``: a partner's backend for its own customers."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
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
from brokers.services.accounts import connect_account_by_email
from partners import permissions
from partners.api.serializers import EmailField
from partners.selectors import get_partner
from quantleap.core import clock
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.pagination import PAGING
from quantleap.core.api.principal import PartnerPrincipal
from quantleap.core.api.views import PartnerView, QueryByMethod
from quantleap.core.errors import NotFound

BROKER_NAME = OpenApiParameter("broker_name", str, description="zerodha or zebu")
USER_EMAIL = OpenApiParameter("user_email", str, description="Only this customer's accounts.")
OPEN_POSITIONS = OpenApiParameter(
    "open_positions", str, enum=["EXIT_NOW"], description="Exit first, then erase."
)


def _email(text: str) -> str:
    """An e-mail address out of the query, in lower case; ValidationError with the field's name."""
    try:
        email: str = EmailField(max_length=254).run_validation(text)
    except ValidationError as error:
        raise ValidationError({"user_email": error.detail}) from error
    return email


def _account(
    principal: PartnerPrincipal, client_id: str, *, broker: str = "", email: str = ""
) -> BrokerAccount:
    """The partner's account, of that customer where ``email`` says so."""
    account = account_by_client_id(
        principal.partner_id, principal.environment, client_id, broker=broker
    )
    if email and account.customer.email != email:
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
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | {"user_email", "broker_name"}}

    @extend_schema(
        operation_id="partner_broker_accounts_list",
        parameters=[USER_EMAIL, BROKER_NAME],
        responses={200: AccountListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        found = accounts(self.partner.partner_id, self.partner.environment)
        # An empty filter is refused, not ignored: it would show everybody's.
        if (email := request.query_params.get("user_email")) is not None:
            found = found.filter(customer__email=_email(email))
        if broker := answers.broker_asked(request):
            found = found.filter(broker=broker)
        return answers.listed(request, found, clock.now())

    @extend_schema(
        operation_id="partner_broker_accounts_create",
        request=PartnerConnectRequest,
        responses={201: AccountAnswer, 200: AccountAnswer},
    )
    def post(self, request: Request) -> Response:
        """Connect an account; the customer is found or created by e-mail."""
        data = self.validated(PartnerConnectRequest, request)
        now = clock.now()
        result = connect_account_by_email(
            partner_id=self.partner.partner_id,
            environment=self.partner.environment,
            email=data["user_email"],
            name=data.get("user_name", ""),
            broker=data["broker_name"],
            client_id=data["client_id"],
            api_key=data["api_key"],
            api_secret=data["api_secret"],
            actor=self.partner.actor,
            now=now,
        )
        return answers.connected(result, now)


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
        account = _account(
            self.partner,
            client_id,
            broker=data.get("broker_name", ""),
            email=data["user_email"],
        )
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
        account = _account(
            self.partner,
            client_id,
            broker=data.get("broker_name", ""),
            email=data["user_email"],
        )
        return answers.completed(
            account, data["request_token"], data["state"], self.partner.actor, clock.now()
        )
