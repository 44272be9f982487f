"""Which stages a Dockerfile has, and which of them a target needs."""

from __future__ import annotations

import re
from typing import NamedTuple

from cwl_userspace.build.dockerfile import Dockerfile, Instruction
from cwl_userspace.build.problem import Problem

_FROM_FLAG = re.compile(r"--from=(\S+)")
_MOUNT_FROM = re.compile(r"--mount=\S*?\bfrom=([^,\s]+)")
_FROM = re.compile(
    r"(?:--platform=(?P<platform>\S+)\s+)?(?P<image>\S+)(?:\s+as\s+(?P<name>\S+))?$", re.IGNORECASE
)
_NAME = re.compile(r"[a-z][a-z0-9._-]*$")


class Stage(NamedTuple):
    """One FROM and what follows it; ``image`` and ``platform`` are not expanded."""

    number: int
    name: str
    image: str
    platform: str
    begin: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def sources(self) -> list[str]:
        """The stages or images that its instructions copy from or mount."""
        found = []
        for instruction in self.instructions:
            value = instruction.value
            if instruction.keyword in ("COPY", "ADD"):
                found += _FROM_FLAG.findall(value)
            elif instruction.keyword == "RUN":
                found += _MOUNT_FROM.findall(value)
        return found


def stages_of(dockerfile: Dockerfile) -> tuple[list[Instruction], list[Stage]]:
    """The ARGs before the first FROM, and the stages; raise DockerfileError."""
    before: list[Instruction] = []
    stages: list[Stage] = []
    for instruction in dockerfile.instructions:
        if instruction.keyword == "FROM":
            stages.append(_stage(dockerfile, len(stages), instruction))
        elif stages:
            last = stages[-1]
            stages[-1] = last._replace(instructions=(*last.instructions, instruction))
        elif instruction.keyword == "ARG":
            before.append(instruction)
        else:
            message = f"{instruction.keyword} comes before FROM"
            raise dockerfile.error(instruction.line, message, "only ARG may")
    if not stages:
        raise dockerfile.error(1, "there is no FROM", "name a base image, or scratch")
    return before, stages


def _stage(dockerfile: Dockerfile, number: int, begin: Instruction) -> Stage:
    match = _FROM.match(begin.value)
    if match is None:
        raise dockerfile.error(
            begin.line, f"FROM {begin.value} has no meaning", "expected FROM IMAGE [AS NAME]"
        )
    name = (match["name"] or "").lower()
    if name and not _NAME.match(name):
        raise dockerfile.error(
            begin.line, f"no stage can have the name {name!r}", "expected letters and digits"
        )
    return Stage(number, name, match["image"], match["platform"] or "", begin, ())


def named(stages: list[Stage], text: str) -> Stage | None:
    """The stage of a name, the last of several; None if there is none."""
    found = [stage for stage in stages if stage.name and stage.name == text.lower()]
    return found[-1] if found else None


def find(stages: list[Stage], text: str) -> Stage | None:
    """The stage of a name or number; None if there is none."""
    if text.isdigit() and int(text) < len(stages):
        return named(stages, text) or stages[int(text)]
    return named(stages, text)


def needed(stages: list[Stage], target: str) -> list[Stage]:
    """The target and all stages that it is made of, in order; the last one without a target.

    Raise Problem for a target that is no stage.
    """
    last = find(stages, target) if target else stages[-1]
    if last is None:
        names = ", ".join(stage.name for stage in stages if stage.name) or "none has a name"
        raise Problem(f"no stage {target!r}", f"stages: {names}")
    wanted: dict[int, Stage] = {}
    waiting = [last]
    while waiting:
        stage = waiting.pop()
        if stage.number not in wanted:
            wanted[stage.number] = stage
            earlier = stages[: stage.number]
            found = [named(earlier, stage.image)]
            found += [find(earlier, source) for source in stage.sources]
            waiting += [s for s in found if s is not None]
    return [wanted[number] for number in sorted(wanted)]
