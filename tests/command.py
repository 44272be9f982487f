"""The program as a user runs it, with a store and a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.images import NAME
from tests.trees import Snapshot, snapshot

Result = subprocess.CompletedProcess[bytes]


class Command:
    """``cwl-userspace`` with everything that it keeps below one directory."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.store = top / "store"
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("CWL_USERSPACE", "XDG_"))},
            "HOME": str(top / "home"),
            "CWL_USERSPACE_HOME": str(self.store),
            **{
                f"XDG_{kind}_HOME": str(top / kind.lower()) for kind in ("CACHE", "CONFIG", "STATE")
            },
        }
        (top / "home").mkdir(exist_ok=True)

    def words(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "cwl_userspace", *map(str, words)]

    def __call__(
        self, *words: str | Path, stdin: bytes = b"", timeout: float = 50, **environ: str
    ) -> Result:
        return subprocess.run(
            self.words(*words),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**self.environ, **environ},
            check=False,
        )

    def start(self, *words: str | Path, **environ: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.words(*words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environ, **environ},
        )

    def load(self, source: Path | bytes) -> Result:
        """Load an image from a path, or from standard input."""
        if isinstance(source, bytes):
            return self("load", stdin=source)
        return self("load", "-i", source)

    def path(self, name: str = NAME) -> Path:
        """Where the tree of an image is; the image must be there."""
        result = self("inspect", "-p", name)
        assert result.returncode == 0, result
        return Path(os.fsdecode(result.stdout.rstrip(b"\n")))

    def tree(self, name: str = NAME) -> Snapshot:
        return snapshot(self.path(name))

    def accepts(self, source: Path | bytes, name: str = NAME) -> Snapshot:
        """Load an image without complaint; what its tree is."""
        result = self.load(source)
        assert (result.returncode, result.stderr) == (0, b""), result
        self.assert_no_litter()
        return self.tree(name)

    def refuses(self, source: Path | bytes, name: str = NAME) -> str:
        """Try to load an image that is refused cleanly; what is said of it."""
        said = self.assert_refused(self.load(source))
        assert self("inspect", "-p", name).returncode != 0
        return said

    def assert_refused(self, result: Result) -> str:
        """Assert that one sentence was said and that nothing at all was kept."""
        assert 1 <= result.returncode <= 125, result
        assert result.stdout == b"", result
        assert result.stderr.startswith(b"cwl-userspace: "), result
        assert result.stderr.count(b"\n") == 1 and result.stderr.endswith(b"\n"), result
        assert b"Traceback" not in result.stderr
        assert result.stderr.rstrip(b"\n").decode().isprintable(), result
        assert self.listing("names") == self.listing("images") == []
        self.assert_no_litter()
        self.assert_no_trees()
        return result.stderr.decode()

    def assert_no_litter(self) -> None:
        assert self.listing("tmp") == []

    def assert_no_trees(self) -> None:
        assert self.listing("trees") == []

    def listing(self, name: str) -> list[str]:
        try:
            return sorted(os.listdir(self.store / name))
        except FileNotFoundError:
            return []
