"""Small filters of the console's frame: names as they are, and fields that say theirs."""

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
    """A part of the page's heading: words begin with a capital, a row is called as it is.

    ``sub_5pda06dxci1ps1mtx0jk`` is an identifier, which nobody finds as ``Sub_5pda…``.
    """
    return str(title) if isinstance(title, Model) else str(capfirst(title))


@register.filter
def named(field: BoundField, label: Any) -> SafeString:
    """The field's widget with its name for those who do not see the heading above it."""
    return field.as_widget(attrs={"aria-label": str(label)})


@register.filter
def wrong_fields(errors: Any, own: Any) -> int:
    """How many fields of a page are marked: all lists of ``errors`` without the page's ``own``."""
    return len(errors) - bool(own)
