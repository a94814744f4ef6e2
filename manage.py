#!/usr/bin/env python
"""Operators' entry point: `manage.py help` lists what it can do."""

import os
import sys
from typing import Final

from quantleap.core.startup import LOCAL, PROFILE, StartRefused, end, refuse_to_start
from quantleap.settings.process import ProcessKind

# These say that the servers are somebody's. Only `up` may meet them without a profile: it runs a
# developer's installation on whatever servers it is given.
_SERVERS: Final = ("DATABASE_URL", "REDIS_URL")


def main() -> None:
    """Run one management command under the profile named by DJANGO_SETTINGS_MODULE.

    Without one it is a clone's own installation (profile ``local``), unless a database is named.
    """
    named = any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in _SERVERS)
    if sys.argv[1:2] == ["up"] or not named:
        os.environ.setdefault(PROFILE, LOCAL)
    refuse_to_start(ProcessKind.COMMAND)
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except StartRefused as refused:
        end(refused)


if __name__ == "__main__":
    main()
