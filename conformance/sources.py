"""Where the conformance suites come from: their public homes, or a folder of this host."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from conformance.problem import Problem
from conformance.programs import require_programs

_GROUP = "https://github.com/common-workflow-language"
HOMES = {
    "v1.0": f"{_GROUP}/common-workflow-language.git",
    "v1.1": f"{_GROUP}/cwl-v1.1.git",
    "v1.2": f"{_GROUP}/cwl-v1.2.git",
}
# Below what was cloned, or given: v1.0 lives in a folder of a repository that has drafts, too.
_INDEXES = (
    "conformance_tests.yaml",
    "conformance_test_v1.0.yaml",
    "v1.0/conformance_test_v1.0.yaml",
)


class Source(NamedTuple):
    """A suite that is here: its version and the list of its tests."""

    version: str
    tests: Path

    @property
    def folder(self) -> Path:
        """What has to be copied so that the tests find their files."""
        return self.tests.parent

    def digest(self) -> str:
        """Changes with any file of the suite."""
        sums = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and ".git" not in path.relative_to(self.folder).parts:
                name = str(path.relative_to(self.folder))
                sums.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return sums.hexdigest()[:12]


def find(text: str, fetched: Path, homes: Mapping[str, str] = HOMES) -> Source:
    """`v1.1` (fetched into that folder, once), `v1.1=FOLDER`, or a FOLDER of the same name.

    Raises a Problem that says what is known, or why there is no suite.
    """
    version, given, path = text.partition("=")
    if given:
        if version not in homes:
            raise Problem(f"unknown suite '{version}'", f"known are: {', '.join(homes)}")
        return Source(version, _index(Path(path)))
    if version in homes:
        return Source(version, _index(_fetched(version, homes[version], fetched)))
    folder = Path(text)
    if folder.is_dir():
        return Source(folder.resolve().name, _index(folder))
    raise Problem(
        f"there is no suite '{text}'",
        f"give one of {', '.join(homes)}, which are fetched, or v1.2=FOLDER",
    )


def commit(source: Source) -> str:
    """The commit of the suite's checkout; nothing where it is none."""
    words = ["git", "-c", "safe.directory=*", "-C", str(source.folder), "rev-parse", "HEAD"]
    if not shutil.which("git") or not any(
        (one / ".git").exists() for one in (source.folder, source.folder.parent)
    ):
        return ""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()[:12]


def _index(folder: Path) -> Path:
    for name in _INDEXES:
        if (folder / name).is_file():
            return (folder / name).resolve()
    raise Problem(
        f"no {_INDEXES[0]} in '{folder}'",
        f"give --suite a checkout of {_GROUP}/cwl-v1.2, say, or the part with its tests",
    )


def _fetched(version: str, url: str, folder: Path) -> Path:
    target = folder / version
    if target.is_dir():
        return target
    require_programs("git")
    partial = folder / f".{version}"
    shutil.rmtree(partial, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    words = ["git", "clone", "--quiet", "--depth", "1", url, str(partial)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(
            f"could not fetch the suite {version}: {done.stderr.strip()[-200:]}",
            f"without internet give a copy of {url}: --suite {version}=FOLDER",
        )
    partial.rename(target)
    return target
