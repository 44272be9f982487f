"""What is written about the package can be read by what shows it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from docutils.core import publish_string

pytestmark = pytest.mark.once

TOP = Path(__file__).parents[2]
PAGES = sorted(
    page
    for place in (".", "docs", "conformance", "tests/security")
    for page in (TOP / place).glob("*.rst")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_restructured_text_without_a_fault(page: Path) -> None:
    said = io.StringIO()
    given = {"report_level": 2, "halt_level": 5, "warning_stream": said}
    publish_string(page.read_text("utf-8"), str(page), writer="null", settings_overrides=given)
    assert said.getvalue() == ""
