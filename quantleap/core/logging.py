"""Structured logs without secrets: one JSON object per line, masked as the last step.

Masking is the last step before the text is written, so it covers bound values, passed values,
output of other libraries, and tracebacks as text. Both structlog's loggers and the standard
library's use it, because every handler has the same formatter.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from quantleap.core.redaction import mask

_HARMLESS: Final = frozenset({"event_id", "request_id"})


def mask_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """structlog processor: mask the whole event, by name and by shape, at any depth."""
    return {
        name: mask(value, name) if name not in _HARMLESS else value for name, value in event.items()
    }


def formatter() -> dict[str, Any]:
    """The only formatter, in the form that ``logging.config.dictConfig`` expects."""
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.StackInfoRenderer(),
            mask_event,
            structlog.processors.JSONRenderer(default=str),
        ],
        "foreign_pre_chain": [
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
    }


#: Loggers that report every second that nothing has happened: beat's wake-ups, and each task's
#: start and end. A failed task is an error of theirs, and is logged.
_HEARTBEATS: Final = ("celery.beat", "celery.worker.strategy", "celery.app.trace")


def heartbeats(level: str) -> dict[str, dict[str, str]]:
    """The ``loggers`` of ``dictConfig`` for ``level``: heartbeats appear at DEBUG only."""
    heard = "DEBUG" if level.upper() == "DEBUG" else "WARNING"
    return {name: {"level": heard} for name in _HEARTBEATS}


def configure() -> None:
    """Configure structlog; ``LOGGING`` in the settings configures the standard library's
    logging."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
