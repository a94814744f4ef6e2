"""Nothing that a caller writes into a header changes its address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core.ip_addresses import (
    client_address,
    contains,
    is_allowed,
    parse_address,
    parse_network,
)

PROXIES = ["10.0.0.0/8", "2001:db8::/32"]
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(addresses, st.text())
def test_without_a_trusted_proxy_the_header_is_not_read(peer: str, header: str) -> None:
    address = client_address(peer, header, trusted_proxies=[], hops=1)
    assert address == parse_address(peer)


@given(addresses, st.lists(st.text(max_size=30), max_size=5), st.integers(1, 3))
def test_the_callers_own_header_never_counts(caller: str, invented: list[str], hops: int) -> None:
    # The outermost of `hops` proxies appends the caller, the inner ones their neighbour.
    seen = [caller, *["10.0.0.9"] * (hops - 1)]
    header = ", ".join([*invented, *seen])
    address = client_address("10.0.0.1", header, trusted_proxies=PROXIES, hops=hops)
    assert address == parse_address(caller)


@pytest.mark.parametrize(
    ("header", "hops"),
    [("", 1), ("1.1.1.1", 2), ("1.1.1.1:443", 1), ("unknown", 1), ("1.1.1.1", 0), ("fe80::1%1", 1)],
)
def test_an_unusable_header_leaves_the_caller_unknown(header: str, hops: int) -> None:
    assert client_address("10.0.0.1", header, trusted_proxies=PROXIES, hops=hops) is None


def test_a_unix_socket_is_trusted_only_when_named() -> None:
    assert client_address("", "1.1.1.1", trusted_proxies=PROXIES, hops=1) is None
    named = client_address("", "9.9.9.9, 1.1.1.1", trusted_proxies=["unix"], hops=1)
    assert str(named) == "1.1.1.1"


@given(st.ip_addresses(v=4))
def test_mapped_ipv6_is_the_ipv4_address(address: ipaddress.IPv4Address) -> None:
    mapped = f"::ffff:{address}"
    assert parse_address(mapped) == address
    assert contains([f"{mapped}/128"], address)
    assert contains([f"{address}/32"], parse_address(mapped))


@given(st.ip_addresses(), st.integers(0, 32))
def test_an_address_is_in_every_network_around_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    parsed = parse_address(str(address))
    expected = parsed is not None and parsed.version == network.version
    assert contains([str(network)], parsed) == expected


def test_the_empty_list_admits_everyone_and_a_broken_one_nobody() -> None:
    assert is_allowed([], None)
    assert not is_allowed(["not an address"], parse_address("1.1.1.1"))
    assert not is_allowed(["1.1.1.1"], None)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "x", "1.1.1.1/33"])
def test_sloppy_networks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_network(text)
