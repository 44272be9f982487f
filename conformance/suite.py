"""Reads a CWL conformance suite and writes the part of it that shall run."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cwltest.utils import load_and_validate_tests, shortname
from schema_salad.exceptions import ValidationException

from conformance.problem import Problem
from conformance.selection import wants_container

Test = dict[str, Any]

_INDEX = "conformance_tests.yaml"


def load(folder: Path, copy: Path) -> dict[str, Test]:
    """All tests by name, with absolute URIs into a copy of the suite.

    cwltool gives a tool's directories the modes of its inputs, and fails where those of a suite
    that is shared read-only forbid its user to write.
    """
    if not (folder / _INDEX).is_file():
        raise Problem(
            f"no {_INDEX} in '{folder}'",
            "give --suite a checkout of the CWL conformance tests, such as cwl-v1.2",
        )
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    try:
        tests, _ = load_and_validate_tests(str(copy / _INDEX))
    except ValidationException as error:
        raise Problem(f"'{folder / _INDEX}' is not a conformance suite: {error}") from error
    named = {shortname(str(test["id"])): test for test in tests}
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


def write(tests: Sequence[Test], target: Path) -> None:
    """A suite of just these tests.

    cwltest can select by itself, but then reports results under the names of other tests, and
    cannot select the first one by name (2.7).
    """
    # JSON is YAML, but YAML has no surrogate pairs: other scripts must stand as they are.
    text = json.dumps(list(tests), indent=1, ensure_ascii=False)
    target.write_text(text, encoding="utf-8")


def _plain(name: str, test: Test) -> Test:
    """The test as one would write it: cwltest adds a line number and makes truth values 0 and 1."""
    written = {key: value for key, value in test.items() if key != "line"}
    return {**written, "id": name, "should_fail": bool(test.get("should_fail"))}
