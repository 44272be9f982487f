"""The one error that these programs raise for their user: a sentence and a hint."""

from __future__ import annotations

import sys


class Problem(Exception):
    """Something the user can act upon; anything else is a bug and shows its traceback."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def report(self, program: str) -> None:
        print(f"{program}: error: {self}", file=sys.stderr)
        if self.hint:
            print(f"{program}: hint: {self.hint}", file=sys.stderr)
