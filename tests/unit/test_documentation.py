"""What is written about the package can be read by what shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.docs.plain import document

pytestmark = pytest.mark.once

TOP = Path(__file__).parents[2]
PAGES = sorted(
    page
    for place in (".", "docs", "conformance", "tests/security")
    for page in (TOP / place).glob("*.rst")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_restructured_text_without_a_fault(page: Path) -> None:
    assert document(page)[1] == ""
