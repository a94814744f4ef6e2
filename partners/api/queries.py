"""The query parameters by which a partner's lists name a customer."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
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
    description="Only this customer's, by your own id for them; it has priority over user_email.",
)
_NOBODY: Final = 0  # no row has this key


class CustomerFilter(BaseFilterBackend):
    """Filters a partner's list by the customer whom the query names; without a name, all rows.

    Names are resolved as everywhere (docs/partners.md); an unknown customer has no rows. An empty
    name is refused (ValidationError, 400) instead of ignored, because it would show everybody's
    rows.
    """

    #: Path from a row of the list to its customer's columns.
    prefix = "customer__"

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: Any
    ) -> QuerySet[Any]:
        """The rows of that customer."""
        return queryset.filter(**_look_ups(request, self.prefix))


class OwnCustomerFilter(CustomerFilter):
    """The same for a list of customers."""

    prefix = ""


def _look_ups(request: Request, prefix: str) -> dict[str, Any]:
    email = _checked(request, "user_email", EmailField(max_length=MAX_EMAIL))
    external_id = _checked(request, "external_user_id", ExternalIdField())
    if external_id is None:
        return {} if email is None else {f"{prefix}email": email}
    caller = partner_of(request)
    customer = named_customer(
        partner_id=caller.partner_id,
        environment=caller.environment,
        external_user_id=external_id,
        email=email or "",
    )
    return {f"{prefix}id": customer.pk if customer else _NOBODY}


def _checked(request: Request, name: str, field: EmailField | ExternalIdField) -> str | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        value: str = field.run_validation(text)
    except ValidationError as error:
        raise ValidationError({name: error.detail}) from error
    return value
