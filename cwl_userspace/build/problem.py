"""What is wrong with an instruction; the builder adds the file and the line."""

from __future__ import annotations


class Problem(Exception):
    """A part of a sentence, ``has no name`` say, and a hint; see errors.DockerfileError."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
