"""What the instructions that change files have in common: each becomes a layer, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cwl_userspace.build.cache import Cache
from cwl_userspace.build.copying import Copying
from cwl_userspace.build.dockerfile import Instruction
from cwl_userspace.build.layer import LayerFile
from cwl_userspace.build.metadata import working_dir
from cwl_userspace.build.running import Runner
from cwl_userspace.build.sources import Place
from cwl_userspace.build.stage import StageState
from cwl_userspace.digest import Digest


class Origin(NamedTuple):
    """A stage or an image that files are taken from: what a step's key says of it, and its tree."""

    key: str
    rootfs: Callable[[], str]


class Tools(NamedTuple):
    """What a build gives its steps. ``private`` is a directory for this build alone."""

    cache: Cache
    private: str
    offline: bool
    context: Place
    escape: str
    origin: Callable[[str], Origin]
    runner: Callable[[], Runner]
    network_off: bool
    proxies: Mapping[str, str]


class Work(NamedTuple):
    """What is to be done, if it was not done before.

    ``facts`` are all that the result depends on beside the tree below. ``make`` writes the layer
    to a file; ``in_tree`` says that the stage's tree has the changes by then.
    """

    facts: Sequence[Any]
    make: Callable[[str], Digest | None]
    in_tree: bool


def working_dir_work(tools: Tools, state: StageState, instruction: Instruction) -> Work:
    """WORKDIR makes the directory, if it is not there."""
    place = working_dir(state.document, state.text(instruction.value, tools.escape))

    def make(built: str) -> Digest | None:
        layer = LayerFile(built)
        Copying(layer.writer, state.tree.rootfs(), None).make_directory(place)
        return layer.close()

    return Work([place], make, in_tree=False)
