"""Routes of the room marketplace."""

from __future__ import annotations

from marketplace.api.viewsets import PartnerTemplateViewSet, PublicTemplateViewSet
from quantleap.core.api.routers import ApiRouter

router = ApiRouter()
router.register("marketplace/templates", PublicTemplateViewSet)
router.register("partner/marketplace/templates", PartnerTemplateViewSet)
urlpatterns = router.urls
