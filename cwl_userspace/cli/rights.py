"""What reads whole trees is done as a root to whom no mode of our own files means anything."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cwl_userspace import asroot
from cwl_userspace.errors import UserspaceError


def with_rights(work: Callable[[], object]) -> None:
    """Do something that changes nothing of this process: it may be done in a child.

    What it prints is printed, and an error of ours is raised, as if it were done here.
    """

    def attempt() -> list[str]:
        try:
            work()
        except UserspaceError as error:
            return [error.message, error.hint, str(error.exit_code)]
        finally:
            sys.stdout.flush()
        return []

    failure = asroot.reading(attempt)
    if failure:
        message, hint, code = failure
        error = UserspaceError(message, hint)
        error.exit_code = int(code)
        raise error
