"""Schema and documentation of the API."""

from __future__ import annotations

from quantleap.core.api.routers import ApiRouter
from quantleap.core.api.schema import DocsViewSet, SchemaViewSet

router = ApiRouter()
router.register("schema", SchemaViewSet)
router.register("docs", DocsViewSet)
urlpatterns = router.urls
