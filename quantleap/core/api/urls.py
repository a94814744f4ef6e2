"""Schema and documentation of the API."""

from __future__ import annotations

from django.urls import path

from quantleap.core.api.schema import DocsView, SchemaView

urlpatterns = [
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", DocsView.as_view(), name="docs"),
]
