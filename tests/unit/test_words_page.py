"""The page of everybody's words says what the shims do."""

from __future__ import annotations

import pytest

from conformance.words import PAGE, page

pytestmark = pytest.mark.once


def test_the_page_is_what_the_tables_of_the_shims_say() -> None:
    """If this fails: python -m conformance.words"""
    assert PAGE.read_text("utf-8") == page()
