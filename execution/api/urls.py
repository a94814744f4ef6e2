"""Routes of the room execution."""

from __future__ import annotations

from django.urls import URLPattern, path

from execution.api import partner, user

urlpatterns: list[URLPattern] = [
    path(
        "partner/subscriptions/<str:subscription_id>/executions",
        partner.ExecutionsView.as_view(),
        name="partner-subscription-executions",
    ),
    path(
        "partner/subscriptions/<str:subscription_id>/positions",
        partner.PositionsView.as_view(),
        name="partner-subscription-positions",
    ),
    path(
        "user/subscriptions/<str:subscription_id>/executions",
        user.ExecutionsView.as_view(),
        name="user-subscription-executions",
    ),
    path(
        "user/subscriptions/<str:subscription_id>/positions",
        user.PositionsView.as_view(),
        name="user-subscription-positions",
    ),
]
