"""The console's frame: base classes for every room's pages, and the pages of core itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import django.contrib.auth.admin
import django_celery_beat.admin
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.paginator import InfinitePaginator

# the rooms' pages take everything of the frame from here
from quantleap.core.confirmation import ConfirmForm as ConfirmForm  # noqa: PLC0414
from quantleap.core.confirmation import confirmed as confirmed  # noqa: PLC0414
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
