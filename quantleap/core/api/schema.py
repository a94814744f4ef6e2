"""``GET /api/v1/schema`` and the page that shows it, served from our own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from csp import constants as csp
from csp.decorators import csp_replace
from django.contrib.auth import get_user
from django.urls import reverse
from django.utils.decorators import method_decorator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.exceptions import NotAuthenticated, ValidationError
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from quantleap.core.api.openapi import AUDIENCES, Audience, build_document
from quantleap.core.api.parsers import NumberJSONRenderer
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.api.viewsets import ActionRule, PublicViewSet


def _audience_of(request: Request) -> Audience:
    """The requested audience; 400 for an unknown one, 401 for the staff's without a staff login."""
    name = request.query_params.get("audience", "partner")
    audience = AUDIENCES.get(name)
    if audience is None:
        raise ValidationError({"audience": f"One of {', '.join(AUDIENCES)}."})
    if not audience.public:
        user = get_user(request._request)
        if not (user.is_active and user.is_staff):
            raise NotAuthenticated
    return audience


class _DocumentViewSet(PublicViewSet):
    """Base of both: errors are JSON, whatever the format of the page itself."""

    def get_renderers(self) -> list[BaseRenderer]:
        """Only the renderer of the requested format, so that ``format`` overrides a browser's
        ``Accept``."""
        requested = self.request.query_params.get("format")
        renderers = super().get_renderers()
        return [
            renderer for renderer in renderers if requested in (None, renderer.format)
        ] or renderers

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """The response; errors are rendered with the API's own renderer."""
        if response.status_code >= 400:
            request.accepted_renderer = NumberJSONRenderer()
            request.accepted_media_type = NumberJSONRenderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)


class SchemaViewSet(_DocumentViewSet):
    """The OpenAPI document of an audience, as YAML or JSON (``Accept`` or ``format=``)."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(query=frozenset({"audience", "format"}), limit=LimitClass.BROWSE)
    }
    renderer_classes = (
        OpenApiYamlRenderer,
        OpenApiYamlRenderer2,
        OpenApiJsonRenderer,
        OpenApiJsonRenderer2,
    )

    @extend_schema(exclude=True)
    def list(self, request: Request) -> Response:
        """Return the document."""
        requested = request.query_params.get("format")
        formats = sorted({renderer.format for renderer in self.renderer_classes})
        if requested is not None and requested not in formats:
            raise ValidationError({"format": f"One of {', '.join(formats)}."})
        return Response(build_document(_audience_of(request)))


@method_decorator(csp_replace({"script-src": [csp.SELF, csp.NONCE]}), name="dispatch")
class DocsViewSet(_DocumentViewSet):
    """The document as a page for people; scripts and styles come from our own static files."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(query=frozenset({"audience"}), limit=LimitClass.BROWSE)
    }
    renderer_classes = (TemplateHTMLRenderer,)

    @extend_schema(exclude=True)
    def list(self, request: Request) -> Response:
        """Return the page."""
        audience = _audience_of(request)
        query = urlencode({"audience": audience.name, "format": "json"})
        resource: Callable[[str], str] = SpectacularSwaggerView._swagger_ui_resource
        return Response(
            {
                "title": audience.title,
                "swagger_ui_css": resource("swagger-ui.css"),
                "swagger_ui_bundle": resource("swagger-ui-bundle.js"),
                "swagger_ui_standalone": resource("swagger-ui-standalone-preset.js"),
                "favicon_href": SpectacularSwaggerView._swagger_ui_favicon(),
                "schema_url": f"{reverse('schema-list')}?{query}",
                "settings": '{"deepLinking": true}',
                "oauth2_config": "{}",
                "template_name_js": SpectacularSwaggerView.template_name_js,
                "script_url": None,
                "csrf_header_name": "X-CSRFToken",
                "schema_auth_names": "[]",
            },
            template_name=SpectacularSwaggerView.template_name,
        )
