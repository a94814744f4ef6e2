"""What every web process has in common; gunicorn reads this file from its working directory.

Its own messages and the access log (off unless QUANTLEAP_ACCESS_LOG is set) are JSON lines without
secrets, like the application's.
"""

import os

from quantleap.core.logging import formatter

logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": formatter()},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "gunicorn.access": {
            "handlers": ["console"],
            "level": "INFO" if os.environ.get("QUANTLEAP_ACCESS_LOG") else "WARNING",
            "propagate": False,
        },
    },
}
