"""``python -m cwl_userspace.replay LAUNCH DIRECTORY N WORDS...``, as ``--print-command`` shows it.

LAUNCH is a launch as JSON, without its commands: the first N words are the engine's, the others
those of the program that a shim starts. The directory is the run's own, and removed afterwards.
"""

from __future__ import annotations

import json
import os
import sys

from cwl_userspace import process
from cwl_userspace.engines.base import Launch
from cwl_userspace.errors import UserspaceError
from cwl_userspace.private import remove_private_directory


def main() -> int:
    """Run a launch and return the program's exit code."""
    _, text, private, count, *words = sys.argv
    facts = json.loads(text)
    if facts["script"]:
        facts["script"]["argv"] = words[int(count) :]
    launch = Launch(argv=words[: int(count)], **facts)
    try:
        return process.run(launch)
    except UserspaceError as error:
        os.write(2, f"cwl-userspace: {error}\n".encode("utf-8", "surrogateescape"))
        return error.exit_code
    finally:
        remove_private_directory(private)


if __name__ == "__main__":
    raise SystemExit(main())
