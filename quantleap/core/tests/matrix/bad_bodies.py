"""Invalid bodies: every field of every route, and things that are no body at all."""

from __future__ import annotations

import json

from quantleap.core.tests.matrix import bodies
from quantleap.core.tests.matrix.cases import INVALID, Case, Cases, request, with_body
from quantleap.core.tests.matrix.dataset import Dataset, make_debt
from quantleap.core.tests.matrix.routes import Operation

DUPLICATE, DEBT = "duplicate_subscription", "payment_due"


def wrong_fields(dataset: Dataset) -> Cases:
    """Every field of every body with every value that it must refuse."""
    for operation in with_body():
        assert operation.serializer is not None
        for place in bodies.places(operation.serializer()):
            for literal in bodies.wrong_values(place):
                body = bodies.with_literal(operation, dataset, place, literal).encode()
                names = "redirect_uri" if place.name == "redirect_uri" else place.path
                yield request(
                    operation, dataset, f"{place.path} wrong", 400, body=body, names=names
                )


def missing_fields(dataset: Dataset) -> Cases:
    """Every required field omitted, one by one; and all of them."""
    for operation in with_body():
        needed = bodies.needed(operation)
        for name in needed:
            body = bodies.good_body(operation, dataset)
            del body[name]
            yield _bad(operation, dataset, f"without {name}", json.dumps(body), name)
            yield _bad(operation, dataset, f"{name} null", json.dumps({**body, name: None}), name)
        for why, text in (("no member", "{}"), ("empty body", "")):
            if needed:
                yield _bad(operation, dataset, why, text, needed[0])


def unknown_fields(dataset: Dataset) -> Cases:
    """Superfluous fields, with names that a hurried client might use; also deep inside."""
    names = ("colour", "User_Email", "userEmail", "__proto__", "a.b", "id", " reason", "statusCode")
    # secrets that customers type at their broker only
    secrets = ("password", "pin", "totp", "TOTP", "mpin", "otp")
    for operation in with_body():
        good = bodies.good_body(operation, dataset)
        for name in (*names, "", "\0", "x" * 5000, *secrets):
            body = json.dumps({**good, name: "0"})
            yield _bad(operation, dataset, f"unknown {name[:20]!r}", body, name)
        if "allocations" in operation.serializer().fields:  # type: ignore[misc]
            for name in names:
                rows = [{**bodies.GOOD["allocations"](dataset)[0], name: 1}]
                body = json.dumps({**good, "allocations": rows})
                yield _bad(operation, dataset, "unknown inside", body, f"allocations.0.{name}")


def twice_the_same(dataset: Dataset) -> Cases:
    """A member given twice, with equal and with different values."""
    for operation in with_body():
        for name in bodies.places(operation.serializer()):  # type: ignore[misc]
            if "." not in name.path:
                for second in ("1", '"x"', "null"):
                    text = f'{{"{name.path}": "x", "{name.path}": {second}}}'
                    yield _bad(operation, dataset, f"{name.path} twice", text, name.path)


def broken_bodies(dataset: Dataset) -> Cases:
    """Bodies that are not one JSON object."""
    for operation in with_body():
        for why, body in bodies.BROKEN.items():
            yield request(operation, dataset, why, *INVALID, body=body)


def refused_late(dataset: Dataset) -> Cases:
    """Bodies that only the database can refuse: whatever was written before that is rolled back."""
    side, taken = dataset.me, dataset.neighbour.account.client_id
    known = {"user_email": side.customer.email}
    rows = [{"broker_client_id": bodies.NEW_CLIENT_ID}] * 2
    late: list[tuple[str, bodies.Body, int, str, str]] = [
        ("broker-accounts", {"client_id": taken}, 409, "client_id_taken", ""),
        ("subscribe", {"broker_client_id": taken}, 409, "client_id_taken", ""),
        ("subscribe", {"auto_link_broker": False}, *INVALID, "broker_client_id"),
        ("subscribe", {"accepted_disclosure_version": 99}, *INVALID, "accepted_disclosure_version"),
        ("subscribe", {"allocations": rows}, *INVALID, "allocations.1.broker_client_id"),
        ("subscribe", {"template_id": side.subscription.template.public_id}, 409, DUPLICATE, ""),
        ("subscribe", {"template_id": make_debt(side).public_id}, 409, DEBT, ""),
    ]
    for operation in with_body():
        fields = operation.serializer().fields  # type: ignore[misc]
        for part, changes, status, code, names in late:
            if part not in operation.route or not set(changes) - {"template_id"} <= set(fields):
                continue
            body = {**bodies.good_body(operation, dataset), **changes}
            ids = {}
            if "allocations" in changes:
                del body["broker_client_id"]
            if code in (DUPLICATE, DEBT) and "user_email" in fields:
                body |= known
            if "template_id" in changes and "template_id" not in fields:
                ids["template_id"] = body.pop("template_id")
            sent = json.dumps(body).encode()
            headers = dataset.headers(operation.surface)  # no key: its record keeps a 409
            yield request(
                *(operation, dataset, f"late: {sorted(changes)}", status, code),
                body=sent,
                names=names,
                ids=ids,
                headers=headers,
            )


def _bad(operation: Operation, dataset: Dataset, why: str, body: str, names: str) -> Case:
    return request(operation, dataset, why, *INVALID, body=body.encode(), names=names)


def multipliers(dataset: Dataset) -> Cases:
    """Multipliers that leave a leg without lots or change the ratio between legs."""
    template = dataset.scaled.public_id
    for operation in with_body():
        if "allocations" not in operation.serializer().fields:  # type: ignore[misc]
            continue  # of a running subscription: subscriptions/tests/test_allocations.py
        good = bodies.good_body(operation, dataset)
        if "template_id" in good:
            good["template_id"] = template
        account = good["broker_client_id"]
        inside = {name: value for name, value in good.items() if name != "broker_client_id"}
        for literal, why in (
            *((text, "0 lots") for text in ("0.5", "0.49", "0.01", "0.1", "0.33")),
            *((text, "ratio") for text in ("0.67", "0.75", "1.5", "2.5", "1.34", "99.99")),
        ):
            number = float(literal)
            flat = {**good, "lot_multiplier": number}
            nested = {
                **inside,
                "allocations": [{"broker_client_id": account, "lot_multiplier": number}],
            }
            second = [
                {"broker_client_id": account, "lot_multiplier": 1},
                {"broker_client_id": "OTHER1", "lot_multiplier": number},
            ]
            for body, names in (
                (flat, "lot_multiplier"),
                (nested, "allocations.0.lot_multiplier"),
                ({**inside, "allocations": second}, "allocations.1.lot_multiplier"),
            ):
                yield request(
                    operation,
                    dataset,
                    f"{why} {literal}",
                    *INVALID,
                    body=json.dumps(body).encode(),
                    names=names,
                    ids={"template_id": template},
                )
