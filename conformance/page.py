"""Makes the matrix from stored results: docs/conformance.rst, a part of README.rst, and badges."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance import badges
from conformance.docs.rst import simple_table
from conformance.doors import DOORS, ENGINES, NO_ENGINE, Door
from conformance.results import STORED, Result, stored
from conformance.results import write as keep
from conformance.sources import HOMES

_TOP = Path(__file__).parent.parent
PAGE = _TOP / "docs" / "conformance.rst"
README = _TOP / "README.rst"
BADGES = _TOP / "docs" / "badges"

_START = ".. The matrix, made by conformance.page from conformance/results; do not edit.\n"
_END = ".. End of the matrix.\n"

_HEAD = """\
Conformance
===========

What the CWL conformance suites say of cwl-userspace, through each door and with each engine, as a
user without rights: how many of the tests passed, and the seconds that one took on average, from
the start of the CWL runner to its end. Made by ``python -m conformance.page`` from the results in
``conformance/results``; ``conformance/README.rst`` says how they are got.

"""

_KEY = """\
**not run** is just that. **containers** are the tests that ask for a container, without the rest
of the suite. *Busy*: the host had so much other work that the seconds say little. A *baseline* is
a runner without cwl-userspace, to compare with: it is not judged.
*Loopback*: without internet, ``networkaccess`` opened a server on the loopback interface of the
host in place of a public one, and where a door can say that the network is to be off,
``networkaccess_disabled`` tried that one, too. The images are stand-ins from Debian's packages.
"""


def table(results: Iterable[Result]) -> str:
    """Rows of doors and engines by columns of suites, as a simple table."""
    known = list(results)
    rows = [["door", "engine", *(f"CWL {suite}" for suite in HOMES)]]
    for door in DOORS.values():
        for engine in _engines(door, known):
            name = f"{door.name} (baseline)" if door.baseline else door.name
            cells = [_cell(known, suite, door.name, engine) for suite in HOMES]
            rows.append([name, engine, *cells])
    return simple_table(rows)


def page(results: Iterable[Result]) -> str:
    """The whole page."""
    known = list(results)
    parts = [_HEAD.rstrip(), table(known).rstrip(), _KEY.rstrip()]
    parts += ["Failures\n--------", *_failures(known)]
    parts += ["Runs\n----", *(_run(one) for one in known)] if known else []
    return "\n\n".join(parts) + "\n"


def in_readme(readme: str, results: Iterable[Result]) -> str:
    """The text of README.rst with the matrix of these results between its two comments."""
    before, _, rest = readme.partition(_START)
    _, _, after = rest.partition(_END)
    known = list(results)
    pictures = "".join(
        f".. image:: docs/badges/cwl-{suite}.svg\n   :alt: {_alt(suite, known)}\n"
        for suite in HOMES
    )
    return f"{before}{_START}\n{pictures}\n{table(known)}\n{_END}{after}"


def write(results: Sequence[Result], target: Path) -> None:
    target.write_text(page(results), encoding="utf-8")


def _engines(door: Door, known: Iterable[Result]) -> tuple[str, ...]:
    if door.baseline:
        return (NO_ENGINE,)
    # `auto` is one of the others: it has a row where it has been run.
    ran = {one.engine for one in known if one.door == door.name}
    return tuple(engine for engine in ENGINES if engine != "auto" or engine in ran)


def _cell(known: Iterable[Result], suite: str, door: str, engine: str) -> str:
    found = {
        one.only: one for one in known if (one.suite, one.door, one.engine) == (suite, door, engine)
    }
    for only, what in (("all", ""), ("containers", "containers: ")):
        if only in found:
            one = found[only]
            expected = f", {len(one.expected)} expected to fail" if one.expected else ""
            seconds = f"{one.seconds_per_test:.1f} s{' (busy)' if one.busy else ''}"
            return f"{what}{one.passed} of {one.selected}{expected}, {seconds}"
    return "not run"


def _alt(suite: str, known: Iterable[Result]) -> str:
    return badges.of_suite(suite, known).partition("<title>")[2].partition("</title>")[0]


def _failures(known: Iterable[Result]) -> list[str]:
    told: dict[str, list[str]] = {}
    for one in known:
        cell = " ".join(filter(None, (one.suite, one.door, one.engine)))
        for failure in one.expected:
            text = f"``{failure['test']}``: {failure['reason']} ({failure['link']})"
            told.setdefault(text, []).append(cell)
        for failure in one.failed:
            text = f"``{failure['test']}`` failed: ``{_literal(failure['why'])}``"
            told.setdefault(text, []).append(cell)
        for name in one.unexpectedly_passed:
            told.setdefault(f"``{name}`` passed, which was not expected", []).append(cell)
    return [
        _item(f"{text}; in {', '.join(dict.fromkeys(cells))}") for text, cells in told.items()
    ] or ["None in the runs below."]


def _literal(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _run(one: Result) -> str:
    what = "the whole suite" if one.only == "all" else "its container tests"
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    seen = ", ".join(f"{count} under {engine}" for engine, count in one.seen.items())
    vacuous = ", ".join(f"``{name}``" for name in one.vacuous)
    sentences = [
        f"{one.suite}, {one.door}, {one.engine}, {what}, on {one.date}: {one.passed} of"
        f" {one.selected} passed, of the container tests {one.containers_passed} of"
        f" {one.containers_selected}, {one.jobs} at once, at a load of {one.load:.0f} on"
        f" {one.cores} processors.",
        f"Processes seen: {seen or 'none'}.",
        f"Loopback: {', '.join(f'``{name}``' for name in one.loopback)}." if one.loopback else "",
        f"Passes without internet whatever the engine does: {vacuous}." if vacuous else "",
        f"Versions: {versions}.",
    ]
    return _item(" ".join(filter(None, sentences)))


def _item(text: str) -> str:
    return textwrap.fill(
        f"* {text}", 99, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def _made(known: Sequence[Result]) -> dict[Path, str]:
    made = {PAGE: page(known), README: in_readme(README.read_text(encoding="utf-8"), known)}
    return made | {BADGES / f"cwl-{suite}.svg": badges.of_suite(suite, known) for suite in HOMES}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only name what is not as made")
    parser.add_argument("--add", type=Path, metavar="DIR", help="first take these results over")
    options = parser.parse_args(argv)
    for result in stored(options.add) if options.add else []:
        if result.only in ("all", "containers"):
            keep(result, STORED / f"{result.name}.json")
    made = _made(stored())
    stale = [
        path
        for path, text in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(path.relative_to(_TOP))
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
