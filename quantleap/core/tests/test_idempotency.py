"""The first finished answer to an Idempotency-Key is the only one."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from django.db import connection
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from quantleap.core import clock, idempotency
from quantleap.core.api.idempotency import Idempotency
from quantleap.core.api.principal import CustomerPrincipal, PartnerPrincipal
from quantleap.core.api.viewsets import ActionRule, ApiViewSet
from quantleap.core.audit import SYSTEM, record
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.models import AuditEntry, IdempotencyRecord

PARTNER = PartnerPrincipal(7, "zebu", 1, "key_1", "live")
KEY = "order-1"


class EffectViewSet(ApiViewSet):
    """Writes one row per run; misbehaves on demand."""

    authentication_classes = ()
    permission_classes = ()
    rules: ClassVar[Mapping[str, ActionRule]] = {"create": ActionRule()}
    entered: ClassVar[threading.Event] = threading.Event()
    go_on: ClassVar[threading.Event] = threading.Event()

    def create(self, request: Request) -> Response:
        entry = record(actor=SYSTEM, action="effect", target_type="t", target_id="1")
        data: Any = request.data
        wish = data.get("wish")
        if wish == "invalid":
            raise ValidationError({"wish": "no"})
        if wish == "missing":
            raise NotFound
        if wish == "conflict":
            raise InvalidTransition("already", status="PAUSED")
        if wish == "error":
            return Response({"statusCode": 500}, status=500)
        if wish == "crash":
            raise RuntimeError
        if wish == "wait":
            type(self).entered.set()
            type(self).go_on.wait(10)
        return Response({"statusCode": 201, "id": entry.pk}, status=201)


class OutsideViewSet(EffectViewSet):
    """The same, as a view that calls a broker."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "create": ActionRule(idempotency=Idempotency.OUTSIDE)
    }


