"""Executables named ``singularity`` and ``apptainer``, which ``cwl-userspace shim`` makes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.containers import PATIENCE, Home, Ran, Word

FAILED = 255


class Singularity:
    """Both executables in a directory of their own, with a home and an engine to run with."""

    def __init__(self, home: Home, place: Path, engine: str = "auto") -> None:
        self.place = place
        self.home = home
        self.environment = {**home.environment, "CWL_USERSPACE_ENGINE": engine}
        made = home.call("shim", "singularity", "apptainer", "--dir", place)
        assert (made.code, made.err) == (0, b""), made

    def __call__(
        self,
        *words: Word,
        cwd: Path,
        stdin: bytes = b"",
        name: str = "singularity",
        environment: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run one command line to its end, with ``more`` variables, or with these alone."""
        base = self.environment if environment is None else environment
        done = subprocess.run(
            [self.place / name, *words],
            env={**base, **(more or {})},
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout, done.stderr)
