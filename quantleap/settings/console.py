"""The console's appearance (django-unfold). We serve everything ourselves."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "QuantLeap",
    "SITE_HEADER": "QuantLeap",
    "SITE_SUBHEADER": "Strategy console",
    "SITE_SYMBOL": "stacked_line_chart",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("core/favicon.svg"),
        }
    ],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "DASHBOARD_CALLBACK": "quantleap.core.console.today",
    "ENVIRONMENT": "quantleap.core.console.environment",
    "STYLES": [lambda request: static("core/console.css")],
    "SCRIPTS": [lambda request: static("core/console.js")],
    "COLORS": {
        # indigo to teal: calm beside the red and green of profit and loss
        "primary": {
            "50": "oklch(97% .02 230)",
            "100": "oklch(93.5% .04 230)",
            "200": "oklch(88% .07 232)",
            "300": "oklch(80% .105 234)",
            "400": "oklch(70% .13 238)",
            "500": "oklch(61% .14 242)",
            "600": "oklch(52% .14 245)",
            "700": "oklch(45% .125 246)",
            "800": "oklch(39% .105 246)",
            "900": "oklch(34% .085 246)",
            "950": "oklch(25% .06 248)",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "quantleap.core.console.navigation",
    },
}
