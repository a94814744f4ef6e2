"""Trading calendar of the F&O segment. A year that was not loaded is closed, every day of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from quantleap.core import clock


class CalendarYear(models.Model):
    """Marks a year as loaded from a dated, sourced list."""

    year = models.PositiveSmallIntegerField(unique=True)
    source = models.CharField(max_length=200)
    loaded_at = models.DateTimeField(default=clock.now)
    edited_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Last change in the console; a file then leaves the year as it is.",
    )
    edited_by = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        ordering = ("-year",)

    def __str__(self) -> str:
        return str(self.year)


class Holiday(models.Model):
    """A weekday on which the segment is closed."""

    date = models.DateField(unique=True)
    description = models.CharField(max_length=120)
    source = models.CharField(max_length=200)

    class Meta:
        ordering = ("-date",)

    def __str__(self) -> str:
        return f"{self.date} {self.description}"


class SpecialSession(models.Model):
    """A session outside the ordinary week (Budget Sunday, Muhurat). Templates opt in."""

    date = models.DateField(unique=True)
    opens_at = models.TimeField(help_text="IST")
    closes_at = models.TimeField(help_text="IST")
    description = models.CharField(max_length=120)
    source = models.CharField(max_length=200)

    class Meta:
        ordering = ("-date",)
        constraints = (
            models.CheckConstraint(
                condition=Q(closes_at__gt=F("opens_at")),
                name="special_session_closes_later",
                violation_error_message="A session closes after it opens.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.date} {self.description}"


class SessionHours(models.Model):
    """Ordinary session hours from a date on (15:40 close since 3 August 2026)."""

    effective_from = models.DateField(unique=True)
    opens_at = models.TimeField(help_text="IST")
    closes_at = models.TimeField(help_text="IST")
    source = models.CharField(max_length=200)

    class Meta:
        ordering = ("-effective_from",)
        verbose_name_plural = "session hours"
        constraints = (
            models.CheckConstraint(
                condition=Q(closes_at__gt=F("opens_at")),
                name="session_hours_closes_later",
                violation_error_message="A session closes after it opens.",
            ),
        )

    def __str__(self) -> str:
        return f"from {self.effective_from}: {self.opens_at}-{self.closes_at}"
