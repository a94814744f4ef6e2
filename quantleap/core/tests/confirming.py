"""Answers confirmation pages as a person does: open the page, answer it, and answer its second
question."""

from __future__ import annotations

from typing import Any

from django.test import Client


def confirm(client: Client, url: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
    """The response of ``url`` to ``data``, posted with the current seal of the page.

    With ``again=yes`` in it, the second page is answered too.
    """
    body = {"confirm": "yes", **(data or {})}
    again = body.pop("again", "") == "yes"
    asked = client.get(url)
    body["seal"] = seal_of(asked)
    answer = client.post(url, body, **options)
    if again and seal_of(answer) and answer.context["ask_again"]:
        answer = client.post(url, {**body, "again": "yes", "seal": seal_of(answer)}, **options)
    return answer


def seal_of(answer: Any) -> str:
    """The seal of a page; empty if the page asks nothing."""
    context = answer.context
    return str(context["seal"]) if context is not None and "seal" in context else ""
