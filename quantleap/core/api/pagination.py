"""``page``/``per_page`` lists and ``cursor`` lists, both with a total order (api.md section 4)."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

DEFAULT_PER_PAGE = 10
MAX_PER_PAGE = 100
PAGING = frozenset({"page", "per_page", "limit"})
CURSOR = OpenApiParameter(
    "cursor", str, description="The next_cursor of the page before; absent: the newest."
)


def check_query(
    request: Request, allowed: Collection[str], *, repeatable: Collection[str] = ()
) -> None:
    """Refuse query parameters that the route does not know, and those said twice, by name."""
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
    """The newest rows below ``cursor`` and the next cursor; None: these were the last.

    For what grows with time: the rows of a table whose ids grow, newest first (1 query). Rows that
    are added meanwhile move nothing. A cursor is opaque to callers.
    """
    params = request.query_params
    if "page" in params:
        raise ValidationError({"page": "This list is read with cursor."})
    default = _number(params, "limit", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    per_page = _number(params, "per_page", default, MAX_PER_PAGE)
    rows = queryset.order_by("-id")
    if "cursor" in params:
        rows = rows.filter(pk__lt=_below(params["cursor"]))
    found = list(rows[: per_page + 1])
    more = len(found) > per_page
    page = found[:per_page]
    return page, _cursor(page[-1].pk) if more else None


def _cursor(key: int) -> str:
    return base64.urlsafe_b64encode(f"id:{key}".encode()).decode().rstrip("=")


def _below(cursor: str) -> int:
    """The key in a cursor of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except ValueError:  # also not base64, not ASCII
        text = ""
    digits = text.removeprefix("id:")
    if not text.startswith("id:") or not digits.isdigit() or len(digits) > 18:
        raise ValidationError({"cursor": "Not a cursor of this list."})
    return int(digits)
