"""Makes docs/benchmarks.rst, its plots and a part of README.rst from the stored results."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.benchmarks import chart, ratios
from conformance.benchmarks.machine import BUSY
from conformance.benchmarks.parts import PARTS
from conformance.benchmarks.tables import STORED, Part, Results, Row, Table, read, spread
from conformance.benchmarks.units import shown
from conformance.docs.rst import list_table

_TOP = Path(__file__).parents[2]
PAGE = _TOP / "docs" / "benchmarks.rst"
README = _TOP / "README.rst"
PLOTS = STORED.parent
_START = ".. The ratios, made by conformance.benchmarks.page from docs/benchmarks; do not edit.\n"
_END = ".. End of the ratios.\n"

_HEAD = """\
Benchmarks
==========

What cwl-userspace costs beside bare programs and beside every peer that was installed, and how that
grows. Made by ``python -m conformance.benchmarks.page`` from ``docs/benchmarks/results.json``: no
figure here was typed. All was measured by one command, as a user without rights; for root it first
installs every peer that Debian has, and anybody else it tells what to ask for::

    bash conformance/bench

All who are compared take turns, so that a drift of the machine meets them all. A ratio is of two
times of the same turn; shown are the median and, in brackets, the least and the most of all turns.
Times depend on the machine, ratios much less::

    bash conformance/bench --check

measures the ones in the README again, in some ten minutes, and ends with an error unless each is
within 15 % of what stands there. Nothing else should run meanwhile; it says if something did.
"""


def plot_name(table: Table) -> str:
    """The file of a table's plot."""
    return "".join(c if c.isalnum() else "-" for c in table.name).replace("--", "-") + ".svg"


def page(results: Results) -> str:
    """The whole page."""
    sections = [_HEAD, _machine(results)]
    for name, known in PARTS.items():
        part = results.parts.get(name)
        sections.append(_heading(known.title, "-") + "\n" + _paragraph(known.about))
        sections += [_how(part), *map(_table, part.tables)] if part else ["Not measured.\n"]
    return "\n".join(sections)


def plots(results: Results) -> dict[Path, str]:
    """The files that the page shows."""
    return {
        PLOTS / plot_name(table): chart.draw(table)
        for part in results.parts.values()
        for table in part.tables
        if _is_drawn(table)
    }


def in_readme(readme: str, results: Results) -> str:
    """The text of README.rst with the ratios of these results between its two comments."""
    before, _, rest = readme.partition(_START)
    _, _, after = rest.partition(_END)
    rows = [["ratio", "median", "least to most"]]
    for ratio, found in ratios.stated(results):
        range_ = f"{found.least:.2f} to {found.most:.2f}"
        rows.append([ratio.sentence, f"{found.median:.2f}", range_])
    text = list_table(rows) if len(rows) > 1 else "Not yet measured on a machine at rest.\n"
    return f"{before}{_START}\n{text}\n{_END}{after}"


def _machine(results: Results) -> str:
    known = dict(results.machine)
    versions = known.pop("versions")
    known["memory"] = shown(known["memory"], "B")
    here = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = ", ".join(name for name, version in versions.items() if not version)
    lines = [f":{name}: {value}" for name, value in known.items()]
    text = f"Programs: {here}." + (f" Not installed: {missing}." if missing else "")
    return "\n".join([_heading("The machine", "-"), *lines, "", _paragraph(text)])


def _how(part: Part) -> str:
    said = f"On {part.date}, commit {part.commit or 'unknown'}, in {shown(part.seconds, 's')}, on a"
    said += (
        f" machine with {part.others:.2f} processors busy with other work (load {part.load:.2f})."
    )
    if part.quick:
        said += " **In haste**: few turns and sizes."
    if part.others > BUSY:
        said += " **The machine was busy**, so these figures are for trying the command only."
    return _paragraph(said)


def _table(table: Table) -> str:
    lines = [_heading(table.title, "~"), _paragraph(table.note)] if table.note else []
    lines = lines or [_heading(table.title, "~")]
    if _is_drawn(table):
        lines.append(f".. image:: benchmarks/{plot_name(table)}\n   :alt: {table.title}\n")
    if table.rows:
        lines.append(list_table(_over(table) if table.axis else _list(table)))
    lines += [
        _paragraph(f"Left out, {name}: {_plain(why)}.") for name, why in table.left_out.items()
    ]
    return "\n".join(lines)


def _list(table: Table) -> list[list[str]]:
    rows = sorted(table.rows, key=lambda row: spread(row.values).median if table.unit else 0)
    noted = any(row.note for row in rows)
    head = ["", "median", *([f"over {table.base}"] if table.base else []), *(["note"] * noted)]
    return [head] + [
        [
            row.name,
            shown(spread(row.values).median, table.unit),
            *([_spread(row)] if table.base else []),
            *([row.note] * noted),
        ]
        for row in rows
    ]


def _over(table: Table) -> list[list[str]]:
    places = sorted({row.at or 0.0 for row in table.rows})
    names = list(dict.fromkeys(row.name for row in table.rows))
    found = {(row.name, row.at): row for row in table.rows}
    unit = "B" if table.axis == "bytes" else ""
    head = [table.axis, *(shown(place, unit) for place in places)]
    return [head] + [
        [
            name,
            *(
                shown(spread(found[name, at].values).median, table.unit) if (name, at) in found
                else "\\-"
                for at in places
            ),
        ]
        for name in names
    ]  # fmt: skip


def _spread(row: Row) -> str:
    if not row.ratios:
        return "\\-"
    found = spread(row.ratios)
    if len(row.ratios) == 1:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"


def _is_drawn(table: Table) -> bool:
    return bool(table.unit and len(table.rows) > 1)


def _heading(text: str, mark: str) -> str:
    return f"{text}\n{mark * len(text)}"


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 99, break_on_hyphens=False, break_long_words=False) + "\n"


def _plain(text: str) -> str:
    """As a literal, so that nothing in it is markup."""
    return f"``{' '.join(text.replace('`', chr(39)).split())}``"


def made(results: Results) -> dict[Path, str]:
    """Every file that is made of the results, with its text."""
    readme = in_readme(README.read_text(encoding="utf-8"), results)
    return {PAGE: page(results), README: readme, **plots(results)}


def stale(results: Results) -> list[Path]:
    """The files that are not as made, and plots that are of nothing."""
    wanted = made(results)
    changed = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    return changed + [path for path in sorted(PLOTS.glob("*.svg")) if path not in wanted]


def renew(results: Results) -> Iterable[Path]:
    """Write, or remove, what is stale; what that was."""
    wanted = made(results)
    for path in stale(results):
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
        yield path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.benchmarks.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only name what is not as made")
    parser.add_argument("--add", type=Path, metavar="FILE", help="first take these results over")
    options = parser.parse_args(argv)
    if options.add:
        read(options.add)
        shutil.copyfile(options.add, STORED)
    results = read(STORED)
    found = stale(results) if options.check else list(renew(results))
    for path in found:
        print(path.relative_to(_TOP))
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
