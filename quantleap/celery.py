"""The Celery application: `celery -A quantleap worker`, `celery -A quantleap beat`."""

from __future__ import annotations

from celery import Celery
from django.apps import apps

from quantleap.core.startup import refuse_to_start
from quantleap.settings.process import ProcessKind

app = Celery("quantleap")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Django imports this module during its own set-up (`CoreConfig.ready`), in every process. If
# something imports it before that, the process is the celery program, whichever of its commands
# runs.
if not apps.app_configs:
    refuse_to_start(ProcessKind.WORKER)
