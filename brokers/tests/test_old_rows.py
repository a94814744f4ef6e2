"""Rows from before a constraint are spelled as it wants before it is put there.

Bug: an update of a customer with a Unicode domain was refused by the database, years on.
"""

from __future__ import annotations

import itertools
from importlib import import_module

import psycopg
import pytest
from psycopg import sql

from quantleap.core.identifiers import EMAIL_PATTERN

pytestmark = pytest.mark.django_db

EMAILS = import_module("partners.migrations.0003_customer_email_ascii")
CLIENT_IDS = import_module("brokers.migrations.0002_account_client_id_ascii")
DEFAULT_BROKERS = import_module("brokers.migrations.0008_known_default_brokers")
STATES = import_module("partners.migrations.0015_state_codes")


_EMPTY = {"timestamp with time zone": "now", "ARRAY": "{}", "boolean": "f", "integer": "1"}


def insert(owner: psycopg.Connection, table: str, **given: str) -> int:
    """A row in which whatever must be there and is not given is empty; its key."""
    required = owner.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s "
        "AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
        [table],
    ).fetchall()
    values = {name: _EMPTY.get(kind, "") for name, kind in required} | given
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
    )
    row = owner.execute(statement, values).fetchone()
    assert row is not None
    return int(row[0])


_numbers = itertools.count(1)


def customer(owner: psycopg.Connection, email: str, environment: str = "live") -> int:
    public_id = f"cus_{next(_numbers)}"
    return insert(
        owner, "partners_customer", public_id=public_id, environment=environment, email=email
    )


def test_an_old_customers_domain_is_written_as_a_labels(owner: psycopg.Connection) -> None:
    owner.execute("ALTER TABLE partners_customer DROP CONSTRAINT customer_email_ascii")
    written = {
        customer(owner, "a@bücher.example"): "a@xn--bcher-kva.example",
        customer(owner, "Big@Example.com"): "big@example.com",
        customer(owner, "b@bücher.example"): "b@bücher.example",  # the next one has it
        customer(owner, "b@xn--bcher-kva.example"): "b@xn--bcher-kva.example",
        customer(owner, "b@bücher.example", "test"): "b@xn--bcher-kva.example",
        customer(owner, "jürgen@example.com"): "jürgen@example.com",  # nobody can say who that is
    }
    EMAILS.spell(owner)
    stored = {
        row[0]: row[1]
        for row in owner.execute("SELECT id, email FROM partners_customer").fetchall()
    }
    assert stored == written
    owner.execute(
        "ALTER TABLE partners_customer ADD CONSTRAINT customer_email_ascii "
        f"CHECK (email ~ '{EMAIL_PATTERN.replace(chr(39), chr(39) * 2)}') NOT VALID".encode()
    )
    first = min(written)
    owner.execute("UPDATE partners_customer SET name = 'Asha' WHERE id = %s", [first])


def test_an_old_client_id_is_written_in_upper_case(owner: psycopg.Connection) -> None:
    owner.execute("ALTER TABLE brokers_brokeraccount DROP CONSTRAINT account_client_id_ascii")
    holder = customer(owner, "a@example.com")
    for client_id, status in (
        ("ab1", "enabled"),
        ("c2", "enabled"),
        ("C2", "enabled"),
        ("c2", "removed"),
        ("d3", "enabled"),
        ("D3", "removed"),
        ("k\u212a", "enabled"),
    ):
        insert(
            owner,
            "brokers_brokeraccount",
            client_id=client_id,
            status=status,
            broker="zebu",
            environment="live",
            customer_id=str(holder),
        )
    owner.execute(CLIENT_IDS.SPELL)
    stored = owner.execute("SELECT client_id FROM brokers_brokeraccount ORDER BY id").fetchall()
    assert [row[0] for row in stored] == ["AB1", "c2", "C2", "C2", "D3", "D3", "K\u212a"]


def test_an_old_default_broker_is_written_as_its_kind(owner: psycopg.Connection) -> None:
    owner.execute("ALTER TABLE partners_partner DROP CONSTRAINT partner_default_broker_known")
    for slug, broker in (("one", " Zebu"), ("two", "ZERODHA"), ("three", "other")):
        insert(owner, "partners_partner", slug=slug, default_broker=broker)
    owner.execute(DEFAULT_BROKERS.SPELL)
    stored = owner.execute("SELECT default_broker FROM partners_partner ORDER BY id").fetchall()
    assert [row[0] for row in stored] == ["zebu", "zerodha", "other"]


#: What stood in a column of two characters -> what it is a code of.
OLD_STATES = {
    "TN": "33", "mh": "27", "Ka": "29", "33": "33", "28": "28", "": "",
    "XX": "", "3": "", " 3": "", "3\n": "", "';": "", "%s": "", "$$": "", "\u0663\u0663": "",
    "\u212aA": "",
}  # fmt: skip


def test_an_old_state_is_written_as_its_gst_code_or_as_none(owner: psycopg.Connection) -> None:
    """Bug: a default state "TN". Letters become a code, hostile values nothing at all."""
    for table, name in (
        ("partners_partner", "partner_state_digits"),
        ("partners_customer", "customer_state_digits"),
        ("partners_customer", "customer_email_ascii"),
    ):
        owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
    for number, stored in enumerate(OLD_STATES):
        slug, broker = f"p{number}", "zebu"
        insert(owner, "partners_partner", slug=slug, default_broker=broker, default_state=stored)
        insert(
            owner,
            "partners_customer",
            public_id=f"cus_s{number}",
            environment="live",
            email=f"s{number}@example.com",
            state=stored,
        )
    old = insert(
        owner, "partners_customer", public_id="cus_old", environment="live", email="Bü@e.in",
        state="TN",
    )  # fmt: skip
    owner.execute(
        "ALTER TABLE partners_customer ADD CONSTRAINT customer_email_ascii "
        f"CHECK (email ~ '{EMAIL_PATTERN.replace(chr(39), chr(39) * 2)}') NOT VALID".encode()
    )
    owner.execute(STATES.SPELL)
    for table, column in (("partners_partner", "default_state"), ("partners_customer", "state")):
        states = owner.execute(
            f"SELECT {column} FROM {table} WHERE id <> %s ORDER BY id".encode(),
            [old if table == "partners_customer" else 0],
        ).fetchall()
        assert [row[0] for row in states] == list(OLD_STATES.values())
    state = owner.execute("SELECT state FROM partners_customer WHERE id = %s", [old]).fetchone()
    assert state == ("TN",), "a row that nobody may change is left, and nobody is kept from it"
