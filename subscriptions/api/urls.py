"""Routes of the room subscriptions."""

from __future__ import annotations

from django.urls import URLPattern, path

from subscriptions.api import partner, user

urlpatterns: list[URLPattern] = [
    path(
        "partner/marketplace/subscribe",
        partner.SubscribeView.as_view(),
        name="partner-subscribe",
    ),
    path(
        "partner/subscriptions",
        partner.SubscriptionsView.as_view(),
        name="partner-subscriptions",
    ),
    path(
        "partner/subscriptions/<str:subscription_id>",
        partner.SubscriptionView.as_view(),
        name="partner-subscription",
    ),
    path(
        "partner/subscriptions/<str:subscription_id>/pause",
        partner.PauseView.as_view(),
        name="partner-subscription-pause",
    ),
    path(
        "partner/subscriptions/<str:subscription_id>/resume",
        partner.ResumeView.as_view(),
        name="partner-subscription-resume",
    ),
    path(
        "partner/subscriptions/<str:subscription_id>/allocations",
        partner.AllocationsView.as_view(),
        name="partner-subscription-allocations",
    ),
    path(
        "marketplace/subscribe/<str:template_id>",
        user.SubscribeView.as_view(),
        name="user-subscribe",
    ),
    path("user/subscriptions", user.SubscriptionsView.as_view(), name="user-subscriptions"),
    path(
        "user/subscriptions/<str:subscription_id>",
        user.SubscriptionView.as_view(),
        name="user-subscription",
    ),
    path(
        "user/subscriptions/<str:subscription_id>/pause",
        user.PauseView.as_view(),
        name="user-subscription-pause",
    ),
    path(
        "user/subscriptions/<str:subscription_id>/resume",
        user.ResumeView.as_view(),
        name="user-subscription-resume",
    ),
    path(
        "user/subscriptions/<str:subscription_id>/allocations",
        user.AllocationsView.as_view(),
        name="user-subscription-allocations",
    ),
]
