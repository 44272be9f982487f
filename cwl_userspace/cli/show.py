"""Show a launch as a command line that can be copied to a shell."""

from __future__ import annotations

import json
import shlex
import sys

from cwl_userspace.engines.base import Launch


def command_line(launch: Launch, private: str) -> str:
    """What ``python -m cwl_userspace.replay`` takes: what is done before, then the exact command.

    Its first word is the launch as JSON, without the command, and its second the run's directory.
    """
    facts = {name: value for name, value in launch.to_json().items() if name != "argv"}
    own = [sys.executable, "-m", "cwl_userspace.replay"]
    return shlex.join([*own, json.dumps(facts), private, *launch.argv])
