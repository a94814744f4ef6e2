"""A fresh installation has something to look at; a second run changes nothing."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from quantleap.core.models import AuditEntry, StaffUser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def run_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    monkeypatch.setenv("QUANTLEAP_VAR_DIR", str(tmp_path))
    monkeypatch.setenv("QUANTLEAP_BASE_URL", "http://127.0.0.1:8765")
    settings.QUANTLEAP_SIMULATOR_URL = "http://127.0.0.1:8900"
    # Enough strikes for the demo templates; the whole list only takes longer.
    monkeypatch.setattr("brokers.simulator.contracts.STRIKES_EACH_SIDE", 10)
    return tmp_path / "run"


def seed() -> str:
    out = io.StringIO()
    call_command("seed", stdout=out)
    return out.getvalue()


def test_the_welcome_text_works(run_files: Path) -> None:
    seed()
    welcome = (run_files / "welcome.txt").read_text()
    partner = json.loads((run_files / "partner.json").read_text())
    admin = json.loads((run_files / "admin.json").read_text())
    assert "http://127.0.0.1:8765/api/v1/partner/marketplace/templates" in welcome
    assert admin["password"] in welcome
    live = partner["live"]
    headers = {
        "Authorization": f"Bearer {live['key']}",
        "X-Partner-Secret": live["secret"],
    }
    answer = Client(headers=headers).get("/api/v1/partner/marketplace/templates")
    assert answer.status_code == 200
    assert len(answer.json()["templates"]) == 2
    assert Client().login(username=admin["username"], password=admin["password"])
    for name in ("welcome.txt", "partner.json", "admin.json"):
        assert stat.S_IMODE((run_files / name).stat().st_mode) == 0o600


def test_a_second_run_changes_nothing(run_files: Path) -> None:
    seed()
    before = {path.name: path.read_text() for path in run_files.iterdir()}
    entries = AuditEntry.objects.exclude(action="instruments.imported").count()
    seed()
    assert {path.name: path.read_text() for path in run_files.iterdir()} == before
    assert AuditEntry.objects.exclude(action="instruments.imported").count() == entries


def test_an_emptied_database_is_seeded_again(run_files: Path) -> None:
    """The keys work, and the password stays the same."""
    from partners.models import PartnerKey

    seed()
    admin = (run_files / "admin.json").read_text()
    PartnerKey.objects.all().delete()
    StaffUser.objects.all().delete()
    seed()
    key = json.loads((run_files / "partner.json").read_text())["live"]["key"]
    assert PartnerKey.objects.filter(key=key).exists()
    assert (run_files / "admin.json").read_text() == admin


def test_a_named_superuser_is_used(run_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLEAP_ADMIN_USER", "ravi")
    monkeypatch.setenv("QUANTLEAP_ADMIN_PASSWORD", "from the environment")
    call_command("seed_staff", stdout=io.StringIO())
    assert Client().login(username="ravi", password="from the environment")
    assert not (run_files / "admin.json").exists()


@pytest.mark.parametrize("profile", ["production", "staging"])
def test_production_is_not_seeded(settings: Any, profile: str) -> None:
    settings.QUANTLEAP_PROFILE = profile
    with pytest.raises(CommandError, match="demo data"):
        seed()
