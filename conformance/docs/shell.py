"""A reader who types what a page says, in a home and at a site of their own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FILES = Path(__file__).with_name("files")
# Names of directories that a site has and a user without rights cannot make: they are made below
# the reader's own place, under these names.
SITE = ("shared", "site", "scratch", "media", "local")
_SITE = re.compile(rf"(?<![\w./~$}}-])/({'|'.join(SITE)})(?=/)")
_PASSED = re.compile(r"(?i)(https?|no)_proxy|PIP_.*|SLURM_CONF|SGE_.*")
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Result(NamedTuple):
    """How a block ended, and all that it printed."""

    code: int
    text: str


class Reader:
    """One page's reader: the home, the directory and the variables go on from block to block."""

    def __init__(self, place: Path, config: str, bare: bool, keep: Mapping[str, str]) -> None:
        self._place = place
        self.home = place / "home"
        self.work = self.home / "work"
        self._state = place / "state"
        for folder in (self.home, place / "tmp", *(place / name / "me" for name in SITE)):
            folder.mkdir(parents=True)
        if bare:
            self.work.mkdir()
        else:
            shutil.copytree(FILES, self.work)
        written = self.home / ".config/cwl-userspace/config.yml"
        written.parent.mkdir(parents=True)
        written.write_text(config, encoding="utf-8")
        self._state.write_text(f"cd {self.work}\n", encoding="utf-8")
        self._environ = {
            **{name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)},
            "HOME": str(self.home),
            "USER": os.environ.get("USER", "me"),
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{_PATH}",
            "TMPDIR": str(place / "tmp"),
            **keep,
        }

    def located(self, text: str) -> str:
        """A text in which the site's directories are those of this reader."""
        return _SITE.sub(lambda found: f"{self._place}/{found[1]}", text)

    def types(self, text: str, patience: float) -> Result:
        """Have a shell execute a block; it ends at the first command that fails."""
        script = (
            f"set -euo pipefail\n. {self._state}\n{self.located(text)}\n"
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {self._state}\n"
        )
        child = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environ,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            text, _ = child.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            text, _ = child.communicate()
            return Result(-1, f"{text}\nnot finished after {patience:.0f} s")
        return Result(child.returncode, text)

    def leave(self) -> None:
        """End what is still running, and remove everything."""
        self.types("cwl-userspace ps -a -q | xargs -r cwl-userspace rm -f || true", 60)
        for parent, names, _ in os.walk(self._place):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(self._place, ignore_errors=True)
