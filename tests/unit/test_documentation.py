"""What is written about the package can be read by what shows it, and linked to."""

from __future__ import annotations

from pathlib import Path

import pytest
from docutils import nodes

from conformance.docs.blocks import pages
from conformance.docs.errors import anchor, listed
from conformance.docs.messages import VALUE, Message
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


def test_the_anchor_of_a_message_is_made_of_its_class_and_its_words() -> None:
    message = Message("StoreError", f"'{VALUE}' is in use by {VALUE}{VALUE} (on host-1)", "stop it")
    assert anchor(message) == "storeerror-x-is-in-use-by-x-on-host-1"


def test_every_message_can_be_linked_to() -> None:
    anchors = list(listed())
    assert len(anchors) > 400
    tree, _ = document(TOP / "docs/errors.rst")
    found = [name for node in tree.findall(nodes.paragraph) for name in node["ids"]]
    assert sorted(found) == sorted(anchors)


def test_every_link_to_a_message_leads_to_it() -> None:
    known = set(listed())
    linked = [
        reference["refuri"].partition("#")[2]
        for page in pages()
        if "errors.rst#" in page.read_text("utf-8")
        for reference in document(page)[0].findall(nodes.reference)
        if reference.get("refuri", "").startswith("errors.rst#")
    ]
    assert len(linked) > 30
    assert [name for name in linked if name not in known] == []