class SecretViewSet(EffectViewSet):
    """The same, as a view that shows a secret."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "create": ActionRule(idempotency=Idempotency.SHOWS_SECRET)
    }


def post(
    view: type[ApiViewSet] = EffectViewSet,
    wish: str = "",
    *,
    key: str = KEY,
    caller: Any = PARTNER,
    path: str = "/api/v1/partner/things",
) -> Response:
    request = APIRequestFactory().post(
        path, {"wish": wish}, format="json", headers={"Idempotency-Key": key}
    )

    class AsCaller(view):  # type: ignore[valid-type,misc]  # a base chosen at run time
        """The view with a given caller, without the database."""

        def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
            prepared: Request = super().initialize_request(request, *args, **kwargs)
            prepared.user, prepared.auth = caller, caller
            return prepared

    answer: Response = AsCaller.as_view({"post": "create"})(request)
    answer.render()
    return answer


def effects() -> int:
    return AuditEntry.objects.filter(action="effect").count()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    EffectViewSet.entered.clear()
    EffectViewSet.go_on.clear()
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.3)
    yield
    EffectViewSet.go_on.set()


@pytest.mark.django_db
@pytest.mark.parametrize("view", [EffectViewSet, OutsideViewSet])
class TestOneAfterTheOther:
    """Without overlap, both ways of holding a key behave alike."""

    def test_the_first_answer_is_replayed(self, view: type[ApiViewSet]) -> None:
        first, second = post(view), post(view)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.data == second.data
        assert second.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert effects() == 1

    def test_the_unversioned_route_is_the_same_request(self, view: type[ApiViewSet]) -> None:
        post(view)
        assert post(view, path="/partner/things").headers["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize(
        "other", [{"wish": "other"}, {"path": "/api/v1/partner/others"}, {"path": "/partner/x"}]
    )
    def test_another_request_with_the_key_is_422(
        self, view: type[ApiViewSet], other: dict[str, str]
    ) -> None:
        post(view)
        answer = post(view, **other)
        assert (answer.status_code, answer.data["code"]) == (422, "idempotency_mismatch")
        assert effects() == 1

    @pytest.mark.parametrize(("wish", "status"), [("invalid", 400), ("missing", 404)])
    def test_a_refused_request_leaves_its_key_free(
        self, view: type[ApiViewSet], wish: str, status: int
    ) -> None:
        assert post(view, wish).status_code == status
        assert IdempotencyRecord.objects.count() == 0
        assert post(view).status_code == 201

    def test_a_conflict_is_a_finished_answer(self, view: type[ApiViewSet]) -> None:
        first, second = post(view, "conflict"), post(view, "conflict")
        assert first.status_code == second.status_code == 409
        assert second.headers["Idempotent-Replayed"] == "true"
        assert second.data["status"] == "PAUSED"

    def test_keys_of_others_are_others(self, view: type[ApiViewSet]) -> None:
        callers: list[Any] = [
            PARTNER,
            PartnerPrincipal(7, "zebu", 1, "key_1", "test"),
            PartnerPrincipal(8, "acme", 2, "key_2", "live"),
            CustomerPrincipal(1, "usr_1", 7, "live"),
            CustomerPrincipal(2, "usr_2", 7, "live"),
        ]
        for caller in callers:
            assert "Idempotent-Replayed" not in post(view, caller=caller).headers
        rotated = PartnerPrincipal(7, "zebu", 99, "key_99", "live")
        assert post(view, caller=rotated).headers["Idempotent-Replayed"] == "true"

    def test_a_day_later_the_key_is_new(self, view: type[ApiViewSet]) -> None:
        post(view)
        past = clock.now() - dt.timedelta(days=2)
        IdempotencyRecord.objects.update(created_at=past, expires_at=past + dt.timedelta(hours=24))
        assert "Idempotent-Replayed" not in post(view).headers
        assert effects() == 2

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
    def test_an_unusable_key_is_a_400_that_names_the_header(
        self, view: type[ApiViewSet], key: str
    ) -> None:
        answer = post(view, key=key)
        assert answer.status_code == 400
        assert list(answer.data["details"]) == ["Idempotency-Key"]
        assert effects() == 0


@pytest.mark.django_db(transaction=True)
def test_a_crash_leaves_neither_effect_nor_record() -> None:
    with pytest.raises(RuntimeError):
        post(EffectViewSet, "crash")
    assert post(EffectViewSet, "error").status_code == 500
    assert (effects(), IdempotencyRecord.objects.count()) == (0, 0)
    assert post(EffectViewSet).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_call_to_the_outside_that_crashed_is_never_taken_over() -> None:
    with pytest.raises(RuntimeError):
        post(OutsideViewSet, "crash")
    answer = post(OutsideViewSet, "crash")
    assert (answer.status_code, answer.data["code"]) == (409, "idempotency_in_progress")
    assert answer.headers["Retry-After"] == "1"
    assert "start again" in answer.data["message"]
    assert effects() == 1


@pytest.mark.django_db
def test_an_answer_with_a_secret_is_not_kept() -> None:
    assert post(SecretViewSet).status_code == 201
    answer = post(SecretViewSet)
    assert (answer.status_code, answer.data["code"]) == (409, "secret_already_shown")
    assert IdempotencyRecord.objects.get().body is None
    assert effects() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", [EffectViewSet, OutsideViewSet])
def test_a_concurrent_request_waits_then_gets_409(
    view: type[ApiViewSet],
) -> None:
    def send_one() -> Response:
        try:
            return post(view, "wait")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(send_one)
        assert EffectViewSet.entered.wait(10)
        second = pool.submit(send_one).result()
        EffectViewSet.go_on.set()
        assert first.result().status_code == 201
    assert (second.status_code, second.data["code"]) == (409, "idempotency_in_progress")
    assert second.headers["Retry-After"] == "1"
    assert post(view, "wait").headers["Idempotent-Replayed"] == "true"
    assert effects() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", [EffectViewSet, OutsideViewSet])
def test_parallel_requests_have_one_effect(
    view: type[ApiViewSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 5.0)
    barrier = threading.Barrier(8)

    def send_one(_: int) -> int:
        try:
            barrier.wait()
            return post(view).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(send_one, range(8))) == [201] * 8
    assert effects() == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_the_key_effects_repeat() -> None:
    def send_one(_: int) -> int:
        try:
            return post(EffectViewSet, caller=None).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(send_one, range(4))) == [201] * 4
    assert effects() == 4


@pytest.mark.django_db
def test_expired_records_are_forgotten_and_others_kept() -> None:
    post()
    post(key="second")
    now = clock.now()
    IdempotencyRecord.objects.filter(key="second").update(
        created_at=now - dt.timedelta(days=2), expires_at=now - dt.timedelta(days=1)
    )
    assert idempotency.forget_expired(now=now) == 1
    assert IdempotencyRecord.objects.get().key == KEY
