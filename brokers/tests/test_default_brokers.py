"""A partner's default broker is a known one, whoever writes it."""

from __future__ import annotations

import re

import pytest
from django.db import IntegrityError, connection

from brokers.registry import live_kinds
from brokers.selectors import broker_names
from partners.models import Partner
from partners.ports import KNOWN_BROKERS
from partners.services import create_partner
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

pytestmark = pytest.mark.django_db


def test_the_console_offers_every_real_broker_by_name() -> None:
    assert tuple(KNOWN_BROKERS.get()()) == live_kinds()
    assert broker_names()["zebu"] == "Zebu"


def test_foobar_is_no_default_broker() -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_partner(
            slug="acme", name="Acme", default_broker="foobar", actor=SYSTEM, now=clock.now()
        )
    assert "zebu" in caught.value.details["default_broker"]
    with pytest.raises(IntegrityError, match="partner_default_broker_known"):
        Partner.objects.create(slug="acme", name="Acme", default_broker="foobar")


def test_the_database_knows_the_same_brokers_as_the_code() -> None:
    make_partner()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
            ["partner_default_broker_known"],
        )
        (definition,) = cursor.fetchone()
    assert set(re.findall(r"'(\w+)'", definition)) == set(live_kinds())
