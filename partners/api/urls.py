"""Routes of the room partners."""

from __future__ import annotations

from django.urls import URLPattern, path

from partners.api.views import UserTokensView

urlpatterns: list[URLPattern] = [
    path("partner/user-tokens", UserTokensView.as_view(), name="user-tokens"),
]
