#!/usr/bin/env python
"""Operators' entry point: `manage.py help` lists what it can do."""

import os
import sys


def main() -> None:
    """Run one management command under the profile named by DJANGO_SETTINGS_MODULE."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quantleap.settings.local")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
