"""Tenancy: nobody finds, sees or changes another tenant's rows, on any route, in any table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from execution.models import Execution
from partners.tests.factories import key_headers, make_key
from quantleap.core.tenancy import Environment, TenantOwned, TenantQuerySet
from quantleap.core.tests.matrix.cases import JUNK, NOBODYS, request
from quantleap.core.tests.matrix.dataset import (
    ROOMS,
    Dataset,
    Side,
    bearer,
    fingerprint,
    user_token,
)
from quantleap.core.tests.matrix.play import Answer, new_client, send, undone
from quantleap.core.tests.matrix.routes import Operation, operations
from subscriptions.billing.models import Commission, Invoice, Refund
from subscriptions.models import Allocation, Subscription

#: Tables that belong to no partner, and why.
NOBODYS_TABLES = {
    "core.StaffUser": "our own people",
    "core.EventSequence": "a counter of an object, whose random id says whose it is",
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
    "partners.PartnerMail": "to a partner's own contacts, of both its environments",
    "partners.SecretShowing": "one member of staff's, for ten minutes",
    "partners.RevenueShare": "a term of the tenant's contract in both environments",
    "brokers.FeedAccount": "the platform's own market data",
    "brokers.FeedPace": "how often the platform's own feed accounts were asked",
    "brokers.FeedLogin": "a login of the platform's own feed account",
    "brokers.ContractListImport": "the exchange's contracts, for everybody",
    "brokers.BrokerInstrument": "the brokers' names of the exchange's contracts",
    "billing.TaxRate": "the law's",
    "billing.Supplier": "the platform itself, as invoices show it",
    "billing.NumberSeries": "the platform's: numbers run on through all partners",
    "billing.LedgerAccount": "the platform's books; an account may be a customer's or a partner's",
    "billing.AccountBalance": "part of an account",
    "billing.CustomerCredit": "an account of the books",
    "billing.LedgerEntry": "part of a transaction",
    "billing.LedgerCheck": "the platform's: the check is of the whole ledger",
    "billing.BillingRun": "the platform's: a run bills everybody",
    "execution.ShardLease": "the platform's machinery",
    "execution.ExecutorNode": "the platform's machinery",
    "execution.BookLag": "the platform's: how late a broker's book was",
    "execution.KillSwitch": "the platform's; a target may be a tenant's",
    "execution.Run": "a template's day, for all its subscribers together",
    "execution.RunDecision": "part of a run",
    "execution.LegWatch": "part of a run",
    "execution.Alarm": "our own people's: no partner and no customer is shown one",
}
#: Unique columns of tenant-owned tables that do not begin with the tenant, and why they may.
GLOBAL_KEYS = {
    "public_id": "random, and opaque outside",
    "event_id": "random; the receiver's key against repetition",
    "token_hash": "the hash of a random secret, looked up before the tenant is known",
    "code": "random; a broker's book knows no tenants of ours",
    "idem_key": "the books': it begins with what is posted, whose id is random or ours",
    "number": "the law's: one series of numbers for the whole installation",
    "transaction": "one row of the books for one row of history",
    "credit_note": "one refund, one document for one credit note",
    "charges_transaction": "one row of the books for one reversal's charges",
    "receipt": "a receipt is reversed once",
    "payment": "a payment is reversed once",
    "invoice": "one document, one mail for one invoice",
}
#: The same for keys of several columns.
GLOBAL_CONSTRAINTS = {
    "invoice_fy_seq_uniq": "the law's: one series of numbers for the whole installation",
    "credit_note_fy_seq_uniq": "the law's: one series of numbers for the whole installation",
    "receipt_reference_uniq": "a bank's: it gives a reference once, and knows no tenants of ours",
}
OWNED = ["partner_id", "environment"]


# -- ids in paths ----------------------------------------------------------------------------------
#: Strangers that there must be at least; nobody has an invoice in the test environment.
FEWEST = {"invoice_id": 2}
WITH_IDS = [operation for operation in operations() if operation.parameters]


def test_anothers_and_unknown_are_the_same_404_byte_for_byte(
    dataset: Dataset, record_property: Callable[[str, object], None]
) -> None:
    client, before, tried = new_client(), fingerprint(), 0
    for operation in WITH_IDS:
        headers = {**dataset.headers(operation.surface), "X-Request-Id": "the-same"}
        bodies: list[dict[str, Any]] = [{}, {"body": JUNK}] if operation.serializer else [{}]
        for name in operation.parameters:
            foreign = dataset.foreign_ids(operation.surface, name)
            assert len(foreign) >= FEWEST.get(name, 3), "the dataset has too few strangers"
            answers: dict[str, Answer] = {}
            for whose, value in {**foreign, **NOBODYS}.items():
                for body in bodies:
                    changes = {"ids": {name: value}, "headers": headers, **body}
                    case = request(operation, dataset, whose, 404, **changes)
                    answers[str(case)] = send(client, case)
            tried += len(answers)
            (reference,) = {answer.content for answer in answers.values() if answer.status == 404}
            assert json.loads(reference)["code"] == "not_found"
            first = next(iter(answers.values()))
            assert {case: got for case, got in answers.items() if got != first} == {}
    assert fingerprint() == before
    record_property("tried", f"{tried} bad requests: ids of others and of nobody, byte for byte")
    assert tried >= 500


def test_the_owner_finds_them(dataset: Dataset) -> None:
    """The control: each of those ids is found by the one whose it is."""
    client = new_client()
    reads = [operation for operation in WITH_IDS if operation.method == "GET"]
    for operation in reads:
        answer = send(client, request(operation, dataset, "mine", 200))
        assert answer.status == 200, str(operation)
    assert {name for operation in reads for name in operation.parameters} == set(dataset.me.ids)


def test_the_other_environment_of_the_same_partner_finds_nothing(dataset: Dataset) -> None:
    """Its own live ids, asked for with its test key and by its test customer."""
    test_side = dataset.strangers["the other environment"]
    assert test_side.partner is not None
    assert test_side.partner == dataset.me.partner
    headers = {
        "partner": key_headers(make_key(test_side.partner, Environment.TEST)),
        "user": bearer(user_token(test_side.customer)),
    }
    client = new_client()
    for operation in WITH_IDS:
        if operation.surface == "public" or operation.parameters == ("template_id",):
            continue
        changes: dict[str, Any] = {
            "headers": {**headers[operation.surface], "X-Request-Id": "the-same"}
        }
        mine = send(client, request(operation, dataset, "live id", 404, **changes))
        changes["ids"] = dict.fromkeys(operation.parameters, NOBODYS["unknown"])
        assert mine.status == 404, str(operation)
        assert mine == send(client, request(operation, dataset, "unknown", 404, **changes))


# -- cursors ---------------------------------------------------------------------------------------
def test_anothers_row_is_no_cursor(dataset: Dataset) -> None:
    """A list goes on after a row of its own; anybody else's is refused like an unknown one."""
    lists = [operation for operation in operations() if "cursor" in operation.query]
    assert {operation.surface for operation in lists} == {"partner", "user"}
    for operation in lists:
        rows = row_ids(operation)
        mine = rows.pop(dataset.me.customer.pk)
        if not operation.parameters:  # a list of all the partner's customers
            mine |= rows.pop(dataset.neighbour.customer.pk)
        elsewhere = ({*dataset.me.ids.values()} | money_marks(dataset.me)) - mine
        assert {ask(dataset, operation, public_id).status for public_id in mine} == {200}, str(
            operation
        )
        refused = {
            public_id: ask(dataset, operation, public_id)
            for public_id in set().union(*rows.values(), elsewhere, "?")
        }
        assert len(refused) >= 5, "the dataset has too few strangers"
        assert {answer.status for answer in refused.values()} == {400}, str(operation)
        assert len({answer.content for answer in refused.values()}) == 1, str(operation)


