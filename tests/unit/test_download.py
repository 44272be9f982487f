"""The bytes behind a URL that a person gave."""

from __future__ import annotations

import pytest

from cwl_userspace.errors import ImageNotFound, RegistryError, UsageError
from cwl_userspace.image.download import from_url
from tests.fake_registry import FakeRegistry


def test_the_bytes_behind_a_url_come_through(fake: FakeRegistry, other: FakeRegistry) -> None:
    raw = bytes(range(256)) * 9000
    digest = other.blob(raw)
    fake.blobs, fake.faults.redirect = other.blobs, other.url
    assert b"".join(from_url(f"{fake.url}/v2/x/blobs/{digest}")) == raw


def test_a_url_that_breaks_off_is_an_error_and_not_the_end(fake: FakeRegistry) -> None:
    digest = fake.blob(b"x" * 1000)
    fake.faults.end_at = 500
    with pytest.raises(RegistryError, match="broke off"):
        b"".join(from_url(f"{fake.url}/v2/x/blobs/{digest}"))


def test_a_url_that_leads_nowhere_is_named(fake: FakeRegistry) -> None:
    with pytest.raises(ImageNotFound, match=f"{fake.url}/none answers 404"):
        b"".join(from_url(f"{fake.url}/none"))
    fake.faults.fail, fake.faults.status = 1, 403
    with pytest.raises(RegistryError, match="answers 403 Forbidden"):
        b"".join(from_url(f"{fake.url}/none"))


@pytest.mark.parametrize("url", ["ftp://a.example/x", "http:///x", "http://a b/", "x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        b"".join(from_url(url))
