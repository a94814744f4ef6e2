"""The app that every room builds on."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Staff users, audit log, outbox, idempotency records, and the checks before a process
    starts."""

    name = "quantleap.core"
    label = "core"
    verbose_name = "Core"

    def ready(self) -> None:
        """Load the system checks and the Celery application, whose tasks every process may send,
        and register core's part of the first page."""
        from quantleap import celery  # noqa: F401
        from quantleap.core import checks, role_guard  # noqa: F401
        from quantleap.core.console import NAVIGATION, TODAY
        from quantleap.core.dashboard import today
        from quantleap.core.key_alarm import today as keys_today
        from quantleap.core.sidebar import SYSTEM

        role_guard.connect_signals()
        TODAY.register(today)
        TODAY.register(keys_today)
        NAVIGATION.register(SYSTEM)
