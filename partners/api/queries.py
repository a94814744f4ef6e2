"""The query parameters by which a partner's lists name a customer."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from partners.api.serializers import EmailField, ExternalIdField
from partners.selectors import named_customer
from quantleap.core.api.principal import partner_of
from quantleap.core.identifiers import MAX_EMAIL

CUSTOMER_QUERY: Final = frozenset({"user_email", "external_user_id"})
USER_EMAIL: Final = OpenApiParameter("user_email", str, description="Only this customer's.")
EXTERNAL_USER_ID: Final = OpenApiParameter(
    "external_user_id",
    str,
    description="Only this customer's, by your own id of them; it wins over user_email.",
)
_NOBODY: Final = 0  # no row has this key


def customer_filter(request: Request, prefix: str = "customer__") -> dict[str, Any]:
    """ORM look-ups for the customer whom a list's query names; none where it names nobody.

    ``prefix`` leads to the customer's columns. By the same table as everywhere (docs/partners.md);
    an unknown customer has no rows. ValidationError for what is neither: an empty filter is
    refused, not ignored, because it would show everybody's.
    """
    email = _checked(request, "user_email", EmailField(max_length=MAX_EMAIL))
    external_id = _checked(request, "external_user_id", ExternalIdField())
    if external_id is None:
        return {} if email is None else {f"{prefix}email": email}
    me = partner_of(request)
    found = named_customer(
        partner_id=me.partner_id,
        environment=me.environment,
        external_user_id=external_id,
        email=email or "",
    )
    return {f"{prefix}id": found.pk if found else _NOBODY}


def _checked(request: Request, name: str, field: EmailField | ExternalIdField) -> str | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        value: str = field.run_validation(text)
    except ValidationError as error:
        raise ValidationError({name: error.detail}) from error
    return value
