"""RUN: a command in the stage's tree; what it has changed there is its layer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from cwl_userspace.build import metadata
from cwl_userspace.build.dockerfile import Instruction, is_heredoc
from cwl_userspace.build.layer import record
from cwl_userspace.build.mounts import Mounts, Wanted
from cwl_userspace.build.mounts import parse as parse_mount
from cwl_userspace.build.patterns import Ignored
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.running import Command, Runner
from cwl_userspace.build.snapshot import Snapshot, snapshot
from cwl_userspace.build.sources import digest
from cwl_userspace.build.stage import StageState
from cwl_userspace.build.steps import Tools, Work
from cwl_userspace.build.stubs import Stubs
from cwl_userspace.digest import Digest
from cwl_userspace.spec import Mount

_FLAGS = {"mount": True, "network": True, "security": True}
_NETWORKS = ("default", "host", "none")
# Where BuildKit shows a here-document that begins with #!.
_SCRIPTS = "/dev/pipes"


def run_work(tools: Tools, state: StageState, instruction: Instruction) -> Work:
    """Run a command as the image's user, root if it names none; raise Problem if it fails."""
    given, rest = metadata.flags(instruction.value, _FLAGS)
    text = state.text(rest, tools.escape)
    wanted = [parse_mount(text.expand(value)) for value in given.get("mount", ())]
    network_off = _network_off(given) or tools.network_off
    argv, script = _command(rest, instruction, state.document)
    mounts = Mounts(
        tools.private,
        lambda name: tools.origin(name).rootfs() if name else os.fsdecode(tools.context.path),
        tools.cache.directory,
    )
    facts = [
        argv,
        script,
        {name: state.config.get(name) for name in ("Env", "User", "WorkingDir")},
        state.declared(),
        [[*one, _mount_key(tools, one)] for one in wanted],
        network_off,
    ]

    def make(built: str) -> Digest | None:
        asked = [mounts.make(one, state.working_dir) for one in wanted]
        if script:
            asked.append(_script_mount(tools.private, argv[0], script))
        arguments = {**tools.proxies, **state.declared()}
        command = Command(argv, arguments, asked, network_off)
        return _run(tools.runner(), command, state, built)

    return Work(facts, make, in_tree=True)


def _run(runner: Runner, command: Command, state: StageState, built: str) -> Digest | None:
    rootfs = state.tree.rootfs()
    spec = runner.spec(command, state.config, rootfs)
    before = snapshot(rootfs)
    places = [path for path, _ in spec.files] + [mount.target for mount in spec.mounts]
    stubs = Stubs(before, [*places, spec.working_dir])
    code = runner.run(spec)
    if code:
        raise Problem(f"ended with the exit code {code}", "what it printed is above")
    after = Snapshot(rootfs)
    after.take()
    stubs.strip(after)
    layer = record(before, after, built)
    after.close()
    return layer


def _network_off(given: Mapping[str, Sequence[str]]) -> bool:
    network = given.get("network", ["default"])[-1]
    if network not in _NETWORKS:
        raise Problem(f"has --network={network}", f"expected {', '.join(_NETWORKS)}")
    if given.get("security", ["sandbox"])[-1] != "sandbox":
        raise Problem("has --security=insecure, which is not supported", "leave the flag out")
    return network == "none"


def _command(
    rest: str, instruction: Instruction, document: metadata.Document
) -> tuple[list[str], str]:
    """The words to execute, and the text of the script that the first of them is, if it is one.

    A document alone is the command; one that begins with ``#!`` is executed itself. Documents
    beside other words are the shell's to read.
    """
    if not instruction.heredocs:
        return metadata.command_line(rest, document), ""
    first = instruction.heredocs[0]
    if is_heredoc(rest):
        if first.raw.startswith("#!"):
            return [f"{_SCRIPTS}/{first.name}"], first.text
        return metadata.command_line(first.text, document), ""
    documents = "".join(f"\n{one.raw}{one.name}" for one in instruction.heredocs)
    return metadata.command_line(rest + documents, document), ""


def _script_mount(private: str, place: str, text: str) -> Mount:
    directory = os.path.join(private, f"script-{os.urandom(6).hex()}")
    os.mkdir(directory, 0o755)
    path = os.path.join(directory, os.path.basename(place))
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return Mount(directory, os.path.dirname(place), read_only=True)


def _mount_key(tools: Tools, wanted: Wanted) -> str:
    """What a step's key says of a bind mount: the stage's layers, or the files of the context."""
    if wanted.kind != "bind":
        return ""
    if wanted.settings.get("from"):
        return tools.origin(wanted.settings["from"]).key
    return digest(tools.context.find(wanted.settings.get("source", "/"), Ignored(())))
