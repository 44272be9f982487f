"""Show a launch as a command line that can be copied to a shell."""

from __future__ import annotations

import json
import shlex
import sys

from cwl_userspace.engines.base import Launch


def command_line(launch: Launch) -> str:
    """The engine's exact command: for namespaces the operations themselves, else a program."""
    if launch.namespaces:
        return shlex.join(
            [sys.executable, "-m", "cwl_userspace.nsinit", json.dumps(launch.to_json())]
        )
    lines = [_prepare(operation) for operation in launch.prepare]
    variables = [f"{name}={value}" for name, value in launch.environment.items()]
    lines.append(f"cd {shlex.quote(launch.working_dir)}")
    lines.append(shlex.join(["env", "-i", *variables, *launch.argv]))
    return " &&\n".join(lines)


def _prepare(operation: list[object]) -> str:
    word, *arguments = [str(item) for item in operation]
    if word == "make_directory":
        return shlex.join(["mkdir", "-p", "-m", f"{int(arguments[1]):o}", arguments[0]])
    if word == "make_link":
        return shlex.join(["ln", "-s", "-T", arguments[1], arguments[0]])
    if word == "copy_tree":
        return shlex.join(["cp", "-a", "--reflink=auto", *arguments])
    return f"printf %s {shlex.quote(arguments[1])} > {shlex.quote(arguments[0])}"
