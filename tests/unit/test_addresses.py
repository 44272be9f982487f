"""How near a host is by its name, however the address is spelled."""

from __future__ import annotations

import pytest

from cwl_userspace.image.addresses import Reach, is_loopback, is_plain_url, origin, reach_of

LOOPBACK = ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.255.0.9", "::1", "[::1]",
            "127.1", "0x7f000001", "2130706433", "017700000001", "::ffff:127.0.0.1"]  # fmt: skip
NEAR = ["0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%eth0", "0", "::ffff:169.254.0.1"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "255.255.255.255",
           "0xa000001", "::ffff:10.0.0.1"]  # fmt: skip
PUBLIC = ["registry.example", "8.8.8.8", "2600::1", "localhost.example", "127.0.0.1.example", ""]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_hosts_are_local(host: str) -> None:
    assert (is_loopback(host), reach_of(host)) == (True, Reach.LOCAL)


@pytest.mark.parametrize("host", NEAR)
def test_link_local_addresses_are_as_near_as_loopback_but_not_it(host: str) -> None:
    assert (is_loopback(host), reach_of(host)) == (False, Reach.LOCAL)


@pytest.mark.parametrize("host", PRIVATE)
def test_addresses_of_private_networks_are_private(host: str) -> None:
    assert (is_loopback(host), reach_of(host)) == (False, Reach.PRIVATE)


@pytest.mark.parametrize("host", PUBLIC)
def test_names_and_global_addresses_are_public(host: str) -> None:
    assert (is_loopback(host), reach_of(host)) == (False, Reach.PUBLIC)


def test_an_origin_knows_the_usual_ports() -> None:
    assert origin("https://A.example/x") == origin("https://a.example:443/y")
    assert origin("http://a.example") != origin("https://a.example")
    assert origin("https://a.example:8443") != origin("https://a.example")


@pytest.mark.parametrize("url", ["http://a.example", "https://[::1]:5000/x?y=%20#z"])
def test_plain_urls_are_taken(url: str) -> None:
    assert is_plain_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "a.example", "ftp://a.example", "https:///x", "https://me@a.example", "https://a:99999",
     "https://a:x", "https://a\\@b", "https://a b", "https://a\n", "https://é.example", "//a"],
)  # fmt: skip
def test_urls_that_parsers_read_in_different_ways_are_not(url: str) -> None:
    assert not is_plain_url(url)
