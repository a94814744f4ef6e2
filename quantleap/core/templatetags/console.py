"""Small template filters of the console."""

from __future__ import annotations

from typing import Any

from django import template
from django.db.models import Model
from django.forms import BoundField
from django.utils.safestring import SafeString
from django.utils.text import capfirst

register = template.Library()


@register.filter
def heading(title: Any) -> str:
    """A part of the page's heading: text begins with a capital, a row's name stays as it is.

    Nobody would recognise the identifier ``sub_5pda06dxci1ps1mtx0jk`` as ``Sub_5pda…``.
    """
    return str(title) if isinstance(title, Model) else str(capfirst(title))


@register.filter
def named(field: BoundField, label: Any) -> SafeString:
    """The field's widget with an accessible name, for people who cannot see the heading above
    it."""
    return field.as_widget(attrs={"aria-label": str(label)})


@register.filter
def wrong_fields(errors: Any, own: Any) -> int:
    """The number of marked fields on a page: all lists in ``errors`` except the page's ``own``."""
    return len(errors) - bool(own)
