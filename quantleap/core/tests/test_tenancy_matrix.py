"""Whose is what: nobody finds, sees or touches another tenant's, on any route, in any table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from execution.models import Execution
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from quantleap.core.tests.matrix.cases import JUNK, NOBODYS, request
from quantleap.core.tests.matrix.play import Answer, new_client, send, undone
from quantleap.core.tests.matrix.routes import operations
from quantleap.core.tests.matrix.world import ROOMS, Side, World, fingerprint
from subscriptions.models import Allocation

#: Tables that belong to no partner, and why.
NOBODYS_TABLES = {
    "core.StaffUser": "our own people",
    "marketplace.Underlying": "the exchange's",
    "marketplace.Contract": "the exchange's",
    "marketplace.LotSize": "the exchange's",
    "marketplace.FreezeQuantity": "the exchange's",
    "marketplace.CalendarYear": "the exchange's",
    "marketplace.Holiday": "the exchange's",
    "marketplace.SpecialSession": "the exchange's",
    "marketplace.SessionHours": "the exchange's",
    "marketplace.Template": "the platform's; environment, visibility and owner say who sees it",
    "marketplace.TemplateStats": "part of a template",
    "marketplace.TemplateVersion": "part of a template",
    "marketplace.Strategy": "part of a template",
    "marketplace.Leg": "part of a template",
    "marketplace.Price": "part of a template; a partner's own price names the partner",
    "partners.Partner": "the tenant itself",
    "partners.PartnerKey": "recognises a tenant; found before the tenant is known",
    "partners.PartnerSecret": "part of a key",
    "partners.RevenueShare": "a term of the tenant's contract in both environments",
    "brokers.FeedAccount": "the platform's own market data",
    "brokers.BrokerInstrument": "the brokers' names of the exchange's contracts",
    "execution.ShardLease": "the platform's machinery",
    "execution.ExecutorNode": "the platform's machinery",
    "execution.KillSwitch": "the platform's; a target may be a tenant's",
    "execution.Run": "a template's day, for all its subscribers together",
    "execution.RunDecision": "part of a run",
    "execution.LegWatch": "part of a run",
}
#: Unique columns of tenant-owned tables that do not begin with the tenant, and why they may.
GLOBAL_KEYS = {
    "public_id": "random, and opaque outside",
    "event_id": "random; the receiver's key against repetition",
    "token_hash": "the hash of a random secret, looked up before the tenant is known",
    "code": "random; a broker's book knows no tenants of ours",
}
OWNED = ["partner_id", "environment"]


# -- ids in paths ----------------------------------------------------------------------------------
WITH_IDS = [one for one in operations() if one.parameters]


def test_anothers_and_unknown_are_the_same_404_byte_for_byte(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    client, before, tried = new_client(), fingerprint(), 0
    for operation in WITH_IDS:
        headers = {**world.headers(operation.surface), "X-Request-Id": "the-same"}
        bodies: list[dict[str, Any]] = [{}, {"body": JUNK}] if operation.serializer else [{}]
        for name in operation.parameters:
            foreign = world.foreign_ids(operation.surface, name)
            assert len(foreign) >= 3, "the world has too few strangers"
            answers: dict[str, Answer] = {}
            for whose, value in {**foreign, **NOBODYS}.items():
                for body in bodies:
                    changes = {"ids": {name: value}, "headers": headers, **body}
                    case = request(operation, world, whose, 404, **changes)
                    answers[str(case)] = send(client, case)
            tried += len(answers)
            (reference,) = {one.content for one in answers.values() if one.status == 404}
            assert json.loads(reference)["code"] == "not_found"
            first = next(iter(answers.values()))
            assert {case: got for case, got in answers.items() if got != first} == {}
    assert fingerprint() == before
    record_property("tried", f"{tried} bad requests: ids of others and of nobody, byte for byte")
    assert tried >= 500


def test_the_owner_finds_them(world: World) -> None:
    """The control: each of those ids is found by the one whose it is."""
    client = new_client()
    reads = [one for one in WITH_IDS if one.method == "GET"]
    for operation in reads:
        answer = send(client, request(operation, world, "mine", 200))
        assert answer.status == 200, str(operation)
    assert {name for one in reads for name in one.parameters} == set(world.me.ids)


# -- what lists and answers show -------------------------------------------------------------------
def marks(side: Side) -> set[str]:
    """Everything by which an answer would give one away."""
    found = {side.customer.email, side.customer.public_id, *side.ids.values()}
    found |= set(
        Allocation.objects.filter(subscription=side.subscription).values_list(
            "public_id", flat=True
        )
    )
    found |= set(
        Execution.objects.filter(subscription=side.subscription).values_list("public_id", flat=True)
    )
    found.add(side.subscription.template.public_id)
    return found


def hidden_from(world: World, surface: str) -> dict[str, set[str]]:
    """What a caller of a surface must not see, by whose it is."""
    sides = dict(world.strangers)
    if surface == "user":
        sides["another customer"] = world.neighbour
    public = {
        template.public_id
        for side in (world.neighbour, sides["direct customer"])
        for template in (side.offered, side.subscription.template)
    }
    return {whose: marks(side) - public for whose, side in sides.items()}


def test_no_answer_shows_anothers(world: World) -> None:
    client = new_client()
    for operation in operations():
        hidden = hidden_from(world, operation.surface)
        with undone():
            answer = send(client, request(operation, world, "good", 200))
        text = answer.content.decode()
        for whose, words in hidden.items():
            shown = {word for word in words if word in text}
            assert shown == set(), f"{operation} shows {whose}'s"


LISTS = {
    "/api/v1/partner/subscriptions": "subscription_id",
    "/api/v1/user/subscriptions": "subscription_id",
    "/api/v1/partner/broker-accounts": "client_id",
    "/api/v1/user/broker-accounts": "client_id",
    "/api/v1/partner/marketplace/templates": "template_id",
    "/api/v1/marketplace/templates": "template_id",
}


def test_lists_show_ones_own_and_no_more(world: World) -> None:
    listing = {one.route: one for one in operations() if "per_page" in one.query}
    assert set(LISTS) == {route for route, one in listing.items() if not one.parameters}
    for route, name in LISTS.items():
        answer = send(
            new_client(), request(listing[route], world, "list", 200, query="per_page=100")
        )
        rows = next(value for value in answer.json().values() if isinstance(value, list))
        found = {row[name] for row in rows}
        assert world.me.ids[name] in found, route
        if listing[route].surface == "user":
            assert found == {world.me.ids[name]}, route
        elif name != "template_id":
            assert found == {world.me.ids[name], world.neighbour.ids[name]}, route
        assert answer.json()["pagination"]["total"] == len(rows)


@pytest.mark.parametrize("route", ["subscriptions", "broker-accounts"])
def test_filters_reach_no_further_than_the_tenant(world: World, route: str) -> None:
    listing = next(one for one in operations() if str(one) == f"GET /api/v1/partner/{route}")
    for side in world.strangers.values():
        queries = {"user_email": side.customer.email, "template_id": side.offered.public_id}
        for name in set(queries) & set(listing.query):
            case = request(listing, world, "filter", 200, query=f"{name}={queries[name]}")
            answer = send(new_client(), case)
            assert answer.status == 200
            assert answer.json()["pagination"]["total"] == 0


# -- tables ----------------------------------------------------------------------------------------
def our_models() -> Iterator[type[models.Model]]:
    for room in ROOMS:
        yield from apps.get_app_config(room).get_models()


def test_every_table_is_a_tenants_or_says_why_not() -> None:
    nobodys = {model._meta.label for model in our_models() if not issubclass(model, TenantOwned)}
    assert nobodys == set(NOBODYS_TABLES)


@pytest.mark.django_db
def test_every_tenants_table_has_its_columns_and_is_reached_through_them() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, is_nullable FROM information_schema.columns"
            " WHERE column_name IN ('partner_id', 'environment')"
        )
        columns = {(table, column): nullable for table, column, nullable in cursor.fetchall()}
    for model in our_models():
        if not issubclass(model, TenantOwned):
            continue
        table = model._meta.db_table
        assert (table, "partner_id") in columns
        assert columns[table, "environment"] == "NO"
        assert isinstance(model._default_manager.all(), TenantQuerySet), table


def test_every_unique_key_begins_with_the_tenant() -> None:
    used = set()
    for model in our_models():
        if not issubclass(model, TenantOwned):
            continue
        assert not model._meta.unique_together
        for field in model._meta.local_fields:
            if field.unique and not field.primary_key:
                used.add(field.name)
        for constraint in model._meta.constraints:
            if isinstance(constraint, models.UniqueConstraint):
                assert list(constraint.fields[:2]) == OWNED, constraint.name
                # else the rows of direct customers, whose partner is NULL, would never collide
                assert constraint.nulls_distinct is False, constraint.name
    assert used == set(GLOBAL_KEYS)


@pytest.mark.django_db
def test_the_database_has_no_unique_index_that_the_models_do_not_name() -> None:
    owned = {one._meta.db_table for one in our_models() if issubclass(one, TenantOwned)}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, i.relname, array_agg(a.attname ORDER BY k.place)
              FROM pg_index x
              JOIN pg_class c ON c.oid = x.indrelid
              JOIN pg_class i ON i.oid = x.indexrelid
              CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(number, place)
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
             WHERE x.indisunique AND NOT x.indisprimary AND c.relname = ANY(%s)
             GROUP BY 1, 2
            """,
            [sorted(owned)],
        )
        indexes = cursor.fetchall()
    assert len(indexes) >= 10
    for table, index, names in indexes:
        single = len(names) == 1 and names[0] in GLOBAL_KEYS
        assert single or names[:2] == OWNED, f"{table}: {index}"
