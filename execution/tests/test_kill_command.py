"""The kill switch from a shell."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from execution.models import Execution, KillSwitch
from execution.tests.rows import make_execution, make_run
from marketplace.tests.factories import make_short_straddle
from quantleap.core.models import AuditEntry
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db


def kill(*arguments: str) -> str:
    out = io.StringIO()
    call_command("kill", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the operator types."""
    typed: list[str] = []
    monkeypatch.setattr("builtins.input", lambda _prompt: typed.pop(0))
    return typed.append


def test_status_engage_and_release_of_the_platform(answer: Any) -> None:
    assert "No kill switch" in kill("status")
    answer("yes")
    assert "Engaged." in kill("engage", "--reason", "exchange outage")
    switch = KillSwitch.objects.get()
    assert (switch.scope, switch.reason) == ("PLATFORM", "exchange outage")
    assert switch.engaged_by.startswith("shell:")
    assert "Platform: new entries blocked" in kill("status")
    answer("YES")
    assert "Released." in kill("release")
    switch.refresh_from_db()
    assert switch.released_at is not None
    actions = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert actions[-2:] == ["kill_switch.engaged", "kill_switch.released"]


def test_one_template_is_blocked_and_its_armed_executions_leave() -> None:
    template, other = make_short_straddle(), make_short_straddle()
    armed = make_execution(make_run(template), make_subscription(template), "ARMED")
    kept = make_execution(make_run(other), make_subscription(other), "ARMED")
    out = kill("engage", "--template", template.public_id, "--reason", "bad leg", "--yes")
    assert "1 armed executions are withdrawn" in out
    armed.refresh_from_db()
    kept.refresh_from_db()
    assert (armed.status, armed.cause) == (Execution.Status.WITHDRAWN, "KILL_SWITCH")
    assert kept.status == Execution.Status.ARMED
    assert template.name in kill("status")
    with pytest.raises(CommandError, match="no kill switch"):
        kill("release", "--yes")
    assert "Released." in kill("release", "--template", template.public_id, "--yes")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["engage", "--yes"], "--reason"),
        (["engage", "--yes", "--reason", "  "], "--reason"),
        (["engage", "--yes", "--reason", "x", "--template", "bsk_nobody"], "no template"),
        (["release", "--yes"], "no kill switch"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        kill(*arguments)
    assert not KillSwitch.objects.exists()


def test_without_a_yes_nothing_is_done(answer: Any) -> None:
    answer("y")
    with pytest.raises(CommandError, match="Nothing was done"):
        kill("engage", "--reason", "x")
    assert not KillSwitch.objects.exists()


def test_it_engages_once() -> None:
    kill("engage", "--reason", "x", "--yes")
    with pytest.raises(CommandError, match="already"):
        kill("engage", "--reason", "y", "--yes")
