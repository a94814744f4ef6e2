"""Request and response bodies of this room's routes. No answer ever contains a secret."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from brokers.models import BrokerAccount
from brokers.readiness import readiness
from partners.api.serializers import EMAIL_DIFFERS, CustomerNamed, state_field
from quantleap.core import clock
from quantleap.core.api.serializers import StrictCharField, StrictSerializer
from quantleap.core.identifiers import ascii_lower

#: Secrets that customers type at their broker only; refused by name, never stored or logged.
NEVER_TAKEN: Final = frozenset(
    {
        "broker_password",
        "factor2",
        "mpin",
        "otp",
        "passcode",
        "password",
        "pin",
        "pwd",
        "totp",
        "totp_key",
        "totp_secret",
        "twofa",
        "two_factor",
    }
)


class _NoPasswords(StrictSerializer):
    """Refuses a broker's password, PIN or TOTP with a message that says why."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse them by name, in any case, without reading the value."""
        if isinstance(data, Mapping):
            taken = [name for name in data if ascii_lower(str(name)) in NEVER_TAKEN]
            if taken:
                why = "A broker password, PIN or TOTP is never accepted here."
                raise serializers.ValidationError({str(name): why for name in taken})
        return super().to_internal_value(data)


# -- requests --------------------------------------------------------------------------------
class UserConnectRequest(_NoPasswords):
    """``POST /user/broker-accounts``."""

    broker_name = StrictCharField(max_length=20)
    client_id = StrictCharField(max_length=40)
    api_key = StrictCharField(max_length=200)
    api_secret = StrictCharField(max_length=200)


class PartnerConnectRequest(CustomerNamed, UserConnectRequest):
    """``POST /partner/broker-accounts``."""

    user_name = StrictCharField(max_length=120, required=False, allow_blank=True)
    user_state = state_field()


class UserInitiateRequest(_NoPasswords):
    """``POST .../oauth/initiate``."""

    redirect_uri = StrictCharField(max_length=500, required=False, allow_blank=True)
    broker_name = StrictCharField(max_length=20, required=False)


class PartnerInitiateRequest(CustomerNamed, UserInitiateRequest):
    """The same for a partner."""


class UserCallbackRequest(_NoPasswords):
    """``POST .../oauth/callback``: the code under any of the names that brokers give it."""

    request_token = StrictCharField(max_length=500, required=False)
    code = StrictCharField(max_length=500, required=False)
    auth_token = StrictCharField(max_length=500, required=False)
    state = StrictCharField(max_length=200)
    broker_name = StrictCharField(max_length=20, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require exactly one of the three names."""
        codes = [attrs[name] for name in ("request_token", "code", "auth_token") if name in attrs]
        if len(codes) != 1:
            raise serializers.ValidationError(
                {"request_token": "Give exactly one of request_token, code and auth_token."}
            )
        return attrs | {"request_token": codes[0]}


class PartnerCallbackRequest(CustomerNamed, UserCallbackRequest):
    """The same for a partner."""


# -- answers ---------------------------------------------------------------------------------
class AccountRow(serializers.Serializer[Any]):
    """A broker account, without secrets."""

    user_id = serializers.CharField()
    user_email = serializers.EmailField()
    external_user_id = serializers.CharField(
        allow_null=True, help_text="The partner's own id for the customer."
    )
    client_id = serializers.CharField()
    broker_name = serializers.CharField()
    account_status = serializers.ChoiceField(choices=["enabled", "disabled", "needs_credentials"])
    has_credentials = serializers.BooleanField()
    has_oauth_token = serializers.BooleanField()
    last_oauth_login = serializers.DateTimeField(allow_null=True)
    token_expires_at = serializers.DateTimeField(allow_null=True)
    ready_for_trading = serializers.BooleanField()
    not_ready_reason = serializers.CharField(
        allow_null=True,
        help_text=(
            "disabled, held, needs_credentials, removal_requested, no_login_today, "
            "session_expired, or "
            "credentials_unreadable (connect the account again)."
        ),
    )
    created_at = serializers.DateTimeField()


class AccountAnswer(serializers.Serializer[Any]):
    """One account."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    success = serializers.BooleanField()
    message = serializers.CharField()
    credentials_checked = serializers.BooleanField(
        required=False, help_text="Whether the broker could confirm them without a login."
    )
    email_differs = serializers.BooleanField(required=False, help_text=EMAIL_DIFFERS)
    broker_account = AccountRow()


class Pagination(serializers.Serializer[Any]):
    """The position of this page in the list."""

    total = serializers.IntegerField()
    page = serializers.IntegerField()
    per_page = serializers.IntegerField()


class AccountListAnswer(serializers.Serializer[Any]):
    """A page of accounts."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    broker_accounts = AccountRow(many=True)
    pagination = Pagination()


class RemovalAnswer(serializers.Serializer[Any]):
    """The result of removing the account."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    success = serializers.BooleanField()
    message = serializers.CharField()
    credentials_erased = serializers.BooleanField()
    next_entry_affected = serializers.BooleanField()


class InitiateAnswer(serializers.Serializer[Any]):
    """The login page's address, and the state to bring back."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    success = serializers.BooleanField()
    oauth_url = serializers.CharField()
    state = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")


class CallbackAnswer(serializers.Serializer[Any]):
    """Today's session."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    success = serializers.BooleanField()
    message = serializers.CharField()
    token_expires_at = serializers.DateTimeField()
    valid_until = serializers.CharField(help_text='Wall clock in India, e.g. "6:00 AM IST".')


def account_row(account: BrokerAccount, now: dt.datetime) -> dict[str, Any]:
    """The members of :class:`AccountRow`."""
    state = readiness(account, now)
    live = account.has_session(now)
    return {
        "user_id": account.customer.public_id,
        "user_email": account.customer.email,
        "external_user_id": account.customer.external_user_id or None,
        "client_id": account.client_id,
        "broker_name": account.broker,
        "account_status": account.status,
        "has_credentials": bool(account.api_key and account.api_secret),
        "has_oauth_token": live,
        "last_oauth_login": account.last_login_at,
        "token_expires_at": account.token_expires_at if live else None,
        "ready_for_trading": state.ready,
        "not_ready_reason": state.reason or None,
        "created_at": account.created_at,
    }


def wall_clock(instant: dt.datetime) -> str:
    """``6:00 AM IST``."""
    local = clock.to_ist(instant)
    return f"{local.hour % 12 or 12}:{local:%M} {'AM' if local.hour < 12 else 'PM'} IST"
