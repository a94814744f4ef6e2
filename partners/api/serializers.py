"""Request and response bodies of this room's routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from partners.customer_references import EXTERNAL_ID_LENGTH, clean_external_id
from partners.customers import REASON_LENGTH
from partners.errors import CHANGE_ROUTE
from partners.gst_states import refusal
from partners.models import Customer
from partners.selectors import NOBODY_NAMED
from quantleap.core import clock
from quantleap.core.api.serializers import StrictCharField, StrictSerializer
from quantleap.core.identifiers import MAX_EMAIL, BadIdentifier, clean_email

#: Used in answers to bodies with both names.
EMAIL_DIFFERS: Final = (
    "True: user_email of the request is not the address on record, which stays as it is; "
    f"{CHANGE_ROUTE} changes it."
)


@extend_schema_field({"type": "string", "format": "email", "maxLength": MAX_EMAIL})
class EmailField(serializers.CharField):
    """An e-mail address, answered and stored in lower case with its domain as A-labels."""

    default_error_messages = {"invalid": "Write it as name@example.com."}

    def to_internal_value(self, data: object) -> str:
        """Accept text only; the part before the @ must be ASCII before its case is folded."""
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return clean_email(super().to_internal_value(data))
        except BadIdentifier as error:
            raise serializers.ValidationError(str(error), code="invalid") from error


def gst_state(value: str) -> None:
    """Refuse anything but two digits that are a recipient's GST state code today (IST)."""
    words = refusal(value, clock.ist_date(clock.now()))
    if words and _TWO_DIGITS.fullmatch(value):  # other values get another message
        raise serializers.ValidationError(words)


_TWO_DIGITS: Final = re.compile(r"[0-9]{2}", re.ASCII)


def state_field() -> StrictCharField:
    """A customer's GST state code, wherever one may be given; it fills in an unknown state."""
    options: dict[str, Any] = {
        "validators": [RegexValidator(r"\A[0-9]{2}\Z", "A GST state code: two digits."), gst_state]
    }
    return StrictCharField(
        required=False,
        help_text="GST state code in force; 28, 96, 99 and 00 belong to no recipient. It fills "
        "in what is unknown and replaces nothing.",
        **options,
    )


class ExternalIdField(StrictCharField):
    """A partner's own id for a person, exactly as the partner writes it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=EXTERNAL_ID_LENGTH, trim_whitespace=False, **options)

    def to_internal_value(self, data: object) -> str:
        """Accept printable ASCII without spaces at either end."""
        try:
            return clean_external_id(super().to_internal_value(data))
        except BadIdentifier as error:
            raise serializers.ValidationError(str(error), code="invalid") from error


#: Documented once: the members of every body that names a customer.
_EXTERNAL_ID: Final = (
    "Your own id for the person; case matters. It names the customer in addition to or instead of "
    "user_email, and has priority over it."
)
_EMAIL: Final = "Required if external_user_id is absent or not known yet."


class CustomerNamed(StrictSerializer):
    """The members by which a partner names its customer: either one, or both."""

    user_email = EmailField(max_length=MAX_EMAIL, required=False, help_text=_EMAIL)
    external_user_id = ExternalIdField(required=False, help_text=_EXTERNAL_ID)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require at least one name."""
        if "user_email" not in attrs and "external_user_id" not in attrs:
            raise serializers.ValidationError({"user_email": NOBODY_NAMED})
        validated: dict[str, Any] = super().validate(attrs)
        return validated


class UserTokenRequest(CustomerNamed):
    """``POST /partner/user-tokens``."""

    user_state = state_field()
    template_id = StrictCharField(max_length=40, required=False, allow_null=True)


class UserTokenAnswer(serializers.Serializer[object]):
    """A customer's token, shown once."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    user_token = serializers.CharField()
    user_id = serializers.CharField()
    user_email = serializers.EmailField()
    external_user_id = serializers.CharField(allow_null=True)
    email_differs = serializers.BooleanField(help_text=EMAIL_DIFFERS)
    expires_at = serializers.DateTimeField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    template_id = serializers.CharField(allow_null=True)


class CustomerEmailRequest(StrictSerializer):
    """``POST /partner/customers/{user_id}/email``."""

    user_email = EmailField(max_length=MAX_EMAIL)
    reason = StrictCharField(max_length=REASON_LENGTH, required=False, allow_blank=True)


class CustomerObject(serializers.Serializer[Any]):
    """One of the partner's customers."""

    user_id = serializers.CharField()
    external_user_id = serializers.CharField(
        allow_null=True, help_text="Your own id for them; null until a call names both."
    )
    user_email = serializers.EmailField(help_text="The address to which invoices are mailed.")
    email_confirmed = serializers.BooleanField(
        help_text="Its owner opened the link that was mailed there. Nothing depends on it."
    )
    email_confirmed_at = serializers.DateTimeField(allow_null=True)
    user_name = serializers.CharField()
    user_state = serializers.CharField(allow_null=True, help_text="GST state code.")
    created_at = serializers.DateTimeField()


class CustomerAnswer(serializers.Serializer[Any]):
    """One customer."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    customer = CustomerObject()


class CustomerEmailAnswer(CustomerAnswer):
    """The customer after an e-mail change."""

    changed = serializers.BooleanField(help_text="False: this already was the address.")


class PaginationObject(serializers.Serializer[Any]):
    """The position of this page in the list."""

    total = serializers.IntegerField()
    page = serializers.IntegerField()
    per_page = serializers.IntegerField()


class CustomerListAnswer(serializers.Serializer[Any]):
    """A page of customers."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    customers = CustomerObject(many=True)
    pagination = PaginationObject()


def customer_row(customer: Customer) -> dict[str, Any]:
    """Members of :class:`CustomerObject`."""
    return {
        "user_id": customer.public_id,
        "external_user_id": customer.external_user_id or None,
        "user_email": customer.email,
        "email_confirmed": customer.email_confirmed_at is not None,
        "email_confirmed_at": customer.email_confirmed_at,
        "user_name": customer.name,
        "user_state": customer.state or None,
        "created_at": customer.created_at,
    }


def differs(data: Mapping[str, Any], email: str) -> bool:
    """Whether a validated body has another address than ``email``, the one on record."""
    return "user_email" in data and str(data["user_email"]) != email
