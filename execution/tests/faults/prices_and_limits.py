"""Scenarios b: prices, logins, limits and words as the brokers document them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import requests

from brokers import sealed_credentials
from brokers.services.login import complete_login, initiate_login
from execution.tests.factories import API_KEY
from execution.tests.faults.judge import Right
from execution.tests.faults.stage import Scenario, Stage, Wait, nothing
from quantleap.core import clock
from quantleap.core.audit import SYSTEM


def noren_feed(stage: Stage) -> Iterator[Wait]:
    """Held legs are priced by a Noren feed; after 35 s premiums double, and the stops must fire."""
    stage.ground.feed_of("zebu")
    yield 35
    stage.premiums(2.0)
    yield from stage.must("the stops have fired", 50, stage.flat)


def logged_in_by_page(stage: Stage) -> Iterator[Wait]:
    """Everybody logs in at the broker's page; Noren's answer names no owner."""
    stage.end_sessions()
    for account in stage.everybody:
        account.api_secret = sealed_credentials.seal(account, "api_secret", f"secret-{API_KEY}")
        account.access_token, account.token_expires_at = "", None
        account.save()
        started = initiate_login(
            account=account, redirect_uri="", registered=(), actor=SYSTEM, now=clock.now()
        )
        answer = _browse(started.oauth_url, account.client_id)
        try:
            complete_login(
                account=account,
                code=answer.get("request_token") or answer["code"],
                state=started.state,
                actor=SYSTEM,
                now=clock.now(),
            )
        except Exception as error:  # noqa: BLE001 - whatever keeps a customer out is a finding
            stage.problems[account.broker].append(f"login: {error}")
    return iter(())


def _browse(url: str, user_id: str) -> dict[str, str]:
    form = dict(parse_qsl(urlsplit(url).query)) | {"user_id": user_id, "password": "x"}
    answer = requests.post(url.partition("?")[0], data=form, allow_redirects=False, timeout=5)
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def within_limits(stage: Stage) -> Iterator[Wait]:
    """Sixteen orders an entry: no call may break a documented limit."""
    yield stage.scenario.hold + 12
    refused = stage.control.ask("GET", "/limits")["refused"]
    for account in stage.everybody:
        broken = sum(row["calls"] for row in refused if row["client_id"] == account.client_id)
        if broken:
            stage.problems[account.broker].append(f"{account.client_id}: {broken} calls too many")


def session_in_other_words(status: int, body: str) -> Callable[[Stage], Iterator[Wait]]:
    """Reads of some are answered so until their owners log in again."""

    def play(stage: Stage) -> Iterator[Wait]:
        yield stage.all_open
        some = stage.first(1)
        stage.trick("answer", ("book", "positions"), some, status=status, body=body)
        yield stage.scenario.hold
        stage.trouble(some)
        yield stage.scenario.hold + 8
        stage.calm(some)
        stage.log_in(some)

    return play


def said(message: str) -> Callable[[Stage], Iterator[Wait]]:
    """Every order is refused in these words."""

    def play(stage: Stage) -> Iterator[Wait]:
        stage.fault("say", message=message)
        yield 10

    return play


SCENARIOS: Final = (
    Scenario(
        "b1",
        "a Kite feed with its one quote call a second, ten strategies at once",
        nothing,
        Right(quiet=True),
        accounts=10,
        strategies=10,
        alone=True,
    ),
    Scenario(
        "b2",
        "a Noren feed with its 120 calls a minute, stops after 35 s",
        noren_feed,
        Right(),
        shape="stopped",
        accounts=2,
        hold=60,
        alone=True,
    ),
    Scenario(
        "b3",
        "a strike whose last trade is of days ago",
        nothing,
        Right(quiet=True),
        shape="far",
    ),
    Scenario(
        "b4",
        "logins at the brokers' pages, documented answers",
        logged_in_by_page,
        Right(quiet=True),
    ),
    Scenario(
        "b5",
        "sixteen orders an entry, all windows kept",
        within_limits,
        Right(),
        accounts=2,
        lots=100,
        orders=16,
        hold=14,
        patience=45,
    ),
    Scenario(
        "b6",
        "reads answered with an empty 403",
        session_in_other_words(403, ""),
        Right(alarm=15),
        patience=45,
    ),
    Scenario(
        "b6b",
        "reads answered with an HTML 401",
        session_in_other_words(401, "<html><h1>401 Authorization Required</h1></html>"),
        Right(alarm=15),
        patience=45,
    ),
    Scenario(
        "b8",
        "orders refused with words that no document has",
        said('Error Occurred : 1 "unknown request"'),
        Right(enters="none", calls={"place": 12}),
        accounts=2,
    ),
    Scenario(
        "b8b",
        "the broker takes no more orders today",
        said("Maximum allowed order requests exceeded."),
        Right(enters="none", calls={"place": 4}),
        accounts=2,
    ),
)
