"""Print the table of engines and promises, as this host's ``doctor`` finds it, for docs.

usage: python -m conformance.promises > docs/promises.rst

``doctor`` tries every promise of each engine that works, in containers that attack it.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from typing import Any

from conformance.docs.rst import simple_table
from conformance.problem import Problem

_HEAD = """\
What each engine promises
=========================

``cwl-userspace doctor`` tries what the engines of a host promise: for each promise it runs
containers that attack it, and says what they got beside what the engine claims. This table is
what it found on {date} on {machine}, {user}.

Yours is one command away::

    cwl-userspace doctor

**yes**: promised, and tried. **no**: not promised, for the reason below the table; what needs it
is refused with exit code 125, or warned of (``--on-unmet``).

"""
# What tells the version of the program that an engine is made of.
_PROGRAMS = {
    "proot": ["proot", "--version"],
    "bwrap": ["bwrap", "--version"],
    "runc": ["runc", "--version"],
    "crun": ["crun", "--version"],
    "charliecloud": ["ch-run", "--version"],
    "fakechroot": ["fakechroot", "--version"],
}


class Table:
    """Rows of promises by columns of engines, with numbered reasons."""

    def __init__(self, report: dict[str, Any]) -> None:
        self._engines = report["engines"]
        self._reasons: list[str] = []

    def text(self) -> str:
        """The table and its reasons, as reStructuredText."""
        working = [engine for engine in self._engines if engine["works"]]
        rows = [["promise", *(engine["name"] for engine in working)]]
        rows += [
            [promise, *(self._cell(engine, promise) for engine in working)]
            for promise in working[0]["promises"]
        ]
        lines = [simple_table(rows), *self._notes()]
        lines += [
            textwrap.fill(f"Not to be tried there: **{engine['name']}**, {engine['reason']}.", 99)
            + "\n"
            for engine in self._engines
            if not engine["works"]
        ]
        return "\n".join(lines)

    def _cell(self, engine: dict[str, Any], promise: str) -> str:
        claimed = engine["promises"][promise]
        found = engine["tried"][promise]
        if found["kept"] is None:
            return self._noted("not tried", engine, found["reason"])
        if found["kept"]:
            return self._noted("no", engine, claimed) if claimed else "yes"
        return self._noted("no" if claimed else "BROKEN", engine, claimed or found["reason"])

    def _noted(self, word: str, engine: dict[str, Any], reason: str) -> str:
        text = f"{engine['name']}: {reason}"
        if text not in self._reasons:
            self._reasons.append(text)
        return f"{word} [{self._reasons.index(text) + 1}]_"

    def _notes(self) -> list[str]:
        return [
            textwrap.fill(
                f".. [{number}] {reason}", 99, subsequent_indent="   ", break_on_hyphens=False
            )
            + "\n"
            for number, reason in enumerate(self._reasons, 1)
        ]


def _version(command: list[str]) -> str:
    """The version that a program says it has; empty if it says none."""
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return found.group() if found else ""


def _machine(report: dict[str, Any]) -> str:
    kernel = report["kernel"]
    parts = [
        f"Linux {kernel['release'].split('-')[0]} ({kernel['machine']}, Landlock"
        f" {kernel['landlock']})",
        f"Python {report['python'].split()[0]}",
    ]
    for engine in report["engines"]:
        command = _PROGRAMS.get(engine["name"])
        if engine["works"] and command and shutil.which(command[0]):
            parts.append(f"{command[0]} {_version(command)}")
    return ", ".join(parts)


def page(report: dict[str, Any]) -> str:
    """The whole page for what doctor has reported."""
    head = _HEAD.format(
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        machine=_machine(report),
        user="as root" if os.geteuid() == 0 else "as a user without rights",
    )
    paragraphs = [
        part if "::" in part or "\n===" in part or part.startswith("    ")
        else textwrap.fill(part, 99) for part in head.rstrip().split("\n\n")
    ]  # fmt: skip
    return "\n\n".join(paragraphs) + "\n\n" + Table(report).text().rstrip() + "\n"


def main() -> int:
    """Print the page; 1 if an engine has broken a promise."""
    command = [sys.executable, "-m", "cwl_userspace", "doctor", "--json", "--offline"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    report = json.loads(done.stdout)
    if not any(engine["works"] for engine in report["engines"]):
        raise Problem("no engine works on this host: see cwl-userspace doctor")
    print(page(report), end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
