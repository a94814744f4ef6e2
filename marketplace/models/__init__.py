"""Models of templates and reference data: what can be traded and sold."""

from marketplace.models.calendar import CalendarYear, Holiday, SessionHours, SpecialSession
from marketplace.models.contracts import Contract, FreezeQuantity, LotSize, Underlying
from marketplace.models.templates import (
    Leg,
    Price,
    Strategy,
    Template,
    TemplateStats,
    TemplateVersion,
)

__all__ = [
    "CalendarYear",
    "Contract",
    "FreezeQuantity",
    "Holiday",
    "Leg",
    "LotSize",
    "Price",
    "SessionHours",
    "SpecialSession",
    "Strategy",
    "Template",
    "TemplateStats",
    "TemplateVersion",
    "Underlying",
]
