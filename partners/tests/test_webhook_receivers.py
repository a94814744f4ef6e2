"""What we deliver is verified by the public library and by the code in docs/partners.md."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
from django.conf import settings
from standardwebhooks import Webhook, WebhookVerificationError

from partners.tests.factories import make_partner
from partners.tests.sink import Received, Sink, endpoint_of, running_sink, tell
from partners.webhooks.delivery import deliver_due
from partners.webhooks.services import rotate_secret
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)
Verify = Callable[[str, Mapping[str, str], bytes], bool]
_PAGE: Final = "docs/partners.md"
_CALL: Final = """
const { secret, headers, body } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
process.stdout.write(String(verify(secret, headers, Buffer.from(body, "base64"))));
"""


def _documented(language: str) -> str:
    page = (settings.BASE_DIR / _PAGE).read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    (code,) = [block for block in blocks if "verify(" in block]
    return str(code)


def _by_library(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True


def _by_python(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    names: dict[str, Any] = {}
    exec(_documented("python"), names)
    return bool(names["verify"](secret, headers, body))


def _by_node(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    node = shutil.which("node")
    assert node is not None
    given = {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}
    answer = subprocess.run(
        [node, "-e", _documented("javascript") + _CALL],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {"true": True, "false": False}[answer.stdout]


RECEIVERS: Final[Mapping[str, Verify]] = {
    "library": _by_library,
    "python": _by_python,
    **({"node": _by_node} if shutil.which("node") else {}),
}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.mark.parametrize("receiver", list(RECEIVERS))
def test_a_delivery_is_verified_and_a_forgery_is_not(receiver: str, sink: Sink) -> None:
    verify = RECEIVERS[receiver]
    partner = make_partner()
    old = endpoint_of(partner, sink)
    new = rotate_secret(endpoint_id=old.endpoint.pk, actor=SYSTEM, now=clock.now())
    stranger = endpoint_of(make_partner(), sink)
    tell(partner, payload={"name": "Ünïcode ₹", "n": 1})
    deliver_due(now=clock.now())
    request: Received = sink.requests[0]
    for secret in (old.secret, new.secret):  # both, during a rotation
        assert verify(secret, request.headers, request.body)
    assert not verify(stranger.secret, request.headers, request.body)
    assert not verify(new.secret, request.headers, request.body + b" ")
    other_id = {**request.headers, "webhook-id": "evt_other"}
    assert not verify(new.secret, other_id, request.body)
    early = str(int(request.headers["webhook-timestamp"]) - 3600)
    assert not verify(new.secret, {**request.headers, "webhook-timestamp": early}, request.body)
