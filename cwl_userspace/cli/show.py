"""Show a launch as a command line that can be copied to a shell."""

from __future__ import annotations

import json
import shlex
import sys

from cwl_userspace.cli.itself import find_package
from cwl_userspace.engines.base import Launch


def command_line(launch: Launch, private: str) -> str:
    """What ``python -m cwl_userspace.replay`` takes: what is done before, then the exact command.

    Its first word is the launch as JSON, without the commands, its second the run's directory, its
    third how many words the engine's own command has, which is followed by the program's where
    that is started by a shim.
    """
    facts = {name: value for name, value in launch.to_json().items() if name != "argv"}
    argv = launch.script.get("argv", [])
    facts["script"] = {**launch.script, "argv": []} if launch.script else {}
    found = find_package()
    start = ["-c", f"{found}from cwl_userspace.replay import main; sys.exit(main())"]
    own = [sys.executable, *(start if found else ["-m", "cwl_userspace.replay"])]
    return shlex.join(
        [*own, json.dumps(facts), private, str(len(launch.argv)), *launch.argv, *argv]
    )
