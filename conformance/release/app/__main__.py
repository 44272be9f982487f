"""What Python executes of the single file. Any Python 3 can read this; an old one hands over."""
# ruff: noqa: UP031, UP036

import os
import sys

if sys.version_info < (3, 10):
    for minor in range(14, 9, -1):
        name = "python3.%d" % minor
        try:
            os.execvp(name, [name] + sys.argv)
        except OSError:
            pass
    sys.stderr.write(
        "cwl-userspace: Python 3.10 or newer is needed, this is %d.%d, and PATH has no newer one\n"
        % sys.version_info[:2]
    )
    sys.exit(125)

import cwl_userspace_file

cwl_userspace_file.use()

from cwl_userspace.cli import entry  # noqa: E402

entry()
