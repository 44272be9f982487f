"""The literal blocks of the documentation's pages, and what is to be done with each.

``blocks.yml`` has an entry for every block, found by the page and the first words of the block.
A block without an entry is an error, and so is an entry without a block: what a page tells its
reader to type is run here, or the reason why not is written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from ruamel.yaml import YAML

from conformance.docs.plain import document
from conformance.problem import Problem

TOP = Path(__file__).parents[2]
PLAN = Path(__file__).with_name("blocks.yml")
# What an entry does with its block; it has exactly one of these.
KINDS = {
    "run": "a shell executes it: quick, long, toil, slurm or gridengine says on which occasion",
    "file": "it is written to the file of that name, for the blocks that follow",
    "output": "what the block before it prints, with ... for what differs from run to run",
    "settings": "a configuration file, which our own parser must take",
    "text": "nothing to execute; the value says what it is",
    "elsewhere": "commands that a program of ours runs, which CI or tox starts",
    "not_run": "commands that are run nowhere, for the reason given",
}
OCCASIONS = ("quick", "long", "toil", "slurm", "gridengine")
_ALSO = {"begins", "says", "replace", "leave_out", "before", "after", "status"}


class Block(NamedTuple):
    """A literal block: where it stands and what it says."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]!r}"


class Step(NamedTuple):
    """A block with its entry."""

    block: Block
    kind: str
    value: str
    entry: Mapping[str, Any]


def pages() -> list[Path]:
    """The pages whose every block is accounted for."""
    return [TOP / "README.rst", *sorted((TOP / "docs").glob("*.rst"))]


def blocks(page: Path) -> list[Block]:
    """The literal blocks of a page, in their order."""
    tree, said = document(page)
    if said:
        raise Problem(f"{page.name} cannot be read: {said}")
    lines = [line.strip() for line in page.read_text("utf-8").splitlines()]
    found: list[Block] = []
    after = 0
    for node in tree.findall(nodes.literal_block):
        text = node.astext()
        # docutils gives some blocks the number of their last line, and others none.
        after = lines.index(text.splitlines()[0].strip(), after) + 1
        found.append(Block(str(page.relative_to(TOP)), after, text))
    return found


def plan() -> dict[str, Any]:
    """What ``blocks.yml`` says."""
    with open(PLAN, encoding="utf-8") as file:
        read: dict[str, Any] = YAML(typ="safe").load(file)
    return read


def steps(page: Path, entries: list[dict[str, Any]]) -> list[Step]:
    """The blocks of a page with their entries; raise Problem for one without the other."""
    found = []
    left = list(entries)
    for block in blocks(page):
        entry = next((one for one in left if block.text.startswith(one["begins"])), None)
        if entry is None:
            raise Problem(
                f"{block} is not accounted for",
                f"give it an entry in {PLAN.relative_to(TOP)}, one of: {', '.join(KINDS)}",
            )
        left.remove(entry)
        found.append(_step(block, entry))
    for entry in left:
        raise Problem(f"{page.name} has no block that begins with {entry['begins']!r}")
    return found


def _step(block: Block, entry: Mapping[str, Any]) -> Step:
    kinds = [kind for kind in KINDS if kind in entry]
    unknown = set(entry) - set(KINDS) - _ALSO
    if len(kinds) != 1 or unknown:
        raise Problem(f"{block} needs one of {', '.join(KINDS)}; its entry has {sorted(entry)}")
    step = Step(block, kinds[0], str(entry[kinds[0]]), entry)
    if step.kind == "run" and step.value not in OCCASIONS:
        raise Problem(f"{block} is run {step.value!r}; expected one of {', '.join(OCCASIONS)}")
    if step.kind == "elsewhere" and not _runs(step.value):
        raise Problem(f"{block}: {step.value} is not there, or nothing runs it")
    for line in entry.get("leave_out", ()):
        if line not in block.text:
            raise Problem(f"{block} has no line that begins with {line!r} to be left out")
    for text in entry.get("replace", ()):
        if text not in block.text:
            raise Problem(f"{block} has no {text!r} to be replaced")
    return step


def _runs(name: str) -> bool:
    """Whether a program of ours is there and one of those that are started by CI or by tox."""
    starters = [(TOP / place).read_text("utf-8") for place in (".ci/run", "tox.ini")]
    spelled = (name, name.replace("/", "."))
    known = name.startswith("tests/") or name == ".ci/run"
    known = known or any(one in text for one in spelled for text in starters)
    return known and (TOP / name).exists()


def every_step() -> Iterator[tuple[Mapping[str, Any], list[Step]]]:
    """Each page's entry and its steps; raise Problem where plan and pages do not agree."""
    known = plan()["pages"]
    there = pages()
    for name in set(known) - {str(page.relative_to(TOP)) for page in there}:
        raise Problem(f"{PLAN.relative_to(TOP)} speaks of {name}, which is not there")
    for page in there:
        entry = known.get(str(page.relative_to(TOP)), {})
        if "whole" not in entry:
            yield entry, steps(page, entry.get("blocks", []))
