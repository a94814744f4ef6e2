"""The console's frame: base classes for every room's pages, and the pages of core itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import django.contrib.auth.admin
import django_celery_beat.admin
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from quantleap.core.errors import DomainError
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser

_F = TypeVar("_F", bound=Callable[..., Any])

if TYPE_CHECKING:
    # unfold ships no types; its classes are Django's with other templates
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline

    class _PeriodicTaskAdmin:
        """Untyped there: forms and actions of the schedule page."""

    _UserAdmin = django.contrib.auth.admin.UserAdmin[Any]
    _ModelAdmin = ModelAdmin[Any]
    _TabularInline = TabularInline[Any, Any]
    _StackedInline = StackedInline[Any, Any]

    def action(**options: Any) -> Callable[[_F], _F]:
        """unfold's: a button on a list, a row, a detail page or the submit line."""
        raise NotImplementedError

    def display(**options: Any) -> Callable[[_F], _F]:
        """unfold's: a column with labels, colours or a heading."""
        raise NotImplementedError
else:
    _PeriodicTaskAdmin = django_celery_beat.admin.PeriodicTaskAdmin
    _UserAdmin = django.contrib.auth.admin.UserAdmin
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.admin import StackedInline as _StackedInline
    from unfold.admin import TabularInline as _TabularInline
    from unfold.decorators import action, display  # noqa: F401  # display: for the rooms

_GroupAdmin = django.contrib.auth.admin.GroupAdmin


class ConsoleAdmin(_ModelAdmin):
    """Base of every page: no full counts, unsaved changes warned of, nothing deleted by the way."""

    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True
    warn_unsaved_form = True
    compressed_fields = True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rooms end things through services; a page that may really delete says so itself."""
        return False


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


class LargeTableMixin:
    """For lists that grow with time: pages without counting, so 100,000 rows open at once."""

    paginator = InfinitePaginator
    show_full_result_count = False


class ConsoleTabularInline(_TabularInline):
    """Rows of something below its parent."""

    extra = 0


class ConsoleStackedInline(_StackedInline):
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


# -- actions that ask first ---------------------------------------------------------------------


class ConfirmForm(forms.Form):
    """What a confirmed action asks for; subclasses add fields. Posted with ``confirm=yes``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field.widget, forms.Textarea):
                field.widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})
            elif type(field.widget) is forms.TextInput:  # one of a kind (a date) stays as it is
                field.widget = UnfoldAdminTextInputWidget()

    @classmethod
    def starting(cls, obj: Any) -> dict[str, Any]:
        """What the fields hold when ``obj`` is first asked about."""
        return {}


Perform = Callable[[Any, HttpRequest, Any, dict[str, Any]], "str | HttpResponse"]
Explain = Callable[[Any, HttpRequest, Any], Sequence[str]]


