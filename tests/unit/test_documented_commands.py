"""Every command of the documentation is accounted for, and pages that are made are made anew."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from docutils import nodes

from conformance.docs.__main__ import PAGES
from conformance.docs.blocks import TOP, every_step, pages, plan, steps
from conformance.docs.messages import VALUE, messages, templates
from conformance.docs.plain import document
from conformance.problem import Problem
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.help import every
from cwl_userspace.cli.words import parse

pytestmark = pytest.mark.once

STORE = TOP / "docs/store.rst"
ENTRIES = plan()["pages"]["docs/store.rst"]["blocks"]


def test_every_block_is_run_or_says_why_not() -> None:
    assert sum(step.kind == "run" for _, found in every_step() for step in found) > 40


def test_a_block_that_nobody_accounts_for_is_an_error() -> None:
    with pytest.raises(Problem, match=r"docs/store\.rst:.* is not accounted for"):
        steps(STORE, ENTRIES[:-1])


def test_an_account_of_a_block_that_is_gone_is_an_error() -> None:
    with pytest.raises(Problem, match="no block that begins with 'cwl-userspace gone'"):
        steps(STORE, [*ENTRIES, {"begins": "cwl-userspace gone", "run": "quick"}])


def test_a_line_is_left_out_only_if_it_is_there() -> None:
    with pytest.raises(Problem, match="no line that begins with 'gone'"):
        steps(STORE, [{**ENTRIES[0], "leave_out": {"gone": "it was here"}}, *ENTRIES[1:]])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_is_what_the_code_says(name: str) -> None:
    """If this fails: python -m conformance.docs"""
    made: Callable[[], str] = PAGES[name]
    assert (TOP / name).read_text("utf-8") == made()


def test_every_error_that_is_explained_is_one_that_the_code_has() -> None:
    tree, _ = document(TOP / "docs/troubleshooting.rst")
    explained = [
        term.children[0].astext()
        for term in tree.findall(nodes.term)
        if isinstance(term.children[0], nodes.literal) and " " in term.children[0].astext()
    ]
    said = templates() | {message.text for message in messages()}
    known = {re.sub(f"{VALUE}+", VALUE, text) for text in said}
    assert len(explained) > 30
    assert [text for text in explained if not any(text in one for one in known)] == []


def test_commands_within_sentences_are_words_that_we_have() -> None:
    verbs = {page.verb: page.options for page in every(Context({}, "", quiet=True))}
    read = 0
    for page in pages():
        for literal in document(page)[0].findall(nodes.literal):
            name, *words = re.split(r"\s+", literal.astext())
            if name == "cwl-userspace" and words and words[0].islower() and words[0].isalpha():
                given = [word for word in words[1:] if word not in ("…", "...")]
                verb, options = words[0], verbs[words[0]]
                parse(verb, options, given, options_end_at_argument=True)
                read += 1
    assert read > 50
