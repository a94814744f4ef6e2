"""Bad requests around the body: types, sizes, headers, queries, methods and paths."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from django.urls import is_valid_path

from quantleap.core.tests.matrix.cases import (
    INVALID,
    JUNK,
    TOO_LARGE,
    UNKNOWN,
    UNKNOWN_QUERY,
    Case,
    Cases,
    good_bytes,
    request,
)
from quantleap.core.tests.matrix.dataset import Dataset
from quantleap.core.tests.matrix.routes import METHODS, Operation, api_routes, operations


def wrong_content(dataset: Dataset) -> Cases:
    """Other content types, and bodies without a declared length."""
    types = (
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"),
        *("multipart/form-data; boundary=x", "application/json-patch+json", "application/xml"),
        *("", "garbage", "application/", "json", "image/png; x", "application/json5"),
    )
    for operation in operations():
        body = good_bytes(operation, dataset) or b'{"open_positions": "EXIT_NOW"}'
        for name in types if operation.serializer else types[:3]:
            yield request(
                operation,
                dataset,
                f"content type {name}",
                415,
                "unsupported_media_type",
                body=body,
                content_type=name,
            )
        yield request(
            operation,
            dataset,
            "chunked",
            *INVALID,
            names="Content-Length",
            body=b"",
            extra={"HTTP_TRANSFER_ENCODING": "chunked"},
        )
        if operation.method == "DELETE":
            yield request(operation, dataset, "a body", *INVALID, names="body", body=body)


def oversized(dataset: Dataset) -> Cases:
    """More than 256 KB: as one text, as spaces, as rubbish."""
    for operation in operations():
        good = good_bytes(operation, dataset) or b"{}"
        for why, body in {
            "spaces": good + b" " * TOO_LARGE,
            "one long text": b'{"reason": "' + b"x" * TOO_LARGE + b'"}',
            "rubbish": b"\xff" * TOO_LARGE,
        }.items():
            yield request(operation, dataset, why, 413, "payload_too_large", body=body)
        if operation.method == "POST":
            key = {**dataset.headers(operation.surface), "Idempotency-Key": "too-large"}
            yield request(operation, dataset, "with a key", 413, headers=key, body=b" " * TOO_LARGE)


def wrong_headers(dataset: Dataset) -> Cases:
    """``Idempotency-Key`` outside its alphabet and length."""
    for operation in operations():
        good = dataset.headers(operation.surface)
        if operation.method == "POST":
            for key in ("", " ", "two words", "x" * 256, "é", "tab\there", "\x7f"):
                headers = {**good, "Idempotency-Key": key}
                yield request(
                    operation, dataset, "key", *INVALID, headers=headers, names="Idempotency-Key"
                )


#: Invalid values of every query parameter of any route. A new one must be added here.
BAD_QUERY: Mapping[str, tuple[str, ...]] = {
    "audience": ("nobody", "", "PARTNER"),
    "broker_name": ("nosuch", "", "%00"),
    "category": ("NOSUCH", "", "%00"),
    "cursor": ("exe_unknown", "com_unknown", "", "%00", "1", "-1", "aWQ6MQ", "x" * 300, "%C3%A9"),
    "difficulty": ("HARD", "", "beginner", "%00"),
    "external_user_id": ("", "%00", "%20a", "a%20", "x" * 65, "%C3%A9", "a%0Ab"),
    "format": ("xml", "html", ""),
    "index": ("NOSUCH", "", "%00"),
    "limit": ("0", "101", "-1", "1.5", "abc", "", "%00", "1e1", "%D9%A1", "9" * 30),
    "month": ("2026-13", "2026-1", "2026-00", "2099-01", "2026-01-01", "", "%00", "now", "%D9%A2"),
    "open_positions": ("NOPE", "", "exit_now", "%00"),
    "page": ("0", "-1", "1.5", "abc", "", "%00", "1e1", "%D9%A1", "9" * 30, "+1", "%201"),
    "per_page": ("0", "101", "-1", "1.5", "abc", "", "%00", "1e1", "%D9%A1", "9" * 30),
    "pricing_type": ("CHEAP", "", "%00"),
    "q": ("%00",),
    "ready": ("yes", "", "True", "1", "%00"),
    "reason": ("%00", "x" * 201, "a%0Ab"),
    "sort": ("oldest", "", "%00"),
    "state": ("28", "", "2", "TN", "%00", "%D9%A2%D9%A7"),
    "status": ("NOPE", "", "active", "%00"),
    "tag": ("%00",),
    "template_id": ("%00",),
    "user_email": ("nobody", "", "%00", "a%00@b.example"),
}


def wrong_queries(dataset: Dataset) -> Cases:
    """Unknown parameters everywhere, invalid values of the known ones."""
    unknown = ("colour", "Page", "__proto__", "user-email", "page[]", "offset", "statuses")
    for operation in operations():
        for name in (*unknown, *sorted(set(BAD_QUERY) - set(operation.query))):
            yield _bad_query(operation, dataset, name, "1")
        for name in sorted(operation.query):
            for value in BAD_QUERY[name]:
                yield _bad_query(operation, dataset, name, value)
            if name not in operation.rule.repeatable:
                yield _bad_query(operation, dataset, name, f"1&{name}=1")


def _bad_query(operation: Operation, dataset: Dataset, name: str, value: str) -> Case:
    query = f"{name}={value}"
    return request(operation, dataset, "query", *INVALID, query=query, names=name)


def unsupported_methods(dataset: Dataset) -> Cases:
    """Every method that a route does not support, with good credentials and everything else bad."""
    views = {operation.route: operation for operation in operations()}
    for operation in views.values():
        have = set(api_routes()[operation.route].actions or ())
        for method in (*METHODS, "HEAD", "OPTIONS", "TRACE", "PROPFIND"):
            if method in have or (method == "HEAD" and "GET" in have):
                continue
            for changes in ({"body": b""}, {"body": JUNK, "query": UNKNOWN_QUERY}):
                yield request(
                    operation,
                    dataset,
                    "method",
                    405,
                    "method_not_allowed",
                    method=method,
                    **changes,
                )


def unknown_paths(dataset: Dataset) -> Cases:
    """An extra slash, an extra part, another version: 404 for every caller."""
    for operation in operations():
        path = operation.url(dataset.me.ids)
        for url in (
            *(
                f"{path}/",
                f"{path}//",
                f"{path}/unknown",
                f"{path}%2F",
                f"{path}/%00",
                f"/api{path}",
            ),
            *(path.replace("/api/v1", "/api/v2"), path.replace("/api/v1/", "/api/v1//")),
        ):
            if is_valid_path(unquote(url)):
                continue
            for headers in ({}, dataset.headers(operation.surface)):
                yield Case(operation, "no such path", url, headers, *UNKNOWN, body=b"")
