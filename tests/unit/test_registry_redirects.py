"""Where a registry may send us, and what we take along."""

from __future__ import annotations

import random

import pytest

from cwl_userspace.errors import RegistryError
from cwl_userspace.image.transport import Request, Transport
from tests.fake_registry import FakeRegistry
from tests.pulling import Client


def test_a_blob_elsewhere_is_fetched_without_our_login(
    fake: FakeRegistry, other: FakeRegistry
) -> None:
    added = fake.add("tool", "1")
    other.blobs = fake.blobs
    fake.faults.auth, fake.faults.redirect = "bearer", other.url
    assert Client(fake).pull() == list(added.blobs)
    assert len(other.requests) == 2
    assert all("authorization" not in request.headers for request in other.requests)


def test_a_login_stays_with_redirects_inside_the_registry(fake: FakeRegistry) -> None:
    added = fake.add("tool", "1")
    fake.manifests["moved", "1"] = fake.manifests["tool", "1"]
    fake.faults.auth, fake.faults.redirects = (
        "bearer",
        {"/v2/tool/manifests/1": "/v2/moved/manifests/1"},
    )
    assert Client(fake).pull() == list(added.blobs)
    assert fake.asked("/moved/")[-1].headers["authorization"].startswith("Bearer ")


def test_another_host_that_wants_a_login_gets_none(fake: FakeRegistry, other: FakeRegistry) -> None:
    fake.add("tool", "1")
    fake.faults.redirect, other.faults.auth = other.url, "bearer"
    with pytest.raises(RegistryError, match=f"{other.authority}, where .* sends us") as caught:
        Client(fake).image()
    assert "401" in str(caught.value)
    assert other.asked("/token") == []


def test_a_layer_is_resumed_from_the_registry_since_the_other_address_may_expire(
    fake: FakeRegistry, other: FakeRegistry
) -> None:
    raw = random.Random(7).randbytes(2 << 20)
    blobs = list(fake.add("tool", "1", [raw], compression="").blobs)
    client = Client(fake)
    image = client.image()
    other.blobs, fake.faults.redirect = fake.blobs, other.url
    other.faults.reset_at, other.faults.body_fail = len(raw) // 2, 1
    assert client.layers(image) == blobs
    assert len(fake.asked("/blobs/")) == 3
    assert "range" in other.requests[-1].headers


def test_a_redirect_in_a_circle_ends(fake: FakeRegistry) -> None:
    fake.faults.redirect_manifests = fake.url
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        Client(fake).image()
    assert len(fake.requests) == 6


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd?", "ftp://a.example/?", "gopher:x?", "http://user:pass@127.0.0.1/?",
     "http://127.0.0.1\\@a.example/?", "//\u00e9/?", "http://a b/?", "http://[::1/?"],
)  # fmt: skip
def test_a_redirect_to_what_is_no_plain_http_address_is_refused(
    fake: FakeRegistry, target: str
) -> None:
    fake.faults.redirect_manifests = target
    with pytest.raises(RegistryError, match=r"redirects to .*which is not an http address"):
        Client(fake).image()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "192.168.1.1", "[::1]", "0.0.0.0",
     "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "[fe80::1]", "[fd00::1]"],
)  # fmt: skip
def test_a_public_registry_may_not_redirect_into_this_network(
    fake: FakeRegistry, host: str
) -> None:
    fake.faults.redirect_manifests = f"http://{host}:{fake.port}/?"
    public = Transport("registry.example", "https://registry.example/v2")
    with pytest.raises(RegistryError, match="an address inside this network"):
        public.send(Request(f"{fake.url}/v2/tool/manifests/1", {}))
    assert len(fake.requests) == 1
