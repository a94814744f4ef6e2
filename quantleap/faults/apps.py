"""Plants the fault that ``QUANTLEAP_FAULT`` names, in every process of the installation."""

from django.apps import AppConfig
from django.conf import settings


class FaultsConfig(AppConfig):
    """Deliberate faults; only in the profiles ``local`` and ``test``."""

    name = "quantleap.faults"
    label = "faults"
    verbose_name = "Deliberate faults"

    def ready(self) -> None:
        """Plant the fault until the process ends. ImproperlyConfigured for an unknown name."""
        name: str = settings.QUANTLEAP_FAULT
        if not name:
            return
        # Models can be imported only once every app is loaded.
        from quantleap.faults.catalogue import fault

        fault(name).plant()
