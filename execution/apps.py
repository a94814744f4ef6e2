"""Django app configuration of ``execution``."""

from django.apps import AppConfig


class ExecutionConfig(AppConfig):
    """The trading day. Registers the ports of lower rooms; a worker hosts its executor."""

    name = "execution"
    verbose_name = "Execution"

    def ready(self) -> None:
        """Register with the ports of lower rooms; let a worker of its queue host an executor."""
        from celery.signals import worker_shutting_down

        from brokers.ports import ACCOUNT_REMOVAL, QUOTES_RESERVED
        from execution import port_adapters, services
        from execution.api.event_objects import shown
        from execution.customer_panel import belongings
        from execution.dashboard import today
        from execution.engine import worker_host
        from execution.reach import reach
        from execution.sidebar import TRADING_DAY
        from marketplace.ports import RUNS
        from partners.ports import BELONGINGS, REACH, SHOWN_OBJECTS
        from quantleap.celery import app
        from quantleap.core.console import NAVIGATION, TODAY
        from subscriptions.ports import ACTIVITY, ENTRY_GATE

        ACCOUNT_REMOVAL.register(services.remove_account)
        QUOTES_RESERVED.register(port_adapters.quotes_reserved)
        ENTRY_GATE.register(port_adapters.GATE)
        ACTIVITY.register(port_adapters.ACTIVITY)
        RUNS.register(port_adapters.RUNS)
        TODAY.register(today)
        NAVIGATION.register(TRADING_DAY)
        BELONGINGS.register(belongings)
        REACH.register(reach)
        SHOWN_OBJECTS.register(shown)
        app.steps["worker"].add(worker_host.ExecutorStep)
        worker_shutting_down.connect(worker_host.stop_with_worker, dispatch_uid="executor-stop")
