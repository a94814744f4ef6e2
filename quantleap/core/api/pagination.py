"""Lists by ``page``/``per_page`` and lists by ``cursor``, both with a total order.

docs/api/conventions.md#lists defines the contract.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

DEFAULT_PER_PAGE: Final = 10
MAX_PER_PAGE: Final = 100
PAGING: Final = frozenset({"page", "per_page", "limit"})
PAGE: Final = OpenApiParameter("page", int, description="From 1.")
PER_PAGE: Final = OpenApiParameter(
    "per_page", int, description=f"At most {MAX_PER_PAGE}; {DEFAULT_PER_PAGE} if absent."
)
CURSOR: Final = OpenApiParameter(
    "cursor", str, description="The next_cursor of the previous page; if absent, the newest rows."
)


def check_query(
    request: Request, allowed: Collection[str], *, repeatable: Collection[str] = ()
) -> None:
    """Refuse query parameters that are unknown to the route or occur twice, by name."""
    params = request.query_params
    twice = [name for name in params if len(params.getlist(name)) > 1 and name not in repeatable]
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        raise ValidationError(dict.fromkeys(unknown, "Unknown query parameter."))
    if twice:
        raise ValidationError(dict.fromkeys(twice, "Given more than once."))


def _number(params: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= maximum:
        raise ValidationError({name: f"Must be a whole number from 1 to {maximum}."})
    return int(text)


def paginate(request: Request, queryset: QuerySet[Any]) -> tuple[list[Any], dict[str, int]]:
    """One page (two queries: count and rows) and the ``pagination`` member.

    The queryset must already have a total order.
    """
    params = request.query_params
    default = _number(params, "limit", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    per_page = _number(params, "per_page", default, MAX_PER_PAGE)
    page = _number(params, "page", 1, 10**9 // MAX_PER_PAGE)
    start = (page - 1) * per_page
    total = queryset.count()
    rows = list(queryset[start : start + per_page]) if start < total else []
    return rows, {"total": total, "page": page, "per_page": per_page}


def paginate_by_cursor(request: Request, queryset: QuerySet[Any]) -> tuple[list[Any], str | None]:
    """One page of a list that grows with time, newest first, and ``next_cursor`` (None at the end).

    The cursor is the public id of the last row on the page, so pages do not move when rows are
    added, and database ids stay inside. Only rows of this very list are valid cursors; any other id
    is refused like an unknown one. The function orders the queryset by id and runs at most two
    queries.
    """
    params = request.query_params
    if "page" in params:
        raise ValidationError({"page": "This list is paged with cursor."})
    default = _number(params, "limit", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    per_page = _number(params, "per_page", default, MAX_PER_PAGE)
    cursor = params.get("cursor")
    if cursor is not None:
        queryset = queryset.filter(pk__lt=_place_of(cursor, queryset))
    rows = list(queryset.order_by("-pk")[: per_page + 1])
    more = len(rows) > per_page
    rows = rows[:per_page]
    return rows, (rows[-1].public_id if more else None)


def _place_of(cursor: str, queryset: QuerySet[Any]) -> int:
    """The database id of the list's row with this public id."""
    key: int | None = None
    if "\0" not in cursor:  # PostgreSQL refuses NUL in a query
        key = queryset.filter(public_id=cursor).order_by().values_list("pk", flat=True).first()
    if key is None:
        raise ValidationError({"cursor": "Not a cursor of this list."})
    return key
