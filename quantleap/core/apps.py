"""The shared floor of the house."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Staff user, audit, outbox, idempotency records, and the checks that guard a start."""

    name = "quantleap.core"
    label = "core"
    verbose_name = "Core"

    def ready(self) -> None:
        """Load the system checks."""
        from quantleap.core import checks  # noqa: F401
