"""Routes of the room marketplace."""

from __future__ import annotations

from django.urls import URLPattern, path

from marketplace.api.views import (
    PartnerTemplatesView,
    PartnerTemplateView,
    TemplatesView,
    TemplateView,
)

urlpatterns: list[URLPattern] = [
    path("marketplace/templates", TemplatesView.as_view(), name="templates"),
    path("marketplace/templates/<str:template_id>", TemplateView.as_view(), name="template"),
    path("partner/marketplace/templates", PartnerTemplatesView.as_view(), name="partner-templates"),
    path(
        "partner/marketplace/templates/<str:template_id>",
        PartnerTemplateView.as_view(),
        name="partner-template",
    ),
]
