"""The shipped proxy limits what gunicorn does not, and sets what the web processes trust."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
import yaml
from django.conf import settings

from quantleap.core.ip_addresses import client_address, parse_address
from quantleap.embedded.state import PROJECT_ROOT
from quantleap.supervisor import Layout

TEXT = (PROJECT_ROOT / "deploy" / "nginx.conf").read_text()
UNITS = {"k": 1024, "m": 1024**2}


def values(name: str) -> list[str]:
    """What a directive is set to, every time it is."""
    return re.findall(rf"^\s*{name}\s+([^;]+);", TEXT, re.MULTILINE)


def size(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((PROJECT_ROOT / "compose.yaml").read_text())


def test_requests_and_answers_are_taken_in_whole() -> None:
    """Bug: 40 dripping connections held all 16 threads of the web processes."""
    assert values("proxy_request_buffering") == ["on"]
    assert values("proxy_buffering") == ["on"]
    for name in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        (seconds,) = values(name)
        assert 0 < int(seconds.removesuffix("s")) <= 30, name
    (address, zone) = values("limit_conn")[0].split()[0], values("limit_conn_zone")[0]
    assert address in zone
    assert zone.startswith("$binary_remote_addr")


def test_the_proxy_keeps_limited_bodies_in_memory() -> None:
    (largest,), (buffered,) = values("client_max_body_size"), values("client_body_buffer_size")
    assert size(largest) > (settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0), "its own words come first"
    assert size(buffered) >= size(largest)
    assert values("proxy_max_temp_file_size") == ["0"]


def keep_alives() -> dict[str, int]:
    """Seconds for which each of our gunicorns leaves an idle connection open."""
    commands = {
        "Containerfile": (PROJECT_ROOT / "Containerfile").read_text().replace('", "', " "),
        "docs/deploy.md": (PROJECT_ROOT / "docs/deploy.md").read_text(),
        "make run": " ".join(word for part in Layout().parts() for word in part.command),
    }
    timeouts = {name: re.findall(r"--keep-alive (\d+)", text) for name, text in commands.items()}
    return {name: min(map(int, seconds), default=0) for name, seconds in timeouts.items()}


def test_whoever_reuses_a_connection_hangs_up_first() -> None:
    """gunicorn's own 2 s lose what a client or a proxy sends in the instant of hanging up.

    nginx keeps a connection for 60 s (from 1.29.7 on without being asked), and nothing is repeated.
    """
    for where, seconds in keep_alives().items():
        assert seconds > 60, where


def test_nothing_is_asked_twice() -> None:
    assert values("proxy_next_upstream") == ["off"]


def test_forwarding_headers_are_overwritten() -> None:
    sent = dict(value.split(maxsplit=1) for value in values("proxy_set_header"))
    assert sent["X-Forwarded-For"] == "$remote_addr"
    assert sent["X-Forwarded-Proto"] == "$scheme"
    for name in ("X-Forwarded-Host", "X-Forwarded-Port", "Forwarded"):
        assert sent[name] == '""'
    # a location with a proxy_set_header of its own would inherit none of these
    for block in re.findall(r"location [^{]+\{([^}]*)\}", TEXT):
        assert "proxy_set_header" not in block


def test_logs_hold_neither_queries_nor_headers() -> None:
    logged = TEXT[TEXT.index("log_format") : TEXT.index("access_log")]
    for variable in ("$request ", '$request"', "$request_uri", "$args", "$query_string", "$http_"):
        assert variable not in logged


def test_its_own_answers_are_json_and_plain_http_is_refused() -> None:
    bodies = re.findall(r"return (\d{3}) '([^']+)';", TEXT)
    assert [int(code) for code, _ in bodies] == [403, 413, 429, 503]
    for code, body in bodies:
        answer = json.loads(body)
        assert answer["statusCode"] == int(code)
        assert {"error", "code", "message", "details"} <= set(answer)
    assert "return 301" not in TEXT


def test_the_proxy_is_the_only_trusted_way_in(compose: Any) -> None:
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    address = services["proxy"]["networks"]["front"]["ipv4_address"]
    believed = services["web"]["environment"]
    assert believed["QUANTLEAP_TRUSTED_PROXIES"] == address
    caller = client_address(
        address,
        "203.0.113.9",
        trusted_proxies=[believed["QUANTLEAP_TRUSTED_PROXIES"]],
        hops=int(believed["QUANTLEAP_TRUSTED_HOPS"]),
    )
    assert caller == parse_address("203.0.113.9")
    assert "./deploy/nginx.conf:/etc/nginx/nginx.conf:ro" in services["proxy"]["volumes"]


def test_no_other_container_is_given_the_proxys_address(compose: Any) -> None:
    """Bug: `web` starts first and would have been given the first free one: the proxy's."""
    (pool,) = compose["networks"]["front"]["ipam"]["config"]
    subnet, dynamic = IPv4Network(pool["subnet"]), IPv4Network(pool["ip_range"])
    assert dynamic.subnet_of(subnet)
    named = [
        service["networks"]["front"]["ipv4_address"]
        for service in compose["services"].values()
        if "front" in service.get("networks", [])
    ]
    fixed = [IPv4Address(text) for text in (pool["gateway"], *named)]
    assert len(set(fixed)) == len(fixed) == 3
    for address in fixed:
        assert address in set(subnet.hosts())
        assert address not in dynamic
    proxy = compose["services"]["proxy"]["networks"]["front"]["ipv4_address"]
    for name, service in compose["services"].items():
        believed = service.get("environment", {}).get("QUANTLEAP_TRUSTED_PROXIES", proxy)
        assert believed == proxy, name


def test_the_address_that_nginx_asked_for_once_stays_the_webs(compose: Any) -> None:
    """Bug: a release gave `web` another address, and every request was answered 503."""
    (server,) = re.findall(r"server (\w+):8000;", TEXT)
    assert "ipv4_address" in compose["services"][server]["networks"]["front"]
