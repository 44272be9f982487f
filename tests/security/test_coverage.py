"""Each case of hostile, damaged and odd things names its tests, and they are there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("README.rst")
CASES = [f"PUB-{number:02}" for number in range(1, 65)]


def table() -> dict[str, list[str]]:
    """Each case of the page, by its own words, and the tests that are named below it."""
    found: dict[str, list[str]] = {}
    case = ""
    for line in PAGE.read_text().split("Which test", 1)[1].splitlines():
        named = re.fullmatch(r"    ``([\w/]+\.py::\w+)``", line)
        if named:
            found.setdefault(case, []).append(named.group(1))
        else:
            case = line
    return found


@functools.cache
def functions(name: str) -> set[str]:
    tree = ast.parse((TESTS / name).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_each_numbered_case_has_a_test() -> None:
    covered = [case.partition(",")[0] for case in table() if case.startswith("PUB-")]
    assert covered == CASES


def test_each_test_that_is_named_is_there() -> None:
    for case, names in table().items():
        for name in names:
            module, _, function = name.partition("::")
            assert (TESTS / module).is_file(), (case, name)
            assert function in functions(module), (case, name)


def test_each_case_of_the_page_names_a_test() -> None:
    """A line of its own at the margin is a heading, a rule below one, or a case."""
    lines = PAGE.read_text().splitlines()
    start = lines.index("The numbered cases")
    for line, following in zip(lines[start:], lines[start + 1 :], strict=False):
        if line and line[0] not in " -" and not following.startswith("--"):
            assert following.startswith("    ``"), line


def test_every_test_of_hostile_things_is_named_or_is_of_engines() -> None:
    """What is tested here without a case of its own would be looked for in vain."""
    named = {name for names in table().values() for name in names}
    for path in sorted(Path(__file__).parent.glob("test_hostile_*.py")):
        for function in functions(f"security/{path.name}"):
            if function.startswith("test_"):
                assert f"security/{path.name}::{function}" in named, function