def confirmed(
    *,
    description: str,
    explain: str | None = None,
    context: str | None = None,
    form: type[ConfirmForm] = ConfirmForm,
    permission: str = "change",
    icon: str | None = None,
    danger: bool = False,
    twice: bool = False,
    template: str = "console/confirm.html",
) -> Callable[[Perform], Any]:
    """Make ``method(self, request, obj, data) -> message`` a page that asks before it acts.

    GET explains (the method named by ``explain`` returns the sentences, the one named by
    ``context`` more of the template's context) and shows ``form``; POST
    with ``confirm=yes`` calls the method, which shall call a service, and shows its message on
    the change page (a returned response, such as a page with a show-once secret, is sent as it
    is). A DomainError is shown in its own words with its own status. With ``twice`` a second page
    repeats the question; it posts ``again=yes``. Name the method in ``actions_detail``.

    ``permission`` is checked as ``has_<permission>_permission`` of the page.
    """

    question = _Question(description, explain, context, form, permission, danger, twice, template)

    def decorate(method: Perform) -> Any:
        @functools.wraps(method)
        def page(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            return question.page(self, request, object_id, method)

        return action(
            description=description,
            url_path=method.__name__.replace("_", "-"),
            permissions=[permission],
            icon=icon,
            variant=ActionVariant.DANGER if danger else ActionVariant.DEFAULT,
        )(page)

    return decorate


@dataclass(frozen=True, slots=True)
class _Question:
    """One confirmed action's page; see :func:`confirmed`."""

    description: str
    explain: str | None
    context: str | None
    form: type[ConfirmForm]
    permission: str
    danger: bool
    twice: bool
    template: str

    def page(
        self, owner: Any, request: HttpRequest, object_id: str, method: Perform
    ) -> HttpResponse:
        """Ask, or act and go back."""
        obj = owner.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not getattr(owner, f"has_{self.permission}_permission")(request, obj):
            raise PermissionDenied
        posted = request.method == "POST" and request.POST.get("confirm") == "yes"
        bound = self.form(request.POST) if posted else self.form(initial=self.form.starting(obj))
        back = reverse(_url_name(owner, "change"), args=[obj.pk])
        errors: list[str] = []
        status = 200
        ask_again = False
        if posted and not bound.is_valid():
            status = 400
        elif posted and self.twice and request.POST.get("again") != "yes":
            ask_again = True
        elif posted:
            try:
                outcome = method(owner, request, obj, bound.cleaned_data)
            except DomainError as error:
                errors, status = _words(error), error.status
            else:
                if isinstance(outcome, HttpResponse):
                    return outcome
                messages.success(request, outcome)
                return HttpResponseRedirect(back)
        shown: dict[str, Any] = {
            **owner.admin_site.each_context(request),
            "opts": owner.opts,
            "original": obj,
            "title": f"{self.description}: {obj}",
            "description": self.description,
            "danger": self.danger,
            "form": bound,
            "errors": errors,
            "ask_again": ask_again,
            "back": back,
        }
        if self.explain is not None:
            shown["sentences"] = getattr(owner, self.explain)(request, obj)
        if self.context is not None:
            shown |= getattr(owner, self.context)(request, obj)
        return TemplateResponse(request, self.template, shown, status=status)


def _words(error: DomainError) -> list[str]:
    """The error's own message, or its details where it has none."""
    if error.message != error.error or not error.details:
        return [error.message]
    return [f"{name}: {text}" for name, text in error.details.items()]


def _url_name(page: Any, kind: str) -> str:
    return f"{page.admin_site.name}:{page.opts.app_label}_{page.opts.model_name}_{kind}"


# -- pages of core ------------------------------------------------------------------------------

admin.site.index_title = "Today"


@admin.register(StaffUser)
class StaffUserAdmin(_UserAdmin, ConsoleAdmin):
    """People on our side of the console."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_superuser")
    list_filter = ("is_active", "is_superuser", "groups")


@admin.register(AuditEntry)
class AuditEntryAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Who did what."""

    list_display = ("at", "actor", "action", "target_type", "target_id", "environment")
    list_filter = ("environment", "actor_kind", "target_type")
    search_fields = ("=target_id", "=actor_id", "=action", "=request_id")
    ordering = ("-id",)

    @admin.display(description="Who")
    def actor(self, entry: AuditEntry) -> str:
        """Kind and id of the actor."""
        return f"{entry.get_actor_kind_display()} {entry.actor_id}".strip()


@admin.register(OutboxEvent)
class OutboxEventAdmin(LargeTableMixin, ReadOnlyAdmin):
    """What was told, or is about to be."""

    list_display = ("created_at", "type", "event_id", "partner_id", "environment", "published_at")
    list_filter = ("environment", "type", ("published_at", admin.EmptyFieldListFilter))
    search_fields = ("=event_id", "=type")
    ordering = ("-id",)


# -- pages of libraries, in our clothes ---------------------------------------------------------


class GroupAdmin(_GroupAdmin, ConsoleAdmin):
    """Roles."""


class BeatAdmin(ConsoleAdmin):
    """Schedules of Celery beat (execution.md section 2: a trigger, never the truth)."""


class PeriodicTaskAdmin(_PeriodicTaskAdmin, BeatAdmin):
    """What beat starts, and when."""

    list_filter = ("enabled",)


for _model, _page in (
    (Group, GroupAdmin),
    (PeriodicTask, PeriodicTaskAdmin),
    (IntervalSchedule, BeatAdmin),
    (CrontabSchedule, BeatAdmin),
    (SolarSchedule, BeatAdmin),
    (ClockedSchedule, BeatAdmin),
):
    admin.site.unregister(_model)
    admin.site.register(_model, _page)
