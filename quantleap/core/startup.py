"""The check before every process: web, worker, beat and commands run it, or do not start.

Django runs its checks only under ``manage.py``; gunicorn and Celery start with any settings. So
each entry point calls this module first (docs/adr/0027).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from quantleap.settings.process import PROCESS, ProcessKind

PROFILE: Final = "DJANGO_SETTINGS_MODULE"
LOCAL: Final = "quantleap.settings.local"
#: Exit status of a refused start. gunicorn uses it for an application that cannot be loaded: its
#: master then gives up, but answers any other status by starting the next worker.
REFUSED: Final = 4


class StartRefused(Exception):
    """The configuration must not run; ``problems`` are sentences that name the settings."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = tuple(problems)


def refuse_to_start(kind: ProcessKind) -> None:
    """End this process (status 4) with the reasons on standard error, unless it may start.

    For a web, worker or beat process this checks everything: profile, settings, Django's checks,
    the database role. For a command it checks profile and settings; Django runs the other checks
    that the command needs, and the role is checked at the first connection (some commands run
    without a database).
    """
    os.environ[PROCESS] = kind.value
    try:
        judge_settings(kind)
        if kind is not ProcessKind.COMMAND:
            judge_installation()
    except StartRefused as refused:
        end(refused)


def end(refused: StartRefused) -> NoReturn:
    """Print the reasons on standard error and exit."""
    for problem in refused.problems:
        sys.stderr.write(f"QuantLeap does not start: {problem}\n")
    sys.stderr.flush()
    sys.exit(REFUSED)


def judge_settings(kind: ProcessKind) -> None:
    """Raise StartRefused if the profile is not named, cannot be loaded or must not run."""
    if not os.environ.get(PROFILE):
        raise StartRefused(
            [
                f"{PROFILE} is not set. Production sets it to quantleap.settings.production; "
                "on a developer's machine `make run` starts everything."
            ]
        )
    try:
        # Late: without a profile there are no settings with which to import these.
        from django.conf import settings

        from quantleap.core.production_checks import is_build, refusals

        problems = refusals(settings, os.environ)
        building = is_build(settings)
    except Exception as error:  # whatever a profile raises, nothing may start
        raise StartRefused([_unloadable(error)]) from error
    if building and kind is not ProcessKind.COMMAND:
        problems = [f"{PROFILE} names the profile that only builds images; it serves nobody."]
    if problems:
        raise StartRefused(problems)


def judge_installation() -> None:
    """Raise StartRefused if Django's checks find an error or the database role is the wrong one.

    In production the deployment checks count from warnings on, as in ``check --deploy``.
    """
    import django
    from django.conf import settings
    from django.core.checks import ERROR, WARNING, run_checks

    from quantleap.core.production_checks import is_production
    from quantleap.core.role_guard import judge_role

    try:
        django.setup()
    except Exception as error:  # a room that cannot be loaded must not be half loaded
        raise StartRefused([_unloadable(error)]) from error
    production = is_production(settings)
    messages = run_checks(include_deployment_checks=production)
    level = WARNING if production else ERROR
    problems = [
        " ".join(filter(None, (f"{check.msg} ({check.id})", check.hint)))
        for check in messages
        if check.is_serious(level) and not check.is_silenced()
    ]
    if problems:
        raise StartRefused(problems)
    judge_role()


def _unloadable(error: Exception) -> str:
    profile = os.environ[PROFILE]
    if isinstance(error, ModuleNotFoundError) and error.name and profile.startswith(error.name):
        return f"{PROFILE} names {profile!r}, which does not exist."
    return f"{str(error).rstrip('.') or type(error).__name__}. ({PROFILE} is {profile!r}.)"
