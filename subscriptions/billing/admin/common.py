"""What the pages of money share."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest


class ToLookAt:
    """Every field of the page is to look at, also those that are no column of the table."""

    fields: ClassVar[Any] = ()
    compressed_fields = False  # the label above: three ids fit side by side

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        """All of them. ``fields`` is given in rows."""
        return tuple(one for row in self.fields for one in row)

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Tables that have rows: an empty one says nothing."""
        found: list[Any] = super().get_inline_instances(request, obj)  # type: ignore[misc]  # a mixin
        return [one for one in found if obj is None or _has_rows(one, obj)]


def _has_rows(inline: Any, obj: Any) -> bool:
    return bool(inline.model._default_manager.filter(**{inline.fk_name: obj}).exists())
