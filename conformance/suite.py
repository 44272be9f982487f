"""Reads a CWL conformance suite and chooses the part of it that shall run."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path
from typing import Any

from cwltest.utils import load_and_validate_tests, shortname
from schema_salad.exceptions import ValidationException

from conformance.problem import Problem
from conformance.selection import wants_container

Test = dict[str, Any]


def load(index: Path, copy: Path) -> dict[str, Test]:
    """All tests by name, with absolute URIs into a copy of the folder that their list is in.

    cwltool gives a tool's directories the modes of its inputs, and fails where those of a suite
    that is shared read-only forbid its user to write. Raises a Problem for what is no suite.
    """
    shutil.copytree(
        index.parent, copy, ignore=shutil.ignore_patterns(".git"), ignore_dangling_symlinks=True
    )
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    try:
        tests, _ = load_and_validate_tests(str(copy / index.name))
    except ValidationException as error:
        raise Problem(f"'{index}' is not a conformance suite: {error}") from error
    named = {_name(number, test): test for number, test in enumerate(tests, 1)}
    return {name: _plain(name, test) for name, test in named.items()}


def choose(tests: dict[str, Test], only: str) -> dict[str, Test]:
    """`containers`, `all`, or the names of tests with commas between them."""
    if only == "all":
        return tests
    if only == "containers":
        return {name: test for name, test in tests.items() if wants_container(test["tool"])}
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in tests:
            near = difflib.get_close_matches(name, ["all", "containers", *tests])
            raise Problem(f"no test '{name}' in the suite", f"perhaps: {', '.join(near) or 'all'}")
    return {name: tests[name] for name in names}


def _name(number: int, test: Test) -> str:
    """A test's id; old suites have tests with a label, or with nothing but their place."""
    return shortname(str(test.get("id") or test.get("label") or f"test-{number}"))


def _plain(name: str, test: Test) -> Test:
    """The test as one would write it: cwltest adds a line number and makes truth values 0 and 1."""
    written = {key: value for key, value in test.items() if key != "line"}
    return {**written, "id": name, "should_fail": bool(test.get("should_fail"))}
