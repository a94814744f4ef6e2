"""Helpers shared by several console pages of this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import reverse

from partners import one_time_secrets
from partners.models import Partner
from partners.one_time_secrets import Item
from quantleap.core import clock
from quantleap.core.errors import NotFound


class PartnerFilter(admin.SimpleListFilter):
    """Rows of one partner, or of direct customers."""

    title = "partner"
    parameter_name = "partner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every partner by name."""
        partners = Partner.objects.order_by("slug").values_list("id", "slug")
        return [("none", "direct"), *((str(number), slug) for number, slug in partners)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows of the chosen partner."""
        value = self.value()
        if value is None:
            return queryset
        if value == "none":
            return queryset.filter(partner_id__isnull=True)
        if not (value.isascii() and value.isdigit()):
            return queryset.none()
        return queryset.filter(partner_id=int(value))


class PartnerColumn:
    """Adds a column with the row's partner. The tenant columns are plain numbers, so the slug is
    looked up."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows with ``partner_slug``, in the same query."""
        slugs = Partner.objects.filter(pk=OuterRef("partner_id")).values("slug")
        queryset: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]  # a mixin
        annotated: QuerySet[Any] = queryset.annotate(partner_slug=Subquery(slugs))
        return annotated

    @admin.display(description="Partner", ordering="partner_slug")
    def partner_name(self, row: Any) -> str:
        """The partner's slug, or "direct"."""
        return row.partner_slug or "direct"


def shown_once(
    request: HttpRequest,
    *,
    title: str,
    hint: str,
    items: Sequence[Item],
    back: str,
) -> HttpResponse:
    """Redirect the browser to the page that shows these secrets exactly once."""
    public_id = one_time_secrets.keep(
        staff_id=int(request.user.pk or 0),
        title=title,
        hint=hint,
        items=items,
        back=back,
        now=clock.now(),
    )
    return HttpResponseRedirect(reverse("admin:partners_secret", args=[public_id]))


def secret_page(page: Any, request: HttpRequest, public_id: str) -> HttpResponse:
    """The page that shows a secret; opened again, it says when the secret was shown and how to
    rotate it."""
    if request.method != "GET" or request.headers.get("Sec-Purpose", "").startswith("prefetch"):
        return HttpResponseNotAllowed(["GET"])  # a HEAD would use the secret up without showing it
    try:
        showing = one_time_secrets.show(
            public_id=public_id, staff_id=int(request.user.pk or 0), now=clock.now()
        )
    except NotFound as error:
        raise Http404 from error
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": showing.page.title if showing.page else "This secret is not shown again",
        "showing": showing,
    }
    response = TemplateResponse(request, "partners/secret_once.html", context)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
