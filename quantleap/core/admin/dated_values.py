"""What the tables of dated values have in common: fees of a template, shares of a partner.

A stored row never changes: a new one follows it, or supersedes it on the same day
(:mod:`quantleap.core.guardrails`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldBooleanWidget

from quantleap.core import clock
from quantleap.core.admin.base import ConsoleTabularInline
from quantleap.core.dates import moment_text

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]  # generic only in the type stubs
else:
    _ModelForm = forms.ModelForm

_LARGE_CHANGE: Final = "Large change"


class DatedValueForm(_ModelForm):
    """A new row, with a box that confirms a value far from the previous one."""

    large_change = forms.BooleanField(
        required=False, label=_LARGE_CHANGE, widget=UnfoldBooleanWidget()
    )

    def refusals(self) -> Mapping[str, str]:
        """Why the typed row cannot be stored, by field; only for a valid form."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Put the reasons beside their fields."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            for field, sentence in self.refusals().items():
                self.add_error(field, sentence)
        return cleaned


class DatedValueInline(ConsoleTabularInline):
    """The rows, newest first; a new one begins with today's date."""

    ordering = ("-effective_from", "-id")
    can_delete = False

    @admin.display(description=_LARGE_CHANGE)
    def large_change(self, row: Any) -> str:
        """The time at which a row was superseded; a stored one has nothing to confirm."""
        if row.superseded_at is None:
            return "–"
        return f"Superseded {moment_text(row.superseded_at)}"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: billing refers to the rows."""
        return False

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """The formset, whose new rows begin today."""
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.base_fields["effective_from"].initial = clock.ist_date(clock.now())
        return formset
