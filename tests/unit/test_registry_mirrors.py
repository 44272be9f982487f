"""At which address a registry is asked."""

from __future__ import annotations

import pytest

from cwl_userspace.errors import ImageNotFound, RegistryError, SettingsError
from cwl_userspace.image.registry import Registry
from cwl_userspace.reference import ImageReference
from tests.fake_registry import FakeRegistry
from tests.pulling import AMD64


def test_a_mirror_of_the_hub_is_asked_for_the_full_repository(fake: FakeRegistry) -> None:
    added = fake.add("library/debian", "latest")
    mirror = Registry("docker.io", endpoint=f"{fake.url}/")
    image = mirror.image(ImageReference.parse("debian"), AMD64)
    assert b"".join(mirror.layer(image.layers[0])) == added.blobs[0]
    assert fake.requests[0].path == "/v2/library/debian/manifests/latest"
    assert mirror.label == f"{fake.url}/"


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [
        ("/prefix", "/prefix/v2/library/debian/manifests/latest"),
        ("/v2/hub-proxy", "/v2/hub-proxy/library/debian/manifests/latest"),
    ],
)
def test_a_mirror_may_have_a_path(fake: FakeRegistry, prefix: str, asked: str) -> None:
    mirror = Registry("docker.io", endpoint=fake.url + prefix)
    with pytest.raises(ImageNotFound):
        mirror.image(ImageReference.parse("debian"), AMD64)
    assert [request.path for request in fake.requests] == [asked]


@pytest.mark.parametrize(
    "endpoint",
    ["mirror.example", "ftp://mirror.example", "https://", "https://user:word@mirror.example",
     "https://mirror.example?x=1", "https://mirror.example:port"],
)  # fmt: skip
def test_an_endpoint_that_is_no_base_url_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="not the address of a mirror"):
        Registry("docker.io", endpoint=endpoint)


@pytest.mark.parametrize("host", ["a.example:99999", "a b", "", "me@a.example"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="is not a registry"):
        Registry(host)


def test_a_host_that_dns_cannot_have_is_one_sentence() -> None:
    host = "a" * 70 + ".example"
    with pytest.raises(RegistryError, match="not an address that can be asked"):
        Registry(host).image(ImageReference.parse(f"{host}/x"), AMD64)


def test_the_label_can_be_chosen_and_is_the_host_otherwise(fake: FakeRegistry) -> None:
    assert Registry("docker.io").label == "docker.io"
    assert Registry(fake.authority, label="our registry").label == "our registry"