def ask(dataset: Dataset, operation: Operation, cursor: str) -> Answer:
    """The page after ``cursor``."""
    headers = {**dataset.headers(operation.surface), "X-Request-Id": "the-same"}
    query = f"cursor={cursor}"
    case = request(operation, dataset, "cursor", 400, query=query, headers=headers)
    return send(new_client(), case)


def row_ids(operation: Operation) -> dict[int, set[str]]:
    """Public ids of everybody's rows of a cursor list, by customer."""
    ids: dict[int, set[str]] = defaultdict(set)
    if operation.route.endswith("/commissions"):
        for commission in Commission.objects.select_related("invoice"):
            ids[commission.invoice.customer_id].add(commission.public_id)
    elif operation.route.endswith("/readiness"):
        for subscription in Subscription.objects.all():
            ids[subscription.customer_id].add(subscription.public_id)
    else:
        for execution in Execution.objects.select_related("subscription"):
            ids[execution.subscription.customer_id].add(execution.public_id)
    return ids


# -- what lists and answers show -------------------------------------------------------------------
def marks(side: Side) -> set[str]:
    """Everything by which an answer would give one away."""
    signs = {side.customer.email, side.customer.public_id, *side.ids.values()}
    signs |= set(
        Allocation.objects.filter(subscription=side.subscription).values_list(
            "public_id", flat=True
        )
    )
    signs |= set(
        Execution.objects.filter(subscription=side.subscription).values_list("public_id", flat=True)
    )
    signs.add(side.subscription.template.public_id)
    return signs | money_marks(side)


def money_marks(side: Side) -> set[str]:
    """Numbers and ids of what he was billed and paid, and of what it earned his partner."""
    numbers: set[str] = set()
    for invoice in Invoice.objects.filter(customer=side.customer):
        numbers |= {invoice.number, invoice.public_id}
        for rows in (invoice.payments, invoice.commissions):
            numbers |= set(rows.values_list("public_id", flat=True))
        numbers |= set(invoice.credit_notes.values_list("number", flat=True))
        numbers |= set(
            Refund.objects.filter(customer=side.customer).values_list("public_id", flat=True)
        )
    return numbers


