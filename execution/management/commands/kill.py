"""The kill switch from a shell: ``manage.py kill engage|release|status``."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from execution import selectors, services
from marketplace.models import Template
from quantleap.core import clock
from quantleap.core.audit import Actor
from quantleap.core.errors import DomainError
from quantleap.core.models import ActorKind


class Command(BaseCommand):
    """Block new entries of the platform or of one template, allow them again, or show the state."""

    help = "Engage, release or show the kill switch (new entries only; exits go on)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments; ``engage`` and ``release`` ask before they act, unless ``--yes``."""
        parser.add_argument("action", choices=["engage", "release", "status"])
        parser.add_argument("--template", default="", help="bsk_…; without it: the platform.")
        parser.add_argument("--reason", default="", help="Why; needed to engage.")
        parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the chosen action."""
        template = self._template(options["template"])
        if options["action"] == "status":
            self._status()
        elif options["action"] == "engage":
            self._engage(template, options["reason"].strip(), yes=options["yes"])
        else:
            self._release(template, yes=options["yes"])

    @staticmethod
    def _template(public_id: str) -> Template | None:
        if not public_id:
            return None
        try:
            return Template.objects.get(public_id=public_id)
        except Template.DoesNotExist as error:
            raise CommandError(f"There is no template {public_id}.") from error

    def _status(self) -> None:
        engaged = selectors.engaged_switches()
        if not engaged:
            self.stdout.write("No kill switch is engaged.")
        for shown in engaged:
            at = clock.to_ist(shown.switch.engaged_at)
            self.stdout.write(
                f"{shown.label}: new entries blocked since {at:%d %b %Y %H:%M:%S} IST"
                f" by {shown.switch.engaged_by}: {shown.switch.reason}"
            )

    def _engage(self, template: Template | None, reason: str, *, yes: bool) -> None:
        if not reason:
            raise CommandError("Say why with --reason.")
        reach = selectors.kill_reach(template.pk if template else None)
        self.stdout.write(
            f"{_scope(template)}: no new entry will leave. {reach.armed} armed executions are "
            f"withdrawn; {reach.working} with open positions are managed to their exit."
        )
        self._confirm("Block new entries?", yes=yes)
        try:
            services.engage_kill_switch(
                template_id=template.pk if template else None,
                reason=reason,
                actor=_operator(),
                now=clock.now(),
            )
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write("Engaged.")

    def _release(self, template: Template | None, *, yes: bool) -> None:
        template_id = template.pk if template else None
        engaged = [s for s in selectors.engaged_switches() if s.switch.target_id == template_id]
        if not engaged:
            raise CommandError(f"{_scope(template)}: no kill switch is engaged.")
        self.stdout.write(
            f"{_scope(template)}: entries are allowed again from the next arming on; what was "
            "withdrawn stays withdrawn."
        )
        self._confirm("Allow new entries?", yes=yes)
        try:
            services.release_kill_switch(
                switch_id=engaged[0].switch.pk, actor=_operator(), now=clock.now()
            )
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write("Released.")

    @staticmethod
    def _confirm(question: str, *, yes: bool) -> None:
        if not yes and input(f"{question} Type yes: ").strip().lower() != "yes":
            raise CommandError("Nothing was done.")


def _scope(template: Template | None) -> str:
    return f"Template {template.public_id} ({template.name})" if template else "Platform"


def _operator() -> Actor:
    """The operating system's user as the actor: a shell has no console user."""
    return Actor(ActorKind.STAFF, f"shell:{getpass.getuser()}")
