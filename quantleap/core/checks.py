"""System checks: `manage.py check` says what a start would be refused for."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from quantleap.core.refusals import refusals


@register()
def check_start(**_: Any) -> list[CheckMessage]:
    """Every sentence of the guard before each process (`quantleap.core.startup`)."""
    return [Error(problem, id="quantleap.E001") for problem in refusals(settings, os.environ)]
