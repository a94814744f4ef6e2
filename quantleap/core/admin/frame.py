"""The console's frame: base classes for every room's pages."""

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

from quantleap.core.admin.junk import ReadableRequests
from quantleap.core.admin.violations import beside_fields
from quantleap.core.errors import DomainError
from quantleap.core.largelists import SizedListMixin
from quantleap.core.lists import LinesField

_F = TypeVar("_F", bound=Callable[..., Any])

admin.site.index_title = "Today"

if TYPE_CHECKING:
    # unfold ships no types; its classes are Django's with other templates
    from django.contrib.admin import StackedInline, TabularInline

    _TabularInline = TabularInline[Any, Any]
    _StackedInline = StackedInline[Any, Any]

    def action(**options: Any) -> Callable[[_F], _F]:
        """unfold's: a button on a list, a row, a detail page or the submit line."""
        raise NotImplementedError

    def display(**options: Any) -> Callable[[_F], _F]:
        """unfold's: a column with labels, colours or a heading."""
        raise NotImplementedError
else:
    from unfold.admin import StackedInline as _StackedInline
    from unfold.admin import TabularInline as _TabularInline
    from unfold.decorators import action, display  # noqa: F401  # for the rooms


class ConsoleAdmin(ReadableRequests):
    """Base of every page: no full counts, unsaved changes warned of, nothing deleted by the way.

    ``empty_title`` and ``empty_text`` are what a list without rows says, ``add_label`` names the
    way to the first row, where the usual words would mislead.
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
        """Rooms end things through services; a page that may really delete says so itself."""
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """What somebody else saved between the look at a form and its saving is looked at again.

        The form has passed and its service or the database refuses it: only another person's save
        in that moment does that. Nothing was written, so the form is judged anew, and says beside
        its fields what stands in its way now; what was typed stays.
        """
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (DomainError, IntegrityError):
            if request.method != "POST":
                raise
        return super().changeform_view(request, object_id, form_url, extra_context)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Lists take lines or commas on every page, and say of each value what is wrong with it."""
        if isinstance(db_field, ArrayField):
            kwargs.setdefault("form_class", LinesField)
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, LinesField):
            field.check_each(db_field.base_field.validators)
        return field

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """What a constraint refuses stands beside its field."""
        return beside_fields(super().get_form(request, obj, change=change, **kwargs))

    # -- one history: services write audit entries, and no second, changeable log beside them ------
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: the audit has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: the audit has it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing: the audit has it."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """To the audit entries of this row, for whoever may read the audit."""
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
    """History and money: everybody with the view permission may look, nobody may touch."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never; confirmed actions on such a page name the permission ``act`` instead."""
        return False

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may start this page's confirmed actions: the model's change right."""
        options = self.opts
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}")


class LargeTableMixin(SizedListMixin):
    """For lists that grow with time: a million rows open as quickly as fifty."""


class _BesideFieldsMixin:
    """What a constraint refuses stands beside its field, in rows below a parent too."""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """The rows' form with its errors in place."""
        kwargs["form"] = beside_fields(kwargs.get("form") or self.form)  # type: ignore[attr-defined]
        return super().get_formset(request, obj, **kwargs)  # type: ignore[misc]


class ConsoleTabularInline(_BesideFieldsMixin, _TabularInline):
    """Rows of something below its parent."""

    extra = 0


class ConsoleStackedInline(_BesideFieldsMixin, _StackedInline):
    """Forms of something below its parent."""

    extra = 0


class ReadOnlyTabularInline(ConsoleTabularInline):
    """Rows to look at."""

    can_delete = False
    max_num = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False
