"""What the lowest layers of a tree held alone, and where all of it is now.

The record of a tree (image/contents.py) tells its making from the beginning. As it was when so
many layers were made, most of it is in the tree still; the rest is among what was replaced since
(image/replaced.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cwl_userspace.image.contents import (
    VERSION,
    Journal,
    Node,
    Replay,
    damaged,
    removal,
    steps,
)


class Lower(NamedTuple):
    """A tree of the lowest layers.

    ``root`` is what it held, and ``record`` its record. ``kept`` and ``there`` say where each file
    and link is, by the ``id`` of its node: below the directory of what was replaced, or else of
    the tree.
    """

    root: Node
    record: bytes
    kept: dict[int, bytes]
    there: dict[int, bytes]


def lower(packed: bytes, what: str, layers: int, of: int) -> Lower | None:
    """The lowest ``layers`` of a tree ``of`` so many, by its record.

    None where that does not say which layer did what; raise StoreError if it is damaged.
    """
    replay, journal = Replay(), Journal()
    root = None
    kept: dict[int, bytes] = {}
    layer, removals = -1, 0
    with damaged(what):
        for step in steps(packed, what):
            if step[0] == VERSION:
                layer, removals = layer + 1, 0
                if layer == layers:
                    root = _as_it_is(replay.root)
            if layer < layers:
                journal.repeat(step)
            removed = replay.take(step)
            if step[0][:1] == b"-":
                removals += 1
                if removed is not None and layer >= layers:
                    _locate(removed, removal(layer, removals).encode(), kept)
    if layer + 1 != of:
        return None
    there: dict[int, bytes] = {}
    for name, node in replay.root.children.items():
        _locate(node, name, there)
    return Lower(replay.root if root is None else root, journal.packed(), kept, there)


def walk(root: Node, name: bytes = b"") -> Iterator[tuple[bytes, Node]]:
    """What is below a directory that has a name, each with its path; directories come first."""
    waiting = [(name, root)]
    while waiting:
        above, node = waiting.pop()
        for one, inner in node.children.items():
            path = b"%b/%b" % (above, one) if above else one
            yield path, inner
            if inner.kind == b"D":
                waiting.append((path, inner))


def _locate(node: Node, name: bytes, places: dict[int, bytes]) -> None:
    """Note where a file is, or all that are in a directory."""
    if node.kind != b"D":
        places[id(node)] = name
        return
    for path, inner in walk(node, name):
        if inner.kind != b"D":
            places[id(inner)] = path


def _as_it_is(root: Node) -> Node:
    """The directories as they are now, with the same files and links in them."""
    copy = _bare(root)
    waiting = [(root, copy)]
    while waiting:
        node, to = waiting.pop()
        for name, inner in node.children.items():
            if inner.kind == b"D":
                to.children[name] = _bare(inner)
                waiting.append((inner, to.children[name]))
            else:
                to.children[name] = inner
    return copy


def _bare(directory: Node) -> Node:
    bare = Node(b"D", directory.mode, directory.mtime)
    bare.nanoseconds = directory.nanoseconds
    return bare
