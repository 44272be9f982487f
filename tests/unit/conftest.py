"""A registry and a store for each test, and a certificate authority for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, make_authority
from tests.fake_registry import FakeRegistry
from tests.shop import Shop


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


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)
