"""The console's base classes for the pages of every room, and the pages of core itself."""

from quantleap.core.admin import records, schedules, staff
from quantleap.core.admin.base import (
    ConsoleAdmin,
    ConsoleStackedInline,
    ConsoleTabularInline,
    LargeTableMixin,
    ReadOnlyAdmin,
    ReadOnlyTabularInline,
    action,
    display,
)
from quantleap.core.admin.dated_values import DatedValueForm, DatedValueInline
from quantleap.core.admin.exports import ExportsList
from quantleap.core.admin.mails import QueuedMailAdmin
from quantleap.core.confirmation import ConfirmForm, confirmed

__all__ = [
    "ConfirmForm",
    "ConsoleAdmin",
    "ConsoleStackedInline",
    "ConsoleTabularInline",
    "DatedValueForm",
    "DatedValueInline",
    "ExportsList",
    "LargeTableMixin",
    "QueuedMailAdmin",
    "ReadOnlyAdmin",
    "ReadOnlyTabularInline",
    "action",
    "confirmed",
    "display",
    "records",
    "schedules",
    "staff",
]
