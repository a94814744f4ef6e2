"""What several pages of this room share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from partners.models import Partner


class PartnerFilter(admin.SimpleListFilter):
    """Rows of one partner, or of direct customers."""

    title = "partner"
    parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every partner by name."""
        found = Partner.objects.order_by("slug").values_list("id", "slug")
        return [("none", "direct"), *((str(number), slug) for number, slug in found)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The chosen partner's rows."""
        value = self.value()
        if value is None:
            return queryset
        if value == "none":
            return queryset.filter(partner_id__isnull=True)
        return queryset.filter(partner_id=int(value)) if value.isdigit() else queryset.none()


class PartnerColumn:
    """Shows whose a row is. The tenant columns are plain numbers, so the slug is looked up."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with ``partner_slug``, in the same query."""
        slugs = Partner.objects.filter(pk=OuterRef("partner_id")).values("slug")
        queryset: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # a mixin
        annotated: QuerySet[Any] = queryset.annotate(partner_slug=Subquery(slugs))
        return annotated

    @admin.display(description="Partner", ordering="partner_slug")
    def partner_name(self, row: Any) -> str:
        """Slug, or "direct"."""
        return row.partner_slug or "direct"


def shown_once(
    page: Any,
    request: HttpRequest,
    *,
    title: str,
    warning: str,
    items: Sequence[tuple[str, str, str]],
    back: str,
) -> HttpResponse:
    """A page that shows secrets this one time. ``items`` are ``(element id, label, value)``."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": title,
        "warning": warning,
        "items": [{"id": name, "label": label, "value": value} for name, label, value in items],
        "back": back,
    }
    response = TemplateResponse(request, "partners/secret_once.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def change_url(instance: Any) -> str:
    """The page of one row."""
    options = instance._meta
    return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[instance.pk])
