"""Router from viewsets to routes."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ViewSetMixin

from quantleap.core.api.viewsets import ApiViewSet


class ApiRouter(SimpleRouter):
    """Router for paths without a trailing slash. An id is everything between two slashes, dots
    included.

    Route names are the path with dashes, followed by what DRF appends: ``partner-customers-list``,
    ``partner-customers-detail``, ``partner-subscriptions-pause``.
    """

    def __init__(self) -> None:
        super().__init__(trailing_slash=False, use_regex_path=False)

    def register(
        self, prefix: str, viewset: type[ViewSetMixin], basename: str | None = None
    ) -> None:
        """Add a viewset's routes; ImproperlyConfigured unless each action has its rule.

        An action without a rule would be open to every key; a rule without an action belongs to an
        action that was renamed.
        """
        rules = set(viewset.rules) if issubclass(viewset, ApiViewSet) else set()
        actions = {
            action
            for route in self.get_routes(viewset)
            for action in self.get_method_map(viewset, route.mapping).values()
        }
        if rules != actions:
            raise ImproperlyConfigured(
                f"{viewset.__name__}: actions {sorted(actions)}, rules {sorted(rules)}"
            )
        super().register(prefix, viewset, basename or prefix.replace("/", "-"))
