"""A registry for each test, and a certificate authority for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.certificates import Authority, make_authority
from tests.fake_registry import FakeRegistry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    """A second server, at another port."""
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("certificates"))
