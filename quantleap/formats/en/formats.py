"""Formats of the console: day first, 24 hours, to the second: 4 Aug 2026, 09:20:00."""

from typing import Final

DATE_FORMAT: Final = "j M Y"
TIME_FORMAT: Final = "H:i:s"
DATETIME_FORMAT: Final = "j M Y, H:i:s"
SHORT_DATE_FORMAT: Final = DATE_FORMAT
SHORT_DATETIME_FORMAT: Final = DATETIME_FORMAT
