"""Console requests with unreadable ids, filters or keys: 400, 404, or the unfiltered list.

Only errors that come directly from reading the request count as the request's fault: an id that
cannot be a key of the table, a filter that the list cannot apply. Every other error stays a crash.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR, IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, FieldError, ValidationError
from django.db import DataError, connection, models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _ModelAdmin = ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as _ModelAdmin

log = structlog.get_logger(__name__)

SHOWS_ALL: Final = (
    "The address contains a filter that this list does not have, so it shows all rows."
)
_IDS: Final = ("object_id", "id")
#: Errors that a list raises for parameters that it cannot read.
_UNREADABLE: Final = (
    IncorrectLookupParameters,
    DisallowedModelAdminLookup,
    DataError,
    FieldError,
    OverflowError,
    ValidationError,
    ValueError,
)


class NoSuchList(Exception):
    """The address of a list has parameters that the list cannot read."""


def is_key(model: type[models.Model], text: str) -> bool:
    """Whether ``text`` could be a primary key of ``model``: of its type, and within its range."""
    key = model._meta.pk
    if "\0" in text:
        return False
    try:
        key.run_validators(key.to_python(text))
    except (ValidationError, ValueError, OverflowError):
        return False
    return True


class ReadableRequests(_ModelAdmin):
    """Part of every page of the console; see the module's docstring."""

    def get_urls(self) -> list[URLPattern]:
        """The URLs of the page; each checks the row's key first, in actions too."""
        patterns: list[URLPattern] = super().get_urls()
        for pattern in patterns:
            pattern.callback = self._with_readable_key(pattern.callback)
        return patterns

    def _with_readable_key(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def looked_at(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            for name in _IDS:
                if name in kwargs and not is_key(self.model, unquote(kwargs[name])):
                    raise Http404
            return view(request, *args, **kwargs)

        return looked_at

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        """404 for a missing row, as everywhere else, instead of a message on another page."""
        raise Http404

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, evaluated here so that an error in the address shows up now.

        Without parameters the address cannot be wrong, so an error of the plain list stays a crash;
        the redirect leads to just that address.
        """
        try:
            with _undone_alone():
                changelist = super().get_changelist_instance(request)
                len(changelist.result_list)
        except _UNREADABLE as error:
            if not request.GET:
                raise
            log.warning("list_cannot_be_asked", page=request.path, exc_info=error)
            raise NoSuchList from error
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """The list; if its parameters cannot be read, the whole list and a message that says so."""
        try:
            return super().changelist_view(request, extra_context)
        except NoSuchList:
            messages.warning(request, SHOWS_ALL)
            parameters = QueryDict(mutable=True)
            for name in (IS_POPUP_VAR, TO_FIELD_VAR):
                if name in request.GET:
                    parameters[name] = request.GET[name]
            query = f"?{parameters.urlencode()}" if parameters and parameters != request.GET else ""
            return HttpResponseRedirect(request.path + query)

    def response_action(
        self, request: HttpRequest, queryset: Any, *place: Any, **named: Any
    ) -> Any:
        """Run an action on rows, after checking that the selected keys can be keys."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(is_key(self.model, text) for text in chosen):
            raise BadRequest("not a row of this list")
        return super().response_action(request, queryset, *place, **named)


@contextmanager
def _undone_alone() -> Iterator[None]:
    """A savepoint, so that a query that the database refuses does not break the surrounding
    transaction."""
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
    else:
        yield
