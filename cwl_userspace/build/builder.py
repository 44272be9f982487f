"""Build an image: the stages that are needed, in order, each instruction on the one before."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cwl_userspace.build import stages
from cwl_userspace.build.cache import Cache, Step, key_of
from cwl_userspace.build.copy_step import copy_work
from cwl_userspace.build.dockerfile import Dockerfile, Instruction, parse
from cwl_userspace.build.metadata import CHANGES, Document, Text
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.run_step import run_work
from cwl_userspace.build.running import Runner
from cwl_userspace.build.snapshot import Snapshot
from cwl_userspace.build.sources import Place
from cwl_userspace.build.stage import Arguments, StageState
from cwl_userspace.build.steps import Origin, Tools, Work, working_dir_work
from cwl_userspace.build.worktree import WorkTree
from cwl_userspace.oci import Platform, diff_ids_of
from cwl_userspace.reference import ImageReference
from cwl_userspace.store.images import add_built
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import Store

_WORKS: Mapping[str, Callable[[Tools, StageState, Instruction], Work]] = {
    "RUN": run_work,
    "COPY": copy_work,
    "ADD": copy_work,
    "WORKDIR": working_dir_work,
}


class Options(NamedTuple):
    """What the caller asks of a build."""

    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    names: Sequence[ImageReference]
    target: str
    platform: str
    network_off: bool
    use_cache: bool


class Means(NamedTuple):
    """What a build needs of the world: ``fetch`` gives the image of a name for a platform."""

    store: Store
    private: str
    context: Place
    fetch: Callable[[str, str], Record]
    runner: Callable[[], Runner]
    say: Callable[[str], None]
    offline: bool


class Builder:
    """One build, from the Dockerfile to the image in the store."""

    def __init__(self, dockerfile: Dockerfile, options: Options, means: Means) -> None:
        self._dockerfile = dockerfile
        self._options = options
        self._means = means
        self._cache = Cache(means.store, options.use_cache)
        target = Platform.parse(options.platform) if options.platform else Platform.host()
        self._platform = target
        self._arguments = Arguments(options.arguments, target)
        self._before, self._stages = stages.stages_of(dockerfile)
        self._done: dict[int, StageState] = {}
        self._tools = Tools(
            cache=self._cache,
            private=means.private,
            offline=means.offline,
            context=means.context,
            escape=dockerfile.escape,
            origin=self._origin,
            runner=means.runner,
            network_off=options.network_off,
            proxies=self._arguments.proxies,
        )
        self._step = 0
        self._steps = 0

    def build(self) -> Record:
        """Build the target and file it; raise DockerfileError with the line of what failed."""
        self._cache.prepare()
        values: dict[str, str | None] = {}
        for instruction in self._before:
            known = {**self._arguments.builtin, **_given(values)}
            text = Text(instruction.value, known, self._dockerfile.escape)
            with _At(self._dockerfile, instruction):
                self._arguments.declare(text, values, inherit=False)
        self._arguments.before_from.update(_given(values))
        with _At(self._dockerfile, self._stages[-1].begin):
            wanted = stages.needed(self._stages, self._options.target)
        self._steps = sum(1 + len(stage.instructions) for stage in wanted)
        for stage in wanted:
            self._done[stage.number] = self._build(stage)
        for name in sorted(set(self._options.arguments) - self._arguments.used):
            if name not in self._arguments.proxies:
                self._means.say(f"the build argument {name} was not used")
        return self._file(self._done[wanted[-1].number])

    def _build(self, stage: stages.Stage) -> StageState:
        self._announce(stage.begin)
        with _At(self._dockerfile, stage.begin):
            state = self._begin(stage)
        for text in state.config.pop("OnBuild", None) or ():
            self._means.say(f"--> of the base image: {text}")
            for instruction in parse(str(text).encode(), "ONBUILD").instructions:
                self._do(state, instruction._replace(line=stage.begin.line))
        for instruction in stage.instructions:
            self._announce(instruction)
            self._do(state, instruction)
        return state

    def _begin(self, stage: stages.Stage) -> StageState:
        known = {**self._arguments.builtin, **self._arguments.before_from}
        text = Text("", known, self._dockerfile.escape)
        image, platform = text.expand(stage.image), text.expand(stage.platform)
        private = os.path.join(self._means.private, f"stage-{stage.number}")
        earlier = stages.named(self._stages[: stage.number], image)
        if earlier is not None:
            base = self._done[earlier.number]
            document, below = base.finished(), base.tree.diff_ids
        elif image == "scratch":
            document, below = self._scratch(platform), []
        else:
            if not image:
                raise Problem(f"{stage.image} is empty", "give the variable a default with ARG")
            record = self._means.fetch(image, platform or self._options.platform)
            document = record.document
            below = list(diff_ids_of(json.dumps(document).encode(), image))
        tree = WorkTree(self._means.store, self._cache, private, below)
        return StageState(document, tree)

    def _scratch(self, platform: str) -> Document:
        wanted = Platform.parse(platform) if platform else self._platform
        document: Document = {"architecture": wanted.architecture, "os": wanted.os}
        return {**document, "variant": wanted.variant} if wanted.variant else document

    def _announce(self, instruction: Instruction) -> None:
        self._step += 1
        self._means.say(f"STEP {self._step}/{self._steps}: {instruction}")

    def _do(self, state: StageState, instruction: Instruction) -> None:
        keyword = instruction.keyword
        with _At(self._dockerfile, instruction):
            text = state.text(instruction.value, self._dockerfile.escape)
            if keyword == "ARG":
                self._arguments.declare(text, state.arguments, inherit=True)
                state.note(instruction, empty=True)
            elif keyword in CHANGES:
                CHANGES[keyword](state.document, text)
                if keyword == "ENTRYPOINT" and not state.has_cmd:
                    state.config.pop("Cmd", None)  # the base image's was for another program
                state.has_cmd = state.has_cmd or keyword == "CMD"
                state.note(instruction, empty=True)
            else:
                work = _WORKS[keyword](self._tools, state, instruction)
                self._take(state, instruction, work)

    def _take(self, state: StageState, instruction: Instruction, work: Work) -> None:
        """Take a layer from the cache, or make it."""
        key = key_of(str(state.tree.chain), instruction.keyword, *work.facts)
        step = self._cache.find(key)
        applied = False
        if step is None:
            built = os.path.join(self._means.private, f"layer-{os.urandom(6).hex()}")
            layer = work.make(built)
            applied = work.in_tree
            step = Step(layer, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            self._cache.keep(key, step, built)
        else:
            self._means.say("--> done before: taken from the cache")
        state.tree.add(step.layer, applied)
        state.created = step.created
        state.note(instruction, empty=step.layer is None)

    def _origin(self, name: str) -> Origin:
        """What ``--from`` means: an earlier stage by name or number, else an image."""
        found = stages.find(self._stages, name)
        if found is not None:
            state = self._done.get(found.number)
            if state is None:
                raise Problem(f"takes from the stage {name!r}, which comes later", "swap them")
            return Origin(str(state.tree.chain), state.tree.rootfs)
        record = self._means.fetch(name, self._options.platform)
        return Origin(str(record.chain), lambda: self._means.store.tree(record.chain))

    def _file(self, state: StageState) -> Record:
        """Publish the tree, and write the image's configuration with its names."""
        if self._options.labels:
            state.config.setdefault("Labels", {}).update(self._options.labels)
        config = json.dumps(state.finished()).encode()

        def built() -> tuple[str, dict[str, Any]]:
            return state.tree.finished(), _facts(state.tree.rootfs())

        return add_built(self._means.store, config, state.tree.diff_ids, built, self._options.names)


class _At:
    """Turns a Problem into a DockerfileError with the file, the line and the instruction."""

    def __init__(self, dockerfile: Dockerfile, instruction: Instruction) -> None:
        self._dockerfile = dockerfile
        self._instruction = instruction

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Problem):
            text = str(self._instruction)
            what = text if len(text) <= 60 else f"{text[:57]}..."
            message = f"{what!r} {error.message}"
            raise self._dockerfile.error(self._instruction.line, message, error.hint) from None


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _facts(rootfs: str) -> dict[str, Any]:
    """How many files a finished tree has, and of how many bytes."""
    whole = Snapshot(rootfs)
    whole.take()
    whole.close()
    sizes = [seen.size for seen in whole.files.values() if stat.S_ISREG(seen.mode)]
    return {"files": len(sizes), "bytes": sum(sizes)}
