"""The Celery application: `celery -A quantleap worker`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quantleap.settings.local")

app = Celery("quantleap")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
