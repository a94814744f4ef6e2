"""Staff users and their roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import django.contrib.auth.admin
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from quantleap.core import staff
from quantleap.core.admin.base import ConsoleAdmin, action
from quantleap.core.audit import Actor
from quantleap.core.models import StaffUser

if TYPE_CHECKING:
    _UserAdmin = django.contrib.auth.admin.UserAdmin[Any]
    _GroupModelForm = forms.ModelForm[Group]
    _PersonForm = forms.ModelForm[StaffUser]
    _Seen = forms.ModelForm[Any]
    _Page = ConsoleAdmin
else:
    _UserAdmin = django.contrib.auth.admin.UserAdmin
    _GroupModelForm = forms.ModelForm
    _Seen = object
    _Page = object
    from unfold.forms import UserChangeForm as _PersonForm
_GroupAdmin = django.contrib.auth.admin.GroupAdmin

OUT_OF_DATE: Final = (
    "Somebody changed this while the page was open. Open it again in a new tab, compare, and save "
    "there."
)


class SeenForm(_Seen):
    """A form that carries a digest of what the page showed, so that nobody overwrites a newer
    change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: dict[str, Any] = {}
        if self.instance.pk:
            self.before = staff.stored_facts(self.instance)
            if "seen" in self.fields:
                self.fields["seen"].initial = staff.digest(self.before)

    def clean(self) -> dict[str, Any]:
        """Refuse the form if the row has changed since the page was opened."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        staff.lock_staff()
        if self.instance.pk:
            self.before = staff.stored_facts(self.instance)
            seen = cleaned.get("seen")
            if seen and seen != staff.digest(self.before):
                raise ValidationError(OUT_OF_DATE)
        return cleaned


class StaffForm(SeenForm, _PersonForm):
    """A staff user's form; it keeps the last superuser a superuser."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """Refuse to demote or switch off the last superuser who can log in."""
        cleaned = super().clean()
        person = StaffUser.objects.get(pk=self.instance.pk)
        ways_in = ("is_active", "is_staff", "is_superuser")
        if all(getattr(person, name) for name in ways_in) and staff.is_last_superuser(person):
            for name in ways_in:
                if cleaned.get(name) is False:
                    self.add_error(name, staff.LAST_SUPERUSER)
        return cleaned


class RoleForm(SeenForm, _GroupModelForm):
    """A role's form."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)


class AuditedMixin(_Page):
    """Writes every change of staff users and roles to the audit log, with old and new values."""

    kind = ""

    def _target_id(self, row: Any) -> str:
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """The fieldsets, with the hidden digest field if the user may change anything."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not self.has_change_permission(request, obj):
            return fieldsets
        name, options = fieldsets[0]
        return [(name, {**options, "fields": (*options["fields"], "seen")}), *fieldsets[1:]]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the chosen rights, then write the audit entry: only now is everything saved."""
        super().save_related(request, form, formsets, change)
        row = form.instance
        staff.record_change(
            actor=Actor.staff(request.user),
            kind=self.kind,
            target_id=self._target_id(row),
            before=getattr(form, "before", {}),
            after=staff.stored_facts(row),
        )


@admin.register(StaffUser)
class StaffUserAdmin(AuditedMixin, _UserAdmin, ConsoleAdmin):  # type: ignore[misc]  # stubs
    """Staff users. Nobody is deleted, because the audit log keeps naming them."""

    kind = "staff"
    form = StaffForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "email",
        "first_name",
        "last_name",
        "is_active",
        "is_staff",
        "is_superuser",
        "last_login",
    )
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    actions_detail = ("set_password",)
    fieldsets = (
        (None, {"fields": ("username", "first_name", "last_name", "email")}),
        (
            "What they may do",
            {
                "description": "Only superusers change this. Switching off logs a person out.",
                "fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions"),
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def _target_id(self, row: StaffUser) -> str:
        return row.get_username()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only: a new person gets a password and, sooner or later, rights."""
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may change staff; only superusers may change superusers."""
        if not super().has_change_permission(request, obj):
            return False
        # unfold passes the id where Django passes the row
        return obj is None or staff.may_change(request.user, getattr(obj, "pk", obj))

    def has_password_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Users may set their own password, superusers everybody's."""
        own = str(getattr(obj, "pk", obj)) == str(request.user.pk)
        return own or bool(request.user.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The user name, which the audit log refers to; and the rights, unless the user is a
        superuser."""
        fields: tuple[str, ...] = ("last_login", "date_joined")
        if obj is not None:
            fields = ("username", *fields)
        if not request.user.is_superuser:
            fields = (*fields, *staff.RIGHTS)
        return fields

    @action(
        description="Set password",
        url_path="set-password",
        permissions=["password"],
        icon="password",
    )
    def set_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the page that sets a password."""
        return HttpResponseRedirect(
            reverse("admin:auth_user_password_change", args=[unquote(object_id)])
        )

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,
        form_url: str = "",
    ) -> HttpResponse:
        """Set another person's password, for superusers; one's own is set on a page that asks for
        the old one."""
        person = self.get_object(request, unquote(id))
        if person is None:
            raise Http404
        if person.pk == request.user.pk:
            return HttpResponseRedirect(reverse("admin:password_change"))
        if not self.has_password_permission(request, person):
            raise PermissionDenied
        with transaction.atomic():
            staff.lock_staff()
            answer = super().user_change_password(request, id, form_url)
            after = StaffUser.objects.get(pk=person.pk)
            if after.password != person.password:
                staff.record_password(actor=Actor.staff(request.user), person=after)
        return answer


class RoleAdmin(AuditedMixin, _GroupAdmin, ConsoleAdmin):
    """Roles: named sets of rights. Only superusers change them."""

    kind = "role"
    form = RoleForm
    fields = ("name", "permissions")
    list_display = ("name",)

    def _target_id(self, row: Group) -> str:
        return str(row.pk)

    def _is_for_superusers(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return self._is_for_superusers(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return self._is_for_superusers(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return self._is_for_superusers(request)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        """Delete the role, with an audit entry that lists its rights and members."""
        self.delete_queryset(request, Group.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        """Delete the roles, with an audit entry for each."""
        with transaction.atomic():
            staff.lock_staff()
            for role in queryset:
                staff.record_change(
                    actor=Actor.staff(request.user),
                    kind=self.kind,
                    target_id=self._target_id(role),
                    before=staff.role_facts(role),
                    after={},
                )
            super().delete_queryset(request, queryset)


admin.site.unregister(Group)
admin.site.register(Group, RoleAdmin)
