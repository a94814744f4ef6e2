"""Base classes for the console pages of every room."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from quantleap.core.admin.malformed_requests import ReadableRequests
from quantleap.core.admin.violations import beside_fields
from quantleap.core.errors import DomainError
from quantleap.core.large_lists import SizedListMixin
from quantleap.core.list_fields import LinesField

_F = TypeVar("_F", bound=Callable[..., Any])

admin.site.index_title = "Today"

if TYPE_CHECKING:
    # unfold ships no types; its classes are Django's with other templates
    from django.contrib.admin import StackedInline, TabularInline

    _TabularInline = TabularInline[Any, Any]
    _StackedInline = StackedInline[Any, Any]

    def action(**options: Any) -> Callable[[_F], _F]:
        """unfold's decorator for a button on a list, a row, a detail page or the submit line."""
        raise NotImplementedError

    def display(**options: Any) -> Callable[[_F], _F]:
        """unfold's decorator for a column with labels, colours or a heading."""
        raise NotImplementedError
else:
    from unfold.admin import StackedInline as _StackedInline
    from unfold.admin import TabularInline as _TabularInline
    from unfold.decorators import action, display  # noqa: F401  # for the rooms


class ConsoleAdmin(ReadableRequests):
    """Base of every page: no full counts, a warning about unsaved changes, no deletion.

    ``empty_title`` and ``empty_text`` are what a list without rows shows; ``add_label`` is the text
    of the link to the first row where the default would mislead.
    """

    empty_title = ""
    empty_text = ""
    add_label = ""
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True
    warn_unsaved_form = True
    compressed_fields = True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: rooms end things through services. A page that really deletes rows overrides
        this."""
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Validate a form again if the database or the service refused it after it had passed.

        Only a change that another person saved in between can cause that. Nothing was written, so
        the form is validated against the new rows and shows its errors beside the fields, with
        everything that was typed.
        """
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (DomainError, IntegrityError):
            if request.method != "POST":
                raise
        return super().changeform_view(request, object_id, form_url, extra_context)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """On every page, list fields take lines or commas, and report errors per value."""
        if isinstance(db_field, ArrayField):
            kwargs.setdefault("form_class", LinesField)
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, LinesField):
            field.check_each(db_field.base_field.validators)
        return field

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form class that shows a violated constraint beside its field."""
        return beside_fields(super().get_form(request, obj, change=change, **kwargs))

    # -- one history: services write audit entries; Django's own, mutable log stays empty
    # ---------------
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Writes nothing: the audit log has the change."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Writes nothing: the audit log has the change."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Writes nothing: the audit log has the change."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the audit entries of this row, for users who may read the audit log."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        may_look = self.has_view_or_change_permission(request, row)
        if not (may_look and request.user.has_perm("core.view_auditentry")):
            raise PermissionDenied
        name = getattr(row, "public_id", "") or getattr(row, "username", "") or row.pk
        query = urlencode({"q": name})
        return HttpResponseRedirect(f"{reverse('admin:core_auditentry_changelist')}?{query}")


class ReadOnlyAdmin(ConsoleAdmin):
    """Base for history and money: users with the view permission can read, nobody can change."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False for everybody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False for everybody; confirmed actions on such a page use the permission ``act``
        instead."""
        return False

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may start this page's confirmed actions, which needs the model's change
        right."""
        options = self.opts
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}")


class LargeTableMixin(SizedListMixin):
    """Base for lists that grow with time: a million rows open as quickly as fifty."""


class _BesideFieldsMixin:
    """Shows a violated constraint beside its field, also in inline rows."""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """The inline rows' formset, with errors beside their fields."""
        kwargs["form"] = beside_fields(kwargs.get("form") or self.form)  # type: ignore[attr-defined]
        return super().get_formset(request, obj, **kwargs)  # type: ignore[misc]


class ConsoleTabularInline(_BesideFieldsMixin, _TabularInline):
    """Related rows as a table on the parent's page."""

    extra = 0


class ConsoleStackedInline(_BesideFieldsMixin, _StackedInline):
    """Related rows as forms on the parent's page."""

    extra = 0


class ReadOnlyTabularInline(ConsoleTabularInline):
    """Related rows as a read-only table."""

    can_delete = False
    max_num = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False for everybody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False for everybody."""
        return False
