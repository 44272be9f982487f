"""Run the commands of the documentation, page by page, as a reader would.

usage: python -m conformance.docs.run --images DIR [--occasion OCCASION]... [PAGE...]

DIR is an OCI layout that ``conformance.images`` has made: it stands in for Docker's hub. OCCASION
is quick (the default), long, toil, slurm or gridengine. What is done with each block is in
``blocks.yml``; blocks of other occasions are passed over. A page is one session of one reader, with
a new home. Exit code 1 where a block did not do what it should.
"""

from __future__ import annotations

import argparse
import doctest
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conformance.docs.blocks import OCCASIONS, TOP, Step, every_step, plan
from conformance.docs.shell import Reader, Result
from conformance.problem import Problem

_PATIENCE = {"quick": 400.0, "long": 1800.0, "toil": 900.0, "slurm": 900.0, "gridengine": 900.0}
_CHECKER = doctest.OutputChecker()
_CONFIG = """\
registries:
  docker.io: {{mirrors: ["oci:{images}"]}}
"""


class Session:
    """One page on one occasion: its blocks in order, and what went wrong."""

    def __init__(
        self, page: Mapping[str, Any], steps: Sequence[Step], given: argparse.Namespace
    ) -> None:
        self._page = page
        self._steps = steps
        self._given = given
        self._last: Result | None = None
        self.lines: list[str] = []
        self.failed = 0
        self.ran = 0

    def run(self) -> Session:
        """Do all of it, in a place that is removed afterwards."""
        place = Path(tempfile.mkdtemp(prefix="docs-", dir=self._given.scratch))
        config = _CONFIG.format(images=self._given.images)
        known = {"CHECKOUT": str(TOP), "IMAGES": str(self._given.images)}
        reader = Reader(place, config, bool(self._page.get("bare")), known)
        try:
            if self._prepared(reader):
                for step in self._steps:
                    self._do(reader, step)
        finally:
            reader.leave()
        return self

    def _prepared(self, reader: Reader) -> bool:
        for name in self._page.get("scenes", ()):
            result = reader.types(plan()["scenes"][name], 300)
            if result.code:
                self._fail(f"scene {name!r} of {self._steps[0].block.page}", result.text)
                return False
        return True

    def _do(self, reader: Reader, step: Step) -> None:
        if step.kind == "run":
            self._last = None
            if step.value in self._given.occasion:
                self._execute(reader, step)
        elif step.kind == "file":
            path = reader.work / step.value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(reader.located(step.block.text) + "\n", encoding="utf-8")
        elif step.kind == "output" and self._last is not None:
            if not _CHECKER.check_output(
                step.block.text + "\n",
                self._last.text,
                doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
            ):
                self._fail(f"{step.block} is not what was printed", self._last.text)
        elif step.kind == "settings" and "quick" in self._given.occasion:
            self._read_settings(reader, step)

    def _execute(self, reader: Reader, step: Step) -> None:
        started = time.monotonic()
        result = reader.types(
            "\n".join([step.entry.get("before", ""), typed(step), step.entry.get("after", "")]),
            _PATIENCE[step.value],
        )
        self._last = result
        self.ran += 1
        wanted = step.entry.get("status", 0)
        says = step.entry.get("says", "")
        took = time.monotonic() - started
        if result.code != wanted:
            self._fail(f"{step.block} ended with {result.code}, not {wanted}", result.text)
        elif not re.search(says, result.text, re.MULTILINE):
            self._fail(f"{step.block} did not say {says!r}", result.text)
        else:
            self.lines.append(f"{took:6.1f} s  {step.block}")

    def _read_settings(self, reader: Reader, step: Step) -> None:
        path = reader.home / "read.yml"
        path.write_text(reader.located(typed(step)), encoding="utf-8")
        result = reader.types(f"CWL_USERSPACE_CONFIG={path} cwl-userspace images", 60)
        if result.code:
            self._fail(f"{step.block} is no configuration file", result.text)

    def _fail(self, what: str, text: str) -> None:
        self.failed += 1
        self.lines.append(f"FAILED    {what}")
        self.lines += [f"          | {line}" for line in text.splitlines()[-40:]]


def typed(step: Step) -> str:
    """What a reader types for a block: with names of their own, and without what is left out."""
    left_out = tuple(step.entry.get("leave_out", ()))
    kept = [line for line in step.block.text.splitlines() if not line.startswith(left_out or "\0")]
    text = "\n".join(kept)
    for old, new in step.entry.get("replace", {}).items():
        text = text.replace(old, new)
    return text


def sessions(given: argparse.Namespace) -> Iterator[Session]:
    """The pages that have something to do on these occasions."""
    for page, found in every_step():
        wanted = {f"docs/{name}" for name in given.pages} | set(given.pages)
        if given.pages and found and found[0].block.page not in wanted:
            continue
        settings = {"settings"} if "quick" in given.occasion else set()
        if any(step.kind in settings or step.value in given.occasion for step in found):
            yield Session(page, found, given)


def main(argv: Sequence[str] | None = None) -> int:
    """Run them, two pages at a time; print each block with the seconds that it took."""
    parser = argparse.ArgumentParser("conformance.docs.run", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--occasion", action="append", choices=OCCASIONS)
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where homes are made")
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    given = parser.parse_args(argv)
    given.occasion = given.occasion or ["quick"]
    given.images = given.images.absolute()
    try:
        if not (given.images / "index.json").exists():
            raise Problem(f"'{given.images}' is no OCI layout", "make it by conformance.images")
        found = list(sessions(given))
    except Problem as problem:
        problem.report("conformance.docs.run")
        return 1
    failed = ran = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for session in pool.map(Session.run, found):
            print("".join(f"{line}\n" for line in session.lines), end="", flush=True)
            failed += session.failed
            ran += session.ran
    print(json.dumps({"blocks": ran, "pages": len(found), "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