def hidden_from(dataset: Dataset, surface: str) -> dict[str, set[str]]:
    """What a caller of a surface must not see, by whose it is."""
    sides = dict(dataset.strangers)
    if surface == "user":
        sides["another customer"] = dataset.neighbour
    public = {
        template.public_id
        for side in (dataset.neighbour, sides["direct customer"])
        for template in (side.offered, side.subscription.template)
    }
    return {whose: marks(side) - public for whose, side in sides.items()}


def test_no_answer_shows_anothers(dataset: Dataset) -> None:
    client = new_client()
    for operation in operations():
        hidden = hidden_from(dataset, operation.surface)
        with undone():
            answer = send(client, request(operation, dataset, "good", 200))
        text = answer.content.decode("utf-8", "replace")  # a PDF is none
        for whose, words in hidden.items():
            shown = {word for word in words if word in text}
            assert shown == set(), f"{operation} shows {whose}'s"


LISTS = {
    "/api/v1/partner/customers": "user_id",
    "/api/v1/partner/readiness": "subscription_id",
    "/api/v1/partner/subscriptions": "subscription_id",
    "/api/v1/user/subscriptions": "subscription_id",
    "/api/v1/partner/broker-accounts": "client_id",
    "/api/v1/user/broker-accounts": "client_id",
    "/api/v1/partner/invoices": "invoice_id",
    "/api/v1/user/invoices": "invoice_id",
    "/api/v1/partner/payments": "invoice_id",
    "/api/v1/user/payments": "invoice_id",
    "/api/v1/partner/commissions": "invoice_id",
    "/api/v1/partner/marketplace/templates": "template_id",
    "/api/v1/marketplace/templates": "template_id",
}


def test_lists_show_ones_own_and_no_more(dataset: Dataset) -> None:
    listing = {
        operation.route: operation for operation in operations() if "per_page" in operation.query
    }
    assert set(LISTS) == {route for route, operation in listing.items() if not operation.parameters}
    for route, name in LISTS.items():
        answer = send(
            new_client(), request(listing[route], dataset, "list", 200, query="per_page=100")
        )
        rows = next(value for value in answer.json().values() if isinstance(value, list))
        shown = {row[name] for row in rows}
        assert dataset.me.ids[name] in shown, route
        if listing[route].surface == "user":
            assert shown == {dataset.me.ids[name]}, route
        elif name != "template_id":
            assert shown == {dataset.me.ids[name], dataset.neighbour.ids[name]}, route
        if "cursor" in listing[route].query:
            assert answer.json()["next_cursor"] is None, route
        else:
            assert answer.json()["pagination"]["total"] == len(rows), route


@pytest.mark.parametrize(
    "route", ["customers", "subscriptions", "broker-accounts", "invoices", "payments"]
)
def test_filters_reach_no_further_than_the_tenant(dataset: Dataset, route: str) -> None:
    listing = next(
        operation for operation in operations() if str(operation) == f"GET /api/v1/partner/{route}"
    )
    for side in dataset.strangers.values():
        queries = {
            "user_email": side.customer.email,
            "external_user_id": side.customer.external_user_id,
            "template_id": side.offered.public_id,
        }
        for name in set(queries) & set(listing.query):
            case = request(listing, dataset, "filter", 200, query=f"{name}={queries[name]}")
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
def test_every_tenant_table_has_the_tenant_columns() -> None:
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
    used, wide = set(), set()
    for model in our_models():
        if not issubclass(model, TenantOwned):
            continue
        assert not model._meta.unique_together
        for field in model._meta.local_fields:
            if field.unique and not field.primary_key:
                used.add(field.name)
        for constraint in model._meta.constraints:
            if not isinstance(constraint, models.UniqueConstraint):
                continue
            if len(constraint.fields) == 1:
                used.add(constraint.fields[0])
            elif constraint.name in GLOBAL_CONSTRAINTS:
                wide.add(constraint.name)
            else:
                assert list(constraint.fields[:2]) == OWNED, constraint.name
                # else the rows of direct customers, whose partner is NULL, would never collide
                assert constraint.nulls_distinct is False, constraint.name
    assert (used, wide) == (set(GLOBAL_KEYS), set(GLOBAL_CONSTRAINTS))


@pytest.mark.django_db
def test_every_unique_index_is_in_the_models() -> None:
    owned = {model._meta.db_table for model in our_models() if issubclass(model, TenantOwned)}
    columns = {*GLOBAL_KEYS, *(f"{name}_id" for name in GLOBAL_KEYS)}
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
        single = len(names) == 1 and names[0] in columns
        known = single or index in GLOBAL_CONSTRAINTS
        assert known or names[:2] == OWNED, f"{table}: {index}"
